"""The version, where everybody may read it, and where the modules of 0.1 went."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

__version__ = "0.2.0"

MOVED = {  # until 0.3
    "accumulator": "report.accumulator",
    "comparison": "report.comparison",
    "datasets": "sets.shipped",
    "doctor": "report.doctor",
    "embeddings": "sets.embeddings",
    "encoders": "sets.encoders",
    "formats": "sets.formats",
    "fused": "sets.fused",
    "projection": "sets.projection",
    "tables": "report.slices",
    "testing": "sets.planted",
}


class Moved(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module of 0.1 where it is now, and says so: code that imports it goes on working until 0.3."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec for a module that has moved, else nothing."""
        package, _, rest = name.partition(".")
        if package != "workbench" or rest not in MOVED:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """The module where it is now."""
        now = f"workbench.{MOVED[spec.name.removeprefix('workbench.')]}"
        warnings.warn(f"{spec.name} is {now} since 0.2; this name goes with 0.3", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(now)
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do: it was executed under its own name, and stays that module."""
        module.__spec__ = self._own


def follow_moves() -> None:
    """Let names of 0.1 be imported."""
    if not any(isinstance(f, Moved) for f in sys.meta_path):
        sys.meta_path.append(Moved())
