"""Intervals: the delete-one-family jackknife for means and U-statistics, the family bootstrap for retrieval.

Rows are never resampled: a row drawn twice is its own perfect neighbour, and the interval then misses its estimate.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

LEVEL = 0.95
REPLICATES = 1_000
FEW = 3  # families below which no interval is honest
CROWD = 2_000  # families above which the bootstrap is its normal limit, and not worth its time
NO_INTERVAL = (math.nan, math.nan)


def jackknife(value: float, without: Tensor) -> tuple[float, float]:
    """Value ± t · se from the values without each family, (F,)."""
    x = without.double()
    x = x[x.isfinite()]
    f = len(x)
    if f < FEW or not math.isfinite(value):
        return NO_INTERVAL
    se = float(((f - 1) / f * (x - x.mean()).square().sum()).sqrt())
    half = float(stdtrit(f - 1, (1 + LEVEL) / 2)) * se
    return value - half, value + half


def jackknife_of_the_square(value: float, without: Tensor) -> tuple[float, float]:
    """For the length of a mean vector: bias and error are those of its square, the ends are roots of the square's.

    A plain length is biased upwards by noise; the square's jackknife takes the bias off. The interval is stretched,
    where it must be, to hold the plain value that stands beside it.
    """
    square = without.double().square()
    square = square[square.isfinite()]
    f = len(square)
    if f < FEW:
        return NO_INTERVAL
    unbiased = f * value**2 - (f - 1) * float(square.mean())
    low, high = jackknife(unbiased, square)
    return min(math.sqrt(max(low, 0.0)), value), max(math.sqrt(max(high, 0.0)), value)


def jackknife_of_a_mean(values: Tensor, weights: Tensor, family: Tensor) -> tuple[float, float]:
    """Per-item sums of values and their weights; whole families are left out."""
    f = int(family.max()) + 1
    s = torch.zeros(f, dtype=torch.float64).index_add(0, family, values.double())
    w = torch.zeros(f, dtype=torch.float64).index_add(0, family, weights.double())
    present = w > 0
    total, weight = s.sum(), w.sum()
    return jackknife(float(total / weight), ((total - s) / (weight - w))[present])


@lru_cache(maxsize=4)
def _draws(f: int) -> Tensor:
    """How often each of f families is drawn, in each replicate: the same for every diagnostic of a report."""
    draws = np.random.default_rng(0).integers(0, f, (REPLICATES, f))
    return torch.from_numpy(np.stack([np.bincount(d, minlength=f) for d in draws]).astype(np.float64))


def bootstrap(values: Tensor, family: Tensor, reduce: str) -> tuple[float, float]:
    """Queries drawn again by family, the gallery fixed; the percentiles of the mean or of the median."""
    codes, family = torch.unique(family, return_inverse=True)
    f = len(codes)
    if f < FEW:
        return NO_INTERVAL
    sums = torch.zeros(f, dtype=torch.float64).index_add(0, family, values.double())
    sizes = torch.bincount(family, minlength=f).double()
    tail = 100 * (1 - LEVEL) / 2
    if f > CROWD:
        # the median is where the share of values below it crosses one half: Woodruff 1952
        mid = values.double().quantile(0.5)
        z = values.double() if reduce == "mean" else (values < mid).double() + 0.5 * (values == mid).double()
        total = torch.zeros(f, dtype=torch.float64).index_add(0, family, z)
        mean = total.sum() / sizes.sum()
        half = 1.96 * float((total - mean * sizes).square().sum().sqrt() / sizes.sum())
        if reduce == "mean":
            return float(mean) - half, float(mean) + half
        ends = torch.tensor([0.5 - half, 0.5 + half], dtype=torch.float64).clamp(0, 1)
        low, high = values.double().quantile(ends).tolist()
        return low, high
    w = _draws(f)
    if reduce == "mean":
        out = ((w @ sums) / (w @ sizes)).numpy()
    else:
        order = torch.argsort(values)
        middle = []
        for part in w.split(100):  # bounds the memory: a hundred draws of all values at once
            running = part[:, family[order]].cumsum(1)
            middle.append(values[order][torch.searchsorted(running, running[:, -1:] / 2)[:, 0]])
        out = torch.cat(middle).numpy()
    low, high = np.percentile(out, [tail, 100 - tail])
    return float(low), float(high)
