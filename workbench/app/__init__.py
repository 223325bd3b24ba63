"""The dashboard: Panel pages over runs and sets on disk.

May import: errors, progress, version, sets, diagnostics, report, lists, views, training, explorer, workspace.
Open first: shell.py (which page a URL opens), then face.py (the workspace on a page).
"""
