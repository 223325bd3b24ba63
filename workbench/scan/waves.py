"""Wave after wave: parts of states gathered by their rows, joined in order, finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from workbench.scan.contracts import Earlier, Parts, Statistic, gather
from workbench.scan.plan import Scan


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
        for statistic in wave:
            states = parts[statistic]
            known[statistic] = statistic.finish(statistic.join([states[at] for at in sorted(states)]), scan.view)
    return known | {s: known[c] for s, c in scan.same_as.items()}
