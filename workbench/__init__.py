"""See what training did to a multimodal embedding space. `import workbench as wb`; every name below loads lazily."""

from __future__ import annotations

import importlib
from typing import Any

from workbench.version import __version__ as __version__

_HOME = {
    "Batch": "workbench.objectives.batch",
    "EmbeddingSet": "workbench.sets.embeddings",
    "InputError": "workbench.errors",
    "Report": "workbench.report.report",
    "Run": "workbench.training.run",
    "Accumulator": "workbench.report.accumulator",
    "compare": "workbench.report.comparison",
    "dataset": "workbench.sets.shipped",
    "diagnose": "workbench.report.diagnose",
    "diagnostics": "workbench.diagnostics",
    "explore": "workbench.explorer.widgets",
    "interventions": "workbench.interventions",
    "layers": "workbench.report.slices",
    "load": "workbench.sets.formats",
    "paper": "workbench.papers",
    "recipe": "workbench.objectives.recipes",
    "slices": "workbench.report.slices",
    "templates": "workbench.report.slices",
    "testing": "workbench.sets.planted",
    "train": "workbench.training.loop",
}

MODULES = ("diagnostics", "interventions", "testing")


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    module = importlib.import_module(_HOME[name])
    value = module if name in MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
