"""Wave after wave: parts of states gathered by their rows, joined in order, finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from workbench.scan.contracts import Earlier, Parts, State, Statistic, gather
from workbench.scan.plan import Scan
from workbench.scan.threads import threads


def by_waves(scan: Scan, do: Callable[[list[Statistic], Earlier, int, str], Iterable[Parts]]) -> Earlier:
    """Wave after wave; `do(wave, earlier, groups, title)` yields the parts of every group, in order."""
    known: Earlier = {}
    for number, wave in enumerate(scan.waves, 1):
        prepared = known | scan.prepare(wave, known)
        count = len(scan.groups(scan.tasks(wave, known)))
        parts: Parts = {}
        for done in do(wave, prepared, count, f"diagnose {number}/{len(scan.waves)}"):
            for statistic, states in done.items():
                for at, state in states.items():
                    gather(parts, statistic, at, state)
        with threads(scan.device) as pool:
            known |= zip(wave, pool.map(partial(_whole, scan, parts), wave), strict=True)
    return known | {s: known[c] for s, c in scan.same_as.items()}


def _whole(scan: Scan, parts: Parts, statistic: Statistic) -> State:
    """The state of a statistic from those of its rows."""
    states = parts.pop(statistic)
    return statistic.finish(statistic.join([states[at] for at in sorted(states)]), scan.view)
