"""Screen 1, runs: a row a run with its verdicts; tick two to compare them; a run in training updates by itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from html import escape
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from workbench.app.library import Library, Served
from workbench.app.session import caption, head
from workbench.diagnostics.registry import panels
from workbench.diagnostics.retrieval import recall_at_1
from workbench.diagnostics.scoped_name import ScopedName
from workbench.errors import InputError
from workbench.explorer import cards
from workbench.explorer.inspection import Inspection
from workbench.report.finding import MARKS
from workbench.sets.run_folder import RECALL
from workbench.training.run import Run
from workbench.views.document import number

EVERY = 2_000  # milliseconds between looks at the folders
WAITS = "report in the making …"
FRESH = 120  # seconds since the last line of a log that still counts as training
ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}
# exactly two runs are compared, so there is nothing that ticks them all
NO_TICK_ALL = ".tabulator-header input[type=checkbox] { display: none; }"
PALE = ".tabulator-row.tabulator-selected { background: #e8f1f8 !important; color: inherit !important; }"


class RunsScreen:
    """All runs and sets that are served: what each found, how far each is."""

    def __init__(self, library: Library, asked: str | None) -> None:
        self.library, self.asked = library, asked
        html = {"type": "html"}
        frame = self._frame()
        self.table = pn.widgets.Tabulator(
            frame,
            selectable="checkbox",
            show_index=False,
            disabled=True,
            sortable=False,
            formatters=dict.fromkeys(frame, html),
            sizing_mode="stretch_width",
            configuration={"columnDefaults": {"headerSort": False}},
            row_height=56,
            stylesheets=[NO_TICK_ALL, PALE],
        )
        self.compare = pmui.Button(
            label="compare the two ticked",
            disabled=True,
            size="small",
            variant="contained",
            width=210,
            sizing_mode="fixed",
        )
        self.table.param.watch(self._ticked, "selection")
        self.compare.on_click(self._compare)

    def view(self) -> Any:
        """The page: a line each; `asked` that is not there is said on top."""
        lost = f"<p>There is no run or set named {escape(self.asked)} here.</p>" if self.asked else ""
        hint = caption(
            f"Click a name to open it, tick two to compare them. Runs by their {self.library.split} items. R@1 both ways between the first two modalities, with its "
            "95 % interval; where a diagnostic has several scopes, the smallest and the largest value. ↑ more is better, "
            "↓ less is. Point at the doctor's word for the sentence."
        )
        if pn.state.curdoc is not None:
            pn.state.add_periodic_callback(self._look, period=EVERY)
        return pn.Column(pn.pane.HTML(cards.framed(lost)), head("Runs"), hint, self.table, self.compare)

    def _look(self) -> None:
        frame = self._frame()
        if not frame.equals(self.table.value):
            chosen = list(self.table.selection)
            self.table.value = frame
            self.table.selection = [i for i in chosen if i < len(frame)]

    def _ticked(self, event: Any) -> None:
        self.compare.disabled = len(event.new) != 2

    def _compare(self, _: Any) -> None:
        names = list(self.library.entries())
        a, b = (names[i] for i in sorted(self.table.selection))
        if pn.state.location is not None:
            pn.state.location.param.update(search=f"?compare={quote(a)},{quote(b)}", reload=True)

    # -- rows ------------------------------------------------------------------------------------------------------

    def _frame(self) -> pd.DataFrame:
        return pd.DataFrame([_row(e, self.library) for e in self.library.entries().values()])


def _row(e: Served, library: Library) -> dict[str, str]:
    """What stands in the list: from the report once it is made, until then from the log."""
    written = e.state[0] / 1e9
    old = time.time() - written >= FRESH
    if old and (known := library.made("row", e) or library.made("log", e)) is not None:
        return known
    link = f'<a href="?run={quote(e.name)}" target="_self"><b>{escape(e.name)}</b></a>'
    if not e.is_run:

        def of_set(s: Inspection | None) -> dict[str, str]:
            return _cells(link, s and s.report, "", "", "set", f"{len(s.es):,} items" if s else WAITS, written)

        return _reported(e, library, of_set) or of_set(None)
    run = e.run
    looks = run.looks
    if not looks:
        return _cells(link, None, "", "", run.config["recipe"], "no snapshot yet", written)
    live = not run.finished and not old
    total = run.config["train"]["steps"]
    steps = f"{run.steps:,} of {total:,}" + (" · training" if live else "" if run.finished else " · stopped")
    spark = sparkline([m[RECALL] for m in looks], live)

    def of_run(s: Inspection | None, more: str = "") -> dict[str, str]:
        return _cells(link, s and s.report, looks[-1], spark, run.config["recipe"], steps + more, written, run)

    if live:
        return of_run(None)
    return _reported(e, library, of_run) or library.once("log", e, lambda: of_run(None, f" · {WAITS}"))


def _reported(e: Served, library: Library, cells: Callable[[Any], dict[str, str]]) -> dict[str, str] | None:
    """A row made of the report, which is worked out in the background; nothing until then."""

    def made() -> dict[str, str]:
        try:
            return cells(e.inspection())
        except InputError as error:
            return cells(None) | {"doctor": f'<span title="{escape(str(error))}">cannot be read</span>'}

    library.later("row", e, made)
    return library.made("row", e)


def _cells(
    link: str, report: Any, look: Any, spark: str, recipe: str, steps: str, when: float, run: Run | None = None
) -> dict[str, str]:
    findings = report.findings if report is not None else run.findings if run is not None else []
    mark = ""
    if findings:
        worst = findings[0]
        hue = "#D55E00" if worst.alarm else "inherit"
        count = sum(f.severity == worst.severity for f in findings)
        said = "fine" if not worst.alarm else f"{count} {worst.severity}{'s' * (count > 1)}"
        mark = f'<span style="color:{hue}" title="{escape(worst.sentence)}">{MARKS[worst.severity]} {said}</span>'
    values = {d.heading + ARROWS[d.better]: _range(_values(report, look, d.name)) for d in panels()[1:]}
    return {
        "run": link,
        "doctor": mark,
        "R@1 ↑": _recall(report, look),
        **values,
        "R@1 over steps": spark,
        "steps": escape(steps),
        "recipe": escape(recipe),
        "when": time.strftime("%Y-%m-%d %H:%M", time.localtime(when)),
    }


def _recall(report: Any, look: Any) -> str:
    if report is not None and report.has(recall_at_1.__name__):
        f = report.frame
        f = f[
            (f["name"] == recall_at_1.__name__) & f["reason"].isna() & ~f["modalities"].map(lambda m: "+" in "".join(m))
        ]
        if len(f):
            a, b, *_ = f.iloc[0]["modalities"]
            both = [r for r in f.to_dict("records") if set(r["modalities"]) == {a, b}]
            return "<br>".join(
                f"{escape(r['modalities'][0])} → {escape(r['modalities'][1])} <b>{number(r['value'])}</b>"
                + (f" [{number(r['low'])}, {number(r['high'])}]" if math.isfinite(r["low"]) else "")
                for r in both
            )
    return number(look[RECALL]) if look else "–"


def _values(report: Any, look: Any, name: str) -> list[float]:
    if report is not None:
        f = report.frame
        return [v for v in f.loc[f["name"] == name, "value"] if math.isfinite(v)]
    return [look[key] for key in ScopedName.of(look or {}, name).values()]


def _range(values: list[float]) -> str:
    if not values:
        return "–"
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} … {high}"


def sparkline(values: list[float], live: bool) -> str:
    """R@1 from zero to its largest value over the looks; a run in training has a ring at its last point."""
    if len(values) < 2:
        return ""
    x = np.linspace(3, 97, len(values))
    y = 26 - 22 * np.asarray(values) / (max(values) or 1)
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    ring = (
        f'<circle cx="{x[-1]:.1f}" cy="{y[-1]:.1f}" r="2.5" fill="{"none" if live else "#0072B2"}" stroke="#0072B2"/>'
    )
    return (
        f'<svg width="100" height="30" role="img" aria-label="R@1 over steps">'
        f'<polyline points="{path}" fill="none" stroke="#0072B2" stroke-width="1.5"/>{ring}</svg>'
    )
