"""Bands: the 2.5, 50 and 97.5 % points of what there would be by chance."""

from __future__ import annotations

import numpy as np

from workbench.diagnostics.registry import NAN_BAND
from workbench.scan.statistics import Moments

Band = tuple[float, float, float]


def normal(mean: float, sd: float) -> Band:
    return mean - 1.96 * sd, mean, mean + 1.96 * sd


def percentiles(draws: np.ndarray) -> Band:
    low, mid, high = np.percentile(draws, [2.5, 50, 97.5])
    return float(low), float(mid), float(high)


def binomial(n: int, p: float) -> Band:
    from scipy.stats import binom

    if not n:
        return NAN_BAND
    low, high = binom.ppf([0.025, 0.975], n, p) / n
    return min(float(low), p), p, max(float(high), p)


def pair_moments(a: str, b: str, **params) -> tuple:
    return (Moments((a, b), by_item=True),)
