"""Statistics over labelled rows: class means, spreads, diameters, and distances to classes.

`by` names the labelling: `role` (safe, unsafe, jailbreak) or `label` (any column). C comes from the view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from workbench.geometry import segment_sum
from workbench.scan.chunk import Chunk
from workbench.scan.contracts import Earlier, PairStatistic, RowStatistic, State, Statistic
from workbench.scan.tile import Tile

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
            "within": r.T @ r,
            "nearest": (score.argmin(1) == label).double().sum(),
        }


@dataclass(frozen=True)
class Diameter(PairStatistic):
    """Distances between raw rows: the largest within each class, how they are spread, and the smallest across.

    `squared` (C,), `histogram` (C, bins) over ordered pairs from 0 to twice the class's radius, `across` (C, C).
    """

    query: str
    key: str
    by: str
    totals: ClassVar = {"squared": "max", "histogram": "sum", "across": "min"}
    screens: ClassVar = True  # it makes its own distances

    @property
    def after(self) -> tuple[Statistic, ...]:
        return ClassMoments(self.query, self.by, True), ClassSpread(self.query, self.by, True)

    def map(self, tile: Tile, earlier: Earlier) -> State:
        moments, radius = earlier[self.after[0]], earlier[self.after[1]]["widest"]
        mu = centroids(moments["sum"], moments["n"])
        classes = len(mu)
        squared = torch.zeros(classes, dtype=torch.float64)
        histogram = torch.zeros(classes, FINE, dtype=torch.float64)
        across = torch.full((classes, classes), torch.inf, dtype=torch.float64)
        ql, kl = tile.q.labels(self.by), tile.k.labels(self.by)
        for a in range(classes):
            at = (ql == a).nonzero()[:, 0]
            for b in range(classes):
                to = (kl == b).nonzero()[:, 0]
                if not len(at) or not len(to):
                    continue
                # around the centroid the product form loses least; two classes meet at the midpoint
                centre = (mu[a] + mu[b]) / 2
                x, y = tile.q.raw(at) - centre, tile.k.raw(to) - centre
                d = (x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T).clamp_min(0)
                if a != b:
                    across[a, b] = self._nearest(x, y, d)
                    continue
                squared[a] = d.max()
                if float(radius[a]) > 0:
                    other = d[tile.q.index[at][:, None] != tile.k.index[to][None]]
                    bins = (other.sqrt() / (2 * radius[a]) * FINE).long().clamp_max(FINE - 1)
                    histogram[a] += torch.bincount(bins, minlength=FINE).double()
        return {"squared": squared, "histogram": histogram, "across": across}

    @staticmethod
    def _nearest(x: Tensor, y: Tensor, d: Tensor) -> Tensor:
        """The smallest distance squared, taken again from the vectors: the product form cannot be trusted there."""
        i, j = divmod(int(d.argmin()), d.shape[1])
        return (x[i] - y[j]).square().sum()


@dataclass(frozen=True)
class Silhouette(PairStatistic):
    """Per sampled row: summed distances of unit rows to every class, (n, C), without itself."""

    query: str
    key: str
    by: str
    per_row: ClassVar = {"sum": "sum"}
    sampled: ClassVar = True

    def map(self, tile: Tile, earlier: Earlier) -> State:
        d = (2 - 2 * tile.exact).clamp_min(0).sqrt().cpu()
        if tile.overlaps:
            d = d.masked_fill(tile.same_row.cpu(), 0.0)
        label, classes = tile.k.labels(self.by), tile.q.view.classes(self.by)
        one = torch.zeros(len(label), classes, dtype=torch.float64)
        has = label >= 0
        one[has.nonzero()[:, 0], label[has]] = 1.0
        return {"row": tile.q.index, "sum": d @ one}
