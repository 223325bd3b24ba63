"""Nulls of the modality: what a gap would read if the rows of each family traded places by the toss of a coin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.diagnostics.context import Context
from workbench.diagnostics.nulls.bands import Band, normal, percentiles, spread
from workbench.diagnostics.nulls.trade import Drawn, effective, some_families
from workbench.diagnostics.registry import NAN_BAND, Null
from workbench.diagnostics.scope import Scope
from workbench.geometry import factor, products, segment_sum
from workbench.scan.plan import SAMPLE_ROWS
from workbench.scan.statistics import Contrast, Kernel, Moments, State

DRAWS = 2_000
TILT = 1e-12  # of the sum of all variances, added to each: what fewer rows than dimensions leave can be factored
ITEMS = 500  # items whose kernel a null of MMD holds in memory
ROWS = 20_000  # rows from which the law of a swap is taken, where the scan does not give it
CLOUD, CLOUDS = 1_000, 12  # items of a swapped cloud, where so many do, and how many are compared
ENOUGH = 5  # items a dimension, from which what is left between clouds of one law falls as 1/n


@dataclass(frozen=True)
class Swap:
    """Drawn differences δ of two means under swaps, which keep their sum s: |δ|² and s·δ of each, (D,), and |s|²."""

    squares: np.ndarray
    along: np.ndarray
    total: float

    def lengths(self) -> np.ndarray:
        """The lengths of the differences, (D,)."""
        return np.sqrt(self.squares)


def swap(context: Context, contrast: State, scope: Scope, *, raw: bool = False) -> Swap | None:
    """How the difference of two means scatters when families swap: from the scan's moments where each item has its two
    rows and is independent, else from summed rows of families. Made once for all nulls that read it."""
    key = ("swap", *scope, raw)
    if key not in context.cache:
        whole = all(context.es.aligned(m) for m in scope) and context.independent
        context.cache[key] = _of_moments(contrast) if whole else _of_families(context, scope, raw)
    return context.cache[key]


def _of_moments(contrast: State) -> Swap | None:
    n, (a, b) = float(contrast["n"]), contrast["mean"]
    return _drawn((contrast["scatter"] + n * torch.outer(a - b, a - b)) / n**2, a + b) if n >= 2 else None


def _drawn(covariance: Tensor, total: Tensor) -> Swap:
    """Gaussian ones of this covariance."""
    tilt = TILT * covariance.trace() * torch.eye(len(covariance), dtype=covariance.dtype)
    normal = torch.from_numpy(np.random.default_rng(0).standard_normal((DRAWS, len(covariance))))
    z = normal @ factor(covariance + tilt).T
    return Swap(z.square().sum(1).numpy(), (z @ total).numpy(), float(total @ total))


def _of_families(context: Context, scope: Scope, raw: bool) -> Swap | None:
    """Each family's part in the difference of the means, around the midpoint: it keeps it, or it turns it round."""
    es, family = context.es, context.family.numpy()
    some = some_families(family, max(ROWS * len(es) // sum(context.rows[m] for m in scope), 2))
    code = np.full(len(es), -1)
    names, code[some] = np.unique(family[some], return_inverse=True)
    rows = [torch.from_numpy(code)[context.owner[m]] for m in scope]
    vectors = []
    for m, of in zip(scope, rows, strict=True):
        at = (of >= 0).nonzero()[:, 0]
        vectors.append(es[m][at].double() if raw else es.unit(m, at))
    if min(map(len, vectors)) < 2 or len(names) < 2:
        return None
    means = [x.mean(0) for x in vectors]
    middle = (means[0] + means[1]) / 2
    part = torch.zeros(len(names), len(middle), dtype=torch.float64)
    for x, of, sign in zip(vectors, rows, (1, -1), strict=True):
        part += sign * segment_sum(x - middle, of[of >= 0], len(names)) / len(x)
    # of as many families as all are: a mean over F parts has 1/F of the variance
    return _drawn(part.T @ part * (len(some) / len(es)), means[0] + means[1])


def swapped_gap(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Length of the mean difference when the rows of each family trade places by a coin."""
    found = swap(context, states[0], scope)
    return percentiles(found.lengths()) if found else NAN_BAND


def swapped_raw_gap(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """The same of raw rows."""
    found = swap(context, states[0], scope, raw=True)
    return percentiles(found.lengths()) if found else NAN_BAND


def swapped_relative_gap(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """The same over the spread of the rows."""
    (contrast,) = states
    width = math.sqrt(float(contrast["squares"]) / (2 * max(float(contrast["n"]), 1.0)))
    low, mid, high = swapped_gap(context, states, scope)
    return (low / width, mid / width, high / width) if width else NAN_BAND


def swapped_cosine(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Cosine of the centroids (s ± δ)/2, with s their sum and δ the swapped difference."""
    found = swap(context, states[0], scope)
    if found is None:
        return NAN_BAND
    ss, dd, sd = found.total, found.squares, found.along
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (ss - dd) / np.sqrt((ss + dd) ** 2 - 4 * sd**2)
    return percentiles(cosine) if np.isfinite(cosine).all() else NAN_BAND


def swapped_mmd(context: Context, states: Sequence[State], scope: Scope, *, t: float) -> Band:
    """Swaps of some hundred items; the law's scale goes as 1/n. The kernel is centred, which moves no difference."""
    drawn = Drawn.of(context, scope, ITEMS)
    if len(drawn.item) < 4:
        return NAN_BAND
    rows, owner = zip(*(drawn.rows(m) for m in scope), strict=True)
    x = torch.cat(rows)
    k = (2 * t * (x @ x.T - 1)).exp()
    k = k - k.mean(0) - k.mean(1)[:, None] + k.mean()
    n = [len(r) for r in rows]
    code = torch.from_numpy(np.unique(drawn.family, return_inverse=True)[1])
    # what each item's rows weigh in the difference of the means: +1/n of one modality, −1/n of the other
    weight = torch.cat([torch.full((n[0],), 1.0 / n[0]), torch.full((n[1],), -1.0 / n[1])]).double()
    k = k * weight[:, None] * weight[None]
    # neither a row with itself nor the rows of an item across: those pairs are in no mean
    item, other = torch.cat(owner), torch.sign(weight)
    k.masked_fill_((item[:, None] == item[None]) & (other[:, None] != other[None]), 0).fill_diagonal_(0)
    families, of = int(code.max()) + 1, code[item]
    f = segment_sum(segment_sum(k, of, families).T, of, families)
    s = torch.from_numpy(np.random.default_rng(0).choice([-1.0, 1.0], (DRAWS, families)))
    # of sampled queries against all keys the sum has as many terms as it has pairs
    items = len(context.shared(*scope))
    asked = [SAMPLE_ROWS if context.scan.sampled(Kernel(m, m, t)) else items for m in scope]
    return percentiles(((s @ f) * s).sum(1).numpy() * len(drawn.item) / math.sqrt(min(asked) * items))


def coin(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """One toss a family: its rows, and the two rows of a pair, do not toss for themselves."""
    families = effective(context.family[context.owner[scope[0]]].numpy())
    return normal(0.5, 0.5 / math.sqrt(families)) if families else NAN_BAND


def same_cloud(distance: Callable[..., Tensor], rows_per_dimension: int) -> Null:
    """A distance between the Gaussians of two clouds, the rows of each family swapped by a coin.

    Of many items some are enough: what is left between clouds of one law falls as 1/n.
    """

    def band(context: Context, states: Sequence[State], scope: Scope) -> Band:
        d = len(states[0]["mean"])
        if min(float(s["n"]) for s in states) < rows_per_dimension * d:
            return NAN_BAND
        drawn = Drawn.of(context, scope, max(ENOUGH * d, CLOUD))
        if len(drawn.item) < 4:
            return NAN_BAND
        code = torch.from_numpy(np.unique(drawn.family, return_inverse=True)[1])
        rows, of = zip(*((x, code[place]) for x, place in map(drawn.rows, scope)), strict=True)
        middle = sum(x.sum(0) for x in rows) / sum(map(len, rows))
        for x in rows:
            x -= middle  # ours alone: `unit` made them
        whole = [_sums(x) for x in rows]
        draw, out = np.random.default_rng(0), []
        for _ in range(CLOUDS):
            stays = torch.from_numpy(draw.random(int(code.max()) + 1) < 0.5)
            stayed = [_sums(x[stays[c]]) for x, c in zip(rows, of, strict=True)]
            left = [tuple(w - s for w, s in zip(*both, strict=True)) for both in zip(whole, stayed, strict=True)]
            # whoever stays meets those who come: what leaves the one is what enters the other
            clouds = [[s + c for s, c in zip(stayed[a], left[1 - a], strict=True)] for a in (0, 1)]
            if min(float(n) for n, _, _ in clouds) < 2:
                continue
            out.append(float(distance(*(y for cloud in clouds for y in _mean_and_covariance(*cloud)))))
        found = spread(np.array(out))
        return tuple(x * drawn.share for x in found)  # type: ignore[return-value]

    return Null("modality swap", band, _own_moments)


def _sums(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How many rows, their sum, and their products."""
    return torch.tensor(float(len(x)), dtype=torch.float64), x.sum(0), products(x)


def _mean_and_covariance(n: Tensor, total: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    mean = total / n
    return mean, second / n - torch.outer(mean, mean)


def _contrast(a: str, b: str, **params: Any) -> tuple:
    return (Contrast(a, b),)


def _raw_contrast(a: str, b: str, **params: Any) -> tuple:
    return (Contrast(a, b, True),)


def _own_moments(a: str, b: str, **params: Any) -> tuple:
    return Moments(a), Moments(b)


GAP = Null("modality swap", swapped_gap, _contrast)
RAW_GAP = Null("modality swap", swapped_raw_gap, _raw_contrast)
RELATIVE_GAP = Null("modality swap", swapped_relative_gap, _contrast)
COSINE = Null("modality swap", swapped_cosine, _contrast)
MMD = Null("modality swap", swapped_mmd)
COIN = Null("toss of a coin", coin)
