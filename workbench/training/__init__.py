"""Training: one explicit loop, towers over frozen features or drawings, runs that resume exactly.

May import: errors, disk, geometry, progress, sets, scan, diagnostics, report, objectives, views.
Open first: train.py (the call), loop.py (top to bottom), run.py (the run on disk).
"""
