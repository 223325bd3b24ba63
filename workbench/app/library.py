"""What is served: runs and sets under the given paths, each read once a process and shared by every session."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from workbench.errors import InputError
from workbench.explorer.inspection import Inspection, inspection
from workbench.report.report import Report
from workbench.sets.formats import is_set, sets_in
from workbench.sets.run_folder import LOG, begun
from workbench.training.run import Run
from workbench.workspace.visit import Visit

KEPT = 32  # inspections held at once
T = TypeVar("T")
State = tuple[int, int]  # what tells whether a run or set has changed on disk


@dataclass(frozen=True)
class Served:
    """A run or a set, by the name that stands in URLs; only names are ever asked for, never paths."""

    name: str
    path: Path
    is_run: bool
    split: str = "validation"

    @cached_property
    def run(self) -> Run:
        """The run behind the name; only where `is_run`."""
        return Run(self.path)

    @property
    def state(self) -> State:
        """What tells whether it has changed on disk: time and size of a run's log, time of a set."""
        seen = (_looked(f"{self.path}/{LOG}") if self.is_run else None) or self.path.stat()
        return seen.st_mtime_ns, seen.st_size if self.is_run else 0

    def inspection(self, split: str = "") -> Inspection | None:
        """Its inspection with the report made, which takes its time; nothing while a run has no snapshot.

        A run by another split than the one that is served, where that is given.
        """
        if not self.is_run:
            return _opened(self.path, 0, "")
        return _opened(self.path, max(self.run.snapshots), split or self.split) if self.run.snapshots else None

    def report(self) -> Report | None:
        """Its report alone, for which the rows of a run that has one on disk are not read."""
        if self.is_run:
            return self.run.report(self.split) if self.run.snapshots else None
        found = self.inspection()
        return found.report if found is not None else None


def page_of(split: str = "") -> str:
    """What the inspection behind a page is asked for as."""
    return f"page {split}"


_locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


def _opened(path: Path, steps: int, split: str) -> Inspection:
    with _locks[path]:  # who asks for what is being made waits for that
        return _inspected(path, steps, split)


@lru_cache(maxsize=KEPT)
def _inspected(path: Path, steps: int, split: str) -> Inspection:
    found = inspection(path, split or "validation")
    found.report  # noqa: B018 - made once, here
    Visit(found).traits()  # and whatever else the first picture needs
    return found


class Library:
    """The paths given to `workbench serve`; looked through anew for each page, so that new runs appear."""

    def __init__(self, paths: Sequence[Path], split: str = "validation") -> None:
        self.split = split
        self.paths = [p.absolute() for p in paths]
        self._background, self._visits = ThreadPoolExecutor(1), ThreadPoolExecutor(2)
        self._asked: dict[tuple[str, Path], tuple[State, Future[Any]]] = {}
        self._served: dict[tuple[str, Path, int | None], Served] = {}
        self._lock = threading.Lock()
        if not self.entries():
            said = ", ".join(map(str, paths))
            raise InputError(f"no run and no set in {said}; make one with 'workbench demo' or 'workbench train'")

    def entries(self) -> dict[str, Served]:
        """What can be served now, by name; names that occur twice are told apart by their folder."""
        found: dict[str, Served] = {}
        for path in self.paths:
            for p, when in _runs_and_sets(path):
                run = when is not None
                name = p.name if run else p.stem
                while name in found and found[name].path != p:
                    name += "'"
                # the same one each time, for it knows what it has read of its log; not after a run was begun anew
                if (known := self._served.get((name, p, when))) is None:
                    known = self._served[name, p, when] = Served(name, p, run, self.split)
                found[name] = known
        return found

    def later(
        self, kind: str, entry: Served, make: Callable[[], T], *, state: State | None = None, first: bool = False
    ) -> Future[T]:
        """What `make` gives, worked out in the background once for each state of an entry; `first` does not wait for
        what others have asked for. `state`: the entry's, where it was just looked at."""
        key, state = (kind, entry.path), state or entry.state
        with self._lock:
            known = self._asked.get(key)
            if known is not None and first and known[1].cancel():  # it waits where it would wait long
                known = None
            if known is None or known[0] != state:
                known = (state, (self._visits if first else self._background).submit(make))
                self._asked[key] = known
            return known[1]

    def close(self) -> None:
        """Nothing more is begun in the background."""
        for pool in (self._background, self._visits):
            pool.shutdown(wait=False, cancel_futures=True)

    def once(self, kind: str, entry: Served, make: Callable[[], T], state: State | None = None) -> T:
        """What `make` gives, worked out at once and kept for this state of an entry."""
        state = state or entry.state
        if (known := self.made(kind, entry, state)) is None:
            known = make()
            future: Future[T] = Future()
            future.set_result(known)
            self._asked[kind, entry.path] = (state, future)
        return known

    def made(self, kind: str, entry: Served, state: State | None = None) -> Any:
        """What was worked out for this state of an entry; nothing while it is not."""
        of, future = self._asked.get((kind, entry.path), (None, None))
        return future.result() if future is not None and future.done() and of == (state or entry.state) else None


def _runs_and_sets(path: Path) -> list[tuple[Path, int | None]]:
    """What is at a path, a run or a set, or those in a folder of them; with when each run was begun, nothing of a set.

    One look at a file for each: where a list of hundreds is drawn every two seconds, looks are what it costs.
    """
    if (when := begun(path)) is not None:
        return [(path, when)]
    inside = sorted(os.listdir(path)) if path.is_dir() else []
    runs = {name: when for name in inside if (when := begun(f"{path}/{name}")) is not None}
    if not runs:
        return [(p, None) for p in sets_in(path)] if path.exists() else []
    shown = [n for n in inside if n in runs or (not n.startswith(".") and is_set(path / n, by_name=False))]
    return [(path / name, runs.get(name)) for name in shown]


def _looked(path: str) -> os.stat_result | None:
    """What the file system says of a file; nothing where there is none."""
    try:
        return os.stat(path)
    except OSError:
        return None
