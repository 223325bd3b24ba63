"""What a statistic asks of a tile's scores before it looks: all that is asked of a tile is answered in one go."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from workbench.scan.reductions.own import Own

DENSE = 64  # where more than one pair in so many lies between two limits, pairs are not listed


class Side(Protocol):
    """A tile as one of its sides sees it."""

    @property
    def reduce(self) -> ModuleType:
        """How its scores are reduced."""

    @property
    def scores(self) -> Tensor:
        """Cosines in float32, (Q, K)."""

    @property
    def coarse(self) -> Tensor:
        """Cosines of products in bfloat16."""

    @property
    def own(self) -> Own | None:
        """Which keys are of a query's own item."""

    @property
    def places(self) -> Tensor:
        """Positions of the keys in their modality, (K,)."""

    def potentials(self, t: float) -> Tensor:
        """What `Potentials` asks for."""


class Ask(Protocol):
    """A question to the scores of a tile, from one of its sides."""

    def of(self, tile: Side) -> Any:
        """The answer by the reductions of the tile."""


def one_by_one(asked: list[tuple[Any, Ask]]) -> list[Any]:
    """The answers to what is asked of the sides of a tile, in that order."""
    return [ask.of(side) for side, ask in asked]


@dataclass(frozen=True, eq=False)
class Potentials:
    """Per query the sum of exp(−t‖x−y‖²) over all keys but the row itself: (Q,) in float64."""

    t: float

    def of(self, tile: Side) -> Tensor:
        return tile.potentials(self.t)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Scores of keys of other items, counted in so many bins from −1 to 1: (bins,)."""

    bins: int

    def of(self, tile: Side) -> Tensor:
        return tile.reduce.histogram(tile.scores, self.bins, tile.own)


class Counted(NamedTuple):
    """How many keys of other items score above the upper limit of a query, and how many lie between its limits."""

    more: Tensor  # (P, Q)
    near: Tensor  # (P, Q)
    pairs: tuple[tuple[Tensor, Tensor] | None, ...]  # queries and keys of the near; None: too many, or none


@dataclass(frozen=True, eq=False)
class Between:
    """Keys of other items above the `low` of their query, and above its `high`: (P, Q) each; `coarse`: of products in
    bfloat16."""

    low: Tensor
    high: Tensor
    coarse: bool = False

    def of(self, tile: Side) -> Counted:
        scores, own = tile.coarse if self.coarse else tile.scores, tile.own
        counts = tile.reduce.above(scores, torch.stack([self.low, self.high], 1).flatten(0, 1), own)
        more, near = counts[1::2], counts[::2] - counts[1::2]
        pairs = tuple(
            tile.reduce.between(scores, low, high, n, own) if 0 < float(n.sum()) * DENSE <= scores.numel() else None
            for low, high, n in zip(self.low, self.high, near, strict=True)
        )
        return Counted(more, near, pairs)


@dataclass(frozen=True, eq=False)
class Best:
    """Each query's `width` best scores among allowed keys and which keys these are, (Q, width) each, and what the last
    of them has at least, (Q,), which was `edge` before."""

    width: int
    own: bool  # whether keys of the query's own item are left out
    allowed: Tensor | None  # (K,) keys
    edge: Tensor

    def of(self, tile: Side) -> tuple[Tensor, Tensor, Tensor]:
        own = tile.own if self.own else None
        score, index = tile.reduce.best(tile.scores, tile.places, self.width, own, self.allowed, self.edge)
        return score, index, self.edge
