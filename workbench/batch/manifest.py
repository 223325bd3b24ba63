"""The manifest: one small file a job under `out/manifest/`, written whole or not at all; the only shared state."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.batch.job import Job
from workbench.disk import write_text

DONE, FAILED, RUNNING, STOPPED = "done", "failed", "running", "stopped"


@dataclass
class JobRecord:
    """What is known of a job: `state` is running, done, failed or stopped; `error` is a sentence."""

    key: str
    label: str
    notebook: str
    parameters: dict[str, Any]
    state: str
    began: str = ""
    seconds: float = 0.0
    error: str = ""
    attempts: int = 1
    host: str = ""
    pid: int = 0  # of the process that looks after it


class Manifest:
    """The jobs of an output folder, by label; an entry belongs to a job only if its key is the job's."""

    def __init__(self, out: str | Path) -> None:
        self.folder = Path(out) / "manifest"

    def entry(self, label: str) -> JobRecord | None:
        """The record of a job by its label; nothing where there is none that can be read."""
        try:
            return JobRecord(**json.loads((self.folder / f"{label}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None  # not there, or cut short by a machine that went down

    def entries(self) -> list[JobRecord]:
        """All records that can be read, by label."""
        found = (self.entry(f.stem) for f in sorted(self.folder.glob("[!.]*.json")))
        return [e for e in found if e is not None]

    def finished(self, job: Job) -> bool:
        """Whether nothing of a job needs doing again: done, for the same key, with its files still there."""
        e = self.entry(job.label)
        return e is not None and e.state == DONE and e.key == job.key and all(f.is_file() for f in job.results)

    def begin(self, job: Job) -> JobRecord:
        """Write down that a job runs now, here, for the how manieth time."""
        before = self.entry(job.label)
        attempts = before.attempts + 1 if before is not None and before.key == job.key else 1
        e = JobRecord(job.key, job.label, job.notebook, job.parameters, RUNNING, attempts=attempts)
        e.began, e.host, e.pid = datetime.now(UTC).isoformat(timespec="seconds"), socket.gethostname(), os.getpid()
        return self._write(e)

    def end(self, e: JobRecord, *, seconds: float, error: str = "", state: str = "") -> JobRecord:
        """Write down how a job ended and how long it took."""
        e.state, e.seconds, e.error = state or (FAILED if error else DONE), round(seconds, 2), error
        return self._write(e)

    def put_back(self, e: JobRecord) -> JobRecord:
        """The entry that stood before a job was begun and then stopped."""
        return self._write(e)

    def _write(self, e: JobRecord) -> JobRecord:
        write_text(
            self.folder / f"{e.label}.json", json.dumps(asdict(e), ensure_ascii=False, indent=1, default=str) + "\n"
        )
        return e
