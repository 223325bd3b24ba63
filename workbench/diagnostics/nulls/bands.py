"""Bands: the 2.5, 50 and 97.5 % points of what there would be by chance."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import bdtr, bdtrik, stdtrit  # scipy.stats takes a second to import

from workbench.diagnostics.registry import NAN_BAND

Band = tuple[float, float, float]


def normal(mean: float, sd: float) -> Band:
    """2.5, 50 and 97.5 % points of a normal law."""
    return mean - 1.96 * sd, mean, mean + 1.96 * sd


def percentiles(draws: np.ndarray) -> Band:
    """2.5, 50 and 97.5 % points of draws."""
    low, mid, high = np.percentile(draws, [2.5, 50, 97.5])
    return float(low), float(mid), float(high)


def spread(draws: np.ndarray, share: float = 1.0) -> Band:
    """Where one more draw would fall, by Student's law; the draws were of this share of all there is."""
    known = draws[np.isfinite(draws)]
    if len(known) < 2:
        return NAN_BAND
    mean, reach = float(known.mean()), float(stdtrit(len(known) - 1, 0.975)) * math.sqrt(1 + 1 / len(known))
    half = reach * float(known.std(ddof=1)) * math.sqrt(share)
    return mean - half, mean, mean + half


def ratio(draws: np.ndarray) -> Band:
    """The same for a ratio above 0, whose logarithm is nearer to a normal law."""
    low, mid, high = spread(np.log(draws)) if (draws > 0).all() else spread(draws)
    return (math.exp(low), math.exp(mid), math.exp(high)) if (draws > 0).all() else (low, mid, high)


def around(centre: float, draws: np.ndarray, share: float) -> Band:
    """A normal law around a centre that is known better than the draws know it."""
    return normal(centre, float(draws.std(ddof=1)) * math.sqrt(share)) if len(draws) > 1 else NAN_BAND


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
