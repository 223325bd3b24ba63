"""What a statistic is: a frozen spec whose states are plain dicts of tensors, and how two states become one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from workbench.scan.asks import Ask
    from workbench.scan.chunk import Chunk
    from workbench.scan.tile import Tile
    from workbench.scan.view import SetView

State = dict[str, Tensor]
Earlier = dict["Statistic", State]
TIE = 1e-12  # cosines nearer than this are equal: far above float64 rounding, far below any real difference
VOLUME_TIE = 1e-7  # a volume is the root of a difference of squares, which keeps half of float64's digits
BINS = 100  # of a histogram of cosines
MERGE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"sum": torch.add, "max": torch.maximum, "min": torch.minimum}


class Statistic:
    """What a state holds, and how two become one.

    `totals` names the fields that are one tensor for the whole set, `per_row` those that carry a value a row beside
    its `row` index; both say how they merge. `after` names statistics that must be known first. `axes`: depends on the
    coordinate axes or on how many there are, not only on how rows lie to each other.
    """

    totals: ClassVar[dict[str, str]] = {}
    per_row: ClassVar[dict[str, str]] = {}
    axes: ClassVar[bool] = False

    @property
    def after(self) -> tuple[Statistic, ...]:
        """The statistics whose states `map` reads."""
        return ()

    def canonical(self, view: SetView) -> Statistic:
        """The statistic whose state is the same on this set: worked out once."""
        return self

    def prepare(self, view: SetView, earlier: Earlier) -> State:
        """Made once before the wave of this statistic, found by `map` under `Prepared(self)`: a fitted direction."""
        return {}

    def merge(self, a: State, b: State) -> State:
        """One state of two: totals by their rule, the same rows combined, others side by side."""
        out = {name: MERGE[how](a[name], b[name]) for name, how in self.totals.items()}
        if self.per_row:
            out |= merge_rows(a, b, self.per_row)
        return out

    def join(self, states: list[State]) -> State:
        """All states as one, in this order; rows side by side where they do not overlap."""
        if self.per_row:
            states = [s for s in states if len(s["row"])] or states[:1]
            states = sorted(states, key=lambda s: int(s["row"][0])) if len(states) > 1 else states
            if all(int(a["row"][-1]) < int(b["row"][0]) for a, b in itertools.pairwise(states)):
                return self.concatenate(states)
        return reduce(self.merge, states)

    def concatenate(self, states: list[State]) -> State:
        """States of rows that do not overlap, side by side; totals merged."""
        out = {f: torch.cat([s[f] for s in states]) for f in ("row", *self.per_row)}
        for f, how in self.totals.items():
            out[f] = reduce(MERGE[how], (s[f] for s in states))
        return out

    def finish(self, state: State, view: SetView) -> State:
        """The whole state, once all is merged: where what was screened is made exact."""
        return state


@dataclass(frozen=True)
class Prepared(Statistic):
    """Where `map` finds what its statistic prepared."""

    statistic: Statistic


class RowStatistic(Statistic):
    """Looks at each row once, a span of items at a time."""

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        """The state of the rows that belong to a span of items."""
        raise NotImplementedError


class PairStatistic(Statistic):
    """Bound to query and key modality; sees each block of similarities once, from its own side.

    `sampled`: a mean over queries whose work a sample of them bounds, whatever the size of the set. `screens`: content
    with coarse products, because it scores again what is near its threshold.
    """

    query: str
    key: str
    sampled: ClassVar[bool] = False
    screens: ClassVar[bool] = False

    def asks(self, tile: Tile, earlier: Earlier) -> tuple[Ask, ...]:
        """What `map` will want of the tile's scores; what all statistics ask is answered in one go."""
        return ()

    def map(self, tile: Tile, earlier: Earlier, *answers: Any) -> State:
        """The state of the tile's query rows against its keys, from the answers to what it asked."""
        raise NotImplementedError


def merge_rows(a: State, b: State, fields: dict[str, str]) -> State:
    """Join two states by their row index: the same rows combine, others stand side by side, ascending."""
    ra, rb = a["row"], b["row"]
    if len(ra) == len(rb) and torch.equal(ra, rb):
        return {"row": ra} | {f: MERGE[how](a[f], b[f]) for f, how in fields.items()}
    if len(ra) and len(rb) and int(ra[0]) > int(rb[-1]):
        a, b, ra, rb = b, a, rb, ra
    if not len(ra) or not len(rb) or int(ra[-1]) < int(rb[0]):
        return {"row": torch.cat([ra, rb])} | {f: torch.cat([a[f], b[f]]) for f in fields}
    row, place = torch.unique(torch.cat([ra, rb]), return_inverse=True)
    ia, ib = place[: len(ra)], place[len(ra) :]
    out = {"row": row}
    for f, how in fields.items():
        x = torch.empty(len(row), *a[f].shape[1:], dtype=a[f].dtype)
        x[ib] = b[f]
        both = torch.isin(ia, ib)
        x[ia[both]] = MERGE[how](a[f][both], x[ia[both]])
        x[ia[~both]] = a[f][~both]
        out[f] = x
    return out


Place = tuple[int, int]  # the first row of a state and how many it has; all totals share one


Parts = dict[Statistic, dict[Place, State]]


def place(state: State) -> Place:
    """The first row of a state and how many it has; states without rows share one place."""
    return (int(state["row"][0]), len(state["row"])) if "row" in state and len(state["row"]) else (0, 0)


def gather(parts: Parts, statistic: Statistic, at: Place, state: State) -> None:
    """Add a state to those of the same rows."""
    mine = parts.setdefault(statistic, {})
    mine[at] = statistic.merge(mine[at], state) if at in mine else state
