"""Faults of a run, planted into the metrics of a healthy one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.diagnostics.scoped_name import ScopedName
from workbench.sets.run_folder import CHANCE, RECALL

Metrics = list[dict[str, Any]]


def decayed(metrics: Sequence[dict[str, Any]], lost: float, **more: float) -> Metrics:
    """A run that went on: the loss falls by a fifth, recall on the probe by `lost`, and other measures by a factor."""
    last = dict(next(m for m in reversed(metrics) if RECALL in m))
    span = metrics[0]["loss"] - last["loss"]
    last["step"] += 20
    last["loss"] -= 0.2 * abs(span)
    last[RECALL] *= 1 - lost
    for name, factor in more.items():
        for key in ScopedName.of(last, name).values():
            last[key] *= factor
    return [*metrics, last]


def guessing(metrics: Sequence[dict[str, Any]], share: float) -> Metrics:
    """A run that never learnt: the loss stays within a share of a guess, recall at chance."""
    start = metrics[0]["loss"]
    return [{**m, "loss": start * (1 - share), RECALL: m.get(CHANCE, 0) / 2} for m in metrics]
