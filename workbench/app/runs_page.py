"""The list of runs and sets: sorted, filtered, grouped by recipe; tick two to compare them; a run in training moves."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import Any
from urllib.parse import quote

import numpy as np
import panel as pn
import param
from panel.custom import AnyWidgetComponent

from workbench.app.library import Library, Served, State
from workbench.diagnostics.registry import panels
from workbench.diagnostics.retrieval import recall_at_1
from workbench.diagnostics.scoped_name import ScopedName
from workbench.errors import InputError
from workbench.report.finding import MARKS, SEVERITIES
from workbench.report.report import Report
from workbench.sets.run_folder import CHANCE, RECALL
from workbench.views.document import number
from workbench.workspace.acts import Heard
from workbench.workspace.assets import module
from workbench.workspace.html import act, button

EVERY = 2_000  # milliseconds between looks at the folders
WAITS = "report in the making …"
FRESH = 120  # seconds since the last line of a log that still counts as training
ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}
SHOWN = 200  # rows at once
RUN, DOCTOR, R1, STEPS, RECIPE, SEED, WHEN = "run", "doctor", "mean R@1 ↑", "steps", "recipe", "seed", "when"
OVER = "R@1 over steps"


@dataclass
class Row:
    """A line of the list: what each column shows, as HTML, and what it is sorted by."""

    name: str
    recipe: str
    shown: dict[str, str]
    keys: dict[str, Any] = field(default_factory=dict)
    _drawn: tuple[tuple[str, ...], str] = ((), "")

    def cells(self, columns: tuple[str, ...]) -> str:
        """What it shows, column by column; drawn once for the same columns, for a list is drawn every two seconds."""
        if self._drawn[0] != columns:
            self._drawn = columns, "".join(f"<td>{self.shown[c]}</td>" for c in columns)
        return self._drawn[1]


class ListFace(AnyWidgetComponent):
    """The page of a list; its parameters are the wire described in the workspace's page/list.js."""

    _esm = module("list")

    top = param.String("")
    body = param.String("")
    act = param.Dict({})
    go = param.Dict({})


