"""Nulls of labels: what an index of classes reads when labels are shuffled, and what guesses would get right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.diagnostics.context import Context
from workbench.diagnostics.nulls.bands import Band, binomial, normal
from workbench.diagnostics.registry import NAN_BAND, NotApplicable, Null
from workbench.diagnostics.scope import Scope
from workbench.geometry import segment_sum
from workbench.scan.statistics import ClassMoments, ClassSpread, Diameter, State, Statistic, centroids
from workbench.scan.statistics.classes import FINE

SHUFFLES = 40
MOST_ROWS = 20_000  # rows whose shuffles are affordable …
MOST_DISTANCES = 5_000  # … and where all distances must be held: 200 MB
SILHOUETTE_ROWS = 500
SEED = 8_191  # not 0: a set may have been dealt out with the seed that everybody takes

Measure = Callable[..., Tensor]


def roles(measure: Measure, reads: Callable[..., tuple]) -> Null:
    """An index of named roles, on raw vectors."""
    return Null("label shuffle", _band(measure, reads, "role"), reads)


def labels(measure: Measure, reads: Callable[..., tuple]) -> Null:
    """An index of the classes of a column."""
    return Null("label shuffle", _band(measure, reads, "label"), reads)


def _band(measure: Measure, reads: Callable[..., tuple], by: str) -> Callable[..., Band]:
    def band(context: Context, states: Sequence[State], scope: Scope, **params: Any) -> Band:
        wanted = reads(*scope, **params)
        out = []
        for known in _shuffled(context, scope[0], by, wanted):
            try:
                out.append(float(measure(*(known[type(s)] for s in wanted))))
            except NotApplicable:
                continue
        return tuple(np.percentile(out, [2.5, 50, 97.5]).tolist()) if out else NAN_BAND

    return band


def _shuffled(context: Context, m: str, by: str, wanted: tuple[Statistic, ...]) -> list[dict[type, State]]:
    """The states that each shuffle would give, made once for all indices that read the same."""
    raw = any(getattr(s, "raw", False) for s in wanted)
    far = any(isinstance(s, Diameter) for s in wanted)
    key = ("shuffles", m, by, raw, far)
    if key not in context.cache:
        context.cache[key] = list(_states(context, m, by, raw, far))
    return context.cache[key]


def _states(context: Context, m: str, by: str, raw: bool, far: bool) -> Iterator[dict[type, State]]:
    label = context.label(by)
    if label is None:
        return
    label = label[context.es.item_of_row(m)]
    at = (label >= 0).nonzero()[:, 0]
    if len(at) > (MOST_DISTANCES if far else MOST_ROWS):
        return
    x = context.es[m][at].double() if raw else context.es.unit(m, at)
    x, label = x - x.mean(0) if raw else x, label[at]
    classes = int(label.max()) + 1
    d = _distances(x) if far else None
    draw = np.random.default_rng(SEED)
    for _ in range(SHUFFLES):
        mixed = label[torch.from_numpy(draw.permutation(len(label)))]
        moments = {"n": torch.bincount(mixed, minlength=classes).double(), "sum": segment_sum(x, mixed, classes)}
        mu = centroids(moments)
        r = x - mu[mixed]
        length = r.norm(dim=1)
        score = (mu.square().sum(1) / 2 - x @ mu.T).masked_fill(moments["n"] == 0, torch.inf)
        spread = {
            "sum": segment_sum(length, mixed, classes),
            "widest": torch.zeros(classes, dtype=torch.float64).scatter_reduce(0, mixed, length, "amax"),
            "within": r.T @ r,
            "nearest": (score.argmin(1) == mixed).double().sum(),
        }
        known: dict[type, State] = {ClassMoments: moments, ClassSpread: spread}
        if d is not None:
            known[Diameter] = _diameters(d, mixed, spread["widest"])
        yield known


def _distances(x: Tensor) -> Tensor:
    squared = x.square().sum(1)
    return (squared[:, None] + squared[None] - 2 * x @ x.T).clamp_min(0).sqrt()


def _diameters(d: Tensor, label: Tensor, radius: Tensor) -> State:
    squared, histogram = torch.zeros_like(radius), torch.zeros(len(radius), FINE, dtype=torch.float64)
    for c in range(len(radius)):
        mine = label == c
        own = d[mine][:, mine]
        if len(own) > 1 and float(radius[c]) > 0:
            squared[c] = own.max().square()
            i, j = torch.triu_indices(len(own), len(own), 1)
            bins = (own[i, j] / (2 * radius[c]) * FINE).long().clamp_max(FINE - 1)
            histogram[c] = 2 * torch.bincount(bins, minlength=FINE).double()
    return {"squared": squared, "histogram": histogram}


def silhouette(measure: Measure) -> Null:
    """The silhouette of some hundred rows under shuffled labels."""

    def band(context: Context, states: Sequence[State], scope: Scope) -> Band:
        label = context.label("label")
        if label is None:
            return NAN_BAND
        label = label[context.es.item_of_row(scope[0])]
        draw = np.random.default_rng(SEED)
        at = np.sort(draw.permutation((label >= 0).nonzero()[:, 0].numpy())[:SILHOUETTE_ROWS])
        if len(at) < 4:
            return NAN_BAND
        x, label = context.es.unit(scope[0], torch.from_numpy(at)), label[at]
        d, row = _distances(x).fill_diagonal_(0), torch.arange(len(at))
        out = []
        for _ in range(SHUFFLES):
            mixed = label[torch.from_numpy(draw.permutation(len(label)))]
            one = torch.nn.functional.one_hot(mixed, int(label.max()) + 1).double()
            try:
                value, _ = measure(
                    {"row": row, "sum": d @ one}, {"row": row, "label": mixed, "item": row}, {"n": one.sum(0)}
                )
            except NotApplicable:
                return NAN_BAND
            out.append(float(value.mean()))
        return tuple(np.percentile(out, [2.5, 50, 97.5]).tolist())

    return Null("label shuffle", band)


def same_label(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Share of equal labels among random pairs of different items."""
    label = context.label("label")
    if label is None:
        return NAN_BAND
    n = torch.bincount(label[label >= 0]).double()
    total = float(n.sum())
    if total < 2:
        return NAN_BAND
    p = float((n * (n - 1)).sum()) / (total * (total - 1))
    return normal(p, math.sqrt(p * (1 - p) / (total * 10)))


def label_guess(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """From guessing by the frequencies of the classes to always naming the largest."""
    label = context.label("label")
    if label is None:
        return NAN_BAND
    label = label[context.es.item_of_row(scope[0])]
    n = torch.bincount(label[label >= 0]).double()
    total = int(n.sum())
    if not total:
        return NAN_BAND
    share = n / total
    guess, largest = float(share.square().sum()), float(share.max())
    return binomial(total, guess)[0], (guess + largest) / 2, binomial(total, largest)[2]


SAME_LABEL = Null("label shuffle", same_label)
LABEL_GUESS = Null("label shuffle", label_guess)
