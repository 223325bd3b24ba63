"""A paper and its evidence as the result of a notebook's cell: claim, numbers, verdict, in a screenful."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from workbench.papers.paper import Paper
from workbench.views.card import framed
from workbench.views.theme import BAND, FAINT, INK


def paper_card(p: Paper) -> str:
    """Citation, claim, what must move and what must not."""
    rows = [("must move", p.expected), ("must not move", p.control), ("data", p.data), ("carried by", p.carrier)]
    body = "".join(f"<tr><th>{k}</th><td>{escape(v)}</td></tr>" for k, v in rows if v)
    head = f'<div class="quiet">{escape(p.citation)} · {escape(p.topic)} · {escape(p.form)}</div>'
    return framed(f'{head}<div class="verdict">{escape(p.claim)}</div><table>{body}</table>')


def evidence_card(p: Paper, verdict: str, reason: str, rows: Sequence[tuple[str, str]], picture: str) -> str:
    """The verdict with its reason, the gain as a bar, and the numbers it stands on."""
    body = "".join(f"<tr><th>{escape(k)}</th><td class='n'>{escape(v)}</td></tr>" for k, v in rows)
    head = f'<div class="quiet">{escape(p.key)} · {escape(p.claim)}</div><div class="verdict">{escape(verdict)}</div>'
    return framed(f"{head}<div>{escape(reason)}</div>{picture}<table>{body}</table>")


def bar(low: float, high: float, mean: float, min_effect: float, width: int = 200) -> str:
    """A gain with its interval, nothing as a line and the smallest effect worth having as a dashed one."""
    ends = [x for x in (low, high, mean, min_effect, 0.0) if np.isfinite(x)]
    a, b = min(ends), max(ends)
    pad = (b - a) * 0.08 or 1.0
    a, b = a - pad, b + pad

    def x(v: float) -> float:
        return (v - a) / (b - a) * width

    if not np.isfinite(low):
        return ""
    return (
        f'<svg width="{width}" height="22" role="img" aria-label="gain {mean:.3g}, interval {low:.3g} to {high:.3g}, '
        f'worth having from {min_effect:.3g}"><rect x="{x(low):.1f}" y="8" width="{max(x(high) - x(low), 1):.1f}" height="6" fill="{BAND}"/>'
        f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="2" y2="20" stroke="{FAINT}"/><line x1="{x(min_effect):.1f}" x2="{x(min_effect):.1f}" y1="2" '
        f'y2="20" stroke="{FAINT}" stroke-dasharray="2 2"/><circle cx="{x(mean):.1f}" cy="11" r="4" fill="{INK}"/></svg>'
    )
