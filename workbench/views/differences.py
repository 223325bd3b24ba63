"""Pieces of HTML for two or more spaces over the same items: verdicts, paired differences, how a sweep moved."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from workbench.report.comparison import HIT, SAME, Comparison
from workbench.report.report import machine, versions
from workbench.views import figures
from workbench.views.document import drawn, number
from workbench.views.theme import FAINT, HUES, dressed, style


def answer(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whether B is better, over all directions in one sentence.

    >>> answer([{"verdict": "lower"}, {"verdict": "lower"}, {"verdict": "not distinguishable"}])
    'B is worse in 2 of 3 directions and not distinguishable in 1'
    >>> answer([{"verdict": "not distinguishable"}])
    'A and B are not distinguishable in any of 1 directions'
    """
    if not rows:
        return "No retrieval to compare: no two modalities of one width are in both"
    verdicts = [r["verdict"] for r in rows]
    counts = [(word, verdicts.count(v)) for word, v in (("better", "higher"), ("worse", "lower"))]
    parts = [
        f"{word} in {n} of {len(rows)} directions" if n != len(rows) else f"{word} in all {n} directions"
        for word, n in counts
        if n
    ]
    same = verdicts.count(SAME)
    if not parts:
        return f"A and B are not distinguishable in any of {len(rows)} directions"
    return "B is " + " and ".join(parts) + (f" and not distinguishable in {same}" if same else "")


def forest(found: Comparison) -> go.Figure:
    """B minus A in R@1 of each direction with its interval, against zero: right of it B finds more."""
    rows = [r for r in found.paired.to_dict("records") if r["name"] == HIT][::-1]
    names = [html.escape(" → ".join(r["modalities"])) for r in rows]
    value = [100 * r["value"] for r in rows]
    fig = go.Figure(
        go.Scatter(
            x=value,
            y=names,
            mode="markers",
            marker={"size": 11, "color": HUES[0]},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [100 * (r["high"] - r["value"]) for r in rows],
                "arrayminus": [100 * (r["value"] - r["low"]) for r in rows],
                "thickness": 2,
                "width": 5,
            },
            hovertemplate="%{y}: %{x:+.1f} points<extra></extra>",
        )
    )
    fig.add_vline(x=0, line={"color": FAINT, "dash": "dash"})
    fig = dressed(
        fig, height=110 + 34 * len(rows), x="R@1, B minus A, in points; 95 % intervals over families", legend=False
    )
    return fig.update_layout(margin={"l": 130, "t": 12})


def verdicts(found: Comparison) -> str:
    """What a comparison says, sentence by sentence."""
    return "<ul>" + "".join(f"<li>{escape(s)}</li>" for s in found.sentences) + "</ul>"


def paired(found: Comparison) -> str:
    """B minus A over the same queries, with its interval over families."""
    rows = "".join(
        f"<tr><td>{escape(r['name'])}<br><span class='null'>{escape(' → '.join(r['modalities']))}</span></td>"
        f"<td class='num'>{number(r['a'])}</td><td class='num'>{number(r['b'])}</td>"
        f"<td class='num'>{r['value']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]</td>"
        f"<td class='num'>+{r['won']} −{r['lost']}</td><td>{escape(r['verdict'])}</td></tr>"
        for r in found.paired.to_dict("records")
    )
    top = "<tr><th></th><th>A</th><th>B</th><th>B − A [95 %]</th><th>won, lost</th><th>B is</th></tr>"
    return f"<table>{top}{rows}</table>"


def shared(found: Comparison) -> str:
    """How alike the two spaces are, in all their dimensions."""
    rows = "".join(
        f"<tr><td>{escape(r['name'])} <span class='null'>{escape(r['modality'])}</span></td>"
        f"<td class='num'>{number(r['value'])}</td>"
        f"<td class='num null'>null {number(r['null_low'])} … {number(r['null_high'])}</td></tr>"
        for r in found.shared.to_dict("records")
    )
    top = "<tr><th></th><th>value</th><th>when items are dealt at random</th></tr>"
    return f"<table>{top}{rows}</table>"


