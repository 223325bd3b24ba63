"""What is served: runs and sets under the given paths, each read once a process and shared by every session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from workbench.errors import InputError
from workbench.explorer.inspection import Inspection, inspection
from workbench.sets.formats import sets_in
from workbench.sets.run_folder import is_run
from workbench.training.run import Run

KEPT = 32  # inspections held at once


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

    def inspection(self) -> Inspection | None:
        """Its inspection; nothing while a run has no snapshot."""
        if not self.is_run:
            return _study(self.path, 0, "")
        return _study(self.path, self.run.steps, self.split) if self.run.snapshots else None


@lru_cache(maxsize=KEPT)
def _study(path: Path, steps: int, split: str) -> Inspection:
    return inspection(path, split or "validation")


class Library:
    """The paths given to `workbench serve`; looked through anew for each page, so that new runs appear."""

    def __init__(self, paths: Sequence[Path], split: str = "validation") -> None:
        self.split = split
        self.paths = [p.absolute() for p in paths]
        if not self.entries():
            said = ", ".join(map(str, paths))
            raise InputError(f"no run and no set in {said}; make one with 'workbench demo' or 'workbench train'")

    def entries(self) -> dict[str, Served]:
        """What can be served now, by name; names that occur twice are told apart by their folder."""
        found: dict[str, Served] = {}
        for path in self.paths:
            for p in _runs_and_sets(path):
                name = p.name if is_run(p) else p.stem
                while name in found and found[name].path != p:
                    name += "'"
                found[name] = Served(name, p, is_run(p), self.split)
        return found

    def ready(self) -> None:
        """Make every report before the first visitor waits for one; what cannot be read is said, and left out."""
        from workbench.progress import progress

        entries = list(self.entries().values())
        for e in progress(entries, "reports", len(entries)):
            try:
                if (s := e.inspection()) is not None:
                    s.report  # noqa: B018 - made once, here
            except InputError as error:
                print(f"  {e.name}: {error}", flush=True)


def _runs_and_sets(path: Path) -> list[Path]:
    """What is at a path: a run or a set, or those in a folder of them."""
    if is_run(path):
        return [path]
    runs = [p for p in path.iterdir() if is_run(p)] if path.is_dir() else []
    sets = [p for p in sets_in(path) if not (runs and p == path)] if path.exists() else []
    return sorted({*runs, *sets})
