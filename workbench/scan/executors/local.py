"""A scan in this process: every group, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.progress import progress
from workbench.scan.contracts import Earlier, Parts, Statistic
from workbench.scan.plan import Scan
from workbench.scan.waves import by_waves


def local(scan: Scan, scheduler: str | None = None) -> Earlier:
    """Every group, one after the other, in this process."""

    def do(wave: list[Statistic], earlier: Earlier, count: int, title: str) -> Iterable[Parts]:
        groups = scan.groups(scan.tasks(wave, earlier))
        return (scan.run(group, wave, earlier) for group in progress(groups, title, count))

    return by_waves(scan, do)
