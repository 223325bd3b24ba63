"""A list of treatments as a figure, as the result of a notebook's cell, and as a page."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import plotly.graph_objects as go

from workbench.treatments.base import BYTES, SCORES, SPACE
from workbench.treatments.treated import HUBS, LEAST, Candidate, Treated
from workbench.views.card import framed
from workbench.views.document import drawn, number, page
from workbench.views.theme import BAND, FAINT, HUES, INK, MONO, SHAPES, dressed

KINDS = {SPACE: HUES[0], SCORES: HUES[1]}
CODECS = ("float32", "int8", "int4", "binary", "binary, scored again")
MOST = 8  # lines of a card


def figure(found: Treated) -> go.Figure:
    """What each treatment changes; for storage, what is found against the bytes of a vector."""
    return storage_figure(found) if found.goal.name == BYTES else change_figure(found)


def change_figure(found: Treated) -> go.Figure:
    """Changes of the goal's number with their intervals, the best on top."""
    fig = go.Figure()
    order = [c.label for c in found.candidates][::-1]
    for kind, hue in KINDS.items():
        some = [c for c in found.candidates if c.kind == kind]
        if some:
            fig.add_scatter(
                x=[c.change for c in some],
                y=[c.label for c in some],
                error_x=_bars(some, 1.6),
                mode="markers",
                marker={"color": hue, "size": 9, "symbol": SHAPES[list(KINDS).index(kind)]},
                name={SPACE: "changes the space", SCORES: "changes scores"}[kind],
            )
    fig.add_vline(x=0, line={"color": INK, "width": 1})
    fig.add_vrect(x0=-LEAST, x1=LEAST, fillcolor=BAND, line_width=0, layer="below")
    fig.update_yaxes(categoryorder="array", categoryarray=order)
    drawn_up = dressed(fig, height=110 + 26 * len(order), x=f"change of {found.goal.unit}, 95 % interval over families")
    return drawn_up.update_layout(margin={"l": 230, "r": 20, "t": 40, "b": 52})


def storage_figure(found: Treated) -> go.Figure:
    """What is found against the bytes of a vector; the line is of those that nothing smaller beats."""
    fig = go.Figure()
    front = found.front
    fig.add_scatter(
        x=[c.bytes for c in front],
        y=[c.value for c in front],
        mode="lines",
        line={"color": FAINT, "width": 1.5, "shape": "hv"},
        name="nothing smaller finds more",
    )
    for k, codec in enumerate(CODECS):
        some = sorted((c for c in found.candidates if _codec(c) == codec), key=lambda c: c.bytes)
        if some:
            fig.add_scatter(
                x=[c.bytes for c in some],
                y=[c.value for c in some],
                error_y=_bars(some, 1),
                mode="markers",
                marker={
                    "color": HUES[k],
                    "size": 9,
                    "symbol": [SHAPES[k] + ("" if c.settings["keep"] == "pca" else "-open") for c in some],
                },
                text=[c.label for c in some],
                hovertemplate="%{text}<br>%{x:,} bytes<br>%{y:.3f}<extra></extra>",
                name=codec,
            )
    fig.add_hline(y=found.value, line={"color": INK, "width": 1, "dash": "dot"})
    fig.add_annotation(x=1, xref="paper", y=found.value, text="as it is", showarrow=False, yshift=9, xanchor="right")
    fig = dressed(
        fig, height=430, x="bytes a vector (filled: principal directions, open: the first)", y=found.goal.unit
    )
    ticks = sorted({c.bytes for c in found.candidates})
    kept = [t for t in ticks if math.log2(t) % 2 < 0.5 or t in (ticks[0], ticks[-1])]
    fig.update_xaxes(type="log", tickvals=kept, ticktext=[f"{t:,}" for t in kept])
    return fig


