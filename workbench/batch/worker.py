"""One notebook in one process: `python -m workbench.batch.worker`, the job as JSON on its standard input.

Standard input stays open as long as whoever started this lives. When it closes, this process ends, and with it the
kernel and whatever the kernel started: nothing outlives a supervisor that was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.batch.job import Job
from workbench.errors import InputError

# jsonschema would set up its check of international addresses, which takes a second and no notebook needs
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
from papermill.clientwrap import PapermillNotebookClient  # noqa: E402
from papermill.engines import NBClientEngine, papermill_engines  # noqa: E402

FAILED = 3  # exit code: the last line of the log says why


class _OneAtATime(PapermillNotebookClient):
    """Kernels start one after the other on a machine: two that start at once may be given the same ports."""

    async def async_start_new_kernel(self, **kwargs: Any) -> None:
        with _alone():
            await super().async_start_new_kernel(**kwargs)
            # the ports are taken when the kernel answers its heartbeat; a slow start is waited for elsewhere
            await self._bound()

    async def _bound(self) -> None:
        import asyncio

        ports = {p for p in getattr(self.km, "ports", []) if p}
        for _ in range(50):
            if ports and ports <= _listening():
                return
            await asyncio.sleep(0.1)


def _listening() -> set[int]:
    import psutil

    try:
        return {c.laddr.port for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    except (psutil.AccessDenied, OSError):
        return set()


@contextmanager
def _alone() -> Iterator[None]:
    """A lock of this user on this machine; the system lets go of it when a process dies."""
    with open(Path(tempfile.gettempdir()) / f"workbench-kernels-{os.getuid()}.lock", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


class Engine(NBClientEngine):
    """papermill's own engine with kernels that start in turn."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **settings: Any) -> Any:
        """Papermill's hook: execute the cells with our client."""
        kept = {k: v for k, v in settings.items() if k in ("log_output", "stdout_file", "stderr_file")}
        client = _OneAtATime(nb_man, kernel_name=kernel_name, startup_timeout=settings.get("start_timeout", 60), **kept)
        return client.execute()


papermill_engines.register("workbench", Engine)


def main() -> int:
    """Do one job in this process; the exit code is 0 where the notebook ran through."""
    job = Job(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_watch, daemon=True).start()
    from workbench.batch.notebooks import execute

    try:
        execute(
            Path(job.notebook),
            job.file(".ipynb"),
            job.parameters,
            kernel=job.kernel,
            cwd=job.cwd,
            to=job.to,
            engine="workbench",
        )
    except InputError as e:
        print(e, flush=True)
        return FAILED
    except OSError as e:
        print(f"{e.filename or job.file('.ipynb')}: {e.strerror or e}", flush=True)
        return FAILED
    return 0


def _watch() -> None:
    """End with whoever holds the other end of standard input."""
    sys.stdin.read()
    from workbench.batch.supervise import MARK, end_all

    end_all(os.environ[MARK], spare=os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
