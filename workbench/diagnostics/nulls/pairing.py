"""Nulls of a random pairing: what matched rows would show if they were put together by lot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from workbench.diagnostics.context import Context
from workbench.diagnostics.nulls.bands import Band, normal, pair_moments
from workbench.diagnostics.registry import NAN_BAND, Null
from workbench.diagnostics.scope import Scope
from workbench.geometry import leading_share, triangle_area, volume
from workbench.scan.statistics import State

SHUFFLED_TUPLES = 4_096  # enough that the error of the band's centre is far below its width


def shuffled_distance(context: Context, states: Sequence[State], scope: Scope, *, alpha: float) -> Band:
    """Alignment under random re-pairing: exact mean and variance of the permutation law for alpha = 2."""
    if alpha != 2:
        return shuffled_tuples(context, scope, lambda x: (x[:, 0] - x[:, 1]).square().sum(1).pow(alpha / 2))
    (joint,) = states
    n, d = float(joint["n"]), len(joint["mean"]) // 2
    if n < 2:
        return NAN_BAND
    x, y = joint["mean"][:d], joint["mean"][d:]
    sxx, syy = joint["scatter"][:d, :d], joint["scatter"][d:, d:]
    variance = 4 / (n * n * (n - 1)) * float((sxx * syy).sum())
    return normal(2 - 2 * float(x @ y), math.sqrt(max(variance, 0.0)))


def shuffled_cosine(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Mean cosine under random re-pairing."""
    low, mid, high = shuffled_distance(context, states, scope, alpha=2.0)
    return 1 - high / 2, 1 - mid / 2, 1 - low / 2


def shuffled_margin(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Margin of a match over the mean of all, under random re-pairing: 0 in the middle."""
    low, mid, high = shuffled_cosine(context, states, scope)
    return low - mid, 0.0, high - mid


def shuffled_tuples(context: Context, scope: Scope, measure: Callable[[Tensor], Tensor]) -> Band:
    """Mean over n tuples put together at random, from a few thousand such tuples of different items."""
    es = context.es
    draw = np.random.default_rng(0)
    items = [torch.as_tensor(draw.integers(0, len(es[m]), SHUFFLED_TUPLES)) for m in scope]
    owner = torch.stack([es.item_of_row(m)[i] for m, i in zip(scope, items, strict=True)], 1)
    apart = (owner.sort(1).values.diff(dim=1) != 0).all(1)
    if int(apart.sum()) < 2:
        return NAN_BAND
    v = measure(torch.stack([es.unit(m, i[apart]) for m, i in zip(scope, items, strict=True)], 1))
    n = min(len(es[m]) for m in scope)
    return normal(float(v.mean()), float(v.std()) / math.sqrt(n))


DISTANCE = Null("pairing shuffle", shuffled_distance, pair_moments)
LENGTH = Null("pairing shuffle", lambda c, s, scope: shuffled_distance(c, s, scope, alpha=1.0), pair_moments)
COSINE = Null("pairing shuffle", shuffled_cosine, pair_moments)
MARGIN = Null("pairing shuffle", shuffled_margin, pair_moments)
VOLUME = Null("pairing shuffle", lambda c, s, scope: shuffled_tuples(c, scope, volume))
AREA = Null("pairing shuffle", lambda c, s, scope: shuffled_tuples(c, scope, triangle_area))
LEADING = Null("pairing shuffle", lambda c, s, scope: shuffled_tuples(c, scope, leading_share))
