"""Treatments: what can be done to a finished space without training, measured, ranked and shipped.

May import: errors, version, disk, progress, sets, diagnostics, report, interventions, views.
Open first: treat.py (the whole way), base.py (what a method is), portable.py (what is shipped: numpy alone).
"""

from workbench.treatments.base import METHODS, Method
from workbench.treatments.goals import GOALS, Goal
from workbench.treatments.portable import Treatment
from workbench.treatments.treat import treat
from workbench.treatments.treated import Candidate, Treated, save

__all__ = ["GOALS", "METHODS", "Candidate", "Goal", "Method", "Treated", "Treatment", "save", "treat"]