class RunsScreen:
    """All runs and sets that are served: what each found, how far each is."""

    def __init__(self, library: Library, asked: str | None) -> None:
        self.library, self.asked = library, asked
        self.by, self.down = "", True
        self.word = ""
        self.grouped = False
        self.most = SHOWN
        self.ticked: list[str] = []
        self.pinned: list[str] = []  # columns that stand beside the names, as they were pinned
        self.heard = Heard()
        self.face = ListFace(sizing_mode="stretch_both", margin=0)
        self.face.param.watch(lambda e: self._said(e.new), "act")
        self.draw()

    def view(self) -> Any:
        """The page."""
        if pn.state.curdoc is not None:
            pn.state.add_periodic_callback(self.draw, period=EVERY)
        return self.face

    def draw(self) -> None:
        """Look at the folders, and show what is there."""
        rows = [_row(e, self.library) for e in self.library.entries().values()]
        self.ticked = [n for n in self.ticked if any(r.name == n for r in rows)]
        self.face.param.update(top=self._top(len(rows)), body=self._body(rows))

    def _top(self, count: int) -> str:
        two = len(self.ticked) == 2
        names = " and ".join(self.ticked) if two else "the two ticked"
        compare = button(f"compare {names}", "compare", more="" if two else "disabled")
        return (
            f'<b>workbench</b><h1 style="font-size:14px;margin:0">{count:,} to see</h1>'
            f'<input type="search" aria-label="filter the list" placeholder="only names with …" value="{escape(self.word)}"{act("filter")}>'
            f"{button('by recipe', 'group', pressed=self.grouped)}<span class='push'></span>{compare}"
        )

    def _body(self, rows: list[Row]) -> str:
        lost = f"<p>There is no run or set named {escape(self.asked)} here.</p>" if self.asked else ""
        columns = self._columns(rows[0]) if rows else ()
        if self.word:
            rows = [r for r in rows if self.word in r.name.lower() or self.word in r.recipe.lower()]
        if self.by in columns:
            known = [r for r in rows if r.keys.get(self.by) is not None]
            known.sort(key=lambda r: r.keys[self.by], reverse=self.down)
            rows = known + [r for r in rows if r.keys.get(self.by) is None]
        head = "".join(self._head(c) for c in columns)
        lines = self._groups(rows, columns) if self.grouped else [self._line(r, columns) for r in rows[: self.most]]
        hint = (
            f'<p class="quiet">Runs by their {escape(self.library.split)} items. Mean R@1: over all directions between two '
            "modalities, in brackets the weakest and the strongest; the curves have one scale from 0 to 1, grey is chance. "
            "↑ more is better, ↓ less is. Tick two to compare them.</p>"
        )
        more = button(f"{len(rows) - self.most:,} more", "more") if len(rows) > self.most and not self.grouped else ""
        return (
            f"{lost}{hint}<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>{more}"
        )

    def _columns(self, row: Row) -> tuple[str, ...]:
        """The columns from left to right: the name, what is pinned, the rest."""
        pinned = [c for c in self.pinned if c in row.shown]
        return RUN, *pinned, *(c for c in row.shown if c != RUN and c not in pinned)

    def _head(self, c: str) -> str:
        mark = (" ▾" if self.down else " ▴") if c == self.by else ""
        more = f'class="bare" aria-label="{escape(f"sort by {c}")}"'
        held = c in self.pinned
        said = escape(f"{'let go of' if held else 'pin'} {c}")
        pin = f'class="bare pin" aria-label="{said}" title="{said}"'
        pins = button("⇤", "pin", c, pressed=held, more=pin) if c != RUN else ""
        return f"<th>{button(c + mark, 'sort', c, more=more)}{pins}</th>"

    def _line(self, r: Row, columns: tuple[str, ...]) -> str:
        tick = f'<input type="checkbox" aria-label="{escape(f"tick {r.name}")}"{act("tick", r.name)}{" checked" if r.name in self.ticked else ""}>'
        return f'<tr data-key="{escape(r.name)}"><td>{tick}</td>{r.cells(columns)}</tr>'

    def _groups(self, rows: list[Row], columns: tuple[str, ...]) -> list[str]:
        """The rows under their recipes, with the range of R@1 over their seeds."""
        lines = []
        for recipe in dict.fromkeys(r.recipe for r in rows):
            own = [r for r in rows if r.recipe == recipe]
            known = [r.keys[R1] for r in own if r.keys.get(R1) is not None]
            seeds = {r.keys.get(SEED) for r in own} - {None}
            said = (
                f"mean R@1 {number(float(np.mean(known)))} ({number(min(known))} … {number(max(known))})"
                if known
                else ""
            )
            count = f"{len(own)} of {len(seeds)} seeds" if seeds else f"{len(own)}"
            title = f'{escape(recipe)} · {count} <span class="num">{said}</span>'
            lines.append(
                f'<tr class="group" data-key="recipe {escape(recipe)}"><td colspan="{len(columns) + 1}">{title}</td></tr>'
            )
            lines += [self._line(r, columns) for r in own]
        return lines

    # -- what a person does ----------------------------------------------------------------------------------------

    def _said(self, message: dict[str, Any]) -> None:
        for said in self.heard.new(message):
            name = str(said.get("name"))
            does = getattr(self, f"_on_{name}", None) if name.isidentifier() else None
            if does is not None:
                does(said.get("value"))
        self.draw()

    def _on_sort(self, value: Any) -> None:
        self.down = not self.down if value == self.by else True
        self.by = str(value)

    def _on_pin(self, value: Any) -> None:
        column = str(value)
        self.pinned = [c for c in self.pinned if c != column] + [column] * (column not in self.pinned)

    def _on_filter(self, value: Any) -> None:
        self.word = str(value).strip().lower()

    def _on_group(self, _: Any) -> None:
        self.grouped = not self.grouped

    def _on_more(self, _: Any) -> None:
        self.most += SHOWN

    def _on_tick(self, value: Any) -> None:
        name, wanted = value
        self.ticked = [n for n in self.ticked if n != name] + ([str(name)] if wanted else [])
        self.ticked = self.ticked[-2:]  # the third takes the place of the first

    def _on_compare(self, _: Any) -> None:
        if len(self.ticked) == 2:
            a, b = (n for n in self.library.entries() if n in self.ticked)
            self.face.go = {"search": f"?compare={quote(a)},{quote(b)}"}


# -- rows --------------------------------------------------------------------------------------------------------------


def _row(e: Served, library: Library) -> Row:
    """What stands in the list: from the report once it is made, until then from the log."""
    state = e.state
    written = state[0] / 1e9
    old = time.time() - written >= FRESH
    if old and (known := library.made("row", e, state) or library.made("log", e, state)) is not None:
        return known
    if not e.is_run:

        def of_set(report: Report | None) -> Row:
            steps = f"{report.about['items']:,} items" if report is not None else WAITS
            return _cells(e, report, None, "", steps, written)

        return _reported(e, library, of_set, state) or of_set(None)
    run = e.run
    looks = run.looks
    if not looks:
        return _cells(e, None, None, "", "no snapshot yet", written)
    live = not run.finished and not old
    total = run.config["train"]["steps"]
    steps = f"{run.steps:,} of {total:,}" + (" · training" if live else "" if run.finished else " · stopped")
    chance = max((m[CHANCE] for m in looks if CHANCE in m), default=0.0)
    spark = sparkline([m[RECALL] for m in looks], live, chance)

    def of_run(report: Report | None, more: str = "") -> Row:
        return _cells(e, report, looks[-1], spark, steps + more, written)

    if live:
        return of_run(None)
    waits = partial(of_run, None, f" · {WAITS}")
    return _reported(e, library, of_run, state) or library.once("log", e, waits, state)


