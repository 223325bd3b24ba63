"""Nulls of a random pairing: what matched rows would show if they were put together by lot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.diagnostics.context import Context
from workbench.diagnostics.nulls.bands import Band, around, normal
from workbench.diagnostics.nulls.trade import Drawn, trades
from workbench.diagnostics.registry import NAN_BAND, Null
from workbench.diagnostics.scope import Scope
from workbench.geometry import leading_share, segment_sum, triangle_area, volume
from workbench.scan.statistics import Moments, State

SHUFFLED_TUPLES = 8_192
TOGETHER = 512  # of them whose vectors are at hand at once
SAME = 1e-14  # of a squared length: below it rows are the same
TRADED_ITEMS, TRADES = 1_000, 400  # whose cosines are all at hand, and how often their families trade places
MEASURED_ITEMS, MEASURED = 400, 40  # the same, where each trade must be measured anew


def shuffled_distance(context: Context, states: Sequence[State], scope: Scope, *, alpha: float) -> Band:
    """Alignment under random re-pairing: exact mean and variance of the permutation law for alpha = 2."""
    if alpha != 2:
        return shuffled_tuples(context, scope, lambda x: (x[:, 0] - x[:, 1]).square().sum(1).pow(alpha / 2))
    x, y = states
    n, centre = float(x["n"]), float(x["mean"] @ y["mean"])
    if n < 2:
        return NAN_BAND
    if not context.single(*scope):
        low, mid, high = _traded_cosine(context, centre, scope)
        return 2 - 2 * high, 2 - 2 * mid, 2 - 2 * low
    variance = 4 / (n * n * (n - 1)) * float((x["scatter"] * y["scatter"]).sum())
    return normal(2 - 2 * centre, math.sqrt(max(variance, 0.0)))


def _traded_cosine(context: Context, centre: float, scope: Scope) -> Band:
    """Mean cosine where families trade places, from the inner products of some hundred items' summed rows."""
    key = ("traded cosine", *scope)
    if key not in context.cache:
        context.cache[key] = _trade_cosines(context, centre, scope)
    return context.cache[key]


def _trade_cosines(context: Context, centre: float, scope: Scope) -> Band:
    drawn = Drawn.of(context, scope, TRADED_ITEMS)
    n, sums, count = len(drawn.item), [], []
    for m in scope:
        x, place = drawn.rows(m)
        sums.append(segment_sum(x, place, n))
        count.append(torch.bincount(place, minlength=n).double())
    dots, pairs = (sums[0] @ sums[1].T).numpy(), torch.outer(*count).numpy()
    row = np.arange(n)
    out = np.array([dots[row, to].sum() / pairs[row, to].sum() for to in trades(drawn.family, TRADES)])
    whole = float(dots.sum() / pairs.sum())
    return around(whole if drawn.share == 1 else centre, out, drawn.share)


def shuffled_cosine(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Mean cosine under random re-pairing."""
    low, mid, high = shuffled_distance(context, states, scope, alpha=2.0)
    return 1 - high / 2, 1 - mid / 2, 1 - low / 2


def shuffled_margin(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Margin of a match over the mean of all, under random re-pairing: 0 in the middle."""
    low, mid, high = shuffled_cosine(context, states, scope)
    return low - mid, 0.0, high - mid


def shuffled_tuples(context: Context, scope: Scope, measure: Callable[[Tensor], Tensor]) -> Band:
    """Mean over n tuples put together at random: its middle from a few thousand such tuples of different items, its
    width from them too, or, where items depend on each other, from families that trade places."""
    random = _random_tuples(context, scope)
    n, tuples = len(context.shared(*scope)), len(random)
    if tuples < 2 or n < 2:
        return NAN_BAND
    v = measure(random)
    mean, deviation = float(v.mean()), float(v.std())
    if context.single(*scope):
        return normal(mean, deviation * math.sqrt(1 / n + 1 / tuples))
    width = _traded_deviation(context, scope, measure)
    return normal(mean, math.hypot(width, deviation / math.sqrt(tuples)))


def _random_tuples(context: Context, scope: Scope) -> Tensor:
    """Tuples of rows of different items, (n, M, M): each in coordinates of its own span, in which lengths and angles
    are the same. Made once for all measures."""
    key = ("random tuples", *scope)
    if key not in context.cache:
        es, draw = context.es, np.random.default_rng(0)
        rows = [torch.as_tensor(draw.integers(0, len(es[m]), SHUFFLED_TUPLES)) for m in scope]
        owner = torch.stack([context.owner[m][i] for m, i in zip(scope, rows, strict=True)], 1)
        apart = (owner.sort(1).values.diff(dim=1) != 0).all(1)
        grams = []
        for some in apart.nonzero()[:, 0].split(TOGETHER):
            x = [es.unit(m, i[some]) for m, i in zip(scope, rows, strict=True)]
            grams.append(torch.stack([torch.stack([torch.linalg.vecdot(a, b) for b in x], 1) for a in x], 1))
        tilt = SAME * torch.eye(len(scope), dtype=torch.float64)  # as little as rounding needs, where two rows are one
        context.cache[key] = torch.linalg.cholesky(torch.cat([tilt[None][:0], *grams]) + tilt)
    return context.cache[key]


def _traded_deviation(context: Context, scope: Scope, measure: Callable[[Tensor], Tensor]) -> float:
    """How the mean of a measure of tuples scatters where the families of each modality but the first trade places."""
    drawn = Drawn.of(context, scope, MEASURED_ITEMS)
    first, count, rows = [], [], []
    for m in scope:
        x, place = drawn.rows(m)
        count.append(torch.bincount(place, minlength=len(drawn.item)))
        first.append(count[-1].cumsum(0) - count[-1])
        rows.append(x)
    most = torch.stack(count).amax(0)
    item = torch.arange(len(drawn.item)).repeat_interleave(most)
    slot = torch.arange(len(item)) - (most.cumsum(0) - most)[item]
    lots, out = trades(drawn.family, MEASURED * (len(scope) - 1)), []
    for _ in range(MEASURED):
        places = [item] + [torch.from_numpy(next(lots))[item] for _ in scope[1:]]
        tuples = [r[f[p] + slot % c[p]] for r, f, c, p in zip(rows, first, count, places, strict=True)]
        out.append(float(measure(torch.stack(tuples, 1)).mean()))
    return float(np.std(out, ddof=1)) * math.sqrt(drawn.share)


def _moments(a: str, b: str, **params: Any) -> tuple:
    return Moments(a, among=(a, b)), Moments(b, among=(a, b))


DISTANCE = Null("pairing shuffle", shuffled_distance, _moments)
LENGTH = Null("pairing shuffle", lambda c, s, scope: shuffled_distance(c, s, scope, alpha=1.0), _moments)
COSINE = Null("pairing shuffle", shuffled_cosine, _moments)
MARGIN = Null("pairing shuffle", shuffled_margin, _moments)
VOLUME = Null("pairing shuffle", lambda c, s, scope: shuffled_tuples(c, scope, volume))
AREA = Null("pairing shuffle", lambda c, s, scope: shuffled_tuples(c, scope, triangle_area))
LEADING = Null("pairing shuffle", lambda c, s, scope: shuffled_tuples(c, scope, leading_share))
