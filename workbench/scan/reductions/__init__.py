"""Reductions of a tile: what statistics take from its scores, as compiled loops on a CPU and as tensors elsewhere.

`plain` and `compiled` hold the same functions; a statistic asks `tile.reduce` for them and cannot tell which it got.
Open `plain` first: it says what each of them is.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import torch

WORTHWHILE = 4_000_000  # pairs below which compiled code takes longer to load than it saves


def reductions_for(device: torch.device, pairs: int) -> ModuleType:
    """The module of reductions that is fastest for so many pairs on this device; the same anywhere for one set."""
    if device.type == "cpu" and pairs >= WORTHWHILE:
        try:
            return importlib.import_module(f"{__name__}.compiled")
        except ImportError:  # numba comes with umap-learn, but not for every Python from its first day on
            pass
    return importlib.import_module(f"{__name__}.plain")
