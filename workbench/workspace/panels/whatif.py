"""What if: sliders that change the space, the numbers before and now; and treatments, measured and ranked."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Any

import pandas as pd

from workbench.errors import InputError
from workbench.explorer import cards
from workbench.explorer.inspection import Inspection
from workbench.explorer.whatif import EXACT, MORPHED, PREVIEW, Knobs, WhatIf
from workbench.treatments import GOALS, Candidate, Treated, treat
from workbench.treatments.base import CLASSES, SPACE
from workbench.workspace.classes import labels
from workbench.workspace.html import act, button, quiet, select
from workbench.workspace.panel import Host, Panel, panel

SLIDERS = {
    "shift": ("share of the gap taken away", 0.0, 1.5, 0.05),
    "temperature": ("temperature", 0.01, 0.5, 0.01),
    "whiten": ("whitening", 0.0, 1.0, 0.05),
    "noise": ("length of the noise", 0.0, 1.0, 0.05),
}


@panel("what if", "right", 4)
class WhatIfPanel(Panel):
    """An intervention by sliders, what it does to map and numbers; and the list of treatments."""

    def __init__(self, visit: Host) -> None:
        super().__init__(visit)
        order = self.inspection.es.modalities.index
        self.pairs = {f"{a} · {b}": (a, b) for a, b in self.inspection.directions if order(a) < order(b)}
        self.pair = next(iter(self.pairs), "")
        self.knobs = Knobs()
        self.goal = next(iter(GOALS))
        self.columns = self.inspection.once("labels", lambda: labels(self.inspection))
        self.label = self.columns[0] if self.columns else ""
        self.found: Treated | None = None
        self.clicked = -1
        self._what: dict[str, WhatIf] = {}
        self._table = ""

    @classmethod
    def fits(cls, inspection: Inspection) -> bool:
        """Two modalities of one width, and enough items to fit on one half and judge on the other."""
        return inspection.other is None and bool(inspection.directions) and len(set(inspection.es.families)) >= 8

    @property
    def what(self) -> WhatIf:
        """The pair under changes."""
        if self.pair not in self._what:
            self._what[self.pair] = WhatIf(self.inspection, *self.pairs[self.pair], label=self.label)
        return self._what[self.pair]

    def html(self) -> str:
        """Sliders, table, treatments."""
        if not self._table:
            try:
                self._measure()
            except InputError as e:
                return quiet(str(e))
        pickers = select("pair", "what if.between", list(self.pairs), self.pair) if len(self.pairs) > 1 else ""
        pickers += button("as it was", "what if.reset")
        sliders = "".join(self._slider(k) for k in SLIDERS)
        small = "" if len(self.inspection.es) <= MORPHED else f"With more than {MORPHED:,} items the map stays. "
        hint = quiet(f"{small}Linear views move along; a UMAP has no place for what it was not made of.")
        return f'<div class="row">{pickers}</div>{sliders}{hint}{self._table}{self._treatments()}'

    def _slider(self, name: str) -> str:
        words, low, high, step = SLIDERS[name]
        value = getattr(self.knobs, name)
        return (
            f'<label style="display:block"><span class="quiet">{words}</span> <span class="num">{value:.2f}</span>'
            f'<input type="range" min="{low}" max="{high}" step="{step}" value="{value}"{act("what if.knob", name)}></label>'
        )

    def _treatments(self) -> str:
        goals = {n: f"{n} ({g.unit})" for n, g in GOALS.items() if n != CLASSES or self.columns}
        picker = select("treat for", "what if.aim", goals, self.goal)
        if self.goal == CLASSES:
            picker += select("classes", "what if.by", self.columns, self.label)
        go = button("measure treatments", "what if.measure")
        about = quiet(
            "Fitted on one half of the families (or train), judged on the other (or validation). A click shows a "
            "treatment of the space on the map; workbench treat … -o FOLDER writes one for use."
        )
        listed = ""
        if self.found is not None:
            unit = escape(self.found.goal.unit)
            rows = "".join(
                f'<tr role="button" tabindex="0"{" data-now" if k == self.clicked else ""}{act("what if.preview", k)}>'
                f'<td>{escape(c.label)}</td><td class="num">{c.value:.3f}</td><td class="num">{escape(c.said_change)}</td>'
                f'<td class="num">{escape(c.said_p)}</td></tr>'
                for k, c in enumerate(self.found.shown)
            )
            head = f'<tr><th>treatment</th><th class="num">{unit}</th><th class="num">change [95 %]</th><th class="num">p</th></tr>'
            said = "".join(f"<p>{escape(s)}</p>" for s in self.found.sentences)
            listed = f'{said}<table class="treatments">{head}{rows}</table>'
        return f'<h3>Treatments</h3><div class="row">{picker}{go}</div>{listed}{about}'

    def _measure(self) -> None:
        self._take(self.what.table(self.knobs))

    def _take(self, frame: pd.DataFrame) -> None:
        self._table = cards.changes(frame, self.what.says(self.knobs, **frame.attrs))

    def _measure_exactly(self) -> None:
        """All pairs, aside: seconds where there are many."""
        what, knobs = self.what, self.knobs

        def then(frame: pd.DataFrame) -> None:
            if self.knobs == knobs and self.what is what:
                self._take(frame)
                self.redraw()

        self.visit.aside(f"{min(EXACT, len(what.judged)):,} pairs are measured", lambda: what.table(knobs, EXACT), then)

    # -- what a person does ----------------------------------------------------------------------------------------

    def on_knob(self, value: Any, how: str) -> None:
        """A slider has moved: a preview while it is dragged, exact where it rests."""
        name, x = str(value[0]), float(value[1])
        _, low, high, _ = SLIDERS[name]
        self.knobs = replace(self.knobs, **{name: min(max(x, low), high)})
        self.clicked = -1
        self._measure()
        self.what.carry(self.map_state, self.knobs)
        self.redraw()
        if how != "drag" and len(self.what.judged) > PREVIEW:
            self._measure_exactly()

    def on_reset(self, value: Any, how: str) -> None:
        """The space as it was."""
        self.knobs, self.clicked = Knobs(), -1
        self._measure()
        self.what.carry(self.map_state, self.knobs)
        self.redraw()

    def on_between(self, value: Any, how: str) -> None:
        """Another pair."""
        if value in self.pairs:
            self.pair, self.found = str(value), None
            self._measure()
            self.redraw()

    def on_aim(self, value: Any, how: str) -> None:
        """Another goal."""
        if value in GOALS:
            self.goal, self.found = str(value), None
            self.redraw()

    def on_by(self, value: Any, how: str) -> None:
        """Classes by another column."""
        if value in self.columns:
            self.label = str(value)
            self._what.clear()
            self.redraw()

    def on_measure(self, value: Any, how: str) -> None:
        """Measure every treatment for the goal."""
        es = self.inspection.es.only(list(self.pairs[self.pair]))
        goal, label = self.goal, self.label if self.goal == CLASSES else ""

        def then(found: Treated) -> None:
            self.found = found
            self.redraw()

        self.visit.aside("treatments are measured", lambda: treat(es, goal, label=label), then)

    def on_preview(self, value: Any, how: str) -> None:
        """Show a treatment of the space on the map."""
        if self.found is None:
            raise InputError("no treatment has been measured yet")
        chosen: Candidate = self.found.shown[int(value)]
        self.clicked = int(value)
        moves = chosen.kind == SPACE
        self.what.carry(self.map_state, self.knobs, chosen.treatment if moves else None)
        stays = "" if moves else " changes scores or codes, not the space: the map stays."
        self.visit.say(f"{chosen.label}{stays} {chosen.summary}" if stays else chosen.summary)
        self.redraw()
