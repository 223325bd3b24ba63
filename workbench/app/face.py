"""The workspace on a Panel page: the same module as in a notebook, the same visit behind it."""

from __future__ import annotations

from typing import Any

import param
from panel.custom import AnyWidgetComponent

from workbench.workspace.assets import MESSAGES, module
from workbench.workspace.visit import Visit


class Face(AnyWidgetComponent):
    """A visit's page; its parameters are the wire described in the workspace's page/page.js."""

    _esm = module()

    points = param.Bytes(b"")
    modality = param.Bytes(b"")
    codes = param.Bytes(b"")
    mask = param.Bytes(b"")
    pairs = param.Bytes(b"")
    pair_codes = param.Bytes(b"")
    png = param.Bytes(b"")
    content = param.Bytes(b"")
    spec = param.Dict({})
    tip = param.Dict({})
    look = param.Dict({})
    gesture = param.Dict({})
    clicked = param.Dict({})
    command = param.Dict({})
    figures = param.Dict({})
    act = param.Dict({})
    page = param.Dict({})
    file = param.Dict({})
    asked = param.Integer(-1)
    top = param.String("")
    tools = param.String("")
    left = param.String("")
    right = param.String("")
    foot = param.String("")
    drawer = param.String("")

    def __init__(self, visit: Visit, **settings: Any) -> None:
        super().__init__(**visit.traits(), sizing_mode="stretch_both", margin=0, **settings)
        self.visit = visit
        visit.listen(self._told)
        for name in MESSAGES:
            self.param.watch(lambda e: self.visit.on_message(e.name, e.new), name)

    def _told(self, traits: dict[str, Any]) -> None:
        self.param.update(**traits)

    def take(self, visit: Visit) -> None:
        """Show another visit in the same place, where the one before stood."""
        self.visit.leave()
        visit.restore(self.visit.state())
        self.visit = visit
        visit.listen(self._told)
        self._told(visit.traits())
