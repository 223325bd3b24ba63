"""The diagnosis of a set against the bare all-pairs products that it needs, both-way and symmetric ones halved."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

import workbench as wb
from workbench.plan import TILE, spans


def bare(x: torch.Tensor, y: torch.Tensor) -> None:
    """x·x and y·y for tiles on and above the diagonal, x·y for all: what any exact method must multiply."""
    for a, b, half in ((x, x, True), (y, y, True), (x, y, False)):
        for i in spans(len(a), TILE):
            for j in spans(len(b), TILE):
                if not half or i <= j:
                    a[slice(*i)] @ b[slice(*j)].T


def seconds(f: Callable[[], object]) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def main(n: int = 8_000, d: int = 512, rounds: int = 3) -> None:
    g = torch.Generator().manual_seed(0)
    base = torch.randn(n, d, generator=g)
    x, y = (torch.nn.functional.normalize(base + 0.8 * torch.randn(n, d, generator=g), dim=1) for _ in range(2))
    es = wb.EmbeddingSet({"a": x, "b": y})
    jobs = {
        "uniformities and both-way ranks": ["uniformity", "recall_at_1"],
        "the whole suite": None,
    }
    print(f"n={n:,}, d={d}, two modalities, {torch.get_num_threads()} threads, medians of {rounds} interleaved rounds")
    for name, only in jobs.items():
        ratios = []
        for _ in range(rounds):
            limit = seconds(lambda: bare(x, y))
            ratios.append(seconds(lambda only=only: wb.diagnose(es, only=only, exact=True)) / limit)
        print(f"{name:<34} {statistics.median(ratios):5.2f} × the bare products")
