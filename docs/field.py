"""The field in one figure: families of papers against what their claims move, from the kept evidence. `make tables`."""

# ruff: noqa: E501 - lines of SVG are long
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from docs.pictures import BLUE, GREY, ORANGE, svg
from workbench.papers.catalogue import catalogue
from workbench.papers.paper import MOVES
from workbench.papers.verdicts import kept
from workbench.papers.wording import NOT_YET

HERE = Path(__file__).resolve().parent
COLUMN, LABEL, LINE, HEAD = 168, 86, 17, 64
HUES = {
    "held": BLUE,
    "some gain": "#56b4e9",
    "not held": ORANGE,
    "inconclusive": GREY,
    "not judged": GREY,
    NOT_YET: "#c8ccd2",
}
INK, QUIET, RULE = "#24292f", "#5b626b", "#e3e6ea"
MOST = 9.95  # times the smallest effect: what is more is said as that


def text(x: float, y: float, words: str, size: int = 11, colour: str = INK, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}" {more}>{words}</text>'


def mark(x: float, y: float, times: float, outcome: str) -> str:
    """Up for a gain and down for a loss, larger for more of it; hollow where nothing could be judged."""
    hue = HUES[outcome]
    if not math.isfinite(times):
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="none" stroke="{hue}" stroke-width="1.4"/>'
    r = 2.5 + 3.5 * min(math.sqrt(abs(times) / 3), 1.0)
    way = -1 if times >= 0 else 1
    points = f"{x - r:.1f},{y - way * r * 0.8:.1f} {x + r:.1f},{y - way * r * 0.8:.1f} {x:.1f},{y + way * r:.1f}"
    fill = "none" if outcome == "not judged" else hue
    return f'<polygon points="{points}" fill="{fill}" stroke="{hue}" stroke-width="1.2"/>'


def size(found: dict[str, Any], least: float) -> float:
    """The gain in units of the smallest that was worth having; NaN where there is none."""
    effect = found.get("effect")
    return math.nan if effect is None else effect / least


def said(times: float) -> str:
    if not math.isfinite(times):
        return ""
    sign = "" if round(times, 1) == 0 else "+" if times > 0 else "−"
    return f"{'over ' if abs(times) > MOST else ''}{sign}{min(abs(times), 10):.1f}"


def drawn() -> str:
    """The figure as SVG."""
    papers, verdicts = catalogue(), kept()
    topics = sorted({p.topic for p in papers.values()})
    width, y, parts = LABEL + COLUMN * len(MOVES), HEAD, []
    for k, (name, what) in enumerate(MOVES.items()):
        x = LABEL + COLUMN * k
        parts.append(text(x + 6, 18, name, 13, INK, 'font-weight="600"'))
        words, line = what.split(), ["", ""]
        for w in words:
            line[0 if len(line[0]) + len(w) < 27 and not line[1] else 1] += f"{w} "
        parts += [text(x + 6, 33 + 13 * i, s.strip(), 10, QUIET) for i, s in enumerate(line)]
    for topic in topics:
        cells = [[p for p in papers.values() if p.topic == topic and p.moves == m] for m in MOVES]
        high = LINE * max(map(len, cells)) + 14
        parts.append(f'<path d="M0 {y}H{width}" stroke="{RULE}"/>')
        parts.append(text(4, y + 19, topic, 12, INK, 'font-weight="600"'))
        for k, cell in enumerate(cells):
            ranked = sorted(cell, key=lambda p: -_finite(size(verdicts.get(p.key, {}), p.min_effect)))
            for i, p in enumerate(ranked):
                found = verdicts.get(p.key, {})
                times, outcome = size(found, p.min_effect), found.get("outcome", NOT_YET)
                x, middle = LABEL + COLUMN * k + 13, y + 15 + LINE * i
                name = p.key if len(p.key) < 19 else p.key[:17] + "…"
                parts.append(mark(x, middle, times, outcome))
                parts.append(text(x + 11, middle + 4, f'{name} <tspan fill="{QUIET}">{said(times)}</tspan>'))
        y += high
    parts.append(f'<path d="M0 {y}H{width}" stroke="{RULE}"/>')
    x = LABEL
    for outcome in (o for o in HUES if o != NOT_YET or len(verdicts) < len(papers)):
        parts.append(mark(x + 8, y + 22, 2 if outcome != NOT_YET else math.nan, outcome))
        words = "no room to gain" if outcome == "not judged" else outcome
        parts.append(text(x + 20, y + 26, words, 12))
        x += 44 + 7 * len(words)
    parts.append(
        text(x + 10, y + 26, "numbers: the gain, in units of the smallest that was said to be worth having", 12, QUIET)
    )
    return svg(parts, y + 42, width)


def _finite(x: float) -> float:
    return x if math.isfinite(x) else -math.inf


def main() -> None:
    """Write docs/atlas.svg."""
    (HERE / "atlas.svg").write_text(drawn())


if __name__ == "__main__":
    main()
