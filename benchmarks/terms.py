"""Uniformity against all pairwise distances, and Gramian volumes against determinants."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import workbench as wb
from benchmarks.sweep import row
from benchmarks.timing import growth, ratios
from workbench.objectives.geometry import gram_volume_of


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
        {"what": "uniformity with interval and null", "measured": f"{speed:.1f} × faster", "target": "≥ 3 × faster"},
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
