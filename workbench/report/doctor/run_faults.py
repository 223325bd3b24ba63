"""Faults of a run, planted into the metrics of a healthy one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.diagnostics.scoped_name import ScopedName
from workbench.sets.run_folder import CHANCE, MOVED, RECALL

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


def diverged(metrics: Sequence[dict[str, Any]], factor: float) -> Metrics:
    """A run whose loss climbs, in its last three looks, to so many times what it began with."""
    rows = [dict(m) for m in metrics]
    last = next(m for m in reversed(rows) if RECALL in m)
    start = rows[0]["loss"]
    for k in (0.4, 0.7, 1.0):
        rows.append(
            {**last, "step": last["step"] + int(60 * k), "loss": last["loss"] + k * (factor * start - last["loss"])}
        )
    return rows


def swinging(metrics: Sequence[dict[str, Any]], share: float) -> Metrics:
    """A run that goes on for eight looks, its loss up and down by a share of all it has fallen."""
    last = next(m for m in reversed(metrics) if RECALL in m)
    fall = abs(metrics[0]["loss"] - last["loss"])
    more = [{**last, "step": last["step"] + 20 * k, "loss": last["loss"] + (k % 2) * share * fall} for k in range(1, 9)]
    return [*metrics, *more]


def forgotten(metrics: Sequence[dict[str, Any]], lost: float) -> Metrics:
    """A run that went on and lost a share of its recall, while its loss stayed where it was."""
    last = dict(next(m for m in reversed(metrics) if RECALL in m))
    return [*metrics, {**last, "step": last["step"] + 20, RECALL: last[RECALL] * (1 - lost)}]


def stalled(metrics: Sequence[dict[str, Any]], factor: float) -> Metrics:
    """A run that goes on for two looks, in which one tower turns by so many times what another does."""
    last = next(m for m in reversed(metrics) if RECALL in m)
    first, other, *_ = [*ScopedName.of(last, MOVED).values(), "", ""]
    turned = max([m[other] for m in metrics if other in m], default=0.0)
    more = [{**last, "step": last["step"] + 20 * k, other: turned, first: factor * turned} for k in (1, 2)]
    return [*metrics, *more]
