"""Papers: 55 claims of the field, each put to the test on real small data.

May import: errors, disk, geometry, progress, sets, diagnostics, report, objectives, views, training.
Open first: an entry, such as entries/tcl.py; then paper.py (what is known of one), contest.py (how two arms are
tuned and judged), rule.py (what makes a verdict).
"""

from workbench.diagnostics.intervals import holm
from workbench.papers.catalogue import catalogue, experiment, keys
from workbench.papers.evidence import Evidence
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import FORMS, Outcome, Trial
from workbench.papers.rule import LOOKS
from workbench.papers.run import Paper, paper

__all__ = [
    "FORMS",
    "LOOKS",
    "DataNeeds",
    "Evidence",
    "Outcome",
    "Paper",
    "Trial",
    "catalogue",
    "experiment",
    "holm",
    "keys",
    "paper",
]
