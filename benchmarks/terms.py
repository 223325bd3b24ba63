"""Uniformity against all pairwise distances, and Gramian volumes against determinants."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import workbench as wb
from benchmarks.scan import row
from benchmarks.timing import growth, growth_and_output, ratios
from workbench.geometry import gram_volume_of


def uniformity(n: int = 8_000, d: int = 512, rounds: int = 5) -> list[dict]:
    g = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(n, d, generator=g), dim=1)
    es = wb.EmbeddingSet({"a": x})
    found = ratios(
        {
            "pdist": lambda: torch.pdist(x).square().mul(-2).exp().mean().log(),
            "ours": lambda: wb.diagnose(es, only=["uniformity"]),
        },
        rounds,
    )
    grown = [
        growth(
            "import torch, workbench as wb\nonly = ['uniformity']\n"
            f"es = wb.EmbeddingSet({{'a': torch.randn({k}, {d})}})\nwb.diagnose(es.take(range(200)), only=only)\n"
            "def job(): wb.diagnose(es, only=only)"
        )
        for k in (n, 2 * n)
    ]
    speed = 1 / found["ours"][1]
    return [
        row(f"torch.pdist at N = {n:,}, d = {d}", found["pdist"][0], "1", ""),
        {"what": "uniformity with interval and null", "measured": f"{speed:.1f} × faster", "target": "≥ 5 × faster"},
        {
            "what": "its memory at N and at 2 N",
            "measured": " and ".join(f"{b / 2**20:,.0f} MB" for b in grown),
            "target": "linear",
        },
    ]


def determinants(anchor: Tensor, others: Tensor) -> Tensor:
    """Volumes as the papers' code makes them: a Gram matrix for each anchor and tuple, then its determinant."""
    b, k, d = others.shape
    inner = torch.einsum("id,jkd->ijk", anchor, others)
    gram = torch.empty(b, b, k + 1, k + 1)
    gram[..., 0, 0] = anchor.square().sum(1)[:, None]
    gram[..., 0, 1:] = gram[..., 1:, 0] = inner
    gram[..., 1:, 1:] = torch.einsum("jkd,jld->jkl", others, others)[None]
    return (torch.linalg.det(gram).abs() + 1e-8).sqrt()


def volumes(b: int = 512, d: int = 512, rounds: int = 9) -> list[dict]:
    rows = []
    for m in (3, 4, 5):
        g = torch.Generator().manual_seed(0)
        x = [torch.nn.functional.normalize(torch.randn(b, d, generator=g), dim=1).requires_grad_() for _ in range(m)]

        def step(volume: Callable[[Tensor, Tensor], Tensor], x: list[Tensor] = x) -> None:
            v = volume(x[0], torch.stack(x[1:], 1))
            torch.nn.functional.cross_entropy(-v / 0.07, torch.arange(len(v))).backward()

        def forward(volume: Callable[[Tensor, Tensor], Tensor], x: list[Tensor] = x) -> None:
            with torch.no_grad():
                volume(x[0], torch.stack(x[1:], 1))

        def products(x: list[Tensor] = x) -> None:
            with torch.no_grad():
                for y in x[1:]:
                    x[0] @ y.T

        found = ratios(
            {
                "forward, determinants": lambda f=forward: f(determinants),
                "forward": lambda f=forward: f(gram_volume_of),
                "floor": products,
            },
            rounds,
        )
        whole = ratios(
            {"determinants": lambda f=step: f(determinants), "ours": lambda f=step: f(gram_volume_of)}, rounds
        )
        rows.append(
            {
                "what": f"all {b} × {b} volumes of {m} modalities, d = {d}",
                "measured": f"{1 / found['forward'][1]:.1f} × faster forward, {1 / whole['ours'][1]:.1f} × a whole "
                f"step than determinants; {found['forward'][0] / found['floor'][0]:.1f} × the bare products",
                "target": "faster; more for 4 and 5",
            }
        )
    return rows


def tiled_contrast(b: int = 16_384, d: int = 512, huge: int = 65_536) -> list[dict]:
    """The tiled InfoNCE against the plain one: time of a step, and memory, each in a process of its own."""
    start = (
        "import time, torch\nfrom workbench.objectives import heads, tiled\n"
        "def rows(b): return torch.nn.functional.normalize(torch.randn(b, {d}), dim=1).requires_grad_()\n"
        "def plain(x, y): return heads.symmetric(x @ y.T / 0.07)\n"
        "def small(x, y): return tiled.infonce(x, y, 0.07)\n"
        "plain(rows(64), rows(64)).backward(); small(rows(64), rows(64)).backward()\n"
        "x, y = rows({b}), rows({b})\n"
    )
    timed = "def job():\n    s = time.perf_counter(); {f}(x, y).backward(); print(time.perf_counter() - s)"
    grown, took = {}, {}
    for f in ("plain", "small"):
        held, said = growth_and_output((start + timed).format(b=b, d=d, f=f))
        grown[f], took[f] = held, float(said)
    held, said = growth_and_output((start + timed).format(b=huge, d=d, f="small"))
    return [
        row(f"plain InfoNCE, B = {b:,}, d = {d}: {grown['plain'] / 2**20:,.0f} MB", took["plain"], "1", ""),
        {
            "what": "tiled InfoNCE",
            "measured": f"{took['small'] / took['plain']:.2f} × the time, "
            f"1/{grown['plain'] / max(grown['small'], 1):.0f} of the memory ({grown['small'] / 2**20:,.0f} MB)",
            "target": "≤ 0.35 × the time, ≤ 1/20 of the memory",
        },
        {
            "what": f"tiled InfoNCE, B = {huge:,} (plain: {4 * huge**2 / 2**30:.0f} GB a matrix)",
            "measured": f"{float(said):.0f} s, {held / 2**20:,.0f} MB",
            "target": "runs",
        },
    ]


def loop_overhead(steps: int = 300) -> list[dict]:
    """The training loop against the same steps written out bare: model, loss, optimiser, nothing else."""
    import tempfile
    import time
    from pathlib import Path

    from workbench.training import towers
    from workbench.training.samplers import shuffle

    es = wb.dataset("emoji").split("train").only(["text", "color"])
    inputs = {m: es[m].float() for m in es.modalities}

    def bare() -> float:
        torch.manual_seed(0)
        model = towers.build(dict.fromkeys(inputs, "mlp"), inputs, 128, 256, 0.2)
        objective = wb.recipe("infonce")
        weights = [*model.parameters(), *objective.parameters()]
        optimizer, index = torch.optim.AdamW(weights, lr=1e-3), shuffle(len(es), 256, 0)
        start = time.perf_counter()
        for step in range(1, steps + 1):
            at = index(step)
            objective(wb.Batch(model({m: x[at] for m, x in inputs.items()})))["loss"].backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - start

    def ours(count: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            wb.train("infonce", out=Path(folder) / "r", modalities=["text", "color"], steps=count, evaluate=10**6)
            return time.perf_counter() - start

    bare(), ours(2)
    # what a run costs before its first and after its last step is taken off: two lengths, one difference
    ratios_ = sorted((ours(2 * steps) - ours(steps)) / bare() for _ in range(5))
    return [
        {
            "what": f"a step of the loop against a bare torch loop, batch 256, {steps} steps",
            "measured": f"{ratios_[2]:.2f} ×",
            "target": "≤ 1.05 ×",
        }
    ]
