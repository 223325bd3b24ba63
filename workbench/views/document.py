"""The shell of every page, figures inside it, and numbers as they are written; nothing here loads torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader

if TYPE_CHECKING:
    import plotly.graph_objects as go


@cache
def plotly_js() -> str:
    """The text of plotly.js, for pages that open without a network."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def page(title: str, body: str, *, plotly: bool = True) -> str:
    """The common shell around a body of HTML."""
    env = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    return env.get_template("page.html.j2").render(title=title, body=body, plotly=plotly_js() if plotly else "")


_numbers = count()  # figures of one page need names that differ


def drawn(fig: go.Figure) -> str:
    """A figure as a div and its data; the page holds plotly.js."""
    return drawing(fig.to_json(), fig.layout.height)


def drawing(json: str, height: float | None = None) -> str:
    """The same from a figure's JSON, as a notebook holds it."""
    data = json.replace("</", "<\\/")
    name = f"figure-{next(_numbers)}"
    height = height or 360
    return (
        f'<div class="figure"><div id="{name}" style="height:{height}px"></div><script>(function(){{const f={data};'
        f'Plotly.newPlot("{name}",f.data,f.layout,{{displayModeBar:false,responsive:true}})}})()</script></div>'
    )


def number(x: Any) -> str:
    """Three digits that matter, a dash for nothing."""
    if x is None or not math.isfinite(x):
        return "–"
    if abs(x) >= 100:
        return f"{x:,.0f}"
    return f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}" if abs(x) >= 1 else f"{x:.3f}"


def band(row: Mapping[str, Any]) -> str:
    """The null of a row, in brackets where it is a reference and no evidence; nothing where there is none."""
    if not math.isfinite(row["null_low"]):
        return ""
    text = f"{number(row['null_low'])} … {number(row['null_high'])}"
    return f"({text})" if row.get("reference") else text


def in_words(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """A row of a report as texts: its value with the interval, what chance gives (or nothing), queries of gallery."""
    value = number(row["value"])
    if math.isfinite(row["low"]):
        value += f" [{number(row['low'])}, {number(row['high'])}]"
    return value, band(row), f"{row['n_query']:,} of {row['n_gallery']:,}" + ("" if row["exact"] else " sampled")
