"""Screen 3, what if: sliders under the map, which moves along; right, what that changes, and what it cannot."""

from __future__ import annotations

from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from workbench.app.screens import screen
from workbench.app.session import Session, caption
from workbench.app.treatment_list import TreatmentList
from workbench.errors import InputError
from workbench.explorer import cards
from workbench.explorer.whatif import EXACT, MORPHED, Knobs, WhatIf
from workbench.sets.columns import codes, holds_bytes
from workbench.treatments import Candidate


def labels(session: Session) -> list[str]:
    """Columns of a few values, each with several items: classes that a classifier could know."""
    out = []
    for c in session.inspection.items:
        x = session.inspection.items[c]
        if not holds_bytes(x) and c not in ("id", "split"):
            count = len(codes(x)[1])
            if 2 <= count <= min(50, int(x.notna().sum()) // 4):
                out.append(str(c))
    return out


@screen("what if", 2)
class WhatIfScreen:
    """Sliders over an intervention, and what it does to map and numbers at once."""

    def __init__(self, session: Session) -> None:
        self.session = session
        order = session.inspection.es.modalities.index
        pairs = {f"{a} · {b}": (a, b) for a, b in session.inspection.directions if order(a) < order(b)}
        self.pair = pmui.Select(label="pair", options=pairs, width=200, size="small")
        self.label = pmui.Select(label="classes", options=["", *labels(session)], width=170, size="small")
        if len(self.label.options) > 1:
            self.label.value = self.label.options[1]
        slider: dict[str, Any] = {"size": "small", "width": 300}
        self.shift = pmui.FloatSlider(label="share of the gap taken away", start=0, end=1.5, step=0.05, **slider)
        self.temperature = pmui.FloatSlider(label="temperature", start=0.01, end=0.5, step=0.01, value=0.07, **slider)
        self.whiten = pmui.FloatSlider(label="whitening", start=0, end=1, step=0.05, **slider)
        self.noise = pmui.FloatSlider(label="length of the noise", start=0, end=1, step=0.05, **slider)
        self.sliders = (self.shift, self.temperature, self.whiten, self.noise)
        self.reset = pmui.Button(label="reset", variant="outlined", size="small", width=90, sizing_mode="fixed")
        self.table = pn.pane.HTML("")
        self.treatments = TreatmentList(session, labels(session), self._preview)
        self.reset.on_click(self._reset)
        for s in self.sliders:
            s.param.watch(lambda _: self.update(), "value")
            s.param.watch(lambda _: self.update(EXACT), "value_throttled")
        for w in (self.pair, self.label):
            w.param.watch(self._choose, "value")
        self._begin()

    def view(self) -> Any:
        """The page: sliders, the map that moves, numbers before and now."""
        small = (
            "" if len(self.session.inspection.es) <= MORPHED else f"With more than {MORPHED:,} items the map stays. "
        )
        hint = caption(
            f"{small}Linear views move along with the sliders; a UMAP has no place for what it was not made of."
        )
        sliders = pn.Column(self.shift, self.temperature), pn.Column(self.whiten, self.noise)
        under = pn.Row(*sliders, margin=(12, 0, 0, 0))
        left = pn.Column(self.session.picture(), under, hint, sizing_mode="stretch_width")
        self.update()
        pickers = pn.Row(self.pair, self.label, margin=(8, 0, 0, 0))
        return pn.Row(left, pn.Column(pickers, self.reset, self.table, self.treatments.view(), width=520))

    @property
    def knobs(self) -> Knobs:
        """What the sliders say now."""
        return Knobs(*(float(s.value) for s in self.sliders))

    def _choose(self, _: Any) -> None:
        self._begin()
        self.update()

    def _begin(self) -> None:
        if not self.pair.value:
            self.what = None
            self.table.object = cards.framed("There are no two modalities of one width here.")
            return
        try:
            self.what = WhatIf(self.session.inspection, *self.pair.value, label=self.label.value or "")
            self.treatments.pair = self.pair.value
        except InputError as e:
            self.what = None
            self.table.object = cards.framed(escape(str(e)))

    def update(self, count: int = 0) -> None:
        """Show the changed space: a preview at once, exact where that is asked for."""
        if self.what is None:
            return
        frame = self.what.table(self.knobs, count) if count else self.what.table(self.knobs)
        self.table.object = cards.framed(cards.changes(frame, self.what.says(self.knobs, **frame.attrs)))
        if not count:
            self.what.carry(self.session.map_state, self.knobs)

    def _preview(self, chosen: Candidate | None) -> None:
        """Show a treatment of the space on the map, or the sliders' space again."""
        if self.what is not None:
            self.what.carry(self.session.map_state, self.knobs, chosen.treatment if chosen else None)

    def _reset(self, _: Any) -> None:
        for s, value in zip(self.sliders, (0.0, 0.07, 0.0, 0.0), strict=True):
            s.value = value
