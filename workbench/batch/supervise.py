"""One job looked after from begin to end: its process, its time, what it leaves behind, what the manifest says."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import psutil

from workbench.batch.job import Job
from workbench.batch.manifest import FAILED, RUNNING, STOPPED, JobRecord, Manifest
from workbench.batch.results import PLACE

MARK = "WORKBENCH_JOB"  # stands in the environment of a worker and of everything that it starts
POLL = 0.1
STOPPED_SAID = "stopped; it is done again on the next call"
UNDER_WAY = "running"  # folder inside the output folder of what is being made


def supervise(
    job: Job, environment: Mapping[str, str] | None = None, *, timeout: float = 0, stop: Event | None = None
) -> JobRecord:
    """Do a job in a process of its own; whatever happens to that process, the others go on and the entry says it."""
    manifest = Manifest(job.out)
    before, entry = manifest.entry(job.label), manifest.begin(job)
    # what is there stays until there is something new
    work = replace(job, out=str(Path(job.out) / UNDER_WAY))
    for old in _files(work):
        old.unlink(missing_ok=True)
    work.file(".log").parent.mkdir(parents=True, exist_ok=True)
    start, mark = time.monotonic(), f"{job.key}-{os.getpid()}-{time.time_ns()}"
    with tempfile.TemporaryDirectory(prefix="workbench-ipython-") as home:
        env = os.environ | {"IPYTHONDIR": home, **(environment or {}), MARK: mark, PLACE: str(work.file(".json"))}
        error = ""
        with work.file(".log").open("w") as log:
            # a session of its own: Ctrl-C reaches this process, which ends the workers itself
            worker = subprocess.Popen(
                [sys.executable, "-m", "workbench.batch.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=job.cwd or None,
                start_new_session=True,
                text=True,
            )
            try:
                assert worker.stdin is not None
                worker.stdin.write(json.dumps(work.to_dict()) + "\n")
                worker.stdin.flush()
                while worker.poll() is None and not error:
                    if timeout and time.monotonic() - start > timeout:
                        error = f"took longer than {timeout:g} seconds and was killed{_where(work)}"
                    elif stop is not None and stop.is_set():
                        error = STOPPED_SAID
                    else:
                        time.sleep(POLL)
            except BrokenPipeError:
                pass  # it died at once; its exit code says how
            finally:
                end_all(mark)
                worker.wait()
                with contextlib.suppress(BrokenPipeError):
                    worker.stdin.close()  # type: ignore[union-attr]
    seconds = time.monotonic() - start
    error = error or _why(worker.returncode, work)
    try:
        if error == STOPPED_SAID and before is not None and before.state != RUNNING:
            manifest.put_back(before)
            return replace(entry, state=STOPPED, seconds=seconds, error=error)
        for new, old in zip(_files(work), _files(job), strict=True):
            if new.exists():
                os.replace(new, old)
            else:
                old.unlink(missing_ok=True)  # so that nothing old stands beside a new failure
        return manifest.end(entry, seconds=seconds, error=error, state=STOPPED if error == STOPPED_SAID else "")
    except OSError as e:  # such as a full disk: the manifest cannot say it, the summary does
        return replace(entry, state=FAILED, seconds=seconds, error=error or f"{e.filename}: {e.strerror}")


def _files(job: Job) -> list[Path]:
    return [job.file(ending) for ending in (".log", ".json")] + job.results


def _why(code: int, job: Job) -> str:
    """Why a worker ended, empty if it did all it had to."""
    if code == 0:
        lost = [f.name for f in job.results if not f.is_file()]
        return f"left no {', '.join(lost)}" if lost else ""
    if code < 0:
        return f"killed by signal {-code}{_where(job)}"
    last = [line for line in _tail(job.file(".log")).splitlines() if line.strip()]
    return last[-1].strip() if last else f"ended with {code}"


def _tail(file: Path) -> str:
    try:
        return file.read_text(errors="replace")[-2000:]
    except OSError:
        return ""


def _where(job: Job) -> str:
    """The cell that a partial notebook stopped in."""
    try:
        cells = json.loads(job.file(".ipynb").read_text())["cells"]
    except (OSError, ValueError, KeyError):
        return ""
    for k, cell in enumerate(cells, 1):
        if cell.get("metadata", {}).get("papermill", {}).get("status") == "running":
            return f" in cell {k} of {len(cells)}"
    return ""


def end_all(mark: str, spare: int = 0) -> None:
    """Kill every process that carries a mark, until none is left, whatever sessions and groups they have made."""
    for _ in range(50):
        alive = [p for p in psutil.process_iter() if p.pid not in (spare, os.getpid()) and _carries(p, mark)]
        if not alive:
            return
        for p in alive:
            try:
                p.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(alive, timeout=0.5)


def _carries(p: psutil.Process, mark: str) -> bool:
    try:
        return p.status() != psutil.STATUS_ZOMBIE and p.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def end_orphans(out: Path) -> int:
    """End what an earlier call left running in a folder and nobody looks after any more; how many jobs that were."""
    marks: dict[str, Any] = {}
    for p in psutil.process_iter():
        try:
            env = p.environ()
        except (psutil.Error, OSError):
            continue
        if MARK in env and Path(env.get(PLACE, "")).parent == out / UNDER_WAY:
            keeper = int(env[MARK].split("-")[1])
            if not psutil.pid_exists(keeper):
                marks[env[MARK]] = None
    for mark in marks:
        end_all(mark)
    return len(marks)
