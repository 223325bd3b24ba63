"""Verdicts in words, and the correction for how many claims are tested at once."""

from __future__ import annotations

from workbench.papers.catalogue import catalogue
from workbench.papers.paper import Paper

NOT_YET = "not run yet"
SAID = {
    "mechanism": {"held": "held", "some gain": "some gain", "not held": "not held", "inconclusive": "inconclusive"},
    "analogue": {
        "held": "effect observed in this analogue",
        "some gain": "some effect observed in this analogue",
        "not held": "effect not observed in this analogue",
        "inconclusive": "inconclusive in this analogue",
    },
    "stand-in": {
        "held": "effect observed with our stand-in; no verdict on the paper",
        "some gain": "some effect observed with our stand-in; no verdict on the paper",
        "not held": "effect not observed with our stand-in; no verdict on the paper",
        "inconclusive": "inconclusive with our stand-in; no verdict on the paper",
    },
    "tool": {
        "held": "the instrument gains what it should here",
        "some gain": "the instrument gains something here",
        "not held": "the instrument gains nothing here",
        "inconclusive": "inconclusive for this instrument",
    },
}


def said(p: Paper, outcome: str) -> str:
    """An outcome in the words that a paper's form allows: only a mechanism's claim can be held or not held.

    >>> said(catalogue()["cogenav"], "held")
    'effect observed in this analogue'
    """
    return SAID[p.form].get(outcome, outcome)


def claims() -> int:
    """How many claims the atlas tests at once."""
    return len(catalogue())