def _bars(some: list[Candidate], thickness: float) -> dict[str, Any]:
    """The intervals of the changes, as plotly draws them about a mark."""
    reach = {"array": [c.high - c.change for c in some], "arrayminus": [c.change - c.low for c in some]}
    return reach | {"thickness": thickness, "width": 0}


def _codec(c: Candidate) -> str:
    return f"{c.settings['kind']}{', scored again' if c.settings['again'] else ''}"


def _table(found: Treated, shown: list[Candidate]) -> str:
    names = ("", found.goal.unit, "change [95 %]", "p", HUBS, "bytes", "µs")
    head = f"<tr>{''.join(f'<th>{n}</th>' for n in names)}</tr>"
    before = f"{found.candidates[0].bytes_before:,}" if found.candidates else ""
    plain = (
        f"<tr><td>as it is</td><td class='n'>{found.value:.3f}</td><td></td><td></td>"
        f"<td class='n'>{number(found.before.hubness)}</td><td class='n'>{before}</td><td></td></tr>"
    )
    lines = "".join(
        f"<tr><td title='{escape(c.summary, quote=True)}'>{escape(c.label)}</td><td class='n'>{c.value:.3f}</td>"
        f"<td class='n'>{c.said_change}</td><td class='n'>{escape(c.said_p)}</td>"
        f"<td class='n'>{number(c.judgement.hubness)}</td>"
        f"<td class='n'>{c.bytes:,}</td><td class='n'>{c.microseconds:.1f}</td></tr>"
        for c in shown
    )
    return f"<table>{head}{plain}{lines}</table>"


def _about(found: Treated) -> str:
    a = found.about
    shape = ", ".join(f"{m} {d}" for m, d in a["modalities"].items())
    what = f"{found.goal.unit}, {found.goal.says}"
    return f"{a['source']} · {a['items']:,} items · {shape} · {what} · {found.judged_on}"


def treated_card(found: Treated) -> str:
    """What was found, and the first of the list; the rest folded."""
    said = "".join(f"<div class='verdict'>{escape(s)}</div>" for s in found.sentences)
    shown = found.shown
    rest = [c for c in found.candidates if c not in shown[:MOST]]
    more = f"<details><summary>{len(rest)} more</summary>{_table(found, rest)}</details>" if rest else ""
    return framed(f"{said}<div class='quiet'>{escape(_about(found))}</div>{_table(found, shown[:MOST])}{more}")


def treated_page(found: Treated) -> str:
    """The whole list as one file: what was found, its figure, the table, what each treatment is."""
    said = "".join(f"<p class='lead'>{escape(s)}</p>" for s in found.sentences)
    fig = figure(found).update_layout(font={"color": INK}, hoverlabel={"font": {"family": MONO}})
    methods = {c.treatment.name: c.summary for c in found.candidates if " + " not in c.name}
    meant = "".join(f"<tr><td>{escape(n)}</td><td>{escape(s)}</td></tr>" for n, s in methods.items())
    left = "".join(f"<li>{escape(x['name'])}: {escape(x['reason'])}</li>" for x in found.left_out)
    beside = f"<h2>Left out</h2><ul>{left}</ul>" if left else ""
    first = found.shown
    rest = [c for c in found.candidates if c not in first]
    more = (
        f"<details><summary>{len(rest)} that take as many bytes and find less</summary>{_table(found, rest)}</details>"
    )
    body = (
        f"<h1>What can be done without retraining</h1>{said}<p class='about'>{escape(_about(found))}</p>{drawn(fig)}"
        f"<p class='caption'>A change is a paired difference over the same queries; p is Holm's over the whole list. "
        f"Bytes and microseconds are of one stored vector.</p><h2>The list</h2>"
        f"<div class='wide'>{_table(found, first)}{more if rest else ''}</div>"
        f"<h2>What each does</h2><table>{meant}</table>{beside}"
    )
    return page(f"Treatments: {found.goal.name}", body)


# what a notebook's cell shows, registered here
Treated._repr_html_ = treated_card  # type: ignore[attr-defined]
