"""The explorer: a set with what is selected, coloured and judged in it, and the map that notebooks and pages share.

May import: errors, disk, sets, diagnostics, report, interventions, treatments, views, training.
Open first: inspection.py (what can be asked of a set), map_state.py (what one person looks at), widgets.py
(`wb.explore`).
"""
