"""Interleaved timings: what is compared runs in turn, so that a machine's moods fall on both alike."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

Job = Callable[[], object]


def seconds(job: Job) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def ratios(jobs: dict[str, Job], rounds: int) -> dict[str, tuple[float, float]]:
    """Median seconds of each job, and the median over rounds of its ratio to the first."""
    for job in jobs.values():
        job()  # warm: allocators, caches, lazy imports
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            times[name].append(seconds(job))
    base = next(iter(times.values()))
    return {
        name: (statistics.median(t), statistics.median(x / b for x, b in zip(t, base, strict=True)))
        for name, t in times.items()
    }


def growth(code: str) -> int:
    return growth_and_output(code)[0]


def growth_and_output(code: str) -> tuple[int, str]:
    """Bytes that `job()` of a program adds at its peak, in a process of its own (Linux), and what it said."""
    program = (
        "def held(what):\n"
        "    lines = open('/proc/self/status')\n"
        "    return next(int(x.split()[1]) * 1024 for x in lines if x.startswith(what))\n"
        f"{code}\n"
        "open('/proc/self/clear_refs', 'w').write('5')\n"  # the peak starts again from what is held now
        "before = held('VmRSS')\njob()\nprint(held('VmHWM') - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    *said, held = done.stdout.split()
    return int(held), " ".join(said)


def machine() -> str:
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            name = next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    has = [k for k in ("avx512_bf16", "amx_bf16") if torch.cpu.get_capabilities().get(k)]
    narrow = ", ".join(has) or "no bfloat16 instructions"
    return f"{name}, {torch.get_num_threads()} threads, {narrow}, torch {torch.__version__}"
