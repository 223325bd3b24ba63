"""Landing: a row a run with its verdicts; a click opens the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

import panel as pn

from workbench.app.cards import framed
from workbench.app.data import study
from workbench.doctor import MARKS
from workbench.training.run import Run
from workbench.views.page import number

HEAD = (
    "run",
    "doctor",
    "recipe",
    "steps",
    "split",
    "R@1 (worst … best direction)",
    "gap",
    "alignment",
    "uniformity",
    "rank",
)


def runs_page(found: Sequence[Run], asked: str | None) -> pn.viewable.Viewable:
    rows = "".join(_row(run) for run in found)
    lost = f"<p>There is no run named {escape(asked)} here.</p>" if asked else ""
    head = "".join(f"<th>{h}</th>" for h in HEAD)
    said = (
        '<p class="caption">A row a run; click its name to open it. Where a diagnostic has several subjects, the row shows '
        "its smallest and largest value.</p>"
    )
    return pn.pane.HTML(framed(f"<h2>Runs</h2>{lost}{said}<table><tr>{head}</tr>{rows}</table>"))


def _row(run: Run) -> str:
    s = study(run)
    if s is None:
        return f'<tr><td>{escape(run.name)}</td><td colspan="{len(HEAD) - 1}" class="caption">no snapshot yet</td></tr>'
    worst = s.report.findings[0] if s.report.findings else None
    mark = (
        f'<span class="{worst.severity}" title="{escape(worst.sentence)}"><span class="mark">{MARKS[worst.severity]}</span></span>'
        if worst
        else ""
    )
    cells = [
        f'<a href="?run={quote(run.name)}">{escape(run.name)}</a>',
        mark,
        escape(run.config["recipe"]),
        f'<span class="num">{run.steps}</span>',
        s.split,
        *(_range(s, name) for name in ("recall_at_1", "modality_gap", "alignment", "uniformity", "effective_rank")),
    ]
    return "<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>"


def _range(s, name: str) -> str:
    f = s.report.frame
    values = [v for v in f.loc[f["name"] == name, "value"] if math.isfinite(v)]
    if not values:
        return "–"
    low, high = number(min(values)), number(max(values))
    return f'<span class="num">{low}{"" if low == high else f" … {high}"}</span>'
