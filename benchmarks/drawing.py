"""A small log-log figure as SVG: lines, their slopes, and nothing else."""

from __future__ import annotations

import math
from html import escape

HUES = ("#0072B2", "#D55E00", "#009E73")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 70, 230, 20, 50


def log_log(lines: dict[str, list[tuple[int, float]]], x_title: str, y_title: str) -> str:
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    x0, x1 = math.log10(min(xs)), math.log10(max(xs))
    y0, y1 = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        up = (math.log10(y) - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
        return LEFT + across, HEIGHT - BOTTOM - up

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for e in range(y0, y1 + 1):
        _, y = at(min(xs), 10.0**e)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#444">{10.0**e:g}</text>')
    for x in sorted(set(xs)):
        across, _ = at(x, 10.0**y0)
        out.append(
            f'<text x="{across:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#444">{x // 1000}k</text>'
        )
    for (name, points), hue in zip(lines.items(), HUES, strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in points))
        out.append(f'<polyline points="{path}" fill="none" stroke="{hue}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{hue}"/>' for x, y in (at(*p) for p in points)]
        (xa, ya), (xb, yb) = points[-3], points[-1]
        slope = math.log(yb / ya) / math.log(xb / xa)
        x, y = at(*points[-1])
        label, _, rest = name.partition(" (")
        out.append(f'<text x="{x + 12:.1f}" y="{y:.1f}" fill="{hue}">{escape(label)}: slope {slope:.2f}</text>')
        out.append(
            f'<text x="{x + 12:.1f}" y="{y + 16:.1f}" fill="#666" font-size="11">{escape(rest.rstrip(")"))}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    out.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle" fill="#444">{escape(x_title)}</text>')
    out.append(f'<text x="{LEFT}" y="{TOP - 7}" fill="#444">{escape(y_title)}</text></svg>')
    return "\n".join(out) + "\n"
