"""Statistics of means, scatters and higher moments of rows, and of what lies between matched ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from workbench.geometry import centred, products
from workbench.scan.chunk import Chunk
from workbench.scan.contracts import Earlier, RowStatistic, State, Statistic
from workbench.scan.view import SetView


@dataclass(frozen=True)
class Moments(RowStatistic):
    """Count, mean and centred scatter of the unit (or raw) rows of a modality.

    `among` names modalities: then of the items that have all of these, each once, by the mean of its rows.
    """

    modality: str
    raw: bool = False
    among: tuple[str, ...] = ()

    def canonical(self, view: SetView) -> Statistic:
        """With one row an item, and no item without, both are the same."""
        return Moments(self.modality, self.raw) if all(view.es.aligned(m) for m in self.among) else self

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        if not self.among:
            mean, around = chunk.centred(self.modality, self.raw)
            scatter = chunk.scatter(self.modality, self.raw)
        else:
            mean, around = centred(chunk.item_means(self.among, self.raw)[self.among.index(self.modality)])
            scatter = products(around)
        return {"n": torch.tensor(float(len(around)), dtype=torch.float64), "mean": mean, "scatter": scatter}

    def merge(self, a: State, b: State) -> State:
        """Chan, Golub & LeVeque 1983: no cancellation, however tight the cone of the rows is."""
        n = a["n"] + b["n"]
        if float(n) == 0:
            return a
        d = b["mean"] - a["mean"]
        scatter = (a["scatter"] + b["scatter"]).addr_(d, d, alpha=float(a["n"] * b["n"] / n))
        return {"n": n, "mean": a["mean"] + d * (b["n"] / n), "scatter": scatter}


@dataclass(frozen=True)
class Contrast(RowStatistic):
    """Of items that have both modalities, each once, by the mean of its rows: the mean of either side (2, d), the sum
    of squares around both, and the centred scatter of their difference."""

    a: str
    b: str
    raw: bool = False

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        pair = self.a, self.b
        if chunk.in_step(pair):
            sides = [chunk.centred(m, self.raw) for m in pair]
        else:
            sides = [centred(x) for x in chunk.item_means(pair, self.raw)]
        means, around = zip(*sides, strict=True)
        return {
            "n": torch.tensor(float(len(around[0])), dtype=torch.float64),
            "mean": torch.stack(means),
            "squares": sum((x.square().sum() for x in around), torch.zeros((), dtype=torch.float64)),
            "scatter": products(around[0] - around[1]),
        }

    def merge(self, a: State, b: State) -> State:
        """As `Moments`."""
        n = a["n"] + b["n"]
        if float(n) == 0:
            return a
        d, weight = b["mean"] - a["mean"], a["n"] * b["n"] / n
        apart = d[0] - d[1]
        return {
            "n": n,
            "mean": a["mean"] + d * (b["n"] / n),
            "squares": a["squares"] + b["squares"] + weight * d.square().sum(),
            "scatter": (a["scatter"] + b["scatter"]).addr_(apart, apart, alpha=float(weight)),
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
        return tuple(Moments(m, self.raw) for m in self.modalities)

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        sums = torch.stack([earlier[s]["mean"] * earlier[s]["n"] for s in self.after])  # (M, d)
        if chunk.in_step(self.modalities) and chunk.view.families_are_items:
            return self._in_step(chunk, sums)
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

    def _in_step(self, chunk: Chunk, sums: Tensor) -> State:
        """The same where a row is all that its item and its family have."""
        ms = self.modalities
        own = torch.stack([torch.stack([chunk.inner(a, b, self.raw) for b in ms], 1) for a in ms], 1)
        return {
            "row": chunk.items,
            "cross": torch.stack([chunk.vectors(m, self.raw) @ sums.T for m in ms], 1),
            "own": own,
            "count": torch.ones(len(own), len(ms), dtype=torch.float64),
            "squares": own.diagonal(dim1=1, dim2=2).clone(),
            "matched": own[:, 0, -1].clone(),
        }


@dataclass(frozen=True)
class Differences(RowStatistic):
    """Per dimension: the mean of matched differences, and their second, third and fourth powers around it, summed."""

    a: str
    b: str
    axes: ClassVar[bool] = True

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        if chunk.in_step((self.a, self.b)):
            r = chunk.difference(self.a, self.b)
        else:
            x = chunk.stacked((self.a, self.b))[1]
            r = x[:, 0] - x[:, 1]
        mean, r = centred(r)
        square = r.square()
        return {
            "n": torch.tensor(float(len(r)), dtype=torch.float64),
            "mean": mean,
            "second": square.sum(0),
            "third": torch.linalg.vecdot(square, r, dim=0),
            "fourth": torch.linalg.vecdot(square, square, dim=0),
        }

    def merge(self, a: State, b: State) -> State:
        """Pébay 2008, eq. 2.1 for powers up to the fourth: no cancellation, however far the mean is from nought."""
        n = a["n"] + b["n"]
        if float(n) == 0:
            return a
        p, q, d = a["n"] / n, b["n"] / n, b["mean"] - a["mean"]
        w = n * p * q * d.square()
        third = w * (p - q) * d + 3 * d * (p * b["second"] - q * a["second"])
        fourth = w * (1 - 3 * p * q) * d.square() + 4 * d * (p * b["third"] - q * a["third"])
        return {
            "n": n,
            "mean": a["mean"] + d * q,
            "second": a["second"] + b["second"] + w,
            "third": a["third"] + b["third"] + third,
            "fourth": a["fourth"] + b["fourth"] + fourth + 6 * d.square() * (p**2 * b["second"] + q**2 * a["second"]),
        }


@dataclass(frozen=True)
class Width(RowStatistic):
    """How many dimensions the rows of a modality have."""

    modality: str
    totals: ClassVar = {"d": "max"}
    axes: ClassVar[bool] = True

    def map(self, chunk: Chunk, earlier: Earlier) -> State:
        return {"d": torch.tensor(float(chunk.view.es[self.modality].shape[-1]), dtype=torch.float64)}
