"""Evidence: what the runs of an experiment found, and the one rule that makes a verdict of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workbench.disk import finite, write_text
from workbench.papers.card import bar, evidence_card
from workbench.papers.catalogue import entry
from workbench.papers.difference import AGAIN, Difference
from workbench.papers.paper import Paper
from workbench.papers.rule import LOOKS, level, looked, marginal, rule, within
from workbench.papers.wording import claims, said
from workbench.sets.embeddings import EmbeddingSet


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
            (
                f"control ({c.level:.0%})",
                f"{c.mean:.3g} [{c.low:.3g}, {c.high:.3g}], to stay within ±{self.paper.equivalence:g}",
            ),
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
        """Mechanism against baseline over the paired runs, positive where it moves as claimed; all split one set."""
        return Difference.of([self._gain(r["baseline"], r["mechanism"]) for r in self.runs], AGAIN)

    @property
    def controlled(self) -> Difference:
        """The control's difference, with the interval of an equivalence test; each run deals or starts it anew."""
        return Difference.of([r["control"][1] - r["control"][0] for r in self.runs], level=level(len(self.runs)))

    @property
    def moved(self) -> Difference:
        """The positive control: what must move, in the direction of its own kind."""
        return Difference.of([r["positive"][1] - r["positive"][0] for r in self.runs])

    @property
    def equivalent(self) -> bool:
        """Whether the control is shown to stay within its margin."""
        return within(self.paper, self.controlled)

    def judged(self) -> tuple[str, str]:
        """The outcome and its reason by `rule`, with p-values by the strictest correction."""
        d = self.difference
        return rule(
            self.paper,
            quick=self.quick,
            baseline=self.mean("baseline"),
            gain=d,
            p=self.strict(d.p),
            least=self.strict(d.against(self.paper.min_effect)),
            control=self.controlled,
            moved=self.moved,
        )

    def strict(self, p: float) -> float:
        """A p-value that paid for the looks and by Holm's first and strictest step: what one page alone can say without
        knowing the others.
        """
        return min(1.0, looked(p, len(self.runs)) * claims())

    @property
    def settled(self) -> bool:
        """Whether more runs are not worth their time: the outcome stands, or more would hardly change it."""
        c = self.controlled
        return (
            self.outcome in ("held", "not held", "not judged")
            or len(self.runs) >= max(LOOKS)
            or not np.isfinite(self.difference.sd)
            or (abs(c.mean) >= self.paper.equivalence and (c.low > 0 or c.high < 0))
            or marginal(self.difference, self.paper.min_effect)
        )

    @property
    def outcome(self) -> str:
        """held, some gain, not held, inconclusive or not judged."""
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
            "sd": d.sd,
            "low": d.low,
            "high": d.high,
            "p": d.p,
            "n": len(self.runs),
            "expected": p.expected,
            "min_effect": p.min_effect,
            "baseline": self.mean("baseline"),
            "mechanism": self.mean("mechanism"),
            "control": {
                "what": p.control,
                **c.to_dict(),
                "margin": p.equivalence,
                "equivalent": self.equivalent,
            },
            "positive": {"what": p.positive, **m.to_dict()},
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