def _reported(e: Served, library: Library, cells: Any, state: State) -> Row | None:
    """A row made of the report, which is worked out in the background; nothing until then."""

    def made() -> Row:
        try:
            return cells(e.report())
        except InputError as error:
            row: Row = cells(None)
            row.shown[DOCTOR] = f'<span class="bad">cannot be read: {escape(str(error))}</span>'
            return row

    library.later("row", e, made, state=state)
    return library.made("row", e, state)


def _cells(e: Served, report: Report | None, look: dict[str, Any] | None, spark: str, steps: str, when: float) -> Row:
    run = e.run if e.is_run else None
    findings = report.findings if report is not None else run.findings if run is not None else []
    mark, worst_key = "", None
    if findings:
        worst = findings[0]
        count = sum(f.severity == worst.severity for f in findings)
        said = "fine" if not worst.alarm else f"{count} {worst.severity}{'s' * (count > 1)}"
        tone = "bad" if worst.alarm else "quiet"
        first = f'<div class="quiet two" style="max-width:230px">{escape(worst.sentence)}</div>' if worst.alarm else ""
        mark = f'<span class="{tone}">{MARKS[worst.severity]} {said}</span>{first}'
        worst_key = -SEVERITIES.index(worst.severity) * 1000 + count
    recipe = run.config["recipe"] if run is not None else "set"
    seed = run.config["train"].get("seed") if run is not None else None
    recall = _recalls(report, look)
    shown = {
        RUN: f'<a href="?run={quote(e.name)}" target="_self"><b>{escape(e.name)}</b></a>',
        DOCTOR: mark,
        R1: _mean(recall),
    }
    keys: dict[str, Any] = {RUN: e.name.lower(), DOCTOR: worst_key, R1: float(np.mean(recall)) if recall else None}
    for d in panels()[1:]:
        values = _values(report, look, d.name)
        heading = d.heading + ARROWS[d.better]
        shown[heading] = f'<span class="num">{_range(values)}</span>'
        keys[heading] = float(np.mean(values)) if values else None
    shown |= {
        OVER: spark,
        STEPS: escape(steps),
        RECIPE: escape(recipe),
        SEED: "" if seed is None else f'<span class="num">{escape(str(seed))}</span>',
        WHEN: time.strftime("%m-%d %H:%M", time.localtime(when)),
    }
    keys |= {STEPS: run.steps if run is not None else None, RECIPE: recipe, SEED: seed, WHEN: when}
    return Row(e.name, recipe, shown, keys)


def _recalls(report: Report | None, look: dict[str, Any] | None) -> list[float]:
    """R@1 of each direction between two modalities: from the report, or from the last look of a run."""
    if report is not None:
        f = report.frame
        plain = (f["name"] == recall_at_1.__name__) & ~f["modalities"].map(lambda m: "+" in "".join(m))
        return [v for v in f.loc[plain, "value"] if math.isfinite(v)]
    named = ScopedName.of(look or {}, recall_at_1.__name__)
    return [float((look or {})[key]) for measure, key in named.items() if not measure.fused]


def _mean(values: list[float]) -> str:
    if not values:
        return "–"
    ends = f' <span class="quiet num">({number(min(values))} … {number(max(values))})</span>' if len(values) > 1 else ""
    return f'<b class="num">{number(float(np.mean(values)))}</b>{ends}'


def _values(report: Report | None, look: dict[str, Any] | None, name: str) -> list[float]:
    if report is not None:
        f = report.frame
        return [v for v in f.loc[f["name"] == name, "value"] if math.isfinite(v)]
    return [(look or {})[key] for key in ScopedName.of(look or {}, name).values()]


def _range(values: list[float]) -> str:
    if not values:
        return "–"
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} … {high}"


def sparkline(values: list[float], live: bool, chance: float = 0.0) -> str:
    """R@1 from 0 to 1 over the looks, chance as a grey band; a run in training has a ring at its last point."""
    if len(values) < 2:
        return ""
    x = np.linspace(3, 97, len(values))
    y = 26 - 24 * np.clip(np.asarray(values), 0, 1)
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    top = max(1.0, 24 * chance)
    fill = "none" if live else "var(--accent)"
    ring = f'<circle cx="{x[-1]:.1f}" cy="{y[-1]:.1f}" r="2.5" fill="{fill}" stroke="var(--accent)"/>'
    said = f"R@1 over steps, from {number(values[0])} to {number(values[-1])}"
    return (
        f'<svg class="spark" viewBox="0 0 100 28" role="img" aria-label="{said}">'
        f'<rect x="0" width="100" y="{26 - top:.1f}" height="{top:.1f}" fill="var(--fill)" opacity=".6"/>'
        f'<polyline points="{path}" fill="none" stroke="var(--accent)" stroke-width="1.5"/>{ring}</svg>'
    )
