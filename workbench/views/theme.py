"""One look for every figure: modality is shape and hue (Okabe-Ito), numbers in a monospaced face, chrome recedes."""

from __future__ import annotations

from collections.abc import Iterable

import plotly.graph_objects as go

# Okabe & Ito: told apart by every common kind of colour vision
HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#666666", "#B8A800")
SHAPES = ("circle", "diamond", "square", "triangle-up", "x", "cross", "star", "hexagon")
INK, FAINT, BAND = "#1f2933", "#8a949e", "rgba(120,130,140,0.28)"
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'Liberation Mono', monospace"


def style(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Hue and shape of each modality (or run), in order; the first eight differ."""
    return {m: (HUES[i % len(HUES)], SHAPES[i % len(SHAPES)]) for i, m in enumerate(names)}


def dressed(fig: go.Figure, *, height: int = 360, x: str = "", y: str = "", legend: bool = True) -> go.Figure:
    """The common layout: white, thin grid, legend on top, nothing that moves."""
    fig.update_layout(
        height=height,
        margin={"l": 64, "r": 20, "t": 40, "b": 48},
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"family": SANS, "size": 13, "color": INK},
        hoverlabel={"font": {"family": MONO, "size": 12}},
        showlegend=legend,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "title": None},
        modebar={"remove": ["lasso2d", "select2d", "autoScale2d"]},
    )
    axis = {
        "gridcolor": "#e8ebee",
        "zeroline": False,
        "linecolor": "#c5ccd3",
        "ticks": "outside",
        "tickcolor": "#c5ccd3",
    }
    fig.update_xaxes(**axis, tickfont={"family": MONO, "size": 12})
    fig.update_yaxes(**axis, tickfont={"family": MONO, "size": 12})
    if x:
        fig.update_xaxes(title=x)
    if y:
        fig.update_yaxes(title=y)
    return fig
