"""Intervals: the delete-one-family jackknife for means and U-statistics, Wilson's score for shares, subsampling else.

Rows are never resampled: a row drawn twice is its own perfect neighbour, and the interval then misses its estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy.special import stdtr, stdtrit
from torch import Tensor

LEVEL = 0.95
FEW = 3  # families below which no interval is honest
NO_INTERVAL = (math.nan, math.nan)


def scatter(deviations: Tensor) -> tuple[float, float]:
    """The standard error that deviations of so many families from their mean stand for, and its degrees of freedom.

    As many as families less one where they are as even as Gaussian ones; fewer where a few of them carry the sum.
    """
    f, largest = len(deviations), float(deviations.abs().max()) if len(deviations) else 0.0
    if not largest:
        return 0.0, f - 1.0
    v = (deviations.double() / largest).square()  # of size one, whatever unit they have
    even = 3 * float(v.sum().square() / v.square().sum())
    return largest * math.sqrt(float(v.sum()) * f / max(f - 1, 1)), max(min(f - 1.0, even), 1.0)


def _left_out(without: Tensor) -> tuple[float, float]:
    """The standard error of a value from those without each family, and its degrees of freedom."""
    f = len(without)
    return scatter((f - 1) / f * (without - without.mean()))


def student(freedom: float) -> float:
    """How many standard errors the interval reaches to either side."""
    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def jackknife(value: float, without: Tensor) -> tuple[float, float]:
    """Value ± t · se from the values without each family, (F,), less the bias that few families have.

    Pairs within a family make a mean over pairs too large by a share that falls with their number: the interval is that
    of the value of many families, stretched, where it must be, to hold the plain value that stands beside it.
    """
    x = without.double()
    x = x[x.isfinite()]
    f = len(x)
    if f < FEW or not math.isfinite(value):
        return NO_INTERVAL
    se, freedom = _left_out(x)
    centre, half = f * value - (f - 1) * float(x.mean()), student(freedom) * se
    return min(centre - half, value), max(centre + half, value)


def jackknife_of_this_size(value: float, without: Tensor) -> tuple[float, float]:
    """The same about the value as it is: for what counts pairs within a family, and means to."""
    x = without.double()
    x = x[x.isfinite()]
    if len(x) < FEW or not math.isfinite(value):
        return NO_INTERVAL
    se, freedom = _left_out(x)
    return value - student(freedom) * se, value + student(freedom) * se


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
    se, freedom = _left_out(square)
    unbiased, half = f * value**2 - (f - 1) * float(square.mean()), student(freedom) * se
    low, high = unbiased - half, unbiased + half
    return min(math.sqrt(max(low, 0.0)), value), max(math.sqrt(max(high, 0.0)), value)


def jackknife_of_a_mean(values: Tensor, weights: Tensor, family: Tensor) -> tuple[float, float]:
    """Per-item sums of values and their weights; whole families are left out."""
    mean, without = _means(values, weights, family)
    return jackknife(mean, without)


def p_of_no_mean(values: Tensor, family: Tensor) -> float:
    """How likely a mean is as far from nought where there is nothing, by Student's t over families; else 1."""
    mean, without = _means(values, torch.ones_like(values), family)
    if len(without) < FEW or not mean:
        return 1.0
    se, freedom = _left_out(without)
    return 2 * float(stdtr(freedom, -abs(mean) / se)) if se > 0 else 0.0


