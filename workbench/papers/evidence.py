"""Evidence: what the runs of an experiment found, and the one rule that makes a verdict of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.disk import finite, write_text

if TYPE_CHECKING:
    from workbench.sets.embeddings import EmbeddingSet

from workbench.papers.base import RUNS, Paper, catalogue, paper

ALPHA = 0.05
SAID = {
    "mechanism": {"held": "held", "not held": "not held", "inconclusive": "inconclusive"},
    "analogue": {
        "held": "effect observed in this analogue",
        "not held": "effect not observed in this analogue",
        "inconclusive": "inconclusive in this analogue",
    },
    "stand-in": {
        "held": "effect observed with our stand-in; no verdict on the paper",
        "not held": "effect not observed with our stand-in; no verdict on the paper",
        "inconclusive": "inconclusive with our stand-in; no verdict on the paper",
    },
    "tool": {
        "held": "the instrument gains what it should here",
        "not held": "the instrument gains nothing here",
        "inconclusive": "inconclusive for this instrument",
    },
}


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences with a t-interval: `low` to `high` at 95 %; `p` two-sided against nothing, and
    `against` another size.

    >>> d = Difference.of([0.1, 0.2, 0.3])
    >>> round(d.mean, 3), round(d.low, 3), round(d.high, 3)
    (0.2, -0.048, 0.448)
    """

    mean: float
    low: float
    high: float
    error: float
    n: int

    @property
    def p(self) -> float:
        return self.against(0.0)

    def against(self, size: float) -> float:
        """The two-sided p-value of the t-test that the mean is `size`."""
        from scipy import stats

        if self.error == 0:
            return 1.0 if self.mean == size else 0.0
        return float(2 * stats.t.sf(abs(self.mean - size) / self.error, self.n - 1))

    @classmethod
    def of(cls, values: Sequence[float], level: float = 0.95) -> Difference:
        from scipy import stats

        x = np.asarray(values, float)
        n, mean = len(x), float(x.mean())
        if n < 2 or not np.isfinite(x).all():
            return cls(mean, math.nan, math.nan, math.nan, n)
        error = float(x.std(ddof=1)) / math.sqrt(n)
        half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * error
        return cls(mean, mean - half, mean + half, error, n)


