"""What came of trying recipes on a set: the last few beside the baseline, and what it comes to in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from workbench.advice.aims import MOVED, Aim
from workbench.advice.candidates import Candidate
from workbench.advice.trial import JUDGED, Found
from workbench.diagnostics import intervals
from workbench.disk import finite
from workbench.papers.difference import Difference
from workbench.training.settings import Settings
from workbench.treatments.treated import ALPHA, LEAST, p_in_words

AGAIN = JUDGED / (1 - JUDGED)


@dataclass(frozen=True)
class Finalist:
    """A recipe of the last round: its runs beside those of the baseline on the same divisions of the items.

    `gain`: the mean of their differences. `low`, `high`: where the gain on one new division lies, in 95 of 100. `p`:
    that there is none, by the corrected resampled t-test (Nadeau and Bengio 2003), after Holm over the last round.
    """

    candidate: Candidate
    temperature: float
    runs: Sequence[Found]
    baseline: Sequence[Found] = field(repr=False)
    judged: int  # items of a division, about
    p: float = 1.0

    @property
    def recipe(self) -> str:
        """Its name."""
        return self.candidate.recipe

    @property
    def value(self) -> float:
        """The mean of the aim's number."""
        return float(np.mean([f.value for f in self.runs]))

    @property
    def difference(self) -> Difference:
        """Of the runs, the baseline's taken off."""
        return Difference.of([a.value - b.value for a, b in zip(self.runs, self.baseline, strict=True)], AGAIN)

    @property
    def gain(self) -> float:
        """The mean difference."""
        return self.difference.mean

    @property
    def low(self) -> float:
        """The lower end of where one new division's gain lies."""
        return self._ends[0]

    @property
    def high(self) -> float:
        """The upper end."""
        return self._ends[1]

    @property
    def _ends(self) -> tuple[float, float]:
        """What changed nothing here may change something elsewhere, by as much as so many items leave open."""
        if self.difference.sd == 0 and self.gain == 0:
            most = intervals.score(0.0, 0.0, self.judged, self.judged - 1)[1]
            return -most, most
        return self.difference.another

    @property
    def helps(self) -> bool:
        """Whether it gains more than `LEAST`, and surely something."""
        return self.p <= ALPHA and self.gain > LEAST

    @property
    def seconds(self) -> float:
        """What a training takes, over what the baseline's takes."""
        return float(np.mean([f.seconds for f in self.runs]) / np.mean([f.seconds for f in self.baseline]))

    def moved(self, name: str) -> Difference:
        """How a number beside it differs from the baseline's."""
        pairs = zip(self.runs, self.baseline, strict=True)
        return Difference.of([_of(a, name) - _of(b, name) for a, b in pairs], AGAIN)

    def mean(self, name: str) -> float:
        """The mean of a number beside it."""
        return float(np.mean([_of(f, name) for f in self.runs]))

    @property
    def said_gain(self) -> str:
        """The gain with its interval."""
        return f"{self.gain:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"

    @property
    def said_p(self) -> str:
        """Its p, as people read it."""
        return p_in_words(self.p)

    def said(self, name: str) -> str:
        """A number beside it, marked where it surely differs from the baseline's."""
        d = self.moved(name)
        mark = "" if not math.isfinite(d.sd) or d.p > ALPHA else "↑" if d.mean > 0 else "↓"
        return f"{self.mean(name):.2f}{mark}"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data; of the baseline no gain."""
        gained = {k: getattr(self, k) for k in ("gain", "low", "high", "p", "helps")}
        return {
            "recipe": self.recipe,
            "temperature": self.temperature,
            "value": self.value,
            **({} if self.runs is self.baseline else gained),
            "beside": {name: self.mean(name) for name in MOVED},
            "seconds": self.seconds,
            "evidence": self.candidate.reason,
            "runs": [f.value for f in self.runs],
        }


def _of(f: Found, name: str) -> float:
    return f.beside.get(name, math.nan)


@dataclass
class Advised:
    """The advice: `finalists` beside the `baseline`, best first; `best` is the one to train with, or None.

    `tried` has the best short run of every recipe, `left_out` why the others were not tried.
    """

    aim: Aim
    baseline: Finalist
    finalists: list[Finalist]
    tried: Mapping[str, float]
    left_out: Mapping[str, str]
    about: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        aim: Aim,
        known: Mapping[str, Candidate],
        last: Mapping[str, Sequence[Found]],
        tried: Mapping[str, float],
        left_out: Mapping[str, str],
        about: Mapping[str, Any],
    ) -> Advised:
        """Of the runs of the last round; the first recipe is the baseline. Those that diverged anywhere are behind."""
        plain = next(iter(last.values()))
        judged = round(JUDGED * about["items"])
        first, *made = [Finalist(known[r], runs[0].job.temperature, runs, plain, judged) for r, runs in last.items()]
        ps = [f.difference.p if math.isfinite(f.difference.sd) else 1.0 for f in made]
        made = [replace(f, p=p) for f, p in zip(made, intervals.holm(ps), strict=True)]
        made.sort(key=lambda f: -f.gain if math.isfinite(f.gain) else math.inf)
        return cls(aim, first, made, tried, left_out, about)

    @property
    def best(self) -> Finalist | None:
        """The recipe that gains most among those that surely gain."""
        return next((f for f in self.finalists if f.helps), None)

    @property
    def sentences(self) -> list[str]:
        """What was found, in words."""
        name, unit, best = self.baseline.recipe, self.aim.unit, self.best
        runs, count = len(self.baseline.runs), len(self.tried) - 1
        over = f"over {runs} divisions of {self.about['items']:,} items, about {self.baseline.judged:,} judged in each"
        if best is None:
            first = next((f for f in self.finalists), None)
            nearest = f"; the nearest is {first.recipe}, {first.said_gain}, p {first.said_p}" if first else ""
            return [
                f"Nothing of {count} recipes tried beats {name} here by more than {LEAST} beyond doubt: {unit} is "
                f"{self.baseline.value:.3f} with it, {over}{nearest}."
            ]
        p = best.said_p if best.said_p.startswith("<") else f"= {best.said_p}"
        out = [
            f"{best.recipe}: {unit} {self.baseline.value:.3f} → {best.value:.3f}, {best.said_gain}, p {p}, {over}; "
            f"the best of {count} recipes beside {name}."
        ]
        also = [f.recipe for f in self.finalists if f.helps and f is not best]
        if also:
            out.append(f"{' and '.join(also)} {'gain' if len(also) > 1 else 'gains'} too.")
        return out

    def __repr__(self) -> str:
        return "\n".join(self.sentences)

    @property
    def command(self) -> str:
        """The line that trains with what is advised; for no fewer steps than `train` takes by itself."""
        f, a = self.best or self.baseline, self.about
        more = f" --set label={a['label']}" if a["label"] else ""
        more += f" --set steps={a['steps']}" if a["steps"] > Settings().steps else ""
        return (
            f"workbench train {f.recipe} --data {a['source']} --modalities {','.join(a['modalities'])} "
            f"--set temperature={f.temperature:g}{more} -o run"
        )

    @property
    def said(self) -> list[str]:
        """What was left out of the set, in words."""
        a = self.about
        out = []
        if a["items"] < a["all_items"]:
            out.append(
                f"{a['all_items'] - a['items']:,} of {a['all_items']:,} items are test, or lack a row or a class"
            )
        if a["one_of_several"]:
            out.append(f"of several rows an item the first is taken: {', '.join(a['one_of_several'])}")
        return out

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return finite(
            {
                "goal": self.aim.name,
                "best": self.best.recipe if self.best else None,
                "sentences": self.sentences,
                "about": dict(self.about),
                "command": self.command,
                "baseline": self.baseline.to_dict(),
                "finalists": [f.to_dict() for f in self.finalists],
                "tried": dict(self.tried),
                "left_out": dict(self.left_out),
            }
        )
