"""See what training did to a multimodal embedding space. `import workbench as wb`; every name below loads lazily."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Batch": "workbench.objectives.batch",
    "EmbeddingSet": "workbench.embeddings",
    "InputError": "workbench.errors",
    "Report": "workbench.report",
    "Run": "workbench.training.run",
    "Accumulator": "workbench.accumulator",
    "compare": "workbench.comparison",
    "dataset": "workbench.datasets",
    "diagnose": "workbench.diagnostics.suite",
    "diagnostics": "workbench.diagnostics",
    "explore": "workbench.explorer.widgets",
    "interventions": "workbench.interventions",
    "layers": "workbench.tables",
    "load": "workbench.formats",
    "paper": "workbench.papers",
    "recipe": "workbench.objectives.recipes",
    "slices": "workbench.tables",
    "templates": "workbench.tables",
    "testing": "workbench.testing",
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
