"""The page of a comparison: is B better, on its first screen; then who was won and lost, and all that is the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from workbench.diagnostics.registry import headlines
from workbench.report.comparison import HIT, Comparison, side_by_side
from workbench.report.report import Report
from workbench.sets.shipped import CAVEAT
from workbench.views import differences, figures
from workbench.views.document import drawn, number, page
from workbench.views.page import about, picture, sentences

SHOWN = 12  # items of each list
ONE_SEED = (
    "One seed each: a difference between two runs is a difference between two runs, no verdict on the recipes. "
    "workbench compare A B --seed … sets the floor."
)


def compare_page(
    found: Comparison,
    reports: Mapping[str, Report],
    metrics: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    items: pd.DataFrame | None = None,
) -> str:
    """B against A: the answer and the difference of each direction first, then the items, then everything else folded.

    `reports`: A's and B's, by their names; `items`: with what they are shown by, a column id and pictures.
    """
    a, b = reports
    title = f"A {a} against B {b}"
    rows = found.paired[found.paired["name"] == HIT].to_dict("records") if len(found.paired) else []
    split = next(iter(reports.values())).about.get("split_read")
    of = f" of the {split} split" if split else ""
    parts = [f"<h1>{escape(title)}</h1><p class='lead'><b>{escape(differences.answer(rows))}.</b></p>"]
    seeds = ONE_SEED if not found.about["seeds"] else f"Against {found.about['seeds']} further seeds of A."
    parts += [f'<p class="caption">Over the same {found.about["items"]:,} items{escape(of)}. {seeds}</p>']
    if rows:
        parts += [drawn(differences.forest(found)), _verdicts(rows)]
        parts += [_lists(found, rows, items)]
    for name, report in reports.items():
        parts += [f"<h2>What the doctor says of {escape(name)}</h2>", sentences(report.findings)]
    if metrics:
        said = "At each look at the validation items. The losses are of different kinds: compare their course, not their height."
        parts += ["<h2>During training</h2>", drawn(figures.metrics(metrics)), f'<p class="caption">{said}</p>']
    parts += [_values(reports)]
    alike = f"<p class='caption'>{CAVEAT}</p>{differences.shared(found)}"
    parts += [f"<details><summary>How alike the spaces are</summary>{alike}</details>"]
    parts += [f"<details><summary>Every paired measure</summary>{differences.paired(found)}</details>"]
    run = "".join(f"<h3>{escape(n)}</h3>{about(r)}" for n, r in reports.items())
    parts += [f"<details><summary>What was run</summary>{run}</details>"]
    return page(title, "".join(parts))


def _verdicts(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a direction: the counts behind the figure, and the verdict."""
    lines = "".join(
        f"<tr><td>{escape(' → '.join(r['modalities']))}</td><td class='n'>{number(r['a'])}</td><td class='n'>{number(r['b'])}</td>"
        f"<td class='n'>+{r['won']:,} −{r['lost']:,}</td><td>B is {escape(r['verdict'])}</td></tr>"
        for r in rows
    )
    head = "<tr><th>R@1</th><th class=n>A</th><th class=n>B</th><th class=n>queries won, lost</th><th></th></tr>"
    return f"<table>{head}{lines}</table>"


def _lists(found: Comparison, rows: Sequence[Mapping[str, Any]], items: pd.DataFrame | None) -> str:
    """The queries lost and won where most changed, the largest falls and rises first."""
    most = max(rows, key=lambda r: r["won"] + r["lost"])
    q, k = most["modalities"]
    before, after = f"rank A {q}→{k}", f"rank B {q}→{k}"
    flipped = found.flipped(q, k)
    by_id = items.set_index(items["id"].astype(str)) if items is not None else None
    parts = []
    for word, side in (("Lost", flipped[flipped[before] == 1]), ("Won", flipped[flipped[after] == 1])):
        if not len(side):
            continue
        fall = (side[after] - side[before]).abs()
        cards = []
        for row in side.loc[fall.sort_values(ascending=False).index].head(SHOWN).to_dict("records"):
            item = by_id.loc[str(row["id"])].to_dict() if by_id is not None and str(row["id"]) in by_id.index else {}
            name = str(item.get("name", row["id"]))
            ranks = f'<span class="num">rank {row[before]:,.0f} → {row[after]:,.0f}</span>'
            cards.append(f'<div class="card">{picture(item)}{escape(name[:80])}<br>{ranks}</div>')
        more = f", the {SHOWN} that moved furthest" if len(side) > SHOWN else ""
        parts.append(
            f"<h2>{word} by B: {len(side):,} queries of {escape(q)} → {escape(k)}{more}</h2>"
            f'<div class="cards">{"".join(cards)}</div>'
        )
    return "".join(parts)


def _values(reports: Mapping[str, Report]) -> str:
    """The headline numbers of both side by side, and all the others folded."""
    table = side_by_side(reports)
    first = set(headlines())
    names = list(reports)

    def lines(wanted: bool) -> str:
        out = []
        for key, row in table.iterrows():
            measure, scope = key
            values = [float(row[n, "value"]) for n in names]
            if (measure in first) != wanted or not any(math.isfinite(v) for v in values):
                continue
            cells = "".join(f"<td class='n'>{number(v)}</td>" for v in values)
            out.append(
                f"<tr><td>{escape(str(measure))}</td><td>{escape(figures.scope({'name': measure, 'modalities': scope}))}</td>{cells}</tr>"
            )
        head = "".join(f"<th class=n>{escape(n)}</th>" for n in names)
        return f'<div class="wide"><table><tr><th></th><th></th>{head}</tr>{"".join(out)}</table></div>'

    return (
        f"<h2>Headline numbers</h2>{lines(True)}"
        f"<details><summary>Every other number, A beside B</summary>{lines(False)}</details>"
    )
