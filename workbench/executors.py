"""Executors: who does which group of a sweep. Same plan, same groups, same order of merging, so the same answer."""

from __future__ import annotations

from functools import reduce

from workbench.errors import unknown
from workbench.plan import Sweep
from workbench.progress import progress
from workbench.statistics import Earlier, State, Statistic


def local(sweep: Sweep) -> Earlier:
    """Every group, one after the other, in this process."""
    known: Earlier = {}
    for number, wave in enumerate(sweep.waves, 1):
        groups = sweep.groups(sweep.tasks(wave, known))
        what = f"diagnose {number}/{len(sweep.waves)}"
        done = [sweep.run(group, wave, known) for group in progress(groups, what, len(groups))]
        known |= {s: merged(s, done) for s in wave}
    return known


def merged(statistic: Statistic, done: list[dict[Statistic, State]]) -> State:
    """The states of all groups as one, in the order of the groups."""
    return reduce(statistic.merge, (states[statistic] for states in done if statistic in states))


EXECUTORS = {"local": local}


def execute(sweep: Sweep, executor: str = "local") -> Earlier:
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    return EXECUTORS[executor](sweep)
