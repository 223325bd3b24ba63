"""One figure of a report by the name of what it draws, with what to see in it as its caption: for a notebook's cell."""

from __future__ import annotations

import html
import textwrap

import plotly.graph_objects as go

from workbench.diagnostics.registry import curves, diagnostics
from workbench.errors import InputError, unknown
from workbench.report.report import Report
from workbench.views import figures

WIDE = 110  # letters of a line of a caption


def figure(report: Report, name: str) -> go.Figure:
    """A diagnostic with its intervals and nulls, or a curve, and under its name what to see.

    Raises `InputError` where the report holds nothing of that name.
    """
    shown = diagnostics().get(name) or curves().get(name)
    if shown is None or (name in curves() and name not in figures.CURVES):
        raise unknown("figure of a report", name, [*diagnostics(), *figures.CURVES])
    if name in figures.CURVES:
        if not any(n == name for n, _ in report.arrays):
            raise InputError(f"the report has no {name}: diagnose the set with it, or without only=")
        fig = figures.CURVES[name](report)
    else:
        if not report.known(name):
            raise InputError(f"the report has no value of {name}: its rows say why (report.frame)")
        fig = figures.values({"": report}, name)
    lines = textwrap.wrap(shown.see or shown.summary, WIDE)
    above = 44 + 16 * len(lines)  # the name and the caption; under them the legend, and what stands over a panel
    room = above + 30 + (24 if fig.layout.annotations else 0)
    height = (fig.layout.height or 360) - (fig.layout.margin.t or 0) + room
    fig.update_layout(
        title={
            "text": html.escape(name.replace("_", " ")),
            "subtitle": {"text": "<br>".join(map(html.escape, lines)), "font": {"size": 12}},
            "x": 0,
            "xanchor": "left",
            "yref": "container",
            "y": 1,
            "yanchor": "top",
            "pad": {"t": 12, "l": 12},
        },
        margin={"t": room},
        height=height,
        legend={"yref": "container", "y": 1 - above / height, "yanchor": "top"},
    )
    return fig
