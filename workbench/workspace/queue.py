"""Which item of the selection is shown, and in which direction: worst match first, one after the other."""

from __future__ import annotations

import numpy as np

from workbench.errors import InputError
from workbench.explorer.map_state import MapState


class Queue:
    """The selected items in the order in which they are looked at; another selection is another queue."""

    def __init__(self, map_state: MapState) -> None:
        self._map_state, self._inspection = map_state, map_state.inspection
        self.direction = self._inspection.directions[0] if self._inspection.directions else ("", "")
        self.at = 0
        self._items: list[int] = []
        self._seen: np.ndarray | None = None

    @property
    def items(self) -> list[int]:
        """The selected items, the worst match first."""
        if self._seen is not self._map_state.selected:
            self._seen, self.at = self._map_state.selected, 0
            self._items = self._ordered(np.flatnonzero(self._seen))
        return self._items

    def _ordered(self, items: np.ndarray) -> list[int]:
        known = self.direction if self.direction in self._inspection.directions else None
        return self._inspection.worst_first(items, known).tolist()

    @property
    def item(self) -> int:
        """The item that is shown, −1 where none is selected."""
        return self.items[self.at] if self.items else -1

    def step(self, by: int) -> None:
        """The next item, or with −1 the one before."""
        if self.items:
            self.at = (self.at + by) % len(self.items)

    def go_to(self, item: int) -> None:
        """Show one of the selected items; another one changes nothing."""
        if item in self.items:
            self.at = self.items.index(item)

    def turn(self, a: str, b: str) -> None:
        """Look in another direction; the item that is shown stays."""
        if (a, b) not in self._inspection.directions:
            raise InputError(f"{a} → {b}: no such direction")
        shown = self.item
        self.direction = (a, b)
        self._items = self._ordered(np.asarray(self._items, dtype=int))
        self.at = self._items.index(shown) if shown in self._items else 0
