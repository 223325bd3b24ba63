"""Whole diagnoses against the bare float32 products that they need, and exact ranks against a one-way flat search."""

from __future__ import annotations

import torch

import workbench as wb
from benchmarks.timing import growth, ratios
from workbench.scan.plan import TILE, spans

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
    for x, y, half in ((a, a, True), (b, b, True), (a, b, False)):
        for i in spans(len(x), TILE):
            for j in spans(len(y), TILE):
                if not half or i <= j:
                    x[slice(*i)] @ y[slice(*j)].T


def suite(n: int = 20_000, d: int = 512, rounds: int = 3) -> list[dict]:
    es = pairs(n, d)
    found = ratios(
        {
            "bare": lambda: bare(es),
            "together": lambda: wb.diagnose(es, only=TOGETHER),
            "whole": lambda: wb.diagnose(es),
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
        row("uniformities, both-way ranks and top-10 together", found["together"][0], found["together"][1], "≤ 2.0 ×"),
        row("the whole exact default suite", found["whole"][0], found["whole"][1], "≤ 4 ×"),
        {"what": "memory beyond process and set", "measured": f"{grown / 2**20:,.0f} MB", "target": "≤ 500 MB"},
    ]


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
    from benchmarks import timing

    times = [{name: timing.seconds(job) for name, job in jobs.items()} for _ in range(rounds)]
    first = next(iter(jobs))
    middle = sorted(times, key=lambda t: t[first])[len(times) // 2]
    return {name: (t, t / middle[first]) for name, t in middle.items()}


def row(what: str, took: float, ratio: float | str, target: str) -> dict:
    said = ratio if isinstance(ratio, str) else f"{ratio:.2f}"
    return {"what": what, "measured": f"{took:.1f} s, {said} ×", "target": target}


def scaling(sizes=(5_000, 10_000, 20_000, 50_000, 100_000), d: int = 256) -> dict[str, list[tuple[int, float]]]:
    """Seconds by the number of items: exact pair statistics, and row statistics."""
    from benchmarks.timing import seconds

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
