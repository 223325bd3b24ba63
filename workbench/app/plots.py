"""Plotly's figures on a page whose screens may be left while a figure is still drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import panel as pn

SCRIPT = Path(__file__).with_suffix(".js").read_text()  # for the head of a page that has plots


def plot(figure: Any, *, height: int) -> Any:
    """A figure as wide as its place.

    Not linked: the browser's width would go into the figure, and a screen that is opened again would begin with it.
    """
    settings = {"displayModeBar": False, "responsive": True}
    return pn.pane.Plotly(figure, config=settings, height=height, sizing_mode="stretch_width", link_figure=False)
