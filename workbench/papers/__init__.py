"""Papers: 55 claims of the field; those that run are put to the test on real small data.

May import: errors, disk, geometry, progress, sets, report, objectives, views, training.
Open first: base.py.
"""

from workbench.papers.base import FORMS, RUNS, Measured, Own, Paper, Trial, catalogue, experiment, paper, runnable
from workbench.papers.evidence import Evidence, holm

__all__ = [
    "FORMS",
    "RUNS",
    "Evidence",
    "Measured",
    "Own",
    "Paper",
    "Trial",
    "catalogue",
    "experiment",
    "holm",
    "paper",
    "runnable",
]
