"""Statistics over rows: matched rows and tuples, and the sample of queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from workbench.geometry import leading_share, segment_sum, triangle_area, volume, volume_of_pair
from workbench.scan.chunk import Chunk
from workbench.scan.contracts import Earlier, Prepared, RowStatistic, State, Statistic, merge_rows
from workbench.scan.statistics.moments import Moments
from workbench.scan.view import SetView


@dataclass(frozen=True)
class Matched(RowStatistic):
    """Per item: squared distance, cosine, or volume of its matched rows, summed over combinations of rows."""

    modalities: tuple[str, ...]
    alpha: float = 2.0
    per_row: ClassVar = {"count": "sum", "distance": "sum", "cosine": "sum", "volume": "sum"}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        if len(self.modalities) == 2 and chunk.in_step(self.modalities):
            apart = chunk.apart(*self.modalities)
            return {
                "row": chunk.items,
                "count": torch.ones_like(apart),
                "distance": apart.pow(self.alpha / 2),
                "cosine": chunk.inner(*self.modalities),
                "volume": volume_of_pair(apart),
            }
        item, x = chunk.stacked(self.modalities)
        pair = torch.combinations(torch.arange(len(self.modalities)))
        a, b = x[:, pair[:, 0]], x[:, pair[:, 1]]  # (n, pairs, d)
        return _by_item(
            item,
            {
                "count": torch.ones(len(x), dtype=torch.float64),
                "distance": (a - b).square().sum(-1).pow(self.alpha / 2).mean(1),
                "cosine": (a * b).sum(-1).mean(1),
                "volume": volume(x),
            },
        )


MEASURES: dict[str, Callable[[Tensor], Tensor]] = {"area": triangle_area, "leading": leading_share}


@dataclass(frozen=True)
class PerTuple(RowStatistic):
    """Per item: a measure of the shape of its tuples, summed over combinations of rows."""

    modalities: tuple[str, ...]
    measure: str
    per_row: ClassVar = {"count": "sum", "value": "sum"}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        item, x = chunk.stacked(self.modalities)
        value = MEASURES[self.measure](x)
        return _by_item(item, {"count": torch.ones_like(value), "value": value})


def _by_item(item: Tensor, values: State) -> State:
    row, place = torch.unique(item, return_inverse=True)
    return {"row": row} | {f: segment_sum(v, place, len(row)) for f, v in values.items()}


@dataclass(frozen=True)
class OwnVolume(RowStatistic):
    """Per anchor row: its volume with the first row of each other modality of its item, and that item."""

    anchor: str
    others: tuple[str, ...]
    per_row: ClassVar = {"volume": "sum", "item": "max"}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        if len(self.others) == 1 and chunk.in_step((self.anchor, *self.others)):
            apart = chunk.apart(self.anchor, *self.others)
            return {"row": chunk.items, "volume": volume_of_pair(apart), "item": chunk.items}
        t = chunk.tuples((self.anchor, *self.others))
        row, place = torch.unique(t.rows[0], return_inverse=True)
        # combinations come in order, so the first of a row holds the first rows of the others
        first = torch.full((len(row),), len(place)).scatter_reduce(0, place, torch.arange(len(place)), "amin")
        anchor = chunk.unit(self.anchor)[row][:, None]
        others = torch.stack([chunk.unit(m)[i[first]] for m, i in zip(self.others, t.rows[1:], strict=True)], 1)
        return {
            "row": chunk.row_index(self.anchor)[row],
            "volume": volume(torch.cat([others, anchor], 1)),
            "item": t.item[first],
        }


@dataclass(frozen=True)
class WithinFamilyKernel(RowStatistic):
    """Per query row: Gaussian potentials to the key rows of its own family, and of its own item, without itself."""

    query: str
    key: str
    t: float = 2.0
    per_row: ClassVar = {"sum": "sum", "count": "sum", "own": "sum", "own_count": "sum"}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        base = chunk.row_index(self.query)
        if chunk.view.families_are_items and chunk.in_step((self.query, self.key)):
            none = torch.zeros(len(base), dtype=torch.float64)
            if self.query == self.key:  # a row has nobody but itself
                return {"row": base, "sum": none, "count": none, "own": none, "own_count": none}
            e = torch.exp(-self.t * chunk.apart(self.query, self.key))
            return {"row": base, "sum": e, "count": none + 1, "own": e, "own_count": none + 1}
        at, own, x, y = chunk.within_family_pairs(self.query, self.key)
        e = torch.exp(-self.t * (x - y).square().sum(1))
        ones, n = torch.ones_like(e), len(base)
        return {
            "row": base,
            "sum": segment_sum(e, at, n),
            "count": segment_sum(ones, at, n),
            "own": segment_sum(e[own], at[own], n),
            "own_count": segment_sum(ones[own], at[own], n),
        }


@dataclass(frozen=True)
class Positive(RowStatistic):
    """Per query row that has a match: cosines to the best key rows of its item in float64, best first, −2 for none.

    `score` (n, P) with P the most rows an item has, at most ten; `positives` counts them all.
    """

    query: str
    key: str
    per_row: ClassVar = {"score": "max", "positives": "sum"}
    MOST: ClassVar[int] = 10

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        if chunk.in_step((self.query, self.key)):
            cos = chunk.inner(self.query, self.key)
            return {"row": chunk.items, "score": cos[:, None], "positives": torch.ones_like(cos)}
        t = chunk.tuples((self.query, self.key))
        cos = (chunk.unit(self.query)[t.rows[0]] * chunk.unit(self.key)[t.rows[1]]).sum(1)
        row, place, count = torch.unique(t.rows[0], return_inverse=True, return_counts=True)
        width = min(chunk.view.most(self.key), self.MOST)
        if width == 1:
            return {"row": chunk.row_index(self.query)[row], "score": cos[:, None], "positives": count.double()}
        # by query row, best first: the slot of a match is its position after the first of its row
        order = torch.argsort(cos, descending=True, stable=True)
        order = order[torch.argsort(place[order], stable=True)]
        slot = torch.arange(len(order)) - (count.cumsum(0) - count)[place[order]]
        score = torch.full((len(row), width), -2.0, dtype=torch.float64)
        kept = slot < width
        score[place[order][kept], slot[kept]] = cos[order][kept]
        return {"row": chunk.row_index(self.query)[row], "score": score, "positives": count.double()}


@dataclass(frozen=True)
class AlongGap(RowStatistic):
    """Per row of a modality: its unit vector's part along the direction from the mean of `key` to that of `query`."""

    modality: str
    query: str
    key: str
    per_row: ClassVar = {"along": "sum"}

    @property
    def after(self) -> tuple[Statistic, ...]:
        return Moments(self.query), Moments(self.key)

    def prepare(self, view: SetView, earlier: Earlier) -> State:
        gap = earlier[self.after[0]]["mean"] - earlier[self.after[1]]["mean"]
        length = gap.norm()
        return {"direction": gap / length if float(length) > 0 else gap}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        return {
            "row": chunk.row_index(self.modality),
            "along": chunk.unit(self.modality) @ earlier[Prepared(self)]["direction"],
        }


