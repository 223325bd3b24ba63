"""The dashboard: Panel pages over runs and sets on disk.

May import: errors, progress, sets, diagnostics, report, views, training, explorer, treatments.
Open first: shell.py (which page a URL opens), then a page, such as run_page.py.
"""
