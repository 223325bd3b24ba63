"""Statistics over labelled rows: class means, spreads, diameters, and distances to classes.

`by` names the labelling: `role` (safe, unsafe, jailbreak) or `label` (any column). C comes from the view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from workbench.geometry import NEAR, products, segment_sum
from workbench.scan.chunk import Chunk
from workbench.scan.contracts import Earlier, PairStatistic, RowStatistic, State, Statistic
from workbench.scan.tile import Rows, Tile, same

FINE = 4_096  # bins of the distances within a class, from 0 to twice its radius


@dataclass(frozen=True)
class Labels(RowStatistic):
    """The class of each row, −1 for none, and its item."""

    modality: str
    by: str
    per_row: ClassVar = {"label": "max", "item": "max"}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        row = chunk.row_index(self.modality)
        item = chunk.view.es.item_of_row(self.modality)[row]
        return {"row": row, "label": chunk.view.label_of(self.by, item), "item": item}


@dataclass(frozen=True)
class ClassMoments(RowStatistic):
    """Count and sum of the rows of each class; a second look gives the spread around the centroids."""

    modality: str
    by: str
    raw: bool = False
    totals: ClassVar = {"n": "sum", "sum": "sum"}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        x, label = chunk.labelled(self.modality, self.by, self.raw)
        classes = chunk.view.classes(self.by)
        return {
            "n": torch.bincount(label, minlength=classes).double(),
            "sum": segment_sum(x, label, classes),
        }


def centroids(sums: Tensor, n: Tensor) -> Tensor:
    """Means of the classes, (C, d), of the sums of their rows and how many they are; zero where a class is empty."""
    return sums / n.clamp_min(1)[:, None]


@dataclass(frozen=True)
class ClassSpread(RowStatistic):
    """Around the centroids of the classes: summed distances (C,), largest (C,), scatter (d, d), and how many rows
    have their own centroid nearest."""

    modality: str
    by: str
    raw: bool = False
    totals: ClassVar = {"sum": "sum", "widest": "max", "within": "sum", "nearest": "sum"}

    @property
    def after(self) -> tuple[Statistic, ...]:
        return (ClassMoments(self.modality, self.by, self.raw),)

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        x, label = chunk.labelled(self.modality, self.by, self.raw)
        moments = earlier[self.after[0]]
        mu = centroids(moments["sum"], moments["n"])
        r = x - mu[label]
        length = r.norm(dim=1)
        # ½‖μ‖² − ⟨x, μ⟩ orders the distances; empty classes are out of reach
        score = (mu.square().sum(1) / 2 - x @ mu.T).masked_fill(moments["n"] == 0, torch.inf)
        return {
            "sum": segment_sum(length, label, len(mu)),
            "widest": torch.zeros(len(mu), dtype=torch.float64).scatter_reduce(0, label, length, "amax"),
            "within": products(r),
            "nearest": (score.argmin(1) == label).double().sum(),
        }


@dataclass(frozen=True)
class Diameter(PairStatistic):
    """The largest distance of raw rows within each class, squared: (C,)."""

    query: str
    key: str
    by: str
    totals: ClassVar = {"squared": "max"}
    bins: ClassVar = 0
    screens: ClassVar = True  # it makes its own distances

    @property
    def after(self) -> tuple[Statistic, ...]:
        return ClassMoments(self.query, self.by, True), ClassSpread(self.query, self.by, True)

    def map(self, tile: Tile, earlier: Earlier, *answers: Any) -> State:
        moments, radius = earlier[self.after[0]], earlier[self.after[1]]["widest"]
        centre = moments["sum"].sum(0) / moments["n"].sum().clamp_min(1)
        q, k = self._labelled(tile.q, centre), self._labelled(tile.k, centre)
        d = (q.square[:, None] + k.square[None]).sub_(q.x @ k.x.T, alpha=2).clamp_min_(0)
        found = tile.reduce.by_class(d, q.label, k.label, same(q.row, k.row), radius, self.bins)
        # taken again from the vectors where rows are so near that the product form cannot be trusted
        for value, at in ((found.most, found.most_at), (found.least, found.least_at)):
            i, j = at.unbind(-1)
            near = ((i >= 0) & (value < NEAR * (q.square[i] + k.square[j]))).nonzero(as_tuple=True)
            value[near] = (q.x[i[near]] - k.x[j[near]]).square().sum(1)
        seen = {"squared": found.most, "histogram": found.spread, "across": found.least}
        return {name: seen[name] for name in self.totals}

    def _labelled(self, side: Rows, centre: Tensor) -> Labelled:
        def made() -> Labelled:
            label = side.labels(self.by)
            at = (label >= 0).nonzero()[:, 0]
            x = side.raw(at) - centre
            return Labelled(x, x.square().sum(1), label[at], side.index[at])

        return side.kept((self, "labelled"), made)


@dataclass(frozen=True)
class Distances(Diameter):
    """The same, how distances within a class are spread, and the smallest across: for a few classes, as both are large.

    `squared` (C,), `histogram` (C, bins) over ordered pairs from 0 to twice the class's radius, `across` (C, C).
    """

    totals: ClassVar = {"squared": "max", "histogram": "sum", "across": "min"}
    bins: ClassVar = FINE


class Labelled(NamedTuple):
    """Rows with a class, around the mean of all such."""

    x: Tensor  # (n, d) in float64
    square: Tensor  # (n,) of their length
    label: Tensor  # (n,)
    row: Tensor  # (n,) ascending positions in the modality


@dataclass(frozen=True)
class Silhouette(PairStatistic):
    """Per sampled row: summed distances of unit rows to every class, (n, C), without itself."""

    query: str
    key: str
    by: str
    per_row: ClassVar = {"sum": "sum"}
    sampled: ClassVar = True

    def map(self, tile: Tile, earlier: Earlier, *answers: Any) -> State:
        view, d = tile.q.view, (2 - 2 * tile.exact).clamp_min(0).sqrt().cpu()
        if tile.overlaps:
            d = d.masked_fill(tile.same_row.cpu(), 0.0)
        label = tile.k.labels(self.by)
        return {"row": tile.q.index, "sum": segment_sum(d.T[label >= 0], label[label >= 0], view.classes(self.by)).T}
