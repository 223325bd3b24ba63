"""Reductions of a tile: what statistics take from its scores, as compiled loops on a CPU and as tensors elsewhere.

`plain` and `compiled` hold the same functions; a statistic asks `tile.reduce` for them and cannot tell which it got.
Open `plain` first: it says what each of them is.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from types import ModuleType

import torch

from workbench.progress import note

WORTHWHILE = 4_000_000  # pairs below which compiled code takes longer to load than it saves


def reductions_for(device: torch.device, pairs: int) -> ModuleType:
    """The module of reductions that is fastest for so many pairs on this device; the same anywhere for one set."""
    if device.type == "cpu" and pairs >= WORTHWHILE:
        try:
            found = importlib.import_module(f"{__name__}.compiled")
        except ImportError:  # numba comes with umap-learn, but not for every Python from its first day on
            pass
        else:
            _note_if_cold(found.loops.compiled_before)
            return found
    return importlib.import_module(f"{__name__}.plain")


@cache
def _note_if_cold(before: Callable[[], bool]) -> None:
    if not before():
        note("loops are compiled for this machine: some ten seconds, this time only")
