"""A scan shared by the ranks of a process group: same plan, same order of merging, so the same answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workbench.errors import InputError
from workbench.progress import progress
from workbench.scan.contracts import Earlier, Parts, Statistic
from workbench.scan.plan import Scan
from workbench.scan.waves import by_waves


def ddp(scan: Scan, scheduler: str | None = None) -> Earlier:
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
    distributed.all_gather_object(seen, scan.es.fingerprint)
    if len(set(seen)) > 1:
        raise InputError(
            f"executor='ddp': the ranks hold {len(set(seen))} different sets; every rank needs the same one. "
            "Where each rank has its own rows, use Accumulator, which gathers them"
        )

    def do(wave: list[Statistic], earlier: Earlier, count: int, title: str) -> Iterable[Parts]:
        groups = scan.groups(scan.tasks(wave, earlier))
        mine = progress(range(rank, count, size), title, len(range(rank, count, size)))
        done = {g: scan.run(groups[g], wave, earlier) for g in mine}
        every: list[Any] = [None] * size
        distributed.all_gather_object(every, done)
        found = {g: parts for one in every for g, parts in one.items()}
        return (found[g] for g in range(count))

    return by_waves(scan, do)
