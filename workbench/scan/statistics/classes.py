"""Statistics over labelled rows: class means, spreads, diameters, and distances to classes.

`by` names the labelling: `role` (safe, unsafe, jailbreak) or `label` (any column). C comes from the view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from workbench.geometry import NEAR, products, segment_sum
from workbench.scan.chunk import Chunk, joined
from workbench.scan.contracts import Earlier, PairStatistic, RowStatistic, State, Statistic
from workbench.scan.tile import Rows, Tile, same

LOOP = 12_000  # numbers that are read and subtracted in the time in which a class is looked up
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
        q, k = (self._sorted(side, earlier) for side in (tile.q, tile.k))
        most = torch.zeros(tile.q.view.classes(self.by), dtype=torch.float64)
        in_q, in_k = (torch.bincount(side.label, minlength=len(most)) for side in (q, k))
        count = in_q * in_k
        if int(count.sum()) * q.x.shape[1] < LOOP * int((count > 0).sum()):
            i, j = joined(q.label, k.label)
            apart = (q.x[i] - k.x[j]).square().sum(1)
            return {"squared": most.scatter_reduce(0, q.label[i], apart, "amax")}
        of_q, of_k = (list(zip(n.cumsum(0) - n, n.cumsum(0), strict=True)) for n in (in_q, in_k))
        for c in count.nonzero()[:, 0].tolist():
            (a, b), (first, last) = of_q[c], of_k[c]
            d = (q.square[a:b, None] + k.square[None, first:last]).sub_(q.x[a:b] @ k.x[first:last].T, alpha=2)
            row, column = divmod(int(d.argmax()), d.shape[1])
            most[c], x, y = d[row, column], q.x[a + row], k.x[first + column]
            if most[c] < NEAR * (x @ x + y @ y):  # so near that the product form cannot be trusted
                most[c] = (x - y).square().sum()
        return {"squared": most}

    def _sorted(self, side: Rows, earlier: Earlier) -> Labelled:
        return side.kept((self, "sorted"), lambda: self._labelled(side, earlier).sorted())

    def _labelled(self, side: Rows, earlier: Earlier) -> Labelled:
        """The rows of a side that have a class, made once."""

        def made() -> Labelled:
            moments = earlier[self.after[0]]
            label = side.labels(self.by)
            at = (label >= 0).nonzero()[:, 0]
            x = side.raw(at) - moments["sum"].sum(0) / moments["n"].sum().clamp_min(1)
            return Labelled(x, x.square().sum(1), label[at], side.index[at])

        return side.kept((self, "labelled"), made)


@dataclass(frozen=True)
class Distances(Diameter):
    """The same, how distances within a class are spread, and the smallest across: for a few classes, as both are large.

    `squared` (C,), `histogram` (C, bins) over ordered pairs from 0 to twice the class's radius, `across` (C, C).
    """

    totals: ClassVar = {"squared": "max", "histogram": "sum", "across": "min"}
    bins: ClassVar = FINE

    def map(self, tile: Tile, earlier: Earlier, *answers: Any) -> State:
        q, k = self._labelled(tile.q, earlier), self._labelled(tile.k, earlier)
        d = (q.square[:, None] + k.square[None]).sub_(q.x @ k.x.T, alpha=2).clamp_min_(0)
        radius = earlier[self.after[1]]["widest"]
        found = tile.reduce.by_class(d, q.label, k.label, same(q.row, k.row), radius, self.bins)
        # taken again from the vectors where rows are so near that the product form cannot be trusted
        for value, at in ((found.most, found.most_at), (found.least, found.least_at)):
            i, j = at.unbind(-1)
            near = ((i >= 0) & (value < NEAR * (q.square[i] + k.square[j]))).nonzero(as_tuple=True)
            value[near] = (q.x[i[near]] - k.x[j[near]]).square().sum(1)
        return {"squared": found.most, "histogram": found.spread, "across": found.least}


class Labelled(NamedTuple):
    """Rows with a class, around the mean of all such."""

    x: Tensor  # (n, d) in float64
    square: Tensor  # (n,) of their length
    label: Tensor  # (n,)
    row: Tensor  # (n,) ascending positions in the modality

    def sorted(self) -> Labelled:
        """Those of a class beside each other."""
        order = self.label.argsort(stable=True)
        return Labelled(*(x[order] for x in self))


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
