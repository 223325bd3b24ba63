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
    "compare": "workbench.report",
    "dataset": "workbench.datasets",
    "diagnose": "workbench.diagnostics.suite",
    "diagnostics": "workbench.diagnostics",
    "load": "workbench.formats",
    "recipe": "workbench.objectives.recipes",
    "train": "workbench.training.loop",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    module = importlib.import_module(_HOME[name])
    value = module if name == "diagnostics" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
