"""Evidence: what the runs of an experiment found, and the one rule that makes a verdict of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workbench.disk import finite, write_text
from workbench.papers.card import bar, evidence_card
from workbench.papers.catalogue import entry
from workbench.papers.paper import Paper
from workbench.papers.rule import rule, within
from workbench.papers.wording import claims, said
from workbench.sets.embeddings import EmbeddingSet


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
        """The two-sided p-value that there is none."""
        return self.against(0.0)

    def against(self, size: float) -> float:
        """The two-sided p-value of the t-test that the mean is `size`."""
        from scipy import stats

        if self.error == 0:
            return 1.0 if self.mean == size else 0.0
        return float(2 * stats.t.sf(abs(self.mean - size) / self.error, self.n - 1))

    @classmethod
    def of(cls, values: Sequence[float], level: float = 0.95) -> Difference:
        """The mean of values with its t-interval at `level`; NaN ends for fewer than two."""
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

    def _repr_html_(self) -> str:
        d, c, m = self.difference, self.controlled, self.moved
        rows = [
            (self.paper.quantity, f"{self.mean('baseline'):.4g} → {self.mean('mechanism'):.4g}"),
            ("gain", f"{d.mean:.3g} [{d.low:.3g}, {d.high:.3g}], worth having from {self.paper.min_effect:g}"),
            ("control", f"{c.mean:.3g} [{c.low:.3g}, {c.high:.3g}], to stay within ±{self.paper.equivalence:g}"),
            ("must move", f"{m.mean:.3g} [{m.low:.3g}, {m.high:.3g}]"),
        ]
        picture = bar(d.low, d.high, d.mean, self.paper.min_effect)
        return evidence_card(self.paper, self.verdict, self.reason, rows, picture)

    @property
    def paper(self) -> Paper:
        """What is known of the paper."""
        return entry(self.key)

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
        """Whether the control is shown to stay within its margin."""
        return within(self.paper, (self.controlled.low, self.controlled.high))

    def judged(self, p: float | None = None, short: float | None = None) -> tuple[str, str]:
        """The outcome and its reason by `rule`; `p` (no gain) and `short` (the smallest effect worth having) are
        two-sided p-values after correction, by default those of the strictest.
        """
        d = self.difference
        return rule(
            self.paper,
            quick=self.quick,
            n=len(self.runs),
            gain=(d.mean, d.low),
            p=self.strict(d.p) if p is None else p,
            short=self.strict(d.against(self.paper.min_effect)) if short is None else short,
            control=(self.controlled.low, self.controlled.high),
            moved=self.moved.low,
        )

    @staticmethod
    def strict(p: float) -> float:
        """A p-value by Holm's first and strictest step: what one page alone can say without knowing the others."""
        return min(1.0, p * claims())

    @property
    def outcome(self) -> str:
        """held, not held, inconclusive or not judged."""
        return self.judged()[0]

    @property
    def verdict(self) -> str:
        """The outcome as the paper's form lets it be said."""
        return said(self.paper, self.outcome)

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        return self.judged()[1]

    def mean(self, name: str) -> float:
        """A number of the runs, averaged: `baseline`, `mechanism`, or one of those beside them."""
        return float(np.mean([r[name] if name in r else r["also"][name] for r in self.runs]))

    @property
    def also(self) -> dict[str, float]:
        """The numbers beside, averaged over the runs."""
        return {k: self.mean(k) for k in self.runs[0]["also"]} if self.runs else {}

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data: verdict, numbers, controls, runs."""
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
            "p_short": d.against(p.min_effect),
            "n": len(self.runs),
            "expected": p.expected,
            "min_effect": p.min_effect,
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
