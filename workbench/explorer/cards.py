"""Small pieces of HTML for a pair, a finding, a number; every text from data is escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from workbench.explorer.inspection import Inspection
from workbench.explorer.wire_format import data_url
from workbench.report.finding import MARKS, Finding
from workbench.views.document import band, number
from workbench.views.theme import MONO

# colours come from the page's text colour, so that light and dark both work
CSS = f"""<style>
.wb {{ font-size:13px; line-height:1.4; }} .wb table {{ border-collapse:collapse; width:100%; }}
.wb th {{ text-align:left; opacity:.7; font-weight:600; }} .wb th, .wb td {{ padding:4px 12px 4px 0; border-bottom:1px solid rgba(128,138,148,.3); vertical-align:top; }}
.wb .num {{ font-family:{MONO}; font-size:12.5px; white-space:nowrap; }} .wb .null, .wb .caption {{ opacity:.72; font-size:12.5px; }}
.wb ul {{ list-style:none; padding:0; margin:0; }} .wb li {{ padding:4px 0 4px 18px; text-indent:-18px; }} .wb .mark {{ display:inline-block; width:18px; text-indent:0; }}
.wb .fault .mark, .wb .warning .mark {{ color:#D55E00; }} .wb img {{ width:44px; height:44px; vertical-align:middle; background:#fff; border-radius:3px; }}
.wb .five {{ display:flex; gap:8px; flex-wrap:wrap; }} .wb .five div {{ width:68px; font-size:11px; line-height:1.25; overflow-wrap:anywhere; }} .wb .five .own {{ outline:2px solid #0072B2; outline-offset:2px; border-radius:3px; }}
.wb h4 {{ margin:10px 0 4px; font-size:13px; }} .wb .text {{ overflow-wrap:anywhere; }}
</style>"""


def framed(body: str) -> str:
    """HTML with the style of cards around it."""
    return f'{CSS}<div class="wb">{body}</div>'


def measured(row: Mapping[str, Any]) -> str:
    """`0.41 [0.36, 0.46] null 0.00 … 0.01`: a number never stands alone."""
    ends = f" [{number(row['low'])}, {number(row['high'])}]" if row["low"] == row["low"] else ""
    null = f'<br><span class="null">null {band(row) or "–"}</span>'
    return f'<span class="num">{number(row["value"])}{ends}{null}</span>'


CHOSEN = 60  # items of a selection that a report lists
MEDIA = ("_png", "_wav")  # ends of the names of columns that hold pictures and sounds


def media(row: Mapping[str, Any], modality: str = "") -> str:
    """An item's picture, of this modality where it has one, or its sound as a player."""
    names = [c for c in row if isinstance(c, str)]
    for column in (f"{modality}_png", *sorted(c for c in names if c.endswith("_png"))):
        if url := data_url(row.get(column)):
            return f'<img alt="" src="{url}">'
    for column in (f"{modality}_wav", *sorted(c for c in names if c.endswith("_wav"))):
        raw = row.get(column)
        if isinstance(raw, bytes) and raw[:4] == b"RIFF":
            import base64

            sound = base64.b64encode(raw).decode()
            return f'<audio controls preload="none" style="width:180px" src="data:audio/wav;base64,{sound}"></audio>'
    return ""


def sentences(findings: Sequence[Finding]) -> str:
    """The doctor's sentences, worst first."""
    return "<ul>" + "".join(sentence(f) for f in findings) + "</ul>"


def sentence(f: Finding) -> str:
    """One finding as a line of a list, its mark before it."""
    return f'<li class="{f.severity}"><span class="mark">{MARKS[f.severity]}</span>{escape(f.sentence)}</li>'


def chosen(inspection: Inspection, name: str) -> str:
    """The items of a saved selection with the ranks of their matches among all items, and what ranks first instead."""
    at = inspection.worst_first(inspection.places(inspection.selections[name]))
    directions = inspection.directions[:2]
    head = "".join(f"<th class='n'>rank {escape(a)} → {escape(b)}</th><th>first instead</th>" for a, b in directions)
    rows = []
    for i in at[:CHOSEN]:
        row = inspection.items.iloc[i].to_dict()
        cells = []
        for a, b in directions:
            m = inspection.query_result(int(i), a, b)
            first = m.nearest.iloc[0] if m is not None and len(m.nearest) else None
            other = "" if first is None or first["item"] == i else str(first["name"])[:60]
            cells.append(f"<td class='n'>{'–' if m is None else f'{m.rank:,.0f}'}</td><td>{escape(other)}</td>")
        rows.append(f"<tr><td>{media(row)} {escape(str(row['name'])[:80])}</td>{''.join(cells)}</tr>")
    more = f"<p class='caption'>the first {CHOSEN} of {len(at):,}, worst first</p>" if len(at) > CHOSEN else ""
    about = f"Ranks among all {len(inspection.es):,} items."
    table = f"<table><tr><th>item</th>{head}</tr>{''.join(rows)}</table>"
    return f"<h2>The items</h2><p class='caption'>{about}</p><div class='wb'>{table}</div>{more}"


def changes(frame: pd.DataFrame, still: str) -> str:
    """Before, now and the change of what-if, with what cannot change said beside it."""
    rows = []
    for r in frame.to_dict("records"):
        between = "" if math.isnan(r["low"]) else f" [{r['low']:+.3f}, {r['high']:+.3f}]"
        rows.append(
            f"<tr><td>{escape(r['name'].replace('_', ' '))}<br><span class='null'>{escape(r['of'])}</span></td><td class='num'>{number(r['before'])}</td>"
            f"<td class='num'>{number(r['now'])}</td><td class='num'>{r['change']:+.3f}{between}</td></tr>"
        )
    head = "<tr><th></th><th>before</th><th>now</th><th>change [95 %]</th></tr>"
    return f"<table>{head}{''.join(rows)}</table><p class='caption'>{escape(still)}</p>"
