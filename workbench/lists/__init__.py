"""Lists that people act on: suspect items, weak slices, thresholds, and what drifted.

May import: errors, disk, progress, sets, diagnostics, report, views.
Open first: suspects.py, then weak.py (slices), thresholds.py, drift.py.
"""

from workbench.lists.drift import Drift, drift
from workbench.lists.suspects import Suspects, suspects
from workbench.lists.thresholds import Thresholds, thresholds
from workbench.lists.weak import Weak, weak_slices

__all__ = ["Drift", "Suspects", "Thresholds", "Weak", "drift", "suspects", "thresholds", "weak_slices"]
