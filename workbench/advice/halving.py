"""Successive halving: all candidates for few steps, the better half for more, the last few for all, again and again.

Every recipe is tuned over the same temperatures, the baseline too, and it is in every round. What was chosen on one
division of the items is judged on others: the last round deals them anew for each of its runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from workbench.advice.candidates import BASELINE
from workbench.advice.trial import Found, Job
from workbench.errors import InputError

TEMPERATURES = (0.03, 0.07, 0.2)
SHARES = (0.15, 0.4)  # of the steps, in the first round and the second
SPENT = (0.25, 0.15, 0.6)  # of the time, in each of the three
FEWEST, MOST_RUNS, LAST = 5, 10, 3  # runs of the last round, and recipes in it beside the baseline
LEAST_STEPS = 10
FIRST, SECOND, CALIBRATION = 1_001, 1_002, 1_003  # numbers of divisions that the last round does not use

Work = Callable[[Sequence[Job], str], Iterator[Found]]  # what makes jobs, and says what it is at


@dataclass(frozen=True)
class Plan:
    """How many recipes the time allows in each round beside the baseline, and how many runs in the last."""

    first: int
    second: int
    last: int
    runs: int


def planned(seconds: float, spent: float, workers: int, short: float, full: float, fitting: int) -> Plan:
    """What a budget allows of which some is spent, given what a short and a full training cost.

    Raises `InputError` where it does not allow `FEWEST` paired runs of one recipe.

    >>> planned(300, 10, 2, 1.0, 4.0, 12)
    Plan(first=12, second=6, last=3, runs=10)
    """
    a, b, c = ((seconds - spent) * workers * share for share in SPENT)
    middle = short + (full - short) * (SHARES[1] - SHARES[0]) / (1 - SHARES[0])
    last = next((k for k in range(min(LAST, fitting), 0, -1) if c >= FEWEST * (k + 1) * full), 0)
    if not last:
        least = (2 * FEWEST * full / SPENT[2] / workers + spent) / 60
        raise InputError(
            f"a training takes {full:.1f} s here, and a comparison needs {FEWEST} of two recipes: "
            f"--budget {math.ceil(10 * least) / 10:g} minutes or more, or fewer --steps"
        )
    first = min(fitting, max(last, int(a / (len(TEMPERATURES) * short)) - 1))
    second = min(math.ceil(first / 2), max(last, int(b / (2 * middle)) - 1))
    return Plan(first, max(second, last), last, min(MOST_RUNS, int(c / ((last + 1) * full))))


def rounds(work: Work, recipes: Sequence[str], steps: int, plan: Plan) -> tuple[dict[str, list[Found]], list[Found]]:
    """The runs of the last round by recipe, in the order of their divisions, and those of the rounds before."""
    few, more = (max(LEAST_STEPS, round(steps * share)) for share in SHARES)
    names = [BASELINE, *recipes[: plan.first]]
    found = list(work([Job(r, t, few, FIRST) for r in names for t in TEMPERATURES], "first round"))
    names = [BASELINE, *_best(found, names[1:])[: plan.second]]
    again = [
        Job(r, t, more, SECOND) for r in names for t in sorted(TEMPERATURES, key=lambda t: -_value(found, r, t))[:2]
    ]
    later = list(work(again, "second round"))
    names = [BASELINE, *_best(later, names[1:])[: plan.last]]
    tuned = {r: max((f for f in later if f.job.recipe == r), key=_score).job.temperature for r in names}
    jobs = [Job(r, t, steps, k) for k in range(plan.runs) for r, t in tuned.items()]
    last: dict[str, list[Found]] = {r: [] for r in names}
    for f in work(jobs, "last round"):
        last[f.job.recipe].append(f)
    return {r: sorted(v, key=lambda f: f.job.division) for r, v in last.items()}, [*found, *later]


def _score(f: Found) -> float:
    """The value of a run; what diverged is behind all others."""
    return f.value if math.isfinite(f.value) else -math.inf


def _value(found: Sequence[Found], recipe: str, temperature: float) -> float:
    return max(_score(f) for f in found if (f.job.recipe, f.job.temperature) == (recipe, temperature))


def _best(found: Sequence[Found], recipes: Sequence[str]) -> list[str]:
    """Recipes by their best run, the best first; ties in the order given."""
    return sorted(recipes, key=lambda r: -max(_score(f) for f in found if f.job.recipe == r))