@dataclass(frozen=True)
class FirstMatch(RowStatistic):
    """Per query row that has a match: the first key row of its item, and the cosine with it."""

    query: str
    key: str
    per_row: ClassVar = {"cosine": "sum", "match": "max"}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        if chunk.in_step((self.query, self.key)):
            return {"row": chunk.items, "cosine": chunk.inner(self.query, self.key), "match": chunk.items}
        t = chunk.tuples((self.query, self.key))
        row, place = torch.unique(t.rows[0], return_inverse=True)
        # combinations come in order, so the first of a row holds the first row of the key
        first = torch.full((len(row),), len(place)).scatter_reduce(0, place, torch.arange(len(place)), "amin")
        match = t.rows[1][first]
        return {
            "row": chunk.row_index(self.query)[row],
            "cosine": torch.linalg.vecdot(chunk.unit(self.query)[row], chunk.unit(self.key)[match]),
            "match": chunk.row_index(self.key)[match],
        }


def sample_hash(position: Tensor) -> Tensor:
    """splitmix64: a bijection of the position, so no two rows tie."""
    z = (position + 1) * -7046029254386353131
    z = (z ^ (z >> 30 & 0x3FFFFFFFF)) * -4658895280553007687
    z = (z ^ (z >> 27 & 0x1FFFFFFFFF)) * -7723592293110705685
    return z ^ (z >> 31 & 0x1FFFFFFFF)


@dataclass(frozen=True)
class Sample(RowStatistic):
    """The k rows of a modality whose hashed position is smallest: the same rows for any chunking and order."""

    modality: str
    k: int
    per_row: ClassVar = {"hash": "sum"}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        row = chunk.row_index(self.modality)
        return self._smallest({"row": row, "hash": sample_hash(row)})

    def merge(self, a: State, b: State) -> State:
        return self._smallest(merge_rows(a, b, self.per_row))

    def concatenate(self, states: list[State]) -> State:
        return self._smallest(super().concatenate(states))

    def _smallest(self, s: State) -> State:
        if len(s["row"]) <= self.k:
            return s
        keep = torch.sort(torch.topk(s["hash"], self.k, largest=False).indices).values
        return {f: x[keep] for f, x in s.items()}
