"""Executors: who does which group of a scan. Same plan, same groups, same order of merging, so the same answer.

`local` is a loop, `ddp` the ranks of a process group, `dask` a cluster.
"""

from workbench.errors import unknown
from workbench.scan.contracts import Earlier
from workbench.scan.executors.dask import dask
from workbench.scan.executors.ddp import ddp
from workbench.scan.executors.local import local
from workbench.scan.plan import Scan

EXECUTORS = {"local": local, "ddp": ddp, "dask": dask}


def execute(scan: Scan, executor: str = "local", scheduler: str | None = None) -> Earlier:
    """All states of a scan, by the executor of this name.

    Raises `InputError` where there is no such executor, or it cannot work here.
    """
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    return EXECUTORS[executor](scan, scheduler)
