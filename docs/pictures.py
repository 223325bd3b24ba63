"""The pictures of *how to read a report*, drawn from planted sets that are really diagnosed. `make tables` runs it."""

# ruff: noqa: E501 - lines of SVG are long
from __future__ import annotations

from pathlib import Path

import torch

import workbench as wb
from workbench.sets.planted import flattened, planted

HERE = Path(__file__).resolve().parent
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8a8f98"
WIDTH, HEIGHT = 640, 220


def svg(parts: list[str], height: int = HEIGHT) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>', *parts, "</svg>\n"])


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = "#24292f") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def gap() -> str:
    """Two spaces side by side: along the gap, and across it."""
    parts = []
    for k, size in enumerate((0.1, 1.0)):
        es = planted(120, 16, gap=size, seed=0)
        report = wb.diagnose(es, only=["modality_gap", "recall_at_1"])
        a, b = es.unit("image"), es.unit("text")
        axis = a.mean(0) - b.mean(0)
        axis = axis / axis.norm()
        across = torch.linalg.svd((a - a.mean(0)) - ((a - a.mean(0)) @ axis)[:, None] * axis, full_matrices=False)[2][0]
        for rows, colour in ((a, BLUE), (b, ORANGE)):
            for x, y in zip(rows @ axis, rows @ across, strict=True):
                parts.append(
                    f'<circle cx="{160 + 320 * k + 150 * x:.1f}" cy="{95 + 80 * y:.1f}" r="2.5" fill="{colour}" opacity="0.7"/>'
                )
        found = report.value("modality_gap", "image", "text"), report.value("recall_at_1", "image", "text")
        parts.append(text(160 + 320 * k, 205, f"gap {float(found[0]):.2f}, R@1 {float(found[1]):.2f}", "middle"))
    return svg([*parts, text(8, 18, "image", colour=BLUE), text(52, 18, "text", colour=ORANGE)])


def uniformity() -> str:
    """The same number of rows, drawn together more and more on a circle."""
    parts = []
    for k, spread in enumerate((0.1, 0.35, 1.0)):
        angles = spread * 2 * torch.pi * torch.arange(60) / 60
        rows = torch.stack([angles.cos(), angles.sin()], 1)
        value = float(wb.diagnose({"a": rows, "b": rows}, only=["uniformity"]).value("uniformity", "a"))
        x = 110 + 210 * k
        parts.append(f'<circle cx="{x}" cy="95" r="75" fill="none" stroke="{GREY}" stroke-width="0.7"/>')
        parts += [
            f'<circle cx="{x + 75 * p:.1f}" cy="{95 - 75 * q:.1f}" r="3" fill="{BLUE}"/>' for p, q in rows.tolist()
        ]
        parts.append(text(x, 205, f"uniformity {value:.2f}", "middle"))
    return svg(parts)


def rank() -> str:
    """Spectra of a space that is used, and of one that is not."""
    whole = planted(400, 16, seed=0)
    parts = []
    for k, es in enumerate((whole, flattened(whole, "image", 3))):
        rows = es.unit("image")
        values = torch.linalg.svdvals(rows - rows.mean(0))
        value = float(wb.diagnose(es, only=["effective_rank"]).value("effective_rank", "image"))
        for i, v in enumerate((values / values[0]).tolist()):
            x, h = 40 + 320 * k + 15 * i, 150 * v
            parts.append(f'<rect x="{x}" y="{175 - h:.1f}" width="11" height="{h:.1f}" fill="{BLUE}"/>')
        parts.append(text(165 + 320 * k, 205, f"effective rank {value:.1f} of {len(values)}", "middle"))
    return svg(parts)


def null() -> str:
    """Three reports of R@1: value with interval, and the band of the null."""
    parts = []
    parts.append(f'<path d="M180 185H620" stroke="{GREY}" stroke-width="0.7"/>')
    for k, (cosine, items) in enumerate(((0.5, 400), (0.5, 40), (0.25, 40))):
        report = wb.diagnose(planted(items, 32, cosine=cosine, seed=3), only=["recall_at_1"])
        row = report.frame.iloc[0]
        y = 45 + 55 * k
        x = [180 + 440 * float(row[c]) for c in ("value", "low", "high", "null_low", "null_high")]
        parts.append(text(8, y + 4, f"{items} items, cosine {cosine}"))
        parts.append(
            f'<rect x="{x[3]:.1f}" y="{y - 14}" width="{max(x[4] - x[3], 2):.1f}" height="28" fill="{GREY}" opacity="0.45"/>'
        )
        parts.append(f'<path d="M{x[1]:.1f} {y}H{x[2]:.1f}" stroke="{BLUE}" stroke-width="3"/>')
        parts.append(f'<circle cx="{x[0]:.1f}" cy="{y}" r="5" fill="{BLUE}"/>')
    return svg(
        [
            *parts,
            text(180, 205, "R@1 0"),
            text(620, 205, "1", "end"),
            text(400, 205, "grey: null, blue: value and interval", "middle"),
        ]
    )


def main() -> None:
    for draw in (gap, uniformity, rank, null):
        (HERE / f"reading-{draw.__name__}.svg").write_text(draw())


if __name__ == "__main__":
    main()
