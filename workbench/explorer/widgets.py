"""The explorer in a notebook: a map and ordinary ipywidgets around it.

>>> import workbench as wb
>>> ex = wb.explore(wb.testing.planted(items=60))
>>> len(ex.selection)
20
>>> ex.select(["i3", "i5"]).selection["id"].tolist()
['i3', 'i5']
"""

from __future__ import annotations

import base64
import warnings
from collections.abc import Callable
from html import escape
from pathlib import Path
from threading import Thread
from typing import Any

import anywidget
import ipywidgets as w
import numpy as np
import pandas as pd
import traitlets as t

from workbench.explorer import cards
from workbench.explorer.bundle import bundle
from workbench.explorer.inspection import Inspection, inspection
from workbench.explorer.map_state import MESSAGES, VIEWS, MapState
from workbench.explorer.static_map import still
from workbench.explorer.whatif import EXACT, Knobs, WhatIf


class MapWidget(anywidget.AnyWidget):
    """The map of a map state; its traits are the wire described in map/map.js."""

    _esm = bundle()
    modality = t.Bytes(b"").tag(sync=True)
    codes = t.Bytes(b"").tag(sync=True)
    mask = t.Bytes(b"").tag(sync=True)
    pairs = t.Bytes(b"").tag(sync=True)
    pair_codes = t.Bytes(b"").tag(sync=True)
    png = t.Bytes(b"").tag(sync=True)
    points = t.Bytes(b"").tag(sync=True)
    spec = t.Dict().tag(sync=True)
    tip = t.Dict().tag(sync=True)
    look = t.Dict().tag(sync=True)
    gesture = t.Dict().tag(sync=True)
    asked = t.Int(-1).tag(sync=True)
    clicked = t.Dict().tag(sync=True)
    command = t.Dict().tag(sync=True)
    figures = t.Dict().tag(sync=True)

    def __init__(self, map_state: MapState, **traits: Any) -> None:
        super().__init__(**map_state.traits(), **traits)
        self.map_state = map_state
        map_state.listen(self._told)
        self.observe(self._said, names=list(MESSAGES))

    def _told(self, traits: dict[str, Any]) -> None:
        with self.hold_sync():
            for name, value in traits.items():
                self.set_trait(name, value)

    def _said(self, change: Any) -> None:
        self.map_state.on_message(change["name"], change["new"])

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return _kept(super()._repr_mimebundle_(**kwargs), still(self.map_state), self.map_state)


def _kept(bundle: Any, text: str, map_state: MapState | None = None) -> Any:
    """The live widget, and beside it what stays where no widget runs: an exported notebook is never blank."""
    data, about = bundle if isinstance(bundle, tuple) else (bundle, {})
    picture = {"image/png": base64.b64encode(map_state.png()).decode()} if map_state is not None else {}
    return {**(data or {}), **picture, "text/html": text}, about


class PairBrowser(w.VBox):
    """The pair cards of the selection, one at a time, worst match first. `item` is the position of the one shown."""

    item = t.Int(-1)

    def __init__(self, map_state: MapState) -> None:
        self.map_state = map_state
        self.items: list[int] = []
        self.html = w.HTML()
        self.back, self.on = w.Button(description="‹ previous"), w.Button(description="next ›")
        self.place = w.Label()
        for button, step in ((self.back, -1), (self.on, 1)):
            button.layout.width = "90px"
            button.on_click(lambda _, step=step: self.step(step))
        super().__init__([w.HBox([self.back, self.on, self.place]), self.html])
        self.observe(self._draw, names=["item"])
        map_state.on_selection(self.refresh)
        self.refresh()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return _kept(super()._repr_mimebundle_(**kwargs), self.html.value)

    def refresh(self) -> None:
        """Take up the selection of the map state."""
        self.items = self.map_state.inspection.worst_first(np.flatnonzero(self.map_state.selected)).tolist()
        self.set_trait("item", self.items[0] if self.items else -1)
        self._draw()

    def step(self, by: int) -> None:
        """Show the next selected item, or with −1 the one before."""
        if self.items:
            at = self.items.index(self.item) if self.item in self.items else 0
            self.item = self.items[(at + by) % len(self.items)]

    def _draw(self, _: Any = None) -> None:
        if self.item < 0:
            self.place.value = ""
            self.html.value = cards.framed(
                '<p class="caption">Click a point, or draw around some: their pairs stand here.</p>'
            )
            return
        at = self.items.index(self.item) + 1 if self.item in self.items else 1
        self.place.value = f"{at:,} of {max(1, len(self.items)):,}, worst match first"
        inspection = self.map_state.inspection
        self.html.value = cards.framed(cards.card(inspection, self.item, inspection.meetings(self.item)))


