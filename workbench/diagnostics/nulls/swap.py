"""Nulls of the modality: what a gap would read if the two rows of each item traded places by the toss of a coin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.diagnostics.context import Context
from workbench.diagnostics.nulls.bands import Band, normal, pair_moments, percentiles
from workbench.diagnostics.nulls.sphere import EIGEN_WORK, bartlett
from workbench.diagnostics.registry import NAN_BAND, Null
from workbench.diagnostics.scope import Scope
from workbench.scan.statistics import Moments, State

DRAWS = 2_000
ITEMS = 500  # items whose kernel a null of MMD holds in memory


def _swap(joint: State) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Eigenvalues of the second moment of differences, the summed means along its axes, and how many items."""
    n = float(joint["n"])
    return None if n < 2 else (*_axes(joint["mean"], joint["scatter"], n), n)


@lru_cache(maxsize=4)  # several nulls read the same state
def _axes(mean: Tensor, s: Tensor, n: float) -> tuple[np.ndarray, np.ndarray]:
    d = len(mean) // 2
    a, b = mean[:d], mean[d:]
    delta = a - b
    second = s[:d, :d] + s[d:, d:] - s[:d, d:] - s[d:, :d] + n * torch.outer(delta, delta)
    eigen, axes = torch.linalg.eigh(second)
    return eigen.clamp_min(0).numpy(), ((a + b) @ axes).numpy()


def _swapped(joint: State) -> np.ndarray:
    """Lengths of the mean difference when each item's two vectors trade places by the toss of a coin."""
    found = _swap(joint)
    if found is None:
        return np.array([math.nan])
    eigen, _, n = found
    z = np.random.default_rng(0).standard_normal((DRAWS, len(eigen)))
    return np.sqrt(z**2 @ eigen) / n


def swapped_gap(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Length of the mean difference when the two rows of each item trade places by a coin."""
    return percentiles(_swapped(states[0]))


def swapped_relative_gap(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """The same over the spread of the rows."""
    (joint,) = states
    spread = math.sqrt(float(joint["scatter"].trace()) / (2 * max(float(joint["n"]), 1.0)))
    low, mid, high = swapped_gap(context, states, scope)
    return (low / spread, mid / spread, high / spread) if spread else NAN_BAND


def swapped_cosine(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Cosine of the centroids (s ± δ)/2, with s their sum and δ the swapped difference."""
    found = _swap(states[0])
    if found is None:
        return NAN_BAND
    eigen, along, n = found
    z = np.random.default_rng(0).standard_normal((DRAWS, len(eigen))) * np.sqrt(eigen) / n
    ss, dd, sd = along @ along, (z**2).sum(1), z @ along
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (ss - dd) / np.sqrt((ss + dd) ** 2 - 4 * sd**2)
    return percentiles(cosine) if np.isfinite(cosine).all() else NAN_BAND


def swapped_mmd(context: Context, states: Sequence[State], scope: Scope, *, t: float) -> Band:
    """Swaps within some hundred items; the law's scale goes as 1/n."""
    es = context.es
    a, b = scope
    items = np.intersect1d(es.item_of_row(a).numpy(), es.item_of_row(b).numpy())
    if len(items) < 4:
        return NAN_BAND
    rng = np.random.default_rng(0)
    some = torch.from_numpy(np.sort(rng.permutation(items)[:ITEMS]))
    x, y = (es.unit(m, torch.searchsorted(es.item_of_row(m), some)) for m in scope)
    within = [(2 * t * (p @ q.T - 1)).exp().fill_diagonal_(0) for p, q in ((x, x), (y, y), (x, y))]
    xx, yy, xy = within
    m = len(some)
    # with signs s the statistic is a quadratic form in them: kxx + kyy − kxy − kyx, pair by pair
    h = (xx + yy - xy - xy.T) / (m * (m - 1))
    s = torch.from_numpy(rng.choice([-1.0, 1.0], (500, m)))
    return percentiles(((s @ h) * s).sum(1).numpy() * m / len(items))


def coin(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """One toss a family: its rows, and the two rows of a pair, do not toss for themselves."""
    families = np.unique(context.es.families[context.es.item_of_row(scope[0]).numpy()])
    return normal(0.5, 0.5 / math.sqrt(len(families)))


def same_gaussian(distance: Callable[..., Tensor], rows_per_dimension: int) -> Null:
    """A distance between two samples of one Gaussian with the pooled covariance, of the sizes at hand."""

    def band(context: Context, states: Sequence[State], scope: Scope) -> Band:
        a, b = states
        d = len(a["mean"])
        if min(float(a["n"]), float(b["n"])) < rows_per_dimension * d:
            return NAN_BAND
        pooled = (a["scatter"] + b["scatter"]) / (a["n"] + b["n"])
        scale = torch.linalg.eigvalsh(pooled).clamp_min(0).sqrt()
        rng, out = np.random.default_rng(0), []
        for _ in range(int(min(20, max(3, EIGEN_WORK // (4 * d**3))))):
            drawn = []
            for n in (int(a["n"]), int(b["n"])):
                lower = torch.from_numpy(bartlett(rng, d, n - 1)) * scale[:, None]
                drawn += [torch.from_numpy(rng.standard_normal(d)) * scale / math.sqrt(n), lower @ lower.T / n]
            out.append(float(distance(*drawn)))
        return normal(float(np.mean(out)), float(np.std(out, ddof=1)))

    return Null("one Gaussian for both", band, _own_moments)


def _raw_moments(a: str, b: str, **params: Any) -> tuple:
    return (Moments((a, b), True, True),)


def _own_moments(a: str, b: str, **params: Any) -> tuple:
    return Moments((a,)), Moments((b,))


GAP = Null("modality swap", swapped_gap, pair_moments)
RAW_GAP = Null("modality swap", swapped_gap, _raw_moments)
RELATIVE_GAP = Null("modality swap", swapped_relative_gap, pair_moments)
COSINE = Null("modality swap", swapped_cosine, pair_moments)
MMD = Null("modality swap", swapped_mmd)
COIN = Null("toss of a coin", coin)
