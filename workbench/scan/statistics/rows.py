"""Statistics over rows: moments, centroids, matched rows, and the sample of queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from workbench.geometry import leading_share, segment_sum, triangle_area, volume
from workbench.scan.chunk import Chunk
from workbench.scan.contracts import Earlier, RowStatistic, State, Statistic, merge_rows
from workbench.scan.view import SetView


@dataclass(frozen=True)
class Moments(RowStatistic):
    """Count, mean and centred scatter of the unit (or raw) rows of one modality, or of several joined side by side.

    Joined, each item counts once for every combination of its rows, and only where no modality is missing; `by_item`
    takes the mean of its rows instead, so that it counts once.
    """

    modalities: tuple[str, ...]
    raw: bool = False
    by_item: bool = False

    def canonical(self, view: SetView) -> Statistic:
        """With one row an item both are the same."""
        same = self.by_item and all(view.es.aligned(m) for m in self.modalities)
        return Moments(self.modalities, self.raw) if same else self

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        if self.by_item:
            sums, count = chunk.item_sums(self.modalities, self.raw)
            there = (count > 0).all(1)
            x = (sums[there] / count[there][..., None]).flatten(1)
        else:
            rows = chunk.tuples(self.modalities)
            parts = zip(self.modalities, rows.rows, strict=True)
            x = torch.cat([chunk.vectors(m, self.raw)[i] for m, i in parts], 1)
        mean = x.mean(0) if len(x) else x.new_zeros(x.shape[1])
        y = x - mean
        return {"n": torch.tensor(float(len(x)), dtype=torch.float64), "mean": mean, "scatter": y.T @ y}

    def merge(self, a: State, b: State) -> State:
        """Chan, Golub & LeVeque 1983: no cancellation, however tight the cone of the rows is."""
        n = a["n"] + b["n"]
        if float(n) == 0:
            return a
        d = b["mean"] - a["mean"]
        return {
            "n": n,
            "mean": a["mean"] + d * (b["n"] / n),
            "scatter": a["scatter"] + b["scatter"] + torch.outer(d, d) * (a["n"] * b["n"] / n),
        }


@dataclass(frozen=True)
class CentroidGram(RowStatistic):
    """Inner products of each item's summed rows with the sums of all rows, for one or two modalities.

    With S_m the sum of the rows of modality m and s_im that of item i: `cross` (., M, M) holds s_im · S_m', `own` the
    same with the sum over the item's family, `self` (.) the squared lengths of the item's rows and `matched` (.) the
    sum of s_ia · s_ib. The Gram matrix of the sums without a family then follows exactly, and with it every function
    of the centroids: gap, resultant length, mean cosine.
    """

    modalities: tuple[str, ...]
    raw: bool = False
    per_row: ClassVar = {"cross": "sum", "own": "sum", "count": "sum", "squares": "sum", "matched": "sum"}

    @property
    def after(self) -> tuple[Statistic, ...]:
        return tuple(Moments((m,), self.raw) for m in self.modalities)

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        sums = torch.stack([earlier[s]["mean"] * earlier[s]["n"] for s in self.after])  # (M, d)
        mine, count = chunk.item_sums(self.modalities, self.raw)  # (N, M, d), (N, M)
        within_family_pairs = chunk.family_sums(self.modalities, self.raw)
        return {
            "row": chunk.items,
            "cross": mine @ sums.T,
            "own": mine @ within_family_pairs.mT,
            "count": count,
            "squares": chunk.item_squares(self.modalities, self.raw),
            "matched": (mine[:, 0] * mine[:, -1]).sum(1),
        }


@dataclass(frozen=True)
class Matched(RowStatistic):
    """Per item: squared distance, cosine, or volume of its matched rows, summed over combinations of rows."""

    modalities: tuple[str, ...]
    alpha: float = 2.0
    per_row: ClassVar = {"count": "sum", "distance": "sum", "cosine": "sum", "volume": "sum"}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
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
class Differences(RowStatistic):
    """Per dimension: second, third and fourth powers of matched differences around their mean."""

    a: str
    b: str
    totals: ClassVar = {"n": "sum", "second": "sum", "third": "sum", "fourth": "sum"}

    @property
    def after(self) -> tuple[Statistic, ...]:
        return (Moments((self.a, self.b)),)

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        _, x = chunk.stacked((self.a, self.b))
        mean = earlier[self.after[0]]["mean"]
        d = len(mean) // 2
        r = x[:, 0] - x[:, 1] - (mean[:d] - mean[d:])
        return {
            "n": torch.tensor(float(len(r)), dtype=torch.float64),
            "second": r.square().sum(0),
            "third": r.pow(3).sum(0),
            "fourth": r.pow(4).sum(0),
        }


@dataclass(frozen=True)
class OwnVolume(RowStatistic):
    """Per anchor row: its volume with the first row of each other modality of its item, and that item."""

    anchor: str
    others: tuple[str, ...]
    per_row: ClassVar = {"volume": "sum", "item": "max"}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
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
        at, own, x, y = chunk.within_family_pairs(self.query, self.key)
        e = torch.exp(-self.t * (x - y).square().sum(1))
        base = chunk.row_index(self.query)
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
