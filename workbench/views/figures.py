"""Figures by noun: values against their nulls, similarities, spectra, the map, and metrics over steps."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.diagnostics import gap, matched, spectrum, spread
from workbench.diagnostics.registry import diagnostics, panels
from workbench.diagnostics.retrieval import median_rank
from workbench.diagnostics.scoped_name import ScopedName
from workbench.report.report import Report
from workbench.sets.fused import PLUS
from workbench.sets.projection import Projection
from workbench.views.theme import BAND, FAINT, HUES, dressed, style

SVG_POINTS = 5_000  # above this the map is drawn by WebGL
RANK = median_rank.__name__  # whose values an item are drawn as a curve


CURVES: dict[str, Callable[..., go.Figure]] = {}


def draws(curve: Callable[..., Any]) -> Callable[[Callable[..., go.Figure]], Callable[..., go.Figure]]:
    """Declare which curve of a report a figure draws."""

    def register(f: Callable[..., go.Figure]) -> Callable[..., go.Figure]:
        CURVES[curve.__name__] = f
        return f

    return register


def _drawn_from(report: Report, curve: Callable[..., Any]) -> dict[tuple[str, ...], Mapping[str, Any]]:
    """The arrays of a curve by scope."""
    return {s: a for (n, s), a in report.arrays.items() if n == curve.__name__}


def scope(row: Mapping[str, Any]) -> str:
    """`text → color` for a direction, `text · color` else."""
    directed = diagnostics()[row["name"]].on == "direction"
    return (" → " if directed else " · ").join(m.replace(PLUS, " + ") for m in row["modalities"])


def values(reports: Mapping[str, Report], name: str, *, log: bool = False) -> go.Figure:
    """A diagnostic on each scope: dot and interval per report, the null as a grey band behind it."""
    fig, said = go.Figure(), name.replace("_", " ")
    first = next(iter(reports.values()))
    shown = first.frame[(first.frame["name"] == name) & first.frame["reason"].isna()]
    reference = bool(len(shown)) and bool(shown["reference"].iloc[0])
    labels = [scope(r) for r in shown.to_dict("records")]
    for i, row in enumerate(reversed(shown.to_dict("records"))):
        if math.isfinite(row["null_low"]):
            ends = {"x0": row["null_low"], "x1": row["null_high"], "y0": i - 0.32, "y1": i + 0.32}
            line = {"width": int(row["reference"]), "color": FAINT, "dash": "dot"}
            fill = "rgba(0,0,0,0)" if row["reference"] else BAND
            fig.add_shape(type="rect", **ends, fillcolor=fill, line=line, layer="below")
    fig.add_trace(
        go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=f"{shown['null_kind'].iloc[0]} (reference)" if reference else "nothing to see (null, 95 %)",
            marker={
                "symbol": "square-open" if reference else "square",
                "size": 12,
                "color": FAINT if reference else BAND,
            },
        )
    )
    for k, (label, report) in enumerate(reports.items()):
        rows = [report.row(name, *m).to_dict() for m in shown["modalities"]][::-1]
        x = np.array([r["value"] for r in rows])
        offset = (k - (len(reports) - 1) / 2) * -0.22
        low, high = np.array([r["low"] for r in rows]), np.array([r["high"] for r in rows])
        fig.add_trace(
            go.Scatter(
                x=x,
                y=np.arange(len(rows)) + offset,
                mode="markers",
                name=label or said,
                marker={"size": 10, "color": HUES[k], "symbol": style(reports)[label][1]},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": np.nan_to_num(high - x),
                    "arrayminus": np.nan_to_num(x - low),
                    "color": HUES[k],
                    "thickness": 1.5,
                    "width": 4,
                },
                hovertemplate="%{x:.4g}<extra>" + html.escape(label or said) + "</extra>",
            )
        )
    fig.update_yaxes(
        tickvals=list(range(len(labels))),
        ticktext=[html.escape(x) for x in labels[::-1]],
        showgrid=False,
        range=[-0.6, max(len(labels) - 0.4, 0.6)],
    )
    unit = shown["unit"].iloc[0] if len(shown) else ""
    gallery = f", gallery {int(shown['n_gallery'].iloc[0]):,}" if len(shown) and shown["better"].iloc[0] else ""
    fig = dressed(fig, height=150 + 34 * len(labels), x=f"{said} ({unit}{gallery})")
    fig.update_layout(margin={"l": 150})
    if log:
        fig.update_xaxes(type="log")
    else:
        fig.update_xaxes(range=_whole(shown, reports, name))
    return fig


def _whole(shown: pd.DataFrame, reports: Mapping[str, Report], name: str) -> list[float]:
    """An axis that shows values, intervals and bands whole: plotly's own does not see bands."""
    rows = [r.row(name, *m) for r in reports.values() for m in shown["modalities"]]
    ends = [float(r[c]) for r in rows for c in ("value", "low", "high", "null_low", "null_high")]
    known = [x for x in ends if math.isfinite(x)] or [0.0, 1.0]
    room = 0.04 * (max(known) - min(known)) or 0.1
    return [min(known) - room, max(known) + room]