def holm(ps: Sequence[float], tests: int | None = None) -> list[float]:
    """P-values after Holm's correction (1979) over `tests` (as many as there are, if not given), in the order given.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    m = max(tests or 0, len(ps))
    out, highest = [0.0] * len(ps), 0.0
    for step, k in enumerate(sorted(range(len(ps)), key=lambda k: ps[k])):
        highest = max(highest, min(1.0, (m - step) * ps[k]))
        out[k] = highest
    return out


def false_discovery(p: Tensor, *, however_they_depend: bool = False) -> Tensor:
    """The false discovery rate at which each of several p stands, (n,) (Benjamini & Hochberg 1995).

    However the tests depend on each other, it is as many times more as 1 + 1/2 + … + 1/n (& Yekutieli 2001).

    >>> false_discovery(torch.tensor([0.001, 0.5], dtype=torch.float64), however_they_depend=True).tolist()
    [0.003, 0.75]
    """
    n = len(p)
    rank = torch.arange(1, n + 1, dtype=torch.float64)
    order = p.double().argsort()
    more = float((1 / rank).sum()) if however_they_depend else 1.0
    found = p.double()[order] * n * more / rank
    out = torch.empty(n, dtype=torch.float64)
    out[order] = found.flip(0).cummin(0).values.flip(0).clamp_max(1)
    return out


def _means(values: Tensor, weights: Tensor, family: Tensor) -> tuple[float, Tensor]:
    """The mean, and the means without each family."""
    f = int(family.max()) + 1
    s = torch.zeros(f, dtype=torch.float64).index_add(0, family, values.double())
    w = torch.zeros(f, dtype=torch.float64).index_add(0, family, weights.double())
    total, weight = s.sum(), w.sum()
    return float(total / weight), ((total - s) / (weight - w))[w > 0]


def by_families(values: Tensor, family: Tensor) -> tuple[float, float, int, float]:
    """A mean over rows, its standard error, how many families there are, and its degrees of freedom."""
    codes, family = torch.unique(family, return_inverse=True)
    f = len(codes)
    sums = torch.zeros(f, dtype=torch.float64).index_add(0, family, values.double())
    sizes = torch.bincount(family, minlength=f).double()
    mean = sums.sum() / sizes.sum()
    # as if each family were left out, which of uneven ones is more than their plain scatter
    se, freedom = scatter((sums - mean * sizes) / (sizes.sum() - sizes).clamp_min(1) * (f - 1) / f)
    return float(mean), se, f, freedom


def score(share: float, se: float, families: int, freedom: float) -> tuple[float, float]:
    """Wilson's interval of a mean between 0 and 1 with the size that its standard error stands for.

    Where all rows say the same the size is that of the families: 0 of 219 is [0, 0.017], and never [0, 0].
    """
    if families < FEW or not math.isfinite(share):
        return NO_INTERVAL
    spread = share * (1 - share)
    n = spread / se**2 if se > 0 and spread > 0 else families
    z = student(freedom)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(max(spread, 0.0) / n + z**2 / (4 * n**2))
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


def of_a_share(values: Tensor, family: Tensor) -> tuple[float, float]:
    """Wilson's interval of a mean of values between 0 and 1; the gallery is fixed, queries vary by family."""
    mean, se, f, freedom = by_families(values, family)
    return score(mean, se, f, freedom)


def of_a_median(values: Tensor, family: Tensor) -> tuple[float, float]:
    """Woodruff's: the quantiles between which the share of values below the median may lie."""
    x = values.double()
    middle = x.quantile(0.5)
    _, se, f, freedom = by_families((x < middle).double() + 0.5 * (x == middle).double(), family)
    if f < FEW:
        return NO_INTERVAL
    # where many are at the median itself, the share below it varies as that of one in two
    half = student(freedom) * max(se, 0.5 / math.sqrt(len(x)))
    low = x.quantile(max(0.5 - half, 0.0), interpolation="lower")
    high = x.quantile(min(0.5 + half, 1.0), interpolation="higher")
    return float(low), float(high)


JACKKNIVES = {
    "jackknife": jackknife,
    "jackknife of the square": jackknife_of_the_square,
    "jackknife of this size": jackknife_of_this_size,
}  # by what a diagnostic calls its interval


def subsampled(
    value: float, se: float, families: int, parts: int, *, share: bool, bound: tuple[float, float] | None
) -> tuple[float, float]:
    """Of what parts of the families scatter by: of a share the score; in logarithms where there is no upper end."""
    if families < FEW or not math.isfinite(se):
        return NO_INTERVAL
    freedom = min(families, parts) - 1
    if share:
        return score(value, se, families, freedom)
    half = student(freedom) * se
    if bound is not None and bound[0] >= 0 and bound[1] == math.inf and half < value:
        wide = math.exp(half / value)
        return value / wide, value * wide
    return value - half, value + half
