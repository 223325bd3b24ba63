"""Cards: what a report, a comparison or a run looks like as the result of a notebook's cell, in a screenful.

Plain HTML and SVG without a script: drawn alike in every notebook, light and dark, live, saved and exported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from workbench.diagnostics.registry import headlines
from workbench.report.comparison import Comparison
from workbench.report.finding import MARKS, Finding, verdict
from workbench.report.report import Report
from workbench.views.document import in_words, number
from workbench.views.figures import scope
from workbench.views.theme import HUES, MONO

SHOWN = 3  # findings that are not folded away
MOST = 12  # rows of a table that are not folded away
LINE = "var(--jp-border-color2, rgba(128, 138, 148, 0.4))"
STYLE = f"""<style>
.wb-card {{ font-size: 13px; line-height: 1.45; max-width: 900px; }}
.wb-card table {{ border-collapse: collapse; margin: 6px 0; background: transparent; }}
.wb-card th, .wb-card td {{ text-align: left !important; padding: 2px 14px 2px 0; border-bottom: 1px solid {LINE}; }}
.wb-card tr {{ background: transparent !important; }}
.wb-card th {{ font-weight: 600; opacity: 0.75; }}
.wb-card .n {{ font-family: {MONO}; font-size: 12.5px; white-space: nowrap; }}
.wb-card .quiet {{ opacity: 0.75; }}
.wb-card .verdict {{ font-size: 15px; font-weight: 600; margin: 2px 0 4px; }}
.wb-card ul {{ list-style: none; margin: 4px 0; padding: 0; }}
.wb-card li {{ padding: 2px 0 2px 18px; text-indent: -18px; }}
.wb-card li::marker {{ content: ""; }}
.wb-card .mark {{ display: inline-block; width: 18px; text-indent: 0; }}
.wb-card .fault .mark {{ color: #d55e00; }} .wb-card .warning .mark {{ color: #c98500; }}
.wb-card summary {{ cursor: pointer; }} .wb-card svg text {{ fill: currentColor; font-size: 12px; }}
</style>"""


def framed(body: str) -> str:
    """HTML with the style of cards around it."""
    return f'{STYLE}<div class="wb-card">{body}</div>'


def sentences(found: Sequence[Finding]) -> str:
    """Findings as a list, one mark each, with what to try."""
    lines = []
    for f in found:
        then = f' <span class="quiet">→ {escape(f.next)}</span>' if f.next and f.alarm else ""
        mark = f'<span class="mark" title="{f.severity}">{MARKS[f.severity]}</span>'
        lines.append(f'<li class="{f.severity}">{mark}{escape(f.sentence)}{then}</li>')
    return f"<ul>{''.join(lines)}</ul>"


def judged(found: Sequence[Finding]) -> str:
    """The verdict, the first findings, and the others folded."""
    rest = found[SHOWN:]
    more = f"<details><summary>{len(rest)} more</summary>{sentences(rest)}</details>" if rest else ""
    return f'<div class="verdict">{verdict(found)}</div>{sentences(found[:SHOWN])}{more}'


def values(rows: Sequence[Mapping[str, Any]]) -> str:
    """Numbers with their interval, what chance gives, and n."""
    body = []
    for r in rows:
        value, null, n = in_words(r)
        body.append(
            f"<tr><td>{escape(r['name'])}</td><td>{escape(scope(r))}</td><td class='n'>{value}</td>"
            f"<td class='n'>{null or '–'}</td><td class='n'>{n}</td></tr>"
        )
    head = "<tr><th>diagnostic</th><th>of</th><th>value [95 %]</th><th>by chance</th><th>queries of gallery</th></tr>"
    return f"<table>{head}{''.join(body)}</table>"


def strip(rows: Sequence[Mapping[str, Any]], width: int = 560) -> str:
    """Shares between 0 and 1 as dots with their intervals, and the band of chance behind each, as SVG."""
    left, step = 210, 24
    x = lambda v: left + (width - left - 20) * min(max(v, 0.0), 1.0)  # noqa: E731
    parts = []
    for k, r in enumerate(rows):
        y = 16 + step * k
        if math.isfinite(r["null_low"]):
            wide = max(x(r["null_high"]) - x(r["null_low"]), 2)
            parts.append(
                f'<rect x="{x(r["null_low"]):.1f}" y="{y - 8}" width="{wide:.1f}" height="16" fill="#808a94" '
                'opacity="0.4"><title>by chance</title></rect>'
            )
        if math.isfinite(r["low"]):
            parts.append(
                f'<line x1="{x(r["low"]):.1f}" x2="{x(r["high"]):.1f}" y1="{y}" y2="{y}" stroke="{HUES[4]}" '
                'stroke-width="3"/>'
            )
        parts.append(f'<circle class="mark-value" cx="{x(r["value"]):.1f}" cy="{y}" r="5" fill="{HUES[4]}"/>')
        parts.append(f'<text x="0" y="{y + 4}">{escape(scope(r))}</text>')
        parts.append(f'<text x="{left - 46}" y="{y + 4}" font-family="monospace">{number(r["value"])}</text>')
    end = 16 + step * len(rows)
    axis = f'<line x1="{left}" x2="{width - 20}" y1="{end - 6}" y2="{end - 6}" stroke="currentColor" opacity="0.4"/>'
    ticks = "".join(
        f'<text x="{x(v):.1f}" y="{end + 10}" text-anchor="middle" opacity="0.75">{v:g}</text>' for v in (0, 0.5, 1)
    )
    name = escape(str(rows[0]["name"]).replace("_", " "))
    size = f'width="{width}" height="{end + 16}" viewBox="0 0 {width} {end + 16}"'
    return f'<svg {size} role="img" aria-label="{name}">{"".join(parts)}{axis}{ticks}</svg>'


def report_card(report: Report) -> str:
    """Verdict, findings, recall as a figure, the headline numbers; every other number folded."""
    a = report.about
    shape = ", ".join(f"{m} {v['rows']:,}×{v['dimensions']}" for m, v in a["modalities"].items())
    head = f'<div class="quiet">{escape(str(a["source"]))} · {a["items"]:,} items · {escape(shape)}</div>'
    known = [r for r in report.frame.to_dict("records") if math.isfinite(r["value"])]
    leading = [r for n in headlines() for r in known if r["name"] == n]
    recall = [r for r in leading if r["name"] == leading[0]["name"] and r["bound"] == (0.0, 1.0)][:MOST]
    figure = f"<div class='quiet'>{recall[0]['name'].replace('_', ' ')}</div>{strip(recall)}" if recall else ""
    rest = [r for r in known if r not in leading[:MOST]]
    more = f"<details><summary>{len(rest)} more numbers</summary>{values(rest)}</details>" if rest else ""
    shown = values(leading[:MOST]) if leading else ""
    return framed(head + judged(report.findings) + figure + shown + more)


def comparison_card(found: Comparison) -> str:
    """What the comparison says, and its paired differences; how alike the spaces are folded."""
    said = "".join(f"<li>{escape(s)}</li>" for s in found.sentences)
    rows = "".join(
        f"<tr><td>{escape(r['name'])}</td><td>{escape(' → '.join(r['modalities']))}</td>"
        f"<td class='n'>{number(r['a'])}</td><td class='n'>{number(r['b'])}</td>"
        f"<td class='n'>{r['value']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]</td><td>{escape(r['verdict'])}</td></tr>"
        for r in found.paired.to_dict("records")
    )
    head = "<tr><th>diagnostic</th><th>direction</th><th>A</th><th>B</th><th>B − A [95 %]</th><th></th></tr>"
    alike = "".join(
        f"<tr><td>{escape(r['name'])}</td><td>{escape(r['modality'])}</td><td class='n'>{number(r['value'])}</td></tr>"
        for r in found.shared.to_dict("records")
    )
    a = found.about
    top = f'<div class="quiet">A {escape(str(a["a"]))} · B {escape(str(a["b"]))} · {a["items"]:,} items in both</div>'
    more = f"<details><summary>how alike the spaces are</summary><table>{alike}</table></details>"
    return framed(f"{top}<ul>{said}</ul><table>{head}{rows}</table>{more}")


def run_card(name: str, about: str, found: Sequence[Finding], curve: Sequence[float], last: Mapping[str, float]) -> str:
    """A run: how far it is, what the doctor says of its log, retrieval over the looks, and the last look's numbers."""
    rows = "".join(f"<tr><td>{escape(k)}</td><td class='n'>{number(v)}</td></tr>" for k, v in last.items())
    figure = line(curve) if len(curve) > 1 else ""
    head = f'<div class="quiet">{escape(name)} · {escape(about)}</div>'
    return framed(f"{head}{judged(found)}{figure}<table>{rows}</table>")


def line(curve: Sequence[float], width: int = 360, height: int = 64) -> str:
    """Recall at 1 on the probe over the looks, from 0 to 1 or the largest value, as SVG."""
    top = max(max(curve), 1e-9)
    at = [
        (10 + (width - 90) * k / (len(curve) - 1), height - 12 - (height - 24) * v / top) for k, v in enumerate(curve)
    ]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="recall at 1 on the probe over the looks">'
        f'<polyline points="{points}" fill="none" stroke="{HUES[4]}" stroke-width="2"/>'
        f'<circle class="mark-value" cx="{at[-1][0]:.1f}" cy="{at[-1][1]:.1f}" r="4" fill="{HUES[4]}"/>'
        f'<text x="{at[-1][0] + 8:.1f}" y="{at[-1][1] + 4:.1f}">R@1 {number(curve[-1])}</text></svg>'
    )
