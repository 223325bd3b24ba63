"""Bands: the 2.5, 50 and 97.5 % points of what there would be by chance."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import bdtr, bdtrik  # scipy.stats takes a second to import

from workbench.diagnostics.registry import NAN_BAND
from workbench.scan.statistics import Moments

Band = tuple[float, float, float]


def normal(mean: float, sd: float) -> Band:
    """2.5, 50 and 97.5 % points of a normal law."""
    return mean - 1.96 * sd, mean, mean + 1.96 * sd


def percentiles(draws: np.ndarray) -> Band:
    """2.5, 50 and 97.5 % points of draws."""
    low, mid, high = np.percentile(draws, [2.5, 50, 97.5])
    return float(low), float(mid), float(high)


def binomial_quantiles(n: int, p: float) -> np.ndarray:
    """The least counts that a share of 2.5 and of 97.5 % of binomial draws does not exceed."""
    if not 0 < p < 1:
        return np.full(2, n * p)
    ends = np.array([0.025, 0.975])
    # bdtrik has no answer where all or nothing is nearly certain
    count = np.where(bdtr(0, n, p) >= ends, 0.0, np.nan_to_num(np.ceil(bdtrik(ends, n, p)), nan=n))
    below = np.maximum(count - 1, 0)
    return np.where(bdtr(below, n, p) >= ends, below, count)


def binomial(n: int, p: float) -> Band:
    """2.5 %, expected and 97.5 % share of n draws with chance p."""
    if not n:
        return NAN_BAND
    low, high = binomial_quantiles(n, p) / n
    return min(float(low), p), p, max(float(high), p)


def pair_moments(a: str, b: str, **params: Any) -> tuple:
    """Moments of the matched pairs, an item at a time."""
    return (Moments((a, b), by_item=True),)
