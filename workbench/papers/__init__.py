"""The papers: 55 entries by family, those of the first turn with an experiment that judges their claim."""

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