@draws(matched.similarity_histogram)
def similarities(report: Report) -> go.Figure:
    """Cosines of matched and mismatched pairs, a small panel a pair of modalities."""
    found = _drawn_from(report, matched.similarity_histogram)
    if not found:
        return dressed(go.Figure(), height=120)
    titles = [html.escape(" · ".join(s)) for s in found]
    fig = make_subplots(1, len(found), subplot_titles=titles, shared_yaxes=True)
    for i, a in enumerate(found.values(), 1):
        middle = (a["edges"][1:] + a["edges"][:-1]) / 2
        for kind, hue, dash in (("mismatched", FAINT, "dot"), ("matched", HUES[0], "solid")):
            fig.add_trace(
                go.Scatter(
                    x=middle,
                    y=a[kind],
                    mode="lines",
                    name=kind,
                    legendgroup=kind,
                    showlegend=i == 1,
                    line={"color": hue, "shape": "hvh", "width": 2, "dash": dash},
                    fill="tozeroy",
                    fillcolor="rgba(0,114,178,0.12)" if kind == "matched" else "rgba(0,0,0,0.05)",
                    hovertemplate="cos %{x:.2f}: %{y:.1%}<extra>" + kind + "</extra>",
                ),
                1,
                i,
            )
    fig = dressed(fig, height=300)
    fig.update_layout(legend={"y": 1.16})
    fig.update_xaxes(range=[-1, 1], tickvals=[-1, -0.5, 0, 0.5, 1])
    fig.update_xaxes(title="cosine", row=1)
    fig.update_yaxes(tickformat=".0%")
    fig.update_yaxes(title="share of pairs", col=1)
    return fig


@draws(spectrum.singular_spectrum)
def spectra(report: Report) -> go.Figure:
    """Singular values of the centred rows, each relative to the largest, one line a modality."""
    found = {s[0]: a["sigma"] for s, a in _drawn_from(report, spectrum.singular_spectrum).items()}
    looks = style(found)
    fig = go.Figure()
    for m, sigma in found.items():
        sigma = sigma[sigma > 0]
        if len(sigma):
            fig.add_trace(
                go.Scatter(
                    x=np.arange(1, len(sigma) + 1),
                    y=sigma / sigma[0],
                    mode="lines",
                    name=html.escape(m),
                    line={"color": looks[m][0], "width": 2},
                    hovertemplate="direction %{x}: %{y:.3f}<extra>" + html.escape(m) + "</extra>",
                )
            )
    fig = dressed(fig, height=300, x="direction, largest first", y="singular value / largest")
    fig.update_yaxes(type="log")
    return fig


