"""Executors: who does which group of a sweep. Same plan, same groups, same order of merging, so the same answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from workbench.errors import InputError, unknown
from workbench.plan import Parts, Sweep, gather
from workbench.progress import progress
from workbench.statistics import Earlier, Statistic


def by_waves(sweep: Sweep, do: Callable[[list[Statistic], Earlier, int, str], Iterable[Parts]]) -> Earlier:
    """Wave after wave; `do(wave, earlier, groups, title)` yields the parts of every group, in order."""
    known: Earlier = {}
    for number, wave in enumerate(sweep.waves, 1):
        prepared = known | sweep.prepare(wave, known)
        count = len(sweep.groups(sweep.tasks(wave, known)))
        parts: Parts = {}
        for done in do(wave, prepared, count, f"diagnose {number}/{len(sweep.waves)}"):
            for statistic, states in done.items():
                for at, state in states.items():
                    gather(parts, statistic, at, state)
        for statistic in wave:
            states = parts[statistic]
            known[statistic] = statistic.finish(statistic.join([states[at] for at in sorted(states)]), sweep)
    return known | {s: known[c] for s, c in sweep.same_as.items()}


def local(sweep: Sweep, scheduler: str | None = None) -> Earlier:
    """Every group, one after the other, in this process."""

    def do(wave: list[Statistic], earlier: Earlier, count: int, title: str) -> Iterable[Parts]:
        groups = sweep.groups(sweep.tasks(wave, earlier))
        return (sweep.run(group, wave, earlier) for group in progress(groups, title, count))

    return by_waves(sweep, do)


def ddp(sweep: Sweep, scheduler: str | None = None) -> Earlier:
    """Ranks of an initialised process group take groups in turn; every rank ends with the whole answer.

    Every rank must hold the same set. States travel by the group's own collectives, on the CPU.
    """
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        raise InputError(
            "executor='ddp' needs torch.distributed to be initialised on every rank: start the program with torchrun "
            "and call torch.distributed.init_process_group first, or use executor='local'"
        )
    rank, size = distributed.get_rank(), distributed.get_world_size()
    seen: list[str | None] = [None] * size
    distributed.all_gather_object(seen, sweep.es.fingerprint)
    if len(set(seen)) > 1:
        raise InputError(
            f"executor='ddp': the ranks hold {len(set(seen))} different sets; every rank needs the same one. "
            "Where each rank has its own rows, use Accumulator, which gathers them"
        )

    def do(wave: list[Statistic], earlier: Earlier, count: int, title: str) -> Iterable[Parts]:
        groups = sweep.groups(sweep.tasks(wave, earlier))
        mine = progress(range(rank, count, size), title, len(range(rank, count, size)))
        done = {g: sweep.run(groups[g], wave, earlier) for g in mine}
        every: list[Any] = [None] * size
        distributed.all_gather_object(every, done)
        found = {g: parts for one in every for g, parts in one.items()}
        return (found[g] for g in range(count))

    return by_waves(sweep, do)


def dask(sweep: Sweep, scheduler: str | None = None) -> Earlier:
    """Groups as tasks of a Dask cluster: workers read their own spans of the set from disk."""
    from workbench.cluster import run_on_dask

    return run_on_dask(sweep, scheduler)


EXECUTORS = {"local": local, "ddp": ddp, "dask": dask}


def execute(sweep: Sweep, executor: str = "local", scheduler: str | None = None) -> Earlier:
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    return EXECUTORS[executor](sweep, scheduler)
