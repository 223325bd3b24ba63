"""The map alone as a widget, for a notebook's cell.

>>> import workbench as wb
>>> from workbench.explorer.inspection import Inspection
>>> MapWidget(MapState(Inspection(wb.testing.planted(items=60)))).spec["items"]
60
"""

from __future__ import annotations

import base64
from typing import Any

import anywidget
import traitlets as t

from workbench.explorer.bundle import bundle
from workbench.explorer.colouring import MODALITY
from workbench.explorer.inspection import inspection
from workbench.explorer.map_state import MESSAGES, MapState
from workbench.explorer.static_map import still


class MapTraits(anywidget.AnyWidget):
    """The wire of a map, described in map/draw.js, as traits."""

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

    def _told(self, traits: dict[str, Any]) -> None:
        with self.hold_sync():
            for name, value in traits.items():
                self.set_trait(name, value)


class MapWidget(MapTraits):
    """The map of a map state, alone."""

    _esm = bundle()

    def __init__(self, map_state: MapState, **traits: Any) -> None:
        super().__init__(**map_state.traits(), **traits)
        self.map_state = map_state
        map_state.listen(self._told)
        self.observe(self._said, names=list(MESSAGES))

    def _said(self, change: Any) -> None:
        self.map_state.on_message(change["name"], change["new"])

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return _kept(super()._repr_mimebundle_(**kwargs), still(self.map_state), self.map_state)


def map_of(data: Any, *, view: str = "", colour: str = MODALITY, split: str = "validation") -> MapWidget:
    """The map alone, of a set, a run, a path or plain arrays, for a cell of a notebook; `explore` has all around it.

    `view` and `colour` are names that `.map_state.views` and `.map_state.colours` list; `.map_state.select` selects.

    >>> import workbench as wb
    >>> map_of(wb.testing.planted(items=60), view="PCA").map_state.view
    'PCA'
    """
    return MapWidget(MapState(inspection(data, split), view=view, colour=colour))


def _kept(bundle: Any, text: str, map_state: MapState | None = None) -> Any:
    """The live widget, and beside it what stays where no widget runs: an exported notebook is never blank."""
    data, about = bundle if isinstance(bundle, tuple) else (bundle, {})
    picture = {"image/png": base64.b64encode(map_state.png()).decode()} if map_state is not None else {}
    return {**(data or {}), **picture, "text/html": text}, about
