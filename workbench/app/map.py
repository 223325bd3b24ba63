"""The map on a Panel page: the same module as in a notebook, the same map state behind it."""

from __future__ import annotations

from typing import Any

import param
from panel.custom import AnyWidgetComponent

from workbench.explorer.bundle import bundle
from workbench.explorer.map_state import MESSAGES, MapState


class Map(AnyWidgetComponent):
    """A map of a map state; its parameters are the wire described in map/map.js of the explorer."""

    _esm = bundle()

    points = param.Bytes(b"")
    modality = param.Bytes(b"")
    codes = param.Bytes(b"")
    mask = param.Bytes(b"")
    pairs = param.Bytes(b"")
    pair_codes = param.Bytes(b"")
    png = param.Bytes(b"")
    spec = param.Dict({})
    tip = param.Dict({})
    look = param.Dict({})
    gesture = param.Dict({})
    asked = param.Integer(-1)
    clicked = param.Dict({})
    command = param.Dict({})
    figures = param.Dict({})

    def _told(self, traits: dict[str, Any]) -> None:
        self.param.update(**traits)

    @classmethod
    def of(cls, map_state: MapState, **settings: Any) -> Map:
        """A map that shows a map state and passes on what people do with it."""
        made = cls(**map_state.traits(), sizing_mode="stretch_width", height=map_state.height + 44, **settings)
        map_state.listen(made._told)
        for name in MESSAGES:
            made.param.watch(lambda e: map_state.on_message(e.name, e.new), name)
        return made
