"""Whole diagnoses against the bare float32 products that they need, and exact ranks against a one-way flat search."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

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


def widths(rounds: int = 1) -> list[dict]:
    """Narrow rows and those of language models: what the default suite takes beside its products."""
    rows = []
    for n, d in ((12_000, 64), (1_000, 2_048), (2_000, 4_096)):
        es = pairs(n, d)
        found = ratios({"bare": lambda es=es: bare(es), "whole": lambda es=es: wb.diagnose(es)}, rounds)
        rows += [
            row(f"N = {n:,}, d = {d:,}: the bare products", found["bare"][0], "1", ""),
            row(f"N = {n:,}, d = {d:,}: the whole default suite", *found["whole"], ""),
        ]
    return rows


def classes(n: int = 20_000, d: int = 256, rounds: int = 1) -> list[dict]:
    """What questions about classes add."""
    es = pairs(n, d)
    rows = []
    for k in (10, 1_000):
        kind = [f"class {i % k}" for i in range(n)]
        known = wb.EmbeddingSet({m: es[m] for m in es.modalities}, es.items.assign(kind=kind))
        jobs = {
            "without": lambda known=known: wb.diagnose(known),
            "with": lambda known=known: wb.diagnose(known, label="kind"),
        }
        took = ratios(jobs, rounds)["with"]
        rows.append(
            {
                "what": f"N = {n:,}, d = {d}: with {k:,} classes, against without",
                "measured": f"{took[0]:.1f} s, {took[1]:.2f} ×",
                "target": "",
            }
        )
    return rows


def start(n: int = 5_000, d: int = 512, rounds: int = 3) -> list[dict]:
    """A whole command on a small set, against what importing torch and pandas takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(pairs(n, d).save(Path(folder) / "set"))

        def process(*words: str) -> None:
            subprocess.run([sys.executable, *words], check=True, capture_output=True)

        jobs = {
            "imports": lambda: process("-c", "import torch, pandas"),
            "whole": lambda: process("-m", "workbench.cli", "diagnose", path),
        }
        found = ratios(jobs, rounds)
    return [
        row("a process that imports torch and pandas", found["imports"][0], "1", ""),
        row(f"`workbench diagnose`, {n:,} × {d} × 2", *found["whole"], "≤ 2.5 ×"),
    ]


def tile(n: int = 1_024, d: int = 512, rounds: int = 30) -> list[dict]:
    """What is taken from a tile, pass by pass, against its product; on one thread, as tiles are worked on."""
    from workbench.scan.reductions import compiled

    es, before = pairs(n, d), torch.get_num_threads()
    x, y = es["a"], es["b"]
    s = x @ y.T
    limits = torch.stack([s.diagonal() - 1e-6, s.diagonal() + 1e-6])
    edge = torch.topk(s, 12).values[:, -1].contiguous()
    torch.set_num_threads(1)
    jobs = {
        "the product": lambda: x @ y.T,
        "kernel sums of both sides": lambda: compiled.potentials(s, 4.0, None),
        "ranks of both sides": lambda: (compiled.above(s, limits, None), compiled.above(s.T, limits, None)),
        "a histogram": lambda: compiled.histogram(s, 100, None),
        "the best twelve of both sides, once their edge is known": lambda: [
            compiled.best(t, torch.arange(n), 12, None, None, edge.clone()) for t in (s, s.T)
        ],
    }
    found = ratios(jobs, rounds)
    torch.set_num_threads(before)
    return [
        {
            "what": f"a tile of {n:,} × {n:,} × {d}, one thread: {name}",
            "measured": f"{1_000 * took:.1f} ms, {ratio:.2f} ×",
            "target": "",
        }
        for name, (took, ratio) in found.items()
    ]


def compare(rounds: int = 3) -> list[dict]:
    """Two spaces of the same items, 256 dimensions."""
    rows = []
    for n, most in ((300, 0.5), (10_000, 4.0), (100_000, 40.0)):
        a = pairs(n, 256)
        g = torch.Generator().manual_seed(1)
        b = wb.EmbeddingSet({m: a[m] + 0.3 * torch.randn(n, 256, generator=g) for m in a.modalities}, a.items)
        jobs = {"compare": lambda a=a, b=b: wb.compare(a, b)}
        took = (ratios(jobs, rounds) if n < 100_000 else ratios_cold(jobs, 1))["compare"][0]
        rows.append({"what": f"compare, {n:,} items", "measured": f"{took:.1f} s", "target": f"≤ {most} s"})
    return rows


def ranks(n: int = 100_000, d: int = 512, rounds: int = 1) -> list[dict]:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    rows = []
    for name, shuffle, most in (("aligned", False, 0.4), ("shuffled", True, 1.0)):
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
            row(f"both-way exact ranks, {name} pairs", *found["ours"], f"≤ {most} ×"),
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


SIZES = (5_000, 10_000, 20_000, 50_000, 100_000, 200_000)


def scaling(d: int = 256) -> dict[str, list[tuple[int, float]]]:
    """Seconds by the number of items: exact pair statistics, and row statistics."""
    lines: dict[str, list[tuple[int, float]]] = {
        "pairs (uniformity, both-way ranks)": [],
        "rows (gap, alignment, rank)": [],
    }
    for n in SIZES:
        es = pairs(n, d)
        wb.diagnose(es.take(range(200)))
        lines["pairs (uniformity, both-way ranks)"].append(
            (n, seconds(lambda es=es: wb.diagnose(es, only=["uniformity", "recall_at_1"], exact=True)))
        )
        lines["rows (gap, alignment, rank)"].append(
            (n, seconds(lambda es=es: wb.diagnose(es, only=["modality_gap", "alignment", "effective_rank"])))
        )
    return lines
