"""Reductions of a tile on a card: what is asked of both its sides is answered by one kernel, the rest by tensors.

The kernel has proved itself on the very card before it is used: `proved` compares it with `plain` where products are
exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.scan.asks import DENSE, Ask, Best, Between, Counted, Histogram, Potentials, one_by_one
from workbench.scan.reductions import plain
from workbench.scan.reductions.kernel import one_pass
from workbench.scan.reductions.own import Own
from workbench.scan.reductions.plain import (
    FAR,
    NONE,
    above,
    best,
    between,
    by_class,
    dots,
    histogram,
    potentials,
    shifted,
)
from workbench.scan.tile import Rows, Tile
from workbench.scan.view import SetView
from workbench.sets.embeddings import EmbeddingSet

__all__ = ["above", "answers", "best", "between", "by_class", "dots", "histogram", "potentials", "shifted"]

BLOCK_QUERIES, BLOCK_KEYS, BLOCK_WIDTH = 64, 64, 32
MOST_SCALE = 20  # float32 holds exp(scale (cos − 1)) down to 1e-38
ROOM = 4  # candidates a place of the best that there is room for


def answers(asked: list[tuple[Any, Ask]]) -> list[Any]:
    """The answers to what is asked of the sides of one tile, in that order."""
    if not asked:
        return []
    front = asked[0][0].front or asked[0][0]
    passes: dict[bool, Pass] = {}
    waiting: list[Callable[[], Any]] = []
    for side, ask in asked:
        coarse = getattr(ask, "coarse", False)
        if coarse not in passes:
            passes[coarse] = Pass(front, coarse)
        take = TAKEN.get(type(ask))
        read = take(passes[coarse], side, ask) if take else None
        waiting.append(read or (lambda side=side, ask=ask: ask.of(side)))
    for p in passes.values():
        p.run()
    return [read() for read in waiting]


class Interval(NamedTuple):
    """Limits of the scores of each query of a side, and which keys count."""

    low: Tensor  # (n,)
    high: Tensor
    own: bool  # whether keys of the own item are left out
    allowed: Tensor | None  # (m,)
    room: int  # places to list


class Pass:
    """What one launch of the kernel is to find in a tile, and what it found."""

    def __init__(self, tile: Any, coarse: bool) -> None:
        self.tile, self.coarse = tile, coarse
        self.scale, self.bins = 0.0, 0
        self.rows: list[Interval] = []
        self.columns: list[Interval] = []

    def interval(self, side: Any, wanted: Interval) -> Callable[[], Listed]:
        """Where this interval's counts and places will be."""
        back = side.front is not None
        mine = self.columns if back else self.rows
        mine.append(wanted)
        at = len(mine) - 1
        return lambda: self._listed(back, at)

    def run(self) -> None:
        """Launch the kernel, unless nothing is asked."""
        if not (self.scale or self.bins or self.rows or self.columns):
            return
        t = self.tile
        x, y = (t.q.coarse, t.k.coarse) if self.coarse else (t.q.x, t.k.x)
        if x.device.type == "cpu":  # Triton's interpreter has no products in bfloat16; float32 holds these
            x, y = x.float(), y.float()
        x, y = x.contiguous(), y.contiguous()
        device, (q, d), k = x.device, x.shape, len(y)
        grid = (-(-q // BLOCK_QUERIES), -(-k // BLOCK_KEYS))
        own: Own | None = t.own
        twin = t.same_rows() if self.scale else None
        none = torch.zeros(1, dtype=torch.int32, device=device)

        def there(v: Tensor | None, dtype: torch.dtype = torch.int32) -> Tensor:
            return none if v is None else v.to(device, dtype).contiguous()

        self.row_sums = torch.zeros(grid[1], q, device=device)
        self.column_sums = torch.zeros(grid[0], k, device=device)
        sides = ((self.rows, q), (self.columns, k))
        self.more = [torch.zeros(max(len(v), 1), n, dtype=torch.int32, device=device) for v, n in sides]
        self.near = [torch.zeros_like(m) for m in self.more]
        rooms = [v.room for v in (*self.rows, *self.columns)] or [0]
        self.room = torch.tensor(rooms, device=device)
        self.start = self.room.cumsum(0) - self.room
        self.found = torch.zeros(max(sum(rooms), 1), dtype=torch.int64, device=device)
        self.scores = torch.zeros(len(self.found), device=device)
        self.taken = torch.zeros(len(rooms), dtype=torch.int32, device=device)
        wide = 1 << self.bins.bit_length()  # a power of two above the number of bins
        self.count = torch.zeros(wide, dtype=torch.int32, device=device)
        row_limits, column_limits = (self._limits(v, q + k - n, device) for v, n in sides)
        one_pass[grid](
            x, y, q, k, d,
            self.row_sums, self.column_sums, self.scale, there(twin),
            there(own and own.first), there(own and own.last),
            *row_limits, self.more[0], self.near[0],
            *column_limits, self.more[1], self.near[1],
            self.found, self.scores, self.taken, self.start, self.room,
            self.count, self.bins / 2,
            self.scale > 0, twin is not None, own is not None,
            len(self.rows), len(self.columns), self.bins, wide,
            BLOCK_QUERIES, BLOCK_KEYS, BLOCK_WIDTH,
        )  # fmt: skip
        self.amount = self.taken.tolist()

    @staticmethod
    def _limits(wanted: list[Interval], m: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Lower and upper limits (P, n), whether own keys are left out (P,), and which keys are allowed (P, m)."""
        if not wanted:
            none = torch.zeros(1, device=device)
            return none, none, none.int(), none.to(torch.int8)
        low, high = (torch.stack([getattr(v, f) for v in wanted]).to(device).contiguous() for f in ("low", "high"))
        allowed = [torch.ones(m, dtype=torch.int8) if v.allowed is None else v.allowed.to(torch.int8) for v in wanted]
        own = torch.tensor([int(v.own) for v in wanted], dtype=torch.int32, device=device)
        return low, high, own, torch.stack(allowed).to(device)

    def sums(self, side: Any) -> Tensor:
        """Kernel sums of a side's queries: the parts of the blocks are added in float64."""
        parts = self.row_sums if side.front is None else self.column_sums
        return parts.double().sum(0).cpu()

    def _listed(self, back: bool, at: int) -> Listed:
        more, near = (v[int(back)][at].double().cpu() for v in (self.more, self.near))
        slot = at + (len(self.rows) if back else 0)
        amount, room = self.amount[slot], int(self.room[slot])
        if amount > room:
            return Listed(more, near, None)
        start = int(self.start[slot])
        key, score = self.found[start : start + amount], self.scores[start : start + amount]
        n = len(self.tile.k)
        i, j = key // n, key % n
        if back:
            key, i, j = j * len(self.tile.q) + i, j, i
        order = key.argsort()  # programs end in any order
        return Listed(more, near, (i[order].cpu(), j[order].cpu(), score[order].cpu()))


class Listed(NamedTuple):
    """What an interval holds: how many keys of each query lie above it and in it, and where the latter are."""

    more: Tensor
    near: Tensor
    places: tuple[Tensor, Tensor, Tensor] | None  # queries, keys and scores, in order; None where there was no room


# -- what each ask wants of the pass, and how its answer is read -------------------------------------------------------


def _potentials(p: Pass, side: Any, ask: Potentials) -> Callable[[], Tensor] | None:
    scale = 2 * ask.t
    if scale > MOST_SCALE or p.scale not in (0.0, scale):
        return None
    p.scale = scale
    return lambda: p.sums(side)


def _histogram(p: Pass, side: Any, ask: Histogram) -> Callable[[], Tensor] | None:
    if p.bins not in (0, ask.bins):
        return None
    p.bins = ask.bins
    return lambda: p.count[: ask.bins].double().cpu()


def _between(p: Pass, side: Any, ask: Between) -> Callable[[], Counted]:
    room = len(p.tile.q) * len(p.tile.k) // DENSE
    reads = [
        p.interval(side, Interval(low, high, True, None, room)) for low, high in zip(ask.low, ask.high, strict=True)
    ]

    def read() -> Counted:
        found = [r() for r in reads]
        pairs = tuple(f.places[:2] if f.places and len(f.places[0]) else None for f in found)
        return Counted(torch.stack([f.more for f in found]), torch.stack([f.near for f in found]), pairs)

    return read


def _best(p: Pass, side: Any, ask: Best) -> Callable[[], tuple[Tensor, Tensor, Tensor]] | None:
    if float(ask.edge.min()) <= FAR:
        return None  # until each query has its first best, nearly all of the tile would be listed
    below = torch.nextafter(ask.edge, torch.full_like(ask.edge, FAR))
    room = ROOM * ask.width * len(ask.edge)
    listed = p.interval(side, Interval(below, torch.full_like(below, torch.inf), ask.own, ask.allowed, room))

    def read() -> tuple[Tensor, Tensor, Tensor]:
        places = listed().places
        return ask.of(side) if places is None else _ranked(ask, side.places, *places)

    return read


def _ranked(ask: Best, index: Tensor, i: Tensor, j: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best of the candidates of each query."""
    n = len(ask.edge)
    many = torch.bincount(i, minlength=n)
    width = max(int(many.max()), ask.width)
    at = torch.arange(len(i)) - (many.cumsum(0) - many)[i]
    score, key = torch.full((n, width), FAR), torch.full((n, width), NONE)
    score[i, at], key[i, at] = value, index[j]
    score, order = torch.topk(score, ask.width, dim=1)
    last = score[:, -1]
    return score, key.gather(1, order), torch.where(last > FAR, torch.maximum(ask.edge, last), ask.edge)


TAKEN: dict[type, Callable[..., Any]] = {
    Potentials: _potentials,
    Histogram: _histogram,
    Between: _between,
    Best: _best,
}


@cache
def proved(device: torch.device) -> bool:
    """Whether the kernel gives on this device what tensors give, for a tile of which every product is exact."""
    n, m, d = 200, 150, 40
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randint(-4, 5, (k, d), generator=g).float() / 32 for k in (n, m))
    view = SetView(EmbeddingSet({"query": x + 1, "key": y + 1}, rows={"key": torch.arange(m)}))
    q, k = (Rows(view, name, torch.arange(len(v)), v.to(device)) for name, v in (("query", x), ("key", y)))
    tile = Tile(q, k, reduce=plain)
    turned = tile.back()
    low = torch.linspace(-0.2, 0.2, n)
    asked: list[tuple[Any, Ask]] = [
        (tile, Potentials(2.0)),
        (tile, Between(low[None], low[None] + 1 / 1024)),
        (turned, Potentials(2.0)),
        (turned, Best(4, False, None, torch.zeros(m))),
        (tile, Histogram(100)),
    ]
    mine, twin = answers(asked), one_by_one(asked)
    pairs = [sorted(zip(*(v.tolist() for v in a.pairs[0] or ()), strict=True)) for a in (mine[1], twin[1])]
    return bool(
        pairs[0]
        and pairs[0] == pairs[1]
        and all(torch.allclose(mine[k], twin[k], rtol=1e-5) for k in (0, 2))
        and torch.equal(mine[1].more, twin[1].more)
        and torch.equal(mine[3][0].clamp_min(0), twin[3][0].clamp_min(0))
        and torch.equal(mine[4], twin[4])
    )
