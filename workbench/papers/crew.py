"""A crew: processes of one thread each that take jobs as they are free, a line of JSON in and a line out."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import InputError


class Crew:
    """`count` processes of `python -m module *words`, each of which runs `serve`; a context, at whose end they end.

    Small products are faster with one thread, and no two processes take each other's cores.
    """

    def __init__(self, module: str, words: Sequence[str], count: int, place: Path, what: str) -> None:
        self.what, self.place, self.hands = what, place, []
        self._said: queue.Queue[tuple[int, str | None]] = queue.Queue()
        env = os.environ | {"OMP_NUM_THREADS": "1", "WORKBENCH_QUIET": "1"}
        for k in range(count):
            with self._log(k).open("w") as log:
                command = [sys.executable, "-m", module, *words]
                pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
                self.hands.append(subprocess.Popen(command, text=True, env=env, **pipes))
            threading.Thread(target=self._listen, args=(k,), daemon=True).start()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for hand in self.hands:
            hand.kill()
            hand.wait()
            for pipe in (hand.stdin, hand.stdout):
                if pipe:
                    pipe.close()

    def _log(self, k: int) -> Path:
        return self.place / f"{k}.log"

    def _listen(self, k: int) -> None:
        for line in self.hands[k].stdout or ():
            self._said.put((k, line))
        self._said.put((k, None))

    def answers(self, jobs: Iterable[Any]) -> Generator[Any]:
        """What came of each job, as they end. Raises `InputError` where a process ends before its job."""
        waiting = iter(jobs)
        busy = sum(self._give(k, waiting) for k in range(len(self.hands)))
        while busy:
            k, line = self._said.get()
            if line is None:
                said = self._log(k).read_text().strip().splitlines()
                code = self.hands[k].wait()
                raise InputError(f"{self.what}: a run ended with {code}: {said[-1] if said else 'nothing said'}")
            busy -= 1
            busy += self._give(k, waiting)
            yield json.loads(line)

    def _give(self, k: int, waiting: Iterable[Any]) -> bool:
        """One more job for a process, if there is one."""
        for job in waiting:
            pipe = self.hands[k].stdin
            assert pipe is not None
            try:
                pipe.write(json.dumps(job) + "\n")
                pipe.flush()
            except BrokenPipeError:
                pass  # it has ended, and says so
            return True
        return False


def serve(answer: Callable[[Any], Any]) -> None:
    """In a process of a crew: answer jobs until there are no more."""
    out, sys.stdout = sys.stdout, sys.stderr  # what a job prints is no answer
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=out, flush=True)
