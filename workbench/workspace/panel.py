"""Panels: what stands around the map. A panel registers itself, in a module of its own in `panels/`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from workbench.explorer.inspection import Inspection
from workbench.explorer.map_state import MapState
from workbench.workspace.queue import Queue

Place = Literal["top", "tools", "left", "right", "foot", "drawer"]
WORST = 20  # items selected when a visit begins, and by a click on a finding
T = TypeVar("T")


@dataclass(frozen=True)
class Around:
    """What a page knows beyond the inspection: the others that can be opened, and how it is asked for."""

    name: str
    kept: Mapping[str, str] = field(default_factory=dict)  # what the address asks for it by
    others: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    live: Callable[[], str] = lambda: ""  # what is to be said of a run in training


class Host(Protocol):
    """What a panel may ask of the visit that it stands in."""

    inspection: Inspection
    map_state: MapState
    queue: Queue
    around: Around | None
    panels: dict[str, Panel]
    open: str
    drawer: bool

    @property
    def chosen_words(self) -> str:
        """What made the selection, in words."""

    def redraw(self, *places: str) -> None:
        """Show some places anew."""

    def say(self, text: str) -> None:
        """A sentence over the map."""

    def show(self, view: str) -> None:
        """Another view, computed aside where it is not there yet."""

    def aside(self, doing: str, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do slow work in a thread; `then` gets what it found."""

    def hand(self, name: str, mime: str, content: bytes) -> None:
        """Give the person a file."""


class Panel:
    """A part of the page: HTML of what it shows, and `on_NAME` for what people do with it.

    An element with `data-act="PANEL.NAME"` calls `on_NAME(value, how)`: its value, and replace, add, remove or within
    by the keys that were held.
    """

    name: ClassVar[str] = ""
    place: ClassVar[Place] = "right"

    def __init__(self, visit: Host) -> None:
        self.visit = visit
        self.map_state = visit.map_state
        self.inspection: Inspection = visit.map_state.inspection

    def html(self) -> str:
        """What it shows now, every text of the data escaped; nothing hides it."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Show anew what has changed."""
        self.visit.redraw(self.place)

    def commands(self) -> list[dict[str, Any]]:
        """What the command palette offers of it: `say`, `act`, `value`."""
        return []

    @classmethod
    def fits(cls, inspection: Inspection) -> bool:
        """Whether it has something to show of an inspection."""
        return True


_PANELS: dict[str, tuple[int, type[Panel]]] = {}


def panel(name: str, place: Place, order: int = 0) -> Callable[[type[Panel]], type[Panel]]:
    """Register a class as the panel of this name; `order` is that of the tabs."""

    def register(made: type[Panel]) -> type[Panel]:
        made.name, made.place = name, place
        _PANELS[name] = (order, made)
        return made

    return register


@cache
def discover() -> None:
    """Import every panel, so that it registers; once, before the first visitor has to wait for it."""
    package = importlib.import_module("workbench.workspace.panels")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def panels(inspection: Inspection) -> list[type[Panel]]:
    """The panels that have something to show of an inspection, in their order."""
    discover()
    return [made for _, made in sorted(_PANELS.values(), key=lambda p: p[0]) if made.fits(inspection)]
