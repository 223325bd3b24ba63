"""Reductions of a tile: what statistics take from its scores, as compiled loops on a CPU, as one kernel on a card.

`plain`, `compiled` and `card` hold the same functions; a statistic asks for them and cannot tell which it got.
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
    if device.type == "cuda":
        return _on_card(device)
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
def _on_card(device: torch.device) -> ModuleType:
    """The kernel, where it proves itself on this card; tensor operations say the same."""
    why = "Triton is not installed"
    try:
        card = importlib.import_module(f"{__name__}.card")
        if card.proved(device):
            return card
        why = "its numbers differ from those of tensor operations"
    except ImportError:
        pass
    except Exception as e:  # what a compiler, a driver or a card may say is not ours to list
        why = f"{type(e).__name__}: {e}"
    note(f"the kernel for cards is not used on {device}: {why}; tensor operations take its place")
    return importlib.import_module(f"{__name__}.plain")


@cache
def _note_if_cold(before: Callable[[], bool]) -> None:
    if not before():
        note("loops are compiled for this machine: some ten seconds, this time only")