@draws(gap.shift_curve)
def shift(report: Report) -> go.Figure:
    """Retrieval (solid) and loss (dotted, own axis) as two modalities move along their gap."""
    found = _drawn_from(report, gap.shift_curve)
    fig = make_subplots(
        1,
        len(found),
        subplot_titles=[html.escape(" → ".join(s)) for s in found],
        specs=[[{"secondary_y": True}] * len(found)],
    )
    for i, a in enumerate(found.values(), 1):
        for name, key, hue, dash in (("R@1", "recall_at_1", HUES[0], "solid"), ("loss", "loss", HUES[1], "dot")):
            fig.add_trace(
                go.Scatter(
                    x=a["distance"],
                    y=a[key],
                    mode="lines",
                    name=name,
                    legendgroup=name,
                    showlegend=i == 1,
                    line={"color": hue, "width": 2, "dash": dash},
                    hovertemplate="gap %{x:.2f}: %{y:.3g}<extra>" + name + "</extra>",
                ),
                1,
                i,
                secondary_y=key == "loss",
            )
        at = float(a["distance"][np.argmin(np.abs(a["delta"]))])
        fig.add_vline(x=at, line={"color": FAINT, "width": 1}, row=1, col=i, exclude_empty_subplots=False)
    fig = dressed(fig, height=300)
    fig.update_layout(legend={"y": 1.16})
    fig.update_xaxes(title="what is left of the gap")
    fig.update_yaxes(rangemode="tozero", secondary_y=False)
    fig.update_yaxes(title="R@1", col=1, secondary_y=False)
    fig.update_yaxes(title="loss", col=max(len(found), 1), secondary_y=True)
    fig.update_yaxes(showgrid=False, secondary_y=True)
    return fig


@draws(spread.uniformity_by_size)
def by_size(report: Report) -> go.Figure:
    """Uniformity of samples of n rows: as it is here, and biased where a row is paired with itself."""
    found = {s[0]: a for s, a in _drawn_from(report, spread.uniformity_by_size).items()}
    looks, fig = style(found), go.Figure()
    for m, a in found.items():
        for key, dash, said in (("uniformity", "solid", ""), ("with_self_pairs", "dot", ", with self-pairs")):
            fig.add_trace(
                go.Scatter(
                    x=a["n"],
                    y=a[key],
                    mode="lines+markers",
                    name=html.escape(m + said),
                    line={"color": looks[m][0], "dash": dash, "width": 2},
                    hovertemplate="n = %{x}: %{y:.3f}<extra>" + html.escape(m + said) + "</extra>",
                )
            )
    fig = dressed(fig, height=300, x="rows in the sample", y="uniformity (nats)")
    fig.update_xaxes(type="log", tickvals=[16, 32, 64, 128, 256, 512, 1024])
    return fig


@draws(gap.label_gap)
def label_gaps(report: Report) -> go.Figure:
    """The gap within each class, largest first: at most thirty classes."""
    found = _drawn_from(report, gap.label_gap)
    names, fig = np.array(report.about.get("classes") or []), go.Figure()
    scope_, a = next(iter(found.items()))
    order = np.argsort(-np.nan_to_num(a["gap"], nan=-1.0))[:30]
    fig.add_trace(
        go.Bar(
            x=[html.escape(n) for n in names[order]],
            y=a["gap"][order],
            marker={"color": HUES[0]},
            customdata=np.stack([a["first"], a["second"]], 1)[order],
            hovertemplate="%{x}: %{y:.3f} (%{customdata[0]:.0f} and %{customdata[1]:.0f} rows)<extra></extra>",
        )
    )
    fig = dressed(fig, height=300, x=report.about.get("label") or "class", y=f"gap of {' · '.join(scope_)}")
    return fig.update_layout(showlegend=False)


def scatter(projection: Projection, text: Sequence[str], *, height: int = 460) -> go.Figure:
    """The map: every row a mark, modality as hue and shape; `text` (one a item) shows on hover."""
    looks = style(dict.fromkeys(projection.modality))
    fig = go.Figure()
    kind = go.Scattergl if len(projection.xy) > SVG_POINTS else go.Scatter
    labels = np.array([html.escape(str(t)) for t in text], dtype=object)
    for m, (hue, shape) in looks.items():
        at = projection.modality == m
        fig.add_trace(
            kind(
                x=projection.xy[at, 0],
                y=projection.xy[at, 1],
                mode="markers",
                name=html.escape(m),
                customdata=projection.item[at],
                text=labels[projection.item[at]],
                marker={"size": 7, "color": hue, "symbol": shape, "opacity": 0.75, "line": {"width": 0}},
                hovertemplate="%{text}<extra>" + html.escape(m) + "</extra>",
            )
        )
    fig = dressed(fig, height=height, x=projection.axes[0], y=projection.axes[1])
    fig.add_annotation(
        xref="paper",
        yref="paper",
        x=1,
        y=1.06,
        xanchor="right",
        showarrow=False,
        text=f"neighbours kept {projection.faithfulness:.0%}",
        font={"size": 12, "color": FAINT},
    )
    return fig


