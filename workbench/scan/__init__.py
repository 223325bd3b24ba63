"""One pass over a set: what many statistics need of its rows and pairs of rows is computed once, in tiles.

May import: disk, errors, geometry, progress, sets.
Open first: contracts.py (what a statistic is), then plan.py (waves, tasks, groups) and tile.py (the one product).
"""
