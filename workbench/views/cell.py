"""Fragments of pages in the cells of a live notebook: HTML as HTML, figures as the notebook's own."""

from __future__ import annotations

import json
import re

FIGURE = re.compile(r'<div class="figure">.*?const f=(\{.*?\});Plotly\.newPlot.*?</script></div>', re.S)


def show(fragment: str) -> None:
    """Display a fragment of a page, which may hold figures (`document.drawn`).

    A page brings plotly.js along; a notebook has a renderer of its own for figures, and gets them as such. An export
    of the notebook draws them into the page again.
    """
    from IPython.display import HTML, display

    at = 0
    for found in FIGURE.finditer(fragment):
        if fragment[at : found.start()].strip():
            display(HTML(fragment[at : found.start()]))
        display({"application/vnd.plotly.v1+json": json.loads(found.group(1).replace("<\\/", "</"))}, raw=True)
        at = found.end()
    if fragment[at:].strip():
        display(HTML(fragment[at:]))
