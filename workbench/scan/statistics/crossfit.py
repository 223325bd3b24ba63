"""Statistics that are fitted on one half of the families and judged on the other, and the other way round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from workbench.geometry import products, segment_sum
from workbench.scan.chunk import Chunk
from workbench.scan.contracts import Earlier, Prepared, RowStatistic, State, Statistic
from workbench.scan.view import SetView

RIDGE = 1e-3  # of the mean variance of a direction that the rows can have: keeps a scatter of few rows invertible


def ridged(scatter: Tensor, n: Tensor) -> Tensor:
    """A scatter that can be inverted, even where all n unit rows coincide."""
    d = len(scatter)
    # as many as there are rows at most: empty dimensions beside them change nothing
    ridge = RIDGE * torch.maximum(scatter.trace(), 1e-12 * n.clamp_min(1)) / n.clamp(1, d)
    return scatter + ridge * torch.eye(d, dtype=scatter.dtype)


def solved(positive: Tensor, right: Tensor) -> Tensor:
    """A⁻¹B of a positive A: half the work of a general one."""
    lower, failed = torch.linalg.cholesky_ex(positive)
    return torch.linalg.solve(positive, right) if int(failed) else torch.cholesky_solve(right, lower)


@dataclass(frozen=True)
class FoldMoments(RowStatistic):
    """Per fold (and class, where `by` names a labelling): count, sum, and second moments of unit rows."""

    modality: str
    by: str = ""
    totals: ClassVar = {"n": "sum", "sum": "sum", "second": "sum"}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        if not self.by:
            return self._whole(chunk)
        x, label, half = chunk.halves(self.modality, self.by)
        classes = chunk.view.classes(self.by)
        place = half * classes + label
        n, d = torch.bincount(place, minlength=2 * classes).double(), x.shape[1]
        return {
            "n": n.view(2, classes),
            "sum": segment_sum(x, place, 2 * classes).view(2, classes, d),
            "second": torch.stack([products(x[half == f]) for f in (0, 1)]),
        }

    def _whole(self, chunk: Chunk) -> State:
        """Without classes, from products around the mean m that other statistics need too: Σxxᵀ is
        Σyyᵀ + Σy mᵀ + m Σyᵀ + n mmᵀ."""
        m = chunk.centred(self.modality)[0]
        counts, sums, seconds = [], [], []
        for f in (0, 1):
            n, y, around = chunk.fold(self.modality, f)
            turned = torch.outer(y + n / 2 * m, m)
            counts.append(float(n))
            sums.append(y + n * m)
            seconds.append(around + turned + turned.T)
        return {
            "n": torch.tensor(counts, dtype=torch.float64)[:, None],
            "sum": torch.stack(sums)[:, None],
            "second": torch.stack(seconds),
        }


@dataclass(frozen=True)
class Probed(RowStatistic):
    """Per labelled row: whether a ridge regression onto the classes, fitted on the other half, names its class."""

    modality: str
    by: str
    per_row: ClassVar = {"correct": "max", "item": "max"}

    @property
    def after(self) -> tuple[Statistic, ...]:
        return (FoldMoments(self.modality, self.by),)

    def prepare(self, view: SetView, earlier: Earlier) -> State:
        m = earlier[self.after[0]]
        weights, offsets = [], []
        for f in (1, 0):  # rows of half 0 are judged by what half 1 taught
            n, total = m["n"][f], m["sum"][f]
            count = n.sum().clamp_min(1)
            mean, share = total.sum(0) / count, n / count
            scatter = m["second"][f] - count * torch.outer(mean, mean)
            cross = total.T - torch.outer(mean, n)  # (d, C): centred rows times centred targets
            w = solved(ridged(scatter, count), cross)
            weights.append(w)
            offsets.append(share - mean @ w)
        return {"weight": torch.stack(weights), "offset": torch.stack(offsets)}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        x, label, half = chunk.halves(self.modality, self.by)
        fitted = earlier[Prepared(self)]
        correct = torch.zeros(len(x), dtype=torch.bool)
        for f in (0, 1):
            said = x[half == f] @ fitted["weight"][f] + fitted["offset"][f]
            correct[half == f] = said.argmax(1) == label[half == f]
        row, item = chunk.labelled_rows(self.modality, self.by)
        return {"row": row, "correct": correct.double(), "item": item}


@dataclass(frozen=True)
class Separated(RowStatistic):
    """Per row of `own`: whether a linear discriminant against `other`, fitted on the other half, knows its modality."""

    own: str
    other: str
    per_row: ClassVar = {"correct": "max", "item": "max"}

    @property
    def after(self) -> tuple[Statistic, ...]:
        return FoldMoments(self.own), FoldMoments(self.other)

    def prepare(self, view: SetView, earlier: Earlier) -> State:
        a, b = (earlier[s] for s in self.after)
        directions, offsets = [], []
        for f in (1, 0):
            means = [m["sum"][f, 0] / m["n"][f, 0].clamp_min(1) for m in (a, b)]
            scatters = [
                m["second"][f] - m["n"][f, 0] * torch.outer(mu, mu) for m, mu in zip((a, b), means, strict=True)
            ]
            ridge = ridged(scatters[0] + scatters[1], a["n"][f, 0] + b["n"][f, 0])
            w = solved(ridge, (means[0] - means[1])[:, None])[:, 0]
            directions.append(w)
            offsets.append((means[0] + means[1]) @ w / 2)
        return {"direction": torch.stack(directions, 1), "offset": torch.stack(offsets)}

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        x, _, half = chunk.halves(self.own, "")
        fitted = earlier[Prepared(self)]
        side = (x @ fitted["direction"] - fitted["offset"])[torch.arange(len(x)), half]
        # on the line itself neither is right: half a point
        correct = (side > 0).double() + 0.5 * (side == 0).double()
        row = chunk.row_index(self.own)
        return {"row": row, "correct": correct, "item": chunk.view.es.item_of_row(self.own)[row]}
