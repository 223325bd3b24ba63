"""The pictures of *how to read a report*, drawn from planted sets that are really diagnosed. `make tables` runs it."""

# ruff: noqa: E501 - lines of SVG are long
from __future__ import annotations

import itertools
import math
from pathlib import Path

import torch

import workbench as wb
from workbench.sets.planted import flattened, planted

HERE = Path(__file__).resolve().parent
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8a8f98"
WIDTH, HEIGHT = 640, 220


def svg(parts: list[str], height: int = HEIGHT, width: int = WIDTH) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#ffffff"/>', *parts, "</svg>\n"])


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


def storage() -> str:
    """R@10 against bytes a vector, of colours and drawings of emoji, with intervals over families."""
    found = wb.treat(wb.dataset("emoji").only(["color", "sketch"]), "storage")
    kinds = {"float32": BLUE, "int8": ORANGE, "int4": "#009e73", "binary": "#cc79a7", "binary, again": "#56b4e9"}
    left, top, wide, high = 60, 40, 560, 250
    low = min(c.value - 0.03 for c in found.candidates)
    ends = [math.log2(f([c.bytes for c in found.candidates])) for f in (min, max)]
    x = lambda size: left + wide * (math.log2(size) - ends[0]) / (ends[1] - ends[0])  # noqa: E731
    y = lambda value: top + high * (1 - (value - low) / (1 - low))  # noqa: E731
    parts = []
    for value in (0.6, 0.7, 0.8, 0.9, 1.0):
        parts.append(f'<line x1="{left}" x2="{left + wide}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e8ebee"/>')
        parts.append(text(left - 8, y(value) + 4, f"{value:.1f}", "end"))
    for size in (10, 40, 160, 640, 2560):
        parts.append(text(x(size), top + high + 20, f"{size:,}", "middle"))
    parts.append(text(left + wide / 2, top + high + 42, "bytes a vector (5,120 as it is)", "middle"))
    parts.append(text(left - 50, top - 16, "R@10"))
    parts.append(
        f'<line x1="{left}" x2="{left + wide}" y1="{y(found.value):.1f}" y2="{y(found.value):.1f}" stroke="#24292f" stroke-dasharray="3 3"/>'
    )
    parts.append(text(left + wide, y(found.value) - 6, "as it is", "end"))
    path = [f"{x(found.front[0].bytes):.1f},{y(found.front[0].value):.1f}"]
    for before, c in itertools.pairwise(found.front):
        path += [f"{x(c.bytes):.1f},{y(before.value):.1f}", f"{x(c.bytes):.1f},{y(c.value):.1f}"]
    parts.append(f'<polyline points="{" ".join(path)}" fill="none" stroke="{GREY}" stroke-width="1.5"/>')
    for c in found.candidates:
        hue = kinds[c.settings["kind"] + (", again" if c.settings["again"] else "")]
        at, up, down = x(c.bytes), y(c.value + c.high - c.change), y(c.value + c.low - c.change)
        fill = hue if c.settings["keep"] == "pca" else "#ffffff"
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{max(up, top):.1f}" y2="{down:.1f}" stroke="{hue}" opacity="0.5"/>'
        )
        parts.append(
            f'<circle cx="{at:.1f}" cy="{y(c.value):.1f}" r="4" fill="{fill}" stroke="{hue}" stroke-width="1.5"/>'
        )
    at = left + 60
    for name, hue in kinds.items():
        parts.append(
            f'<circle cx="{at}" cy="{top - 20}" r="4" fill="{hue}"/>'
            + text(at + 9, top - 16, name.replace("again", "scored again"))
        )
        at += 36 + 7.2 * len(name.replace("again", "scored again"))
    parts.append(
        text(
            left,
            top + high + 64,
            "filled: principal directions; open: the first dimensions; line: nothing smaller finds more",
            colour=GREY,
        )
    )
    return svg(parts, top + high + 76)


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
    (HERE / "storage.svg").write_text(storage())


if __name__ == "__main__":
    main()