class WhatIfSliders(w.VBox):
    """Shift, temperature, whitening and noise on two modalities; the map moves along, the table says what changes."""

    def __init__(self, map_state: MapState, a: str = "", b: str = "", *, label: str = "") -> None:
        names = [m for pair in map_state.inspection.directions[:1] for m in pair]
        self.map_state = map_state
        self.what = WhatIf(map_state.inspection, a or names[0], b or names[1], label=label)
        slide = {"continuous_update": True, "style": {"description_width": "90px"}, "layout": {"width": "340px"}}
        self.shift = w.FloatSlider(0, min=0, max=1.5, step=0.05, description="shift", **slide)
        self.temperature = w.FloatLogSlider(0.07, base=10, min=-2, max=0, step=0.05, description="temperature", **slide)
        self.whiten = w.FloatSlider(0, min=0, max=1, step=0.05, description="whitening", **slide)
        self.noise = w.FloatSlider(0, min=0, max=1, step=0.05, description="noise", **slide)
        self.exact = w.Button(description=f"exact, {min(EXACT, len(self.what.judged)):,} pairs")
        self.exact.on_click(lambda _: self.update(EXACT))
        self.table = w.HTML()
        sliders = [self.shift, self.temperature, self.whiten, self.noise]
        super().__init__([*sliders, self.exact, self.table])
        for s in sliders:
            s.observe(lambda _: self.update(), names=["value"])
        self.update()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return _kept(super()._repr_mimebundle_(**kwargs), self.table.value)

    @property
    def knobs(self) -> Knobs:
        """What the sliders say now."""
        return Knobs(self.shift.value, self.temperature.value, self.whiten.value, self.noise.value)

    def update(self, count: int = 0) -> None:
        """Make the numbers anew, a preview unless a count is given, and move the map where the view is linear."""
        knobs = self.knobs
        frame = self.what.table(knobs, count) if count else self.what.table(knobs)
        self.table.value = cards.framed(cards.changes(frame, self.what.says(knobs, **frame.attrs)))
        if not count:
            self.what.carry(self.map_state, knobs)


