"""One person's visit to one inspection: the map state, the map with its pickers, what stands in the URL."""

from __future__ import annotations

from functools import partial
from html import escape
from threading import Thread
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from workbench.app.map import Map
from workbench.errors import InputError
from workbench.explorer import cards
from workbench.explorer.inspection import Inspection
from workbench.explorer.map_state import VIEWS, MapState

WORST = 20  # items selected when an inspection opens


class Session:
    """The map state of a session, and widgets that steer it; every screen of the run shows the same map state."""

    def __init__(self, inspection: Inspection) -> None:
        self.inspection = inspection
        self.map_state = MapState(inspection)
        self.map_state.restore(_asked())
        self.item = -1  # whose card is open
        self.note = pn.pane.HTML("", height=20)
        if not self.map_state.selected.any() and inspection.directions:
            self.map_state.select(inspection.worst(WORST), remember=False)
            self.say(f"selected: the {WORST} items whose match ranks worst, {' → '.join(inspection.directions[0])}")
        self.map_state.on_selection(self._chosen)
        self.map = Map.of(self.map_state)
        self.view = pmui.Select(
            label="view", options=self.map_state.views, value=self.map_state.view, width=170, size="small"
        )
        self.colour = pmui.Select(
            label="colour", options=self.map_state.colours, value=self.map_state.colour, width=170, size="small"
        )
        self.search = pmui.TextInput(label="find", placeholder="text in any column, Enter", width=200, size="small")
        self.similar = pmui.Button(
            label="similar", variant="outlined", size="small", height=38, width=80, sizing_mode="fixed"
        )
        self.view.param.watch(self._show, "value")
        self.colour.param.watch(self._paint, "value")
        self.search.param.watch(self._find, "value")
        self.similar.on_click(self._similar)

    def picture(self) -> Any:
        """The map under its pickers, where no screen has moved it yet; there is one map, which the open screen shows."""
        place = self.inspection.map(VIEWS[self.map_state.view])
        if self.map_state.projection is not place:
            self.map_state.place(place)
        bar = pn.FlexBox(self.view, self.colour, self.search, self.similar, margin=(8, 0, 0, 0), align_items="center")
        return pn.Column(bar, self.note, self.map, sizing_mode="stretch_width", min_width=440)

    def say(self, text: str) -> None:
        """A sentence above the map; empty takes it away."""
        self.note.object = cards.framed(f'<span class="caption">{escape(text)}</span>') if text else ""

    def look(self, view: str = "", colour: str = "", items: Any = None) -> None:
        """Set view, colour and selection from elsewhere on the page; the pickers follow."""
        if view in self.view.options:
            self.view.value = view
        if colour in self.colour.options:
            self.colour.value = colour
        if items is not None:
            self.map_state.select(items)

    # -- events ----------------------------------------------------------------------------------------------------

    def _show(self, event: Any) -> None:
        method, name = VIEWS[event.new], event.new
        if self.inspection.has_map(method):
            self.say("")
            self.map_state.show(name)
            self._remember()
            return
        self.say(f"{name} is being computed; the map changes when it is ready …")
        document = pn.state.curdoc

        def work() -> None:
            try:
                self.inspection.map(method)
                then = partial(self._ready, name)
            except InputError as e:
                then = partial(self.say, str(e))
            if document is not None:
                document.add_next_tick_callback(then)

        Thread(target=work, daemon=True).start()

    def _ready(self, name: str) -> None:
        if self.view.value == name:
            self.say("")
            self.map_state.show(name)
            self._remember()

    def _paint(self, event: Any) -> None:
        self.map_state.paint(event.new)
        self._remember()

    def _find(self, event: Any) -> None:
        if event.new:
            found = self.inspection.find(event.new)
            count = int(found.sum())
            self.map_state.select(found)
            self.say(f"{count:,} items with {event.new!r}" if count else f"no item has {event.new!r} in any column")

    def _similar(self, _: Any) -> None:
        """The items nearest to the one whose card is open, in the first modality that it has."""
        chosen = np.flatnonzero(self.map_state.selected)
        if not len(chosen):
            self.say("click a point first: its nearest items are selected then")
            return
        item = self.item if self.item in chosen else int(chosen[0])
        for m in self.inspection.es.modalities:
            if len(near := self.inspection.near(item, m)):
                self.map_state.select(near)
                self.say(f"the {len(near)} items nearest to {self.inspection.items['name'].iloc[item]} in {m}")
                return

    def _chosen(self) -> None:
        count = int(self.map_state.selected.sum())
        kept = not count or self.map_state.state()["ids"]
        self.say("" if kept else f"{count:,} items are too many for the page's address: save them on the table screen")
        self._remember()

    def _remember(self) -> None:
        if pn.state.location is not None:
            state: dict[str, Any] = self.map_state.state()
            pn.state.location.update_query(**state)


def _asked() -> dict[str, str]:
    """The state that the URL asks for."""
    given = pn.state.session_args or {}
    return {k: v[0].decode(errors="replace") for k, v in given.items() if k in ("view", "colour", "ids") and v}


def head(text: str) -> Any:
    """A small heading of a page; `text` is HTML already."""
    return pn.pane.HTML(cards.framed(f"<h4>{text}</h4>"))


def caption(text: str) -> Any:
    """A quiet line of a page; `text` is HTML already."""
    return pn.pane.HTML(cards.framed(f'<p class="caption">{text}</p>'))
