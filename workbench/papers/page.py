"""A paper's page and the atlas: claim, numbers, verdict, maps. Nothing is green because it is popular."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from workbench.papers.card import bar
from workbench.papers.evidence import Evidence
from workbench.papers.paper import FORMS, Paper
from workbench.papers.wording import NOT_YET
from workbench.views.document import number
from workbench.views.theme import FAINT, HUES, dressed, style

MARKS = {"held": "●", "some gain": "◕", "not held": "○", "inconclusive": "◐", "not judged": "·"}
SHOWN = 400  # points of a map or a thumbnail


def heading(p: Paper) -> str:
    """Claim, citation, form, and how sure the mechanism is."""
    code = f" Code read: {escape(p.code)}." if p.code else ""
    return (
        f"<h1>{escape(p.title)}</h1><p class='caption'>{p.year} · {escape(p.topic)} · {escape(p.form)}: "
        f"{escape(FORMS[p.form])}</p><p class='lead'>{escape(p.claim)}</p>"
        f"<p class='caption'>Known {escape(p.sure)}.{code}</p>"
    )


def mechanism(p: Paper) -> str:
    """The mechanism in maths, what carries it here, and where this departs from the paper or its code."""
    from workbench.views.page import mathml

    rows = [("Carried by", p.carrier), ("Deviations", p.deviations), ("Data of the atlas", p.data)]
    body = "".join(f"<tr><th>{k}</th><td>{escape(v)}</td></tr>" for k, v in rows if v)
    return f"<h2>Mechanism</h2><p>{mathml(p.maths)}</p><table>{body}</table>"


def plan(p: Paper) -> str:
    """What was fixed before any run."""
    doc = " ".join((p.experiment.__doc__ or "").split()) if p.experiment else ""
    rows = [
        ("Must move", p.expected),
        ("Must not move", f"{p.control} (within ±{p.equivalence:g}, by an equivalence test)"),
        ("Must move for the test to see at all", p.positive),
        (
            "Tuning",
            "both arms over the same number of settings, on the validation part; the test part is read once a run",
        ),
        ("Why it may not show here", p.small),
    ]
    body = "".join(f"<tr><th>{k}</th><td>{escape(v)}</td></tr>" for k, v in rows if v)
    return f"<h2>The experiment</h2><p>{escape(doc)}</p><table>{body}</table>"


def verdict(e: Evidence) -> str:
    """The verdict in the words that the form allows, and the rule's reason."""
    d = e.difference
    line = f"{number(d.mean)} in the claimed direction, 95 % interval {number(d.low)} … {number(d.high)}"
    return (
        f"<h2>Verdict</h2><p class='lead'>{MARKS.get(e.outcome, '·')} {escape(e.verdict)}</p>"
        f"<p>{escape(e.reason[:1].upper() + e.reason[1:])}.</p>"
        f"<p class='caption'>Gain: {line}, over {len(e.runs)} paired runs (split × seed) on {escape(e.data)}; paired t-interval, widened "
        "for what splits of one set share (Nadeau and Bengio). It is looked after 8, 16 and 32 runs, and the p-value pays "
        "for that and, by Holm's first and strictest step, for all claims of the atlas; the atlas, which knows them all, "
        "may be less strict, never more.</p>"
    )


def table(e: Evidence) -> str:
    """The quantity, both controls, and the numbers beside them."""
    p, d, c, m = e.paper, e.difference, e.controlled, e.moved
    way = "higher" if p.better == "higher" else "lower"
    control = "within" if e.equivalent else "not shown to be within"
    rows = [
        (
            p.quantity,
            f"{number(e.mean('baseline'))} → {number(e.mean('mechanism'))}",
            f"{way} is what is claimed; gain {number(d.mean)} [{number(d.low)}, {number(d.high)}], p {d.p:.2g} before correction",
        ),
        (
            "control: " + p.control,
            f"{number(c.mean)}",
            f"{c.level:.0%} interval [{number(c.low)}, {number(c.high)}], {control} ±{p.equivalence:g}",
        ),
        (
            "positive control: " + p.positive,
            f"{number(m.mean)}",
            f"95 % interval [{number(m.low)}, {number(m.high)}], {'moves' if m.low > 0 else 'does not move'}",
        ),
        *((k, number(v), "") for k, v in e.also.items()),
    ]
    body = "".join(
        f"<tr><td>{escape(a)}</td><td class='n'>{escape(b)}</td><td class='caption'>{escape(c_)}</td></tr>"
        for a, b, c_ in rows
    )
    return f"<h2>Evidence</h2><table>{body}</table>"


def runs(e: Evidence) -> go.Figure:
    """Every paired run as a line from baseline to mechanism, and the gain with its interval."""
    fig = go.Figure()
    for r in e.runs:
        fig.add_trace(
            go.Scatter(
                x=["baseline", "mechanism"],
                y=[r["baseline"], r["mechanism"]],
                mode="lines+markers",
                line={"color": FAINT, "width": 1},
                marker={"color": [HUES[0], HUES[1]], "symbol": ["circle", "diamond"], "size": 9},
                hovertemplate=f"run {r['seed']}: %{{y:.4f}}<extra></extra>",
            )
        )
    fig = dressed(fig, height=340, legend=False)
    title = e.paper.quantity
    return fig.update_layout(xaxis={"range": [-0.4, 1.4]}, title={"text": escape(title[:90]), "font": {"size": 13}})


