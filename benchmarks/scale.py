"""A million rows on this machine, the same work shared by Dask's workers, and from both what more rows would need."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import workbench as wb
from benchmarks.scan import pairs
from benchmarks.timing import seconds

ITEMS, WIDTH, TOPICS = 1_000_000, 384, 200
SHARED, SHARED_WIDTH = 30_000, 256
BLOCK = 50_000


class Took(NamedTuple):
    """Seconds of a command, and the most memory that it held, files that it reads in place included."""

    seconds: float
    bytes: int


def command(*words: str) -> Took:
    """A command of workbench in a process of its own."""
    with open(os.devnull, "w") as nothing:
        process = subprocess.Popen([sys.executable, "-m", "workbench.cli", *words], stdout=nothing, stderr=nothing)
        used: list = []

        def ended() -> None:
            used.append(os.wait4(process.pid, 0))

        took = seconds(ended)
    if used[0][1]:
        raise RuntimeError(f"workbench {' '.join(words)} ended with {used[0][1]}")
    return Took(took, used[0][2].ru_maxrss * 1024)


def files(folder: Path, n: int, d: int) -> list[str]:
    """Two arrays of rows in topics, written block by block."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((TOPICS, d), dtype=np.float32)
    names = [str(folder / f"{m}.npy") for m in ("image", "text")]
    out = [np.lib.format.open_memmap(name, "w+", np.float32, (n, d)) for name in names]
    for start in range(0, n, BLOCK):
        k = min(BLOCK, n - start)
        base = 0.7 * centres[rng.integers(0, TOPICS, k)] + rng.standard_normal((k, d), dtype=np.float32)
        for x, offset in zip(out, (0.3, -0.1), strict=True):
            x[start : start + k] = base + 0.5 * rng.standard_normal((k, d), dtype=np.float32) + offset
    return names


def million() -> tuple[list[dict], Took]:
    """Import and default diagnosis of a million pairs; what the diagnosis took."""
    what = f"{ITEMS:,} × {WIDTH} × 2"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made = command("import", *files(folder, ITEMS, WIDTH), "-o", str(folder / "set"))
        found = command("diagnose", str(folder / "set"), "--json", str(folder / "out.json"))
    rows = [
        {
            "what": f"{what}: {name}",
            "measured": f"{took.seconds:.0f} s, {took.bytes / 2**30:.1f} GB with the files that it reads in place",
            "target": "together ≤ 6 min, ≤ 8 GB",
        }
        for name, took in (("import", made), ("diagnose", found))
    ]
    return rows, found


def workers() -> list[dict]:
    """An exact diagnosis by one thread, and by 1, 2 and 4 local Dask workers of one thread each."""
    from distributed import LocalCluster

    only = ["uniformity", "recall_at_1", "hubness", "effective_rank"]
    with tempfile.TemporaryDirectory() as folder:
        path = str(pairs(SHARED, SHARED_WIDTH).save(Path(folder) / "set"))
        es = wb.EmbeddingSet.load(path)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        alone = seconds(lambda: wb.diagnose(es, only=only, exact=True))
        torch.set_num_threads(before)
        what = f"{SHARED:,} × {SHARED_WIDTH} × 2, exact"
        rows = [{"what": f"{what}: one thread, no cluster", "measured": f"{alone:.1f} s, 1 ×", "target": ""}]
        for k in (1, 2, 4):
            with LocalCluster(n_workers=k, threads_per_worker=1, dashboard_address=None) as cluster:

                def job(at: str = cluster.scheduler_address) -> None:
                    wb.diagnose(es, only=only, exact=True, executor="dask", scheduler=at)

                job()  # workers read the set and compile
                took = seconds(job)
            rows.append(
                {"what": f"{what}: {k} Dask workers", "measured": f"{took:.1f} s, {took / alone:.2f} ×", "target": ""}
            )
    return rows


def paper(took: Took) -> str:
    """What more rows need, from what a million took: all of it grows as the rows do."""
    threads, disk = torch.get_num_threads(), 2 * WIDTH * 4
    states = (took.bytes - ITEMS * disk) / ITEMS
    lines = [
        f"| pairs of {WIDTH} dimensions | on disk, float32 | one thread | 64 workers | memory of who merges |",
        "|---|---|---|---|---|",
    ]
    for power in (6, 7, 8, 9):
        n = 10**power
        alone = took.seconds * threads * n / ITEMS
        lines.append(
            f"| 10{'⁰¹²³⁴⁵⁶⁷⁸⁹'[power]} | {sized(n * disk)} | {spoken(alone)} | {spoken(alone / 64)} | "
            f"{sized(n * states)} |"
        )
    return "\n".join(lines)


def sized(n: float) -> str:
    return f"{n / 1e12:.1f} TB" if n >= 1e12 else f"{n / 1e9:.0f} GB"


def spoken(s: float) -> str:
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if s >= 2 * size:
            return f"{s / size:.0f} {unit}"
    return f"{s:.0f} s"


def scale() -> tuple[list[dict], str]:
    """The rows of the table, and what more rows would need."""
    rows, took = million()
    return [*rows, *workers()], paper(took)