class Explorer(w.VBox):
    """The map with its pickers, the doctor's sentences and the pair browser; `selection` is a frame, both ways."""

    def __init__(self, s: Inspection, *, view: str = "", colour: str = "modality") -> None:
        self.map_state = MapState(s, view=view, colour=colour)
        self.map_state.select(s.worst(20), remember=False)
        self.map = MapWidget(self.map_state)
        self.view = w.Dropdown(options=self.map_state.views, value=self.map_state.view, description="view")
        self.colour = w.Dropdown(options=self.map_state.colours, value=colour, description="colour")
        self.search = w.Text(placeholder="search all columns, then Enter", description="find", continuous_update=False)
        self.note, self.findings = w.HTML(), w.HTML()
        self.pairs = PairBrowser(self.map_state)
        for part, act in ((self.view, self._show), (self.colour, self._paint), (self.search, self._find)):
            part.observe(act, names=["value"])
        bar = w.HBox([self.view, self.colour, self.search, self.note])
        side = w.VBox([self.findings, self.pairs], layout={"width": "360px", "max_height": "600px", "overflow": "auto"})
        middle = w.VBox([self.map], layout={"flex": "1 1 auto", "min_width": "420px"})
        super().__init__([bar, w.HBox([middle, side])])
        if s.diagnosed:
            self._diagnosed()
        else:
            self._diagnosing()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        known = self.findings.value if self.map_state.inspection.diagnosed else ""
        text = known + still(self.map_state) + self.pairs.html.value
        return _kept(super()._repr_mimebundle_(**kwargs), text, self.map_state)

    # -- the selection ---------------------------------------------------------------------------------------------

    @property
    def scene(self) -> MapState:
        """What 0.1 called `map_state`; this name goes with 0.3."""
        warnings.warn("Explorer.scene is Explorer.map_state since 0.2", DeprecationWarning, stacklevel=2)
        return self.map_state

    @property
    def selection(self) -> pd.DataFrame:
        """The selected items: their columns, and the rank of their match in each direction."""
        return self.map_state.frame

    def select(self, ids: Any) -> Explorer:
        """Select items by id, or the ids of a frame; the map and the pair browser follow."""
        ids = ids["id"] if isinstance(ids, pd.DataFrame) else ids
        self.map_state.select(self.map_state.inspection.places(ids))
        return self

    def save(self, name: str) -> Path:
        """Keep the selection by name in the run or beside the set, for the dashboard and for reports."""
        return self.map_state.inspection.save_selection(
            name, self.map_state.ids, view=self.map_state.view, colour=self.map_state.colour
        )

    def what_if(self, a: str = "", b: str = "", *, label: str = "") -> WhatIfSliders:
        """Sliders that change the space on this map."""
        return WhatIfSliders(self.map_state, a, b, label=label)

    # -- parts -----------------------------------------------------------------------------------------------------

    def _show(self, change: Any) -> None:
        view = change["new"]
        if self.map_state.inspection.has_map(VIEWS[view]):
            self.map_state.show(view)
            return
        self.note.value = f"{view} is being computed; the map changes when it is ready …"

        def work() -> None:
            self.map_state.inspection.map(VIEWS[view])
            if self.view.value == view:
                self.map_state.show(view)
            self.note.value = ""

        _aside(work, self.note)

    def _paint(self, change: Any) -> None:
        self.map_state.paint(change["new"])

    def _find(self, change: Any) -> None:
        if change["new"]:
            self.map_state.select(self.map_state.inspection.find(change["new"]))

    def _diagnosing(self) -> None:
        self.findings.value = cards.framed('<p class="caption">The doctor is reading the set …</p>')
        _aside(self._diagnosed, self.findings)

    def _diagnosed(self) -> None:
        self.findings.value = cards.framed(cards.sentences(self.map_state.inspection.report.findings))


def _aside(work: Callable[[], None], told: w.HTML) -> None:
    """Do slow work in a thread; what goes wrong stands in `told`.

    The thread is waited for when Python ends: torch aborts a process that ends amid its work.
    """

    def guarded() -> None:
        try:
            work()
        except Exception as e:  # a thread has nobody else to tell
            told.value = cards.framed(escape(str(e)))

    Thread(target=guarded).start()


def explore(data: Any, *, view: str = "", colour: str = "modality", split: str = "validation") -> Explorer:
    """The explorer of a set, a run, a path or plain arrays, in a notebook; the 20 worst pairs are selected.

    A widget made of ordinary ipywidgets: `.map`, `.view`, `.colour`, `.search`, `.pairs`. `.selection` is a frame of
    the selected items, `.select(ids)` moves the map, `.save(name)` keeps it in the run, `.what_if()` gives sliders. Of
    a run the validation items; `split="test"` reads the test items, which is counted.

    >>> import workbench as wb
    >>> explore(wb.testing.planted(items=60)).view.value
    'gap axis'
    """
    return Explorer(inspection(data, split), view=view, colour=colour)
