"""The workspace: the map with what is known around it, one and the same in a notebook and on a page.

May import: errors, progress, sets, diagnostics, report, lists, views, explorer, treatments.
Open first: visit.py (what one person's visit is), then a panel, such as panels/item.py.
"""