def moved_most(found: Comparison) -> Any:
    """The share of each item's neighbours that changed, a histogram a modality."""
    named = {c.removeprefix("changed "): found.items[c] for c in found.items if c.startswith("changed ")}
    return drift(named)


def slices(found: Comparison) -> str:
    """The paired difference within each value of a column; empty where none was asked for."""
    if not len(found.slices):
        return ""
    by = found.slices.columns[1]
    rows = "".join(
        f"<tr><td>{escape(str(r[by]))} <span class='null'>{escape(' → '.join(r['modalities']))}</span></td>"
        f"<td class='num'>{r['n']:,}</td>"
        f"<td class='num'>{r['value']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]</td></tr>"
        for r in found.slices.sort_values("value").to_dict("records")
    )
    return f"<h3>R@1 by {escape(by)}</h3><table><tr><th></th><th>n</th><th>B − A [95 %]</th></tr>{rows}</table>"


def settings(run: Any) -> str:
    """The configuration of a run as a table."""
    flat = {k: v for k, v in run.config.items() if not isinstance(v, dict)}
    for part in ("train", "objective"):
        flat |= {f"{part}.{k}": v for k, v in (run.config.get(part) or {}).items()}
    rows = "".join(f"<tr><td>{escape(k)}</td><td class='num'>{escape(str(v))}</td></tr>" for k, v in flat.items())
    return f"<details><summary>every setting</summary><table>{rows}</table></details>"


def about(found: Comparison) -> str:
    """What was compared, with what and where."""
    a = found.about
    rows = {
        "A": f"{a['a']}   data {a['fingerprints'][0]}",
        "B": f"{a['b']}   data {a['fingerprints'][1]}",
        "items in both": f"{a['items']:,}; left out of A {a['left_out'][0]:,}, of B {a['left_out'][1]:,}",
        "further seeds of A": f"{a['seeds']}" + ("" if a["seeds"] else ", so there is no floor for a difference"),
        "versions": ", ".join(f"{what} {version}" for what, version in versions().items()),
        "machine": machine(),
    }
    body = "".join(f"<tr><td>{escape(k)}</td><td class='num'>{escape(v)}</td></tr>" for k, v in rows.items())
    return f"<table>{body}</table>"


def moves(frame: Any) -> str:
    """How each recipe moved the space from the first look to the last: a figure a quantity."""
    parts = []
    for name in frame["name"].unique():
        parts += [f"<h3>{escape(name)}</h3>", drawn(figures.changes(frame[frame["name"] == name], name))]
    return "".join(parts)


def surfaces(frame: Any, rows: str, columns: str) -> list[Any]:
    """The last value of each quantity over two settings of a sweep, a heat map a quantity."""
    import pandas as pd

    said = frame["run"].str.extractall(r"-([\w.]+)=([^-]+)").reset_index(level=1, drop=True)
    cells = pd.DataFrame({n: said.loc[said[0] == n, 1].astype(float) for n in (rows, columns)})
    out = []
    for name in frame["name"].unique():
        own = frame[frame["name"] == name].join(cells)
        matrix = own.pivot(index=rows, columns=columns, values="final").sort_index().sort_index(axis=1)
        matrix.columns, matrix.index = ([f"{v:g}" for v in axis] for axis in (matrix.columns, matrix.index))
        out.append(figures.heat(matrix, f"{name}: {rows} down, {columns} across"))
    return out


def drift(changed: Mapping[str, Any]) -> go.Figure:
    """How many items keep how many of their neighbours between two spaces, per modality."""
    fig = go.Figure()
    for m, (hue, _) in style(changed).items():
        fig.add_trace(go.Histogram(x=changed[m], name=html.escape(m), marker={"color": hue}, nbinsx=11))
    fig = dressed(fig, height=300, x="share of an item's ten neighbours that changed", y="items")
    return fig.update_layout(barmode="group")
