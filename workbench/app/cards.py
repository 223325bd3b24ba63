"""Small pieces of HTML that pages share; every text from data is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from workbench.doctor import MARKS, Finding
from workbench.views.page import number
from workbench.views.theme import MONO, style

CSS = f"""<style>
.wb table {{ border-collapse:collapse; width:100%; }} .wb th {{ text-align:left; color:#616b75; font-weight:600; }}
.wb th, .wb td {{ padding:6px 14px 6px 0; border-bottom:1px solid #dfe3e8; }} .wb .num {{ font-family:{MONO}; font-size:12.5px; white-space:nowrap; }}
.wb .null {{ color:#616b75; }} .wb ul {{ list-style:none; padding:0; margin:0; }} .wb li {{ padding:5px 0 5px 20px; text-indent:-20px; line-height:1.4; }}
.wb .mark {{ display:inline-block; width:20px; text-indent:0; }} .wb .fault .mark, .wb .warning .mark {{ color:#D55E00; }}
.wb img {{ width:44px; height:44px; vertical-align:middle; }} .wb .five {{ display:flex; gap:8px; }} .wb .five div {{ width:72px; font-size:11px; line-height:1.25; }}
.wb h4 {{ margin:10px 0 4px; font-size:13px; }} .wb .caption {{ color:#616b75; font-size:12.5px; }}
</style>"""


def framed(body: str) -> str:
    return f'{CSS}<div class="wb">{body}</div>'


def measured(row: Mapping[str, Any]) -> str:
    """`0.41 [0.36, 0.46] null 0.00 … 0.01`: a number never stands alone."""
    ends = f" [{number(row['low'])}, {number(row['high'])}]" if row["low"] == row["low"] else ""
    null = f'<br><span class="null">null {number(row["null_low"])} … {number(row["null_high"])}</span>'
    return f'<span class="num">{number(row["value"])}{ends}{null}</span>'


GLYPHS = {
    "circle": "●",
    "diamond": "◆",
    "square": "■",
    "triangle-up": "▲",
    "x": "✕",
    "cross": "✚",
    "star": "★",
    "hexagon": "⬢",
}


def legend(names: Iterable[str]) -> str:
    """Shape and hue of each modality in words: the page's theme takes the legend of a plot out of our hands."""
    marks = [
        f'<span style="color:{hue}">{GLYPHS[shape]}</span> {escape(m)}' for m, (hue, shape) in style(names).items()
    ]
    return f'<span class="caption">{" &nbsp; ".join(marks)}</span>'


def picture(png: Any) -> str:
    if not isinstance(png, bytes):
        return ""
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def said(findings: Sequence[Finding]) -> str:
    """The doctor's sentences, worst first."""
    lines = [
        f'<li class="{f.severity}"><span class="mark">{MARKS[f.severity]}</span>{escape(f.sentence)}</li>'
        for f in findings
    ]
    return f"<ul>{''.join(lines)}</ul>"


def five(items: Sequence[Mapping[str, Any]], modality: str) -> str:
    """A row of small cards: drawing (of this modality, where it has one), name, cosine."""
    cells = [
        f'<div>{picture(i.get(f"{modality}_png", i.get("color_png")))}<br>{escape(str(i["name"]))}<br><span class="num">{i["cosine"]:.2f}</span></div>'
        for i in items
    ]
    return f'<div class="five">{"".join(cells)}</div>'
