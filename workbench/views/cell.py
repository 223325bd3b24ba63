"""Fragments of pages in the cells of a live notebook: HTML as HTML, figures as the notebook's own."""

from __future__ import annotations

import json
import re
from typing import Any

FIGURE = re.compile(r'<div class="figure">.*?const f=(\{.*?\});Plotly\.newPlot.*?</script></div>', re.S)
TEXT, LINE, CLEAR = "#767676", "rgba(128, 138, 148, 0.35)", "rgba(0, 0, 0, 0)"  # to be read on white and on black


def show(fragment: str) -> None:
    """Display a fragment of a page, which may hold figures (`document.drawn`).

    A page brings plotly.js along; a notebook has a renderer of its own for figures, and gets them as such, without a
    ground, so that the notebook's theme shows. An export of the notebook draws them into its page again.
    """
    from IPython.display import HTML, display

    at = 0
    for found in FIGURE.finditer(fragment):
        if fragment[at : found.start()].strip():
            display(HTML(fragment[at : found.start()]))
        figure = on_any_ground(json.loads(found.group(1).replace("<\\/", "</")))
        display({"application/vnd.plotly.v1+json": figure}, raw=True)
        at = found.end()
    if fragment[at:].strip():
        display(HTML(fragment[at:]))


def on_any_ground(figure: dict[str, Any]) -> dict[str, Any]:
    """A figure's JSON with a clear ground, and text and lines that are seen on a light and on a dark one."""
    layout = figure["layout"]
    layout |= {"paper_bgcolor": CLEAR, "plot_bgcolor": CLEAR, "font": layout.get("font", {}) | {"color": TEXT}}
    for name, axis in layout.items():
        if name.startswith(("xaxis", "yaxis")) and isinstance(axis, dict):
            axis |= {"gridcolor": LINE, "linecolor": LINE, "tickcolor": LINE}
    return figure
