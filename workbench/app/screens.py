"""Screens: what can be seen of one run or set. A screen registers itself, in a module of its own, `NAME_page.py`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from workbench.app.session import Session
from workbench.explorer.inspection import Inspection


class View(Protocol):
    """What a screen's class gives: made of a session once, asked for its page whenever it is opened."""

    def __init__(self, session: Session) -> None:
        """Made when the screen is first opened."""

    def view(self) -> Any:
        """The page, as a Panel object."""


@dataclass(frozen=True)
class Screen:
    """A screen by its name on the tab and in the URL; `place` orders the tabs, `fits` says where it has something to
    show."""

    name: str
    place: int
    make: Callable[[Session], View]
    fits: Callable[[Inspection], bool]


_SCREENS: dict[str, Screen] = {}


def screen(
    name: str, place: int, fits: Callable[[Inspection], bool] = lambda inspection: True
) -> Callable[[type], type]:
    """Register a class as the screen of this name."""

    def register(make: type) -> type:
        _SCREENS[name] = Screen(name, place, make, fits)
        return make

    return register


@cache
def discover() -> None:
    """Import every page, so that its screen registers; once, before the first visitor has to wait for it."""
    package = importlib.import_module("workbench.app")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.endswith("_page"):
            importlib.import_module(f"workbench.app.{module.name}")


def screens(inspection: Inspection) -> dict[str, Screen]:
    """The screens that have something to show of an inspection, in the order of their tabs."""
    discover()
    fitting = [s for s in _SCREENS.values() if s.fits(inspection)]
    return {s.name: s for s in sorted(fitting, key=lambda s: s.place)}
