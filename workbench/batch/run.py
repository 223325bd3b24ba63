"""A whole batch: check everything, leave out what is done, do the rest, say how it went."""

from __future__ import annotations

import fcntl
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.batch.index import write_index
from workbench.batch.job import Job
from workbench.batch.jobs import plan
from workbench.batch.manifest import DONE, STOPPED, JobRecord, Manifest
from workbench.batch.slots import locally, on_dask, slots
from workbench.batch.supervise import end_orphans
from workbench.errors import InputError, unknown

FRESH = 2.0  # seconds between two writings of the index while jobs end


@dataclass
class Summary:
    """How a batch went: jobs that were left out because they were done, and an entry for each of the others."""

    out: Path
    skipped: list[Job] = field(default_factory=list)
    entries: list[JobRecord] = field(default_factory=list)
    missing: int = 0  # jobs not begun, because the batch was stopped

    @property
    def failed(self) -> list[JobRecord]:
        """Jobs that failed."""
        return [e for e in self.entries if e.state not in (DONE, STOPPED)]

    @property
    def ok(self) -> bool:
        """Whether nothing failed and nothing is left to do."""
        return not self.missing and all(e.state == DONE for e in self.entries)


def batch(
    notebook: str | Path,
    out: str | Path,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    runs: Sequence[Mapping[str, Any]] = (),
    given: Mapping[str, Any] | None = None,
    workers: int = 1,
    gpus: Sequence[str] = (),
    kernel: str = "",
    to: Sequence[str] = (),
    timeout: float = 0,
    force: bool = False,
    dask: str = "",
    resources: Mapping[str, float] | None = None,
) -> Summary:
    """Execute a notebook over a grid of parameters; what is done already is left out, unless `force`.

    Each cell runs in a process of its own with its own kernel, on one of `workers` slots, or on one slot a GPU, or as
    a task of the Dask cluster at `dask`. `out` holds a notebook, its HTML and a log a cell, the manifest, and
    `index.html`. A cell that fails, hangs beyond `timeout` seconds or is killed does not end the others.
    """
    out = Path(out).absolute()
    jobs = plan(notebook, out, grid=grid, runs=runs, given=given, kernel=kernel, to=to)
    check(kernel, to, timeout)
    places = slots(workers, gpus)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; -o names a folder")
    out.mkdir(parents=True, exist_ok=True)
    with _held(out):
        if count := end_orphans(out):
            print(f"ended {count} notebook{'s' * (count > 1)} that an earlier call had left running", flush=True)
        manifest = Manifest(out)
        summary = Summary(out, [] if force else [j for j in jobs if manifest.finished(j)])
        skipped = {j.label for j in summary.skipped}
        todo = [j for j in jobs if j.label not in skipped]
        stop, bar = threading.Event(), _Bar(len(jobs), len(skipped))
        if dask:
            done = on_dask(todo, dask, resources=resources or {}, timeout=timeout, began=bar.began, ended=bar.ended)
        else:
            done = locally(todo, places, timeout=timeout, stop=stop, began=bar.began, ended=bar.ended)
        last = 0.0
        try:
            with _terminated_as_interrupt():
                for entry in done if todo else ():
                    summary.entries.append(entry)
                    if time.monotonic() - last > FRESH:
                        last = time.monotonic()
                        _index(out)
        finally:
            stop.set()
            bar.close()
            summary.missing = len(todo) - len(summary.entries)
            _index(out)
    return summary


def check(kernel: str, to: Sequence[str], timeout: float) -> None:
    """Whether what was asked for can be had at all."""
    from jupyter_client.kernelspec import KernelSpecManager

    from workbench.batch.notebooks import PRINTED, browser

    if timeout < 0:
        raise InputError(f"--timeout {timeout:g}: seconds from 0 on; 0 is without limit")
    known = KernelSpecManager().find_kernel_specs()
    if kernel and kernel not in known:
        raise unknown("kernel", kernel, known)
    for kind in to:
        if kind not in PRINTED:
            raise unknown("form of a report", kind, PRINTED)
    if "pdf" in to:
        browser()


def _index(out: Path) -> None:
    try:
        write_index(out)
    except OSError as e:  # such as a full disk; what the notebooks have left is still there
        print(f"{out / 'index.html'} could not be written: {e.strerror or e}", flush=True)


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """One batch a folder at a time; the system lets go of the lock when the process dies."""
    with (out / ".lock").open("w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{out}: another batch is at work in this folder; wait for it, or choose another"
            ) from None
        yield


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """A polite request to end is treated like Ctrl-C, so that no notebook is left running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Bar:
    """One line: how many are running, done, failed, and the time left."""

    def __init__(self, total: int, skipped: int) -> None:
        import os
        import sys

        from tqdm import tqdm

        self.running = self.failed = 0
        quiet = bool(os.environ.get("WORKBENCH_QUIET"))
        slow = 0.1 if sys.stderr.isatty() else 10.0
        self.bar = tqdm(total=total, initial=skipped, desc="batch", unit="notebook", disable=quiet, mininterval=slow)
        self._lock = threading.Lock()

    def began(self, job: Job) -> None:
        with self._lock:
            self.running += 1
            self._say()

    def ended(self, entry: JobRecord) -> None:
        with self._lock:
            self.running -= 1
            self.failed += entry.state not in (DONE, STOPPED)
            if entry.state not in (DONE, STOPPED):
                self.bar.write(f"failed  {entry.label}: {entry.error}")
            self.bar.update()
            self._say()

    def _say(self) -> None:
        self.bar.set_postfix_str(f"{self.running} running, {self.failed} failed", refresh=False)

    def close(self) -> None:
        self.bar.close()
