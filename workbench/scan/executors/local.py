"""A scan in this process: threads take groups, and each works on its own tiles with products of one thread.

Many small operations on all cores wait for each other at every barrier, the more so where another program is busy.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from workbench.progress import progress
from workbench.scan.contracts import Earlier, Parts, Statistic
from workbench.scan.plan import Scan, Task
from workbench.scan.threads import threads
from workbench.scan.waves import by_waves


def local(scan: Scan, scheduler: str | None = None) -> Earlier:
    """Groups on as many threads as torch has, merged in their order: the same bits on any number of them."""
    stop = threading.Event()
    with threads(scan.device, worthwhile=scan.worthwhile) as pool:

        def do(wave: list[Statistic], earlier: Earlier, count: int, title: str) -> Iterable[Parts]:
            def run(group: list[Task]) -> Parts:
                return scan.run(_until(stop, group), wave, earlier)

            return progress(pool.map(run, scan.groups(scan.tasks(wave, earlier))), title, count)

        try:
            return by_waves(scan, do)
        finally:
            stop.set()


def _until(stop: threading.Event, group: list[Task]) -> Iterator[Task]:
    """The tasks of a group, as long as somebody waits for them."""
    for task in group:
        if stop.is_set():
            return
        yield task
