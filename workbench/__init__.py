"""See what training did to a multimodal embedding space. `import workbench as wb`; every name below loads lazily."""

from __future__ import annotations

import importlib as _importlib
from typing import TYPE_CHECKING
from typing import Any as _Any

from workbench.version import __version__
from workbench.version import follow_moves as _follow_moves

if TYPE_CHECKING:
    from workbench import diagnostics, interventions
    from workbench.advice.advise import advise
    from workbench.errors import InputError
    from workbench.explorer.widgets import map_of
    from workbench.lists.drift import drift
    from workbench.lists.suspects import suspects
    from workbench.lists.thresholds import thresholds
    from workbench.lists.weak import weak_slices
    from workbench.objectives.batch import Batch
    from workbench.objectives.recipes import recipe
    from workbench.papers import paper
    from workbench.report.accumulator import Accumulator
    from workbench.report.comparison import compare
    from workbench.report.diagnose import diagnose
    from workbench.report.relevance import by_relevance
    from workbench.report.report import Report
    from workbench.report.slices import layers, slices, templates
    from workbench.sets import planted as testing
    from workbench.sets.embeddings import EmbeddingSet
    from workbench.sets.formats import load
    from workbench.sets.shipped import dataset
    from workbench.training.run import Run
    from workbench.training.train import train
    from workbench.treatments.portable import Treatment
    from workbench.treatments.treat import treat
    from workbench.workspace.widget import explore

__all__ = [
    "weak_slices",
    "thresholds",
    "suspects",
    "drift",
    "Accumulator",
    "Batch",
    "EmbeddingSet",
    "InputError",
    "Report",
    "Run",
    "Treatment",
    "__version__",
    "advise",
    "by_relevance",
    "compare",
    "dataset",
    "diagnose",
    "diagnostics",
    "explore",
    "interventions",
    "layers",
    "load",
    "map_of",
    "paper",
    "recipe",
    "slices",
    "templates",
    "testing",
    "train",
    "treat",
]
_HOME = {
    "weak_slices": "workbench.lists.weak",
    "thresholds": "workbench.lists.thresholds",
    "suspects": "workbench.lists.suspects",
    "drift": "workbench.lists.drift",
    "Accumulator": "workbench.report.accumulator",
    "Batch": "workbench.objectives.batch",
    "EmbeddingSet": "workbench.sets.embeddings",
    "InputError": "workbench.errors",
    "Report": "workbench.report.report",
    "Run": "workbench.training.run",
    "Treatment": "workbench.treatments.portable",
    "advise": "workbench.advice.advise",
    "by_relevance": "workbench.report.relevance",
    "compare": "workbench.report.comparison",
    "dataset": "workbench.sets.shipped",
    "diagnose": "workbench.report.diagnose",
    "explore": "workbench.workspace.widget",
    "layers": "workbench.report.slices",
    "load": "workbench.sets.formats",
    "map_of": "workbench.explorer.widgets",
    "paper": "workbench.papers",
    "recipe": "workbench.objectives.recipes",
    "slices": "workbench.report.slices",
    "templates": "workbench.report.slices",
    "train": "workbench.training.train",
    "treat": "workbench.treatments.treat",
}
_MODULES = {
    "diagnostics": "workbench.diagnostics",
    "interventions": "workbench.interventions",
    "testing": "workbench.sets.planted",
}

_follow_moves()

if not TYPE_CHECKING:  # a type checker knows the names above, and nothing else

    def __getattr__(name: str) -> _Any:
        if name in _MODULES:
            value = _importlib.import_module(_MODULES[name])
        elif name in _HOME:
            value = getattr(_importlib.import_module(_HOME[name]), name)
        else:
            raise AttributeError(f"module 'workbench' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