@dataclass(frozen=True)
class Evidence:
    """The runs of one paper's experiment. `effect` is the gain in the direction that the claim says."""

    key: str
    runs: list[dict[str, Any]]
    data: str
    quick: bool = False
    seconds: float = 0.0
    sets: dict[str, EmbeddingSet] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Evidence:
        """The evidence that `to_dict` wrote, without its sets; JSON's nothing is NaN again."""
        runs = [_nan(r) for r in found["runs"]]
        return cls(found["key"], runs, found["data"], found["quick"], found["seconds"])

    @property
    def paper(self) -> Paper:
        return paper(self.key)

    def _gain(self, a: float, b: float) -> float:
        return (b - a) if self.paper.better == "higher" else (a - b)

    @property
    def difference(self) -> Difference:
        """Mechanism against baseline over the paired runs, positive where it moves as claimed."""
        return Difference.of([self._gain(r["baseline"], r["mechanism"]) for r in self.runs])

    @property
    def controlled(self) -> Difference:
        """The control's difference, with the 90 % interval of an equivalence test (two one-sided tests at 5 %)."""
        return Difference.of([r["control"][1] - r["control"][0] for r in self.runs], 0.90)

    @property
    def moved(self) -> Difference:
        """The positive control: what must move, in the direction of its own kind."""
        return Difference.of([r["positive"][1] - r["positive"][0] for r in self.runs])

    @property
    def equivalent(self) -> bool:
        c, margin = self.controlled, self.paper.equivalence
        return -margin < c.low and c.high < margin

    def judged(self, p: float | None = None, short: float | None = None) -> tuple[str, str]:
        """The outcome and its reason, by one rule; `p` (no gain) and `short` (the smallest effect worth having) are
        two-sided p-values after correction.

        held: p below 5 % and a gain of at least the smallest effect worth having. not held: short below 5 % and a gain
        below that effect. All else, fewer than eight runs, or a control that fails: inconclusive.
        """
        d, least = self.difference, self.paper.least
        if self.quick:
            return "not judged", "quick: it shows that the experiment runs, and nothing else"
        p = self.strict(d.p) if p is None else p
        short = self.strict(d.against(least)) if short is None else short
        if len(self.runs) < RUNS:
            return "inconclusive", f"{len(self.runs)} paired runs, and a verdict needs {RUNS}"
        if not math.isfinite(d.low):
            return "inconclusive", "a run gave no number"
        if not self.moved.low > 0:
            return "inconclusive", "the positive control did not move, so the experiment sees nothing"
        if not self.equivalent:
            c, margin = self.controlled, self.paper.equivalence
            what = "moved" if c.low > 0 or c.high < 0 else "varies too much"
            return "inconclusive", f"the control {what}: it is not shown to stay within ±{margin:g}"
        if p < ALPHA and d.mean >= least:
            return "held", f"the gain is {d.mean:.3g}, at least {least:g}, and p = {p:.2g} after correction"
        if short < ALPHA and d.mean < least:
            return "not held", (
                f"the gain is {d.mean:.3g}, below {least:g}, the smallest effect worth having, "
                f"and p = {short:.2g} after correction"
            )
        return "inconclusive", "after correction neither an effect worth having nor its lack is shown"

    @staticmethod
    def strict(p: float) -> float:
        """A p-value by Holm's first and strictest step: what one page alone can say without knowing the others."""
        return min(1.0, p * claims())

    @property
    def outcome(self) -> str:
        return self.judged()[0]

    @property
    def verdict(self) -> str:
        """The outcome as the paper's form lets it be said."""
        return said(self.paper, self.outcome)

    @property
    def reason(self) -> str:
        return self.judged()[1]

    def mean(self, name: str) -> float:
        """A number of the runs, averaged: `baseline`, `mechanism`, or one of those beside them."""
        return float(np.mean([r[name] if name in r else r["also"][name] for r in self.runs]))

    @property
    def also(self) -> dict[str, float]:
        return {k: self.mean(k) for k in self.runs[0]["also"]} if self.runs else {}

    def to_dict(self) -> dict[str, Any]:
        d, c, m, p = self.difference, self.controlled, self.moved, self.paper
        return {
            "key": self.key,
            "verdict": self.verdict,
            "outcome": self.outcome,
            "reason": self.reason,
            "form": p.form,
            "effect": d.mean,
            "low": d.low,
            "high": d.high,
            "p": d.p,
            "expected": p.expected,
            "least": p.least,
            "baseline": self.mean("baseline"),
            "mechanism": self.mean("mechanism"),
            "control": {
                "what": p.control,
                "difference": c.mean,
                "low": c.low,
                "high": c.high,
                "margin": p.equivalence,
                "equivalent": self.equivalent,
            },
            "positive": {"what": p.positive, "difference": m.mean, "low": m.low, "high": m.high},
            "also": self.also,
            "data": self.data,
            "quick": self.quick,
            "seconds": self.seconds,
            "runs": self.runs,
        }

    def save(self, file: str | Path) -> Path:
        """The evidence as JSON, with every run."""
        write_text(Path(file), json.dumps(finite(self.to_dict()), ensure_ascii=False, indent=1) + "\n")
        return Path(file)


def _nan(x: Any) -> Any:
    """What `finite` took away."""
    if isinstance(x, Mapping):
        return {k: _nan(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [_nan(v) for v in x]
    return math.nan if x is None else x


def said(p: Paper, outcome: str) -> str:
    """An outcome in the words that a paper's form allows: only a mechanism's claim can be held or not held.

    >>> said(paper("cogenav"), "held")
    'effect observed in this analogue'
    """
    return SAID[p.form].get(outcome, outcome)


def claims() -> int:
    """How many claims the atlas tests at once."""
    return sum(p.runnable for p in catalogue().values())


def holm(ps: Sequence[float], tests: int | None = None) -> list[float]:
    """P-values after Holm's correction over `tests` (as many as there are, if not given), in the order given.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    m = max(tests or 0, len(ps))
    out, highest = [0.0] * len(ps), 0.0
    for step, k in enumerate(sorted(range(len(ps)), key=lambda k: ps[k])):
        highest = max(highest, min(1.0, (m - step) * ps[k]))
        out[k] = highest
    return out
