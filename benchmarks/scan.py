"""Whole diagnoses against the bare float32 products that they need, and exact ranks against a one-way flat search."""

from __future__ import annotations

import subprocess
import sys

import torch

import workbench as wb
from benchmarks.timing import growth, ratios, seconds
from workbench.scan.device import FITS
from workbench.scan.plan import spans

TOGETHER = ["uniformity", "recall_at_1", "recall_at_10", "hubness"]
RANKS = ["recall_at_1", "recall_at_10"]


def pairs(n: int, d: int, *, noise: float = 0.8, shuffle: bool = False) -> wb.EmbeddingSet:
    g = torch.Generator().manual_seed(0)
    base = torch.randn(n, d, generator=g)
    x, y = (torch.nn.functional.normalize(base + noise * torch.randn(n, d, generator=g), dim=1) for _ in range(2))
    return wb.EmbeddingSet({"a": x, "b": y[torch.randperm(n, generator=g)] if shuffle else y})


def bare(es: wb.EmbeddingSet) -> None:
    """a·a and b·b for tiles on and above the diagonal, a·b for all: what any exact method must multiply."""
    a, b = es["a"], es["b"]
    tile = FITS[a.device.type].tile
    for x, y, half in ((a, a, True), (b, b, True), (a, b, False)):
        for i in spans(len(x), tile):
            for j in spans(len(y), tile):
                if not half or i <= j:
                    x[slice(*i)] @ y[slice(*j)].T


def suite(n: int = 20_000, d: int = 512, rounds: int = 3) -> list[dict]:
    es = pairs(n, d)
    found = ratios(
        {
            "bare": lambda: bare(es),
            "together": lambda: wb.diagnose(es, only=TOGETHER),
            "whole": lambda: wb.diagnose(es),
            "exact": lambda: wb.diagnose(es, exact=True),
        },
        rounds,
    )
    grown = growth(
        "import torch, workbench as wb\nfrom benchmarks.scan import pairs\n"
        f"es = pairs({n}, {d})\nwb.diagnose(es.take(range(200)))\ndef job(): wb.diagnose(es)"
    )
    what = f"N = {n:,}, d = {d}, two modalities"
    return [
        row(f"{what}: the bare products", found["bare"][0], "1", ""),
        row("uniformities, both-way ranks and top-10 together", *found["together"], "≤ 1.2 ×"),
        row("the whole default suite", *found["whole"], "≤ 1.7 ×"),
        row("the same with --exact", *found["exact"], "≤ 2.2 ×"),
        {"what": "memory beyond process and set", "measured": f"{grown / 2**20:,.0f} MB", "target": "≤ 400 MB"},
    ]


def middle(n: int = 12_000, d: int = 512, rounds: int = 3) -> list[dict]:
    """A set of which everything but the products is the larger part, alone and beside one busy process."""
    es = pairs(n, d)
    jobs = {"bare": lambda: bare(es), "whole": lambda: wb.diagnose(es)}
    quiet = ratios(jobs, rounds)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        busy = [seconds(jobs["whole"]) for _ in range(rounds)]
        neighbour.kill()
    slower = sorted(busy)[rounds // 2] / quiet["whole"][0]
    return [
        row(f"N = {n:,}: the bare products", quiet["bare"][0], "1", ""),
        row(f"N = {n:,}: the whole default suite", *quiet["whole"], "≤ 2.2 ×"),
        {
            "what": "the same beside one busy process, against its quiet time",
            "measured": f"{slower:.2f} ×",
            "target": "≤ 2.0 ×",
        },
    ]


def compare(rounds: int = 3) -> list[dict]:
    """Two spaces of the same items, 256 dimensions."""
    rows = []
    for n, most in ((300, 0.5), (10_000, 4.0)):
        a = pairs(n, 256)
        g = torch.Generator().manual_seed(1)
        b = wb.EmbeddingSet({m: a[m] + 0.3 * torch.randn(n, 256, generator=g) for m in a.modalities}, a.items)
        took = ratios({"compare": lambda a=a, b=b: wb.compare(a, b)}, rounds)["compare"][0]
        rows.append({"what": f"compare, {n:,} items", "measured": f"{took:.1f} s", "target": f"≤ {most} s"})
    return rows


def ranks(n: int = 100_000, d: int = 512, rounds: int = 1) -> list[dict]:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    rows = []
    for name, shuffle in (("aligned", False), ("shuffled", True)):
        es = pairs(n, d, shuffle=shuffle)
        a, b = es["a"].numpy(), es["b"].numpy()
        index = faiss.IndexFlatIP(d)
        index.add(b)
        found = ratios_cold(
            {
                "flat": lambda index=index, a=a: index.search(a, 10),
                "ours": lambda es=es: wb.diagnose(es, only=RANKS, exact=True),
            },
            rounds,
        )
        base = f"N = {n:,}: one-way flat top-10 search (faiss), {name} pairs"
        rows += [
            row(base, found["flat"][0], "1", ""),
            row(
                f"both-way exact ranks, {name} pairs", found["ours"][0], found["ours"][1], "≤ 1 × with bfloat16, ≤ 2 ×"
            ),
        ]
    return rows


def ratios_cold(jobs: dict, rounds: int) -> dict:
    """As `ratios`, without a warm-up that would double a run of minutes."""
    times = [{name: seconds(job) for name, job in jobs.items()} for _ in range(rounds)]
    first = next(iter(jobs))
    middle = sorted(times, key=lambda t: t[first])[len(times) // 2]
    return {name: (t, t / middle[first]) for name, t in middle.items()}


def row(what: str, took: float, ratio: float | str, target: str) -> dict:
    said = ratio if isinstance(ratio, str) else f"{ratio:.2f}"
    return {"what": what, "measured": f"{took:.1f} s, {said} ×", "target": target}


def scaling(sizes=(5_000, 10_000, 20_000, 50_000, 100_000), d: int = 256) -> dict[str, list[tuple[int, float]]]:
    """Seconds by the number of items: exact pair statistics, and row statistics."""
    lines: dict[str, list[tuple[int, float]]] = {
        "pairs (uniformity, both-way ranks)": [],
        "rows (gap, alignment, rank)": [],
    }
    for n in sizes:
        es = pairs(n, d)
        wb.diagnose(es.take(range(200)))
        lines["pairs (uniformity, both-way ranks)"].append(
            (n, seconds(lambda es=es: wb.diagnose(es, only=["uniformity", "recall_at_1"], exact=True)))
        )
        lines["rows (gap, alignment, rank)"].append(
            (n, seconds(lambda es=es: wb.diagnose(es, only=["modality_gap", "alignment", "effective_rank"])))
        )
    return lines