def planes(e: Evidence) -> dict[str, tuple[Any, np.ndarray]]:
    """The test vectors of each arm on their first two principal axes, {arm: (modalities, xy)}."""
    from workbench.sets.projection import project

    found = {}
    for arm, es in e.sets.items():
        if len({es[m].shape[1] for m in es.modalities}) == 1:
            at = np.linspace(0, len(es) - 1, min(len(es), SHOWN)).astype(int)
            p = project(es.take(at), "pca")
            found[arm] = (p.modality, p.xy)
    return found


def maps(e: Evidence) -> go.Figure:
    """Before and after: both arms' test vectors of the first run, side by side."""
    from plotly.subplots import make_subplots

    found = planes(e)
    names = [a for a in ("baseline", "mechanism") if a in found]
    fig = make_subplots(1, max(len(names), 1), subplot_titles=names, horizontal_spacing=0.06)
    for k, arm in enumerate(names, 1):
        modality, xy = found[arm]
        for m, (hue, shape) in style(dict.fromkeys(modality)).items():
            at = modality == m
            fig.add_trace(
                go.Scatter(
                    x=xy[at, 0],
                    y=xy[at, 1],
                    mode="markers",
                    name=escape(str(m)),
                    legendgroup=str(m),
                    showlegend=k == 1,
                    marker={"size": 5, "color": hue, "symbol": shape, "opacity": 0.7},
                    hoverinfo="name",
                ),
                1,
                k,
            )
    fig = dressed(fig, height=400)
    fig.update_xaxes(showticklabels=False, ticks="")
    fig.update_yaxes(showticklabels=False, ticks="")
    return fig.update_layout(legend={"y": -0.04, "yanchor": "top"}, margin={"b": 56})


def thumbnail(e: Evidence, size: int = 96) -> str:
    """Both maps as one small picture, an SVG as a data address."""
    parts, found = [], planes(e)
    for k, arm in enumerate(a for a in ("baseline", "mechanism") if a in found):
        modality, xy = found[arm]
        low, high = xy.min(0), xy.max(0)
        at = 6 + (xy - low) / np.maximum(high - low, 1e-9) * (size - 12)
        looks = style(dict.fromkeys(modality))
        parts += [
            f"<circle cx='{x + k * (size + 8):.1f}' cy='{size - y:.1f}' r='1.4' fill='{looks[m][0]}' fill-opacity='.6'/>"
            for m, (x, y) in list(zip(modality, at, strict=True))[:: max(1, len(at) // 240)]
        ]
        parts.append(
            f"<rect x='{k * (size + 8) + 0.5}' y='.5' width='{size - 1}' height='{size - 1}' fill='none' stroke='#dfe3e8'/>"
        )
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' width='{2 * size + 8}' height='{size}'>{''.join(parts)}</svg>"
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def yours(p: Paper) -> str:
    """What to try on one's own data."""
    if p.own:
        train = f"\nworkbench train {p.recipe} --data YOUR_SET -o runs/{p.recipe}" if p.recipe else ""
        return f"<h2>On your own data</h2><p>Needs {escape(p.own.sentence)}.</p><pre>{escape(p.yours + train)}</pre>"
    return f"<h2>On your own data</h2><p>The same comparison cannot be made: {escape(p.alone)}.</p>"


def cards(rows: Sequence[Mapping[str, Any]]) -> str:
    """The atlas: families in order, a card a paper."""
    from workbench.papers.catalogue import catalogue

    by_key = {r["key"]: r for r in rows}
    parts = []
    for topic in sorted({p.topic for p in catalogue().values()}):
        inside = []
        for p in (q for q in catalogue().values() if q.topic == topic):
            r = by_key.get(p.key)
            if r is None:
                inside.append(
                    f'<div class="paper faint"><h3>{escape(p.key)}</h3><p>{escape(p.claim)}</p><p>{NOT_YET}</p></div>'
                )
                continue
            picture = (
                f'<img src="{escape(r["picture"])}" alt="before and after" loading="lazy">' if r.get("picture") else ""
            )
            inside.append(
                f'<div class="paper"><h3><a href="{escape(r["link"])}">{escape(p.key)}</a> <small>{escape(p.form)}</small></h3>'
                f'<p>{escape(p.claim)}</p>{picture}<p class="verdict">{MARKS.get(r["outcome"], "·")} {escape(r["verdict"])}</p>'
                f"{bar(r['low'], r['high'], r['effect'], r['min_effect'])}"
                f'<p class="faint">gain {number(r["effect"])} [{number(r["low"])}, {number(r["high"])}], worth having from '
                f"{r['min_effect']:g}<br>{escape(r['reason'])}</p></div>"
            )
        parts.append(f'<h2>{escape(topic)}</h2><div class="papers">{"".join(inside)}</div>')
    return "".join(parts)


def diagnosed(reports: Mapping[str, Any]) -> str:
    """The same diagnostics of both arms' test vectors of the first run, side by side."""
    from workbench.views.figures import scope

    arms = [a for a in ("baseline", "mechanism") if a in reports]
    values: dict[str, dict[str, str]] = {}
    for arm in arms:
        for row in reports[arm].to_dict()["results"]:
            name = f"{row['name']} {scope(row)}"
            values.setdefault(name, {})[arm] = number(row["value"]) if row["reason"] is None else "–"
    head = "".join(f'<th class="n">{a}</th>' for a in arms)
    body = "".join(
        f"<tr><td>{escape(name)}</td>" + "".join(f'<td class="n">{v.get(a, "–")}</td>' for a in arms) + "</tr>"
        for name, v in values.items()
    )
    return f"<table><tr><th></th>{head}</tr>{body}</table>"