def changes(rows: Any, name: str) -> go.Figure:
    """Where each run ended, with the interval of its change; a hollow mark where it began."""
    rows = rows.sort_values("final")
    labels = [html.escape(r) for r in rows["run"]]
    fig = go.Figure()
    fig.add_trace(
        go.Scatter(
            x=rows["first"],
            y=labels,
            mode="markers",
            name="first look",
            marker={"size": 8, "color": FAINT, "symbol": "circle-open"},
        )
    )
    fig.add_trace(
        go.Scatter(
            x=rows["final"],
            y=labels,
            mode="markers",
            name="last look",
            marker={"size": 9, "color": HUES[0]},
            error_x={
                "type": "data",
                "array": (rows["high"] - rows["change"]).fillna(0),
                "color": HUES[0],
                "thickness": 1.5,
                "width": 4,
            },
            hovertemplate="%{y}: %{x:.3g}<extra></extra>",
        )
    )
    fig = dressed(fig, height=130 + 22 * len(labels), x=name)
    return fig.update_layout(margin={"l": 160})


def metrics(runs: Mapping[str, Sequence[Mapping[str, Any]]], *, height: int = 420) -> go.Figure:
    """What training did: six panels over steps; where a diagnostic has several scopes, their mean."""
    shown = {"loss": "loss"} | {d.name: d.heading for d in panels()}
    grid = (-(-len(shown) // 3), 3)
    fig = make_subplots(*grid, subplot_titles=list(shown.values()), horizontal_spacing=0.1, vertical_spacing=0.2)
    for k, (label, lines) in enumerate(runs.items()):
        every = dict.fromkeys(key for line in lines for key in line)
        for i, name in enumerate(shown):
            keys = [key for m, key in ScopedName.of(every, name).items() if not m.fused] or [name]
            x, y = [], []
            for line in lines:
                found = [line[key] for key in keys if key in line]
                if found:
                    x.append(line["step"])
                    y.append(float(np.mean(found)))
            fig.add_trace(
                go.Scatter(
                    x=x,
                    y=y,
                    mode="lines" if name == "loss" else "lines+markers",
                    name=html.escape(label),
                    legendgroup=label,
                    showlegend=i == 0,
                    line={"color": HUES[k % len(HUES)], "width": 2},
                    marker={"size": 5, "symbol": style(runs)[label][1]},
                    hovertemplate="step %{x}: %{y:.4g}<extra>" + html.escape(label) + "</extra>",
                ),
                i // 3 + 1,
                i % 3 + 1,
            )
    fig = dressed(fig, height=height, legend=len(runs) > 1)
    fig.update_layout(legend={"y": 1.1})
    fig.update_xaxes(nticks=5, tickangle=0)
    fig.update_xaxes(title="step", row=grid[0])
    return fig


def heat(matrix: Any, title: str) -> go.Figure:
    """A frame as a heat map with its values in the cells."""
    values = matrix.to_numpy(dtype=float)
    x, y = ([html.escape(str(v)) for v in axis] for axis in (matrix.columns, matrix.index))
    text = [[f"{v:.2f}" for v in row] for row in values] if values.size <= 400 else None
    fig = go.Figure(
        go.Heatmap(z=values, x=x, y=y, text=text, texttemplate="%{text}" if text else None, colorscale="Cividis")
    )
    fig = dressed(fig, height=max(240, 60 + 26 * len(y)), legend=False)
    fig.update_xaxes(type="category")
    fig.update_yaxes(type="category", autorange="reversed")
    return fig.update_layout(title={"text": title, "font": {"size": 13}}, margin={"l": 130})
