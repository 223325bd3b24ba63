"""Advice: which recipe to train with on a set like this, ranked by the papers' evidence and tried on the set itself.

May import: errors, version, disk, progress, sets, diagnostics, objectives, treatments, views, training, papers.
Open first: advise.py (the whole way), candidates.py (what is tried, and why), halving.py (how).
"""

from workbench.advice.advise import advise
from workbench.advice.advised import Advised, Finalist
from workbench.advice.aims import AIMS

__all__ = ["AIMS", "Advised", "Finalist", "advise"]
