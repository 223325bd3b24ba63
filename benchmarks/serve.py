"""What serving costs: a look at a list of hundreds of runs, and how soon a port and a page are there."""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import workbench as wb
from benchmarks.scan import pairs
from benchmarks.timing import seconds
from workbench.sets.planted import planted

RUNS, LOOKS = 300, 9
ITEMS, WIDTH = 300_000, 256
HOUR = 3_600


def looks() -> list[dict]:
    """A look at 300 finished runs, once their reports are made: what each page of the list costs every two seconds."""
    from workbench.app.library import Library
    from workbench.app.runs_page import WAITS, RunsScreen

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        first = folder / "run000"
        made = wb.train("infonce", data=planted(items=120), out=str(first), steps=20, batch=16, evaluate=5)
        made.report()
        for k in range(1, RUNS):
            shutil.copytree(first, folder / f"run{k:03d}")
        old = time.time() - HOUR
        for log in folder.rglob("metrics.jsonl"):
            os.utime(log, (old, old))
        library = Library([folder])
        screen = RunsScreen(library, None)
        while WAITS in screen.face.body:
            time.sleep(1)
            screen.draw()
        took = statistics.median(seconds(screen.draw) for _ in range(LOOKS))
        library.close()
    return [{"what": f"a look at the list of {RUNS} runs", "measured": f"{took * 1e3:.0f} ms", "target": "≤ 50 ms"}]


@contextmanager
def served(path: Path) -> Iterator[str]:
    """A server of its own, and its address, while it starts."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    words = [sys.executable, "-m", "workbench.cli", "serve", str(path), "--port", str(port), "--no-show"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()


def answered(url: str) -> None:
    """Ask until somebody answers."""
    while True:
        try:
            urllib.request.urlopen(url, timeout=120).read()
            return
        except OSError:
            time.sleep(0.05)


def port() -> list[dict]:
    """From the command to the first page of the list, of a set whose diagnosis takes a minute."""
    with tempfile.TemporaryDirectory() as scratch:
        path = pairs(ITEMS, WIDTH).save(Path(scratch) / "set")
        with served(path) as url:
            opened = seconds(lambda: answered(url))
            page = seconds(lambda: answered(f"{url}?run=set"))
    return [
        {
            "what": f"`workbench serve`, {ITEMS:,} × {WIDTH} × 2: the list, and then the page of the set, which says "
            "what it waits for",
            "measured": f"{opened:.1f} s, {page:.1f} s",
            "target": "at once",
        }
    ]


def serving() -> list[dict]:
    """Both."""
    return looks() + port()
