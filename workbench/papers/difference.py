"""Paired differences of runs that split one set again and again, and what can be said of their mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.papers.parts import SHARES

AGAIN = SHARES["test"] / SHARES["train"]  # what runs on one set share, in the variance of their mean


@dataclass(frozen=True)
class Difference:
    """The mean of `n` paired differences of standard deviation `sd`, and its t-interval at `level`.

    Runs that split one set again are not independent: the variance of their mean is s²(1/n + shared), where shared is
    test over training rows (Nadeau and Bengio 2003), and 0 for runs that share nothing.

    >>> d = Difference.of([0.1, 0.2, 0.3])
    >>> round(d.mean, 3), round(d.low, 3), round(d.high, 3)
    (0.2, -0.048, 0.448)
    """

    mean: float
    sd: float
    n: int
    shared: float = 0.0
    level: float = 0.95

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return self.sd * math.sqrt(1 / self.n + self.shared)

    @property
    def low(self) -> float:
        """The lower end of the interval; NaN for fewer than two runs."""
        return self.mean - self._half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self._half

    @property
    def _half(self) -> float:
        from scipy import stats

        return float(stats.t.ppf(0.5 + self.level / 2, self.n - 1)) * self.error if self.n > 1 else math.nan

    @property
    def another(self) -> tuple[float, float]:
        """Where the difference of one more run lies at this level: the spread of runs as well as that of their mean."""
        from scipy import stats

        if self.n < 2:
            return math.nan, math.nan
        half = float(stats.t.ppf(0.5 + self.level / 2, self.n - 1)) * self.sd * math.sqrt(1 + 1 / self.n)
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """The two-sided p-value that there is none."""
        return self.against(0.0)

    def against(self, size: float) -> float:
        """The two-sided p-value of the t-test that the mean is `size`."""
        from scipy import stats

        if self.error == 0:
            return 1.0 if self.mean == size else 0.0
        return float(2 * stats.t.sf(abs(self.mean - size) / self.error, self.n - 1))

    def to_dict(self) -> dict[str, Any]:
        """Mean, standard deviation, and the interval."""
        return {"difference": self.mean, "sd": self.sd, "low": self.low, "high": self.high, "level": self.level}

    @classmethod
    def of(cls, values: Sequence[float], shared: float = 0.0, level: float = 0.95) -> Difference:
        """Of values; the standard deviation is NaN for fewer than two, or where one is not finite."""
        x = np.asarray(values, float)
        sd = float(x.std(ddof=1)) if len(x) > 1 and np.isfinite(x).all() else math.nan
        return cls(float(x.mean()), sd, len(x), shared, level)
