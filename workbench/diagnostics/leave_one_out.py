"""Replicates: what a diagnostic reads where leaving out a family must be exact.

A tally names the statistics it is made of, and gives their sums over the whole set and, in one go, the sums without
each family (leading axis F). A diagnostic is then one formula, evaluated on both: the value and its jackknife.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.scan.statistics import CentroidGram, Earlier, Kernel, State, Statistic, WithinFamilyKernel
from workbench.sets.embeddings import EmbeddingSet


@dataclass(frozen=True)
class Replicates:
    """Sums over the whole set, and without each family in turn."""

    full: State
    without: State | None  # leading axis: the family left out


class ByFamily:
    """Sums of per-row values by the family of their item: (n, …) → (F, …)."""

    def __init__(self, es: EmbeddingSet) -> None:
        self.family = torch.as_tensor(es.families)
        self.count = int(self.family.max()) + 1

    def __call__(self, values: Tensor, item: Tensor) -> Tensor:
        out = torch.zeros(self.count, *values.shape[1:], dtype=torch.float64)
        return out.index_add(0, self.family[item], values.double())


@dataclass(frozen=True)
class Potential:
    """Sum and count of Gaussian potentials over ordered pairs of distinct rows: within these modalities together, or,
    with `across`, between the two of them and different items only."""

    modalities: tuple[str, ...]
    t: float
    across: bool = False

    @property
    def _ways(self) -> list[tuple[str, str]]:
        if self.across:
            a, b = self.modalities
            return [(a, b)]
        return [(a, b) for a in self.modalities for b in self.modalities]

    def _looked(self, known: Earlier, es: EmbeddingSet) -> list[tuple[str, str]]:
        """The ways whose pairs are added up: across, both of them where a sample of queries stands for all, for then
        each way sees other pairs."""
        ways = self._ways
        whole = all(len(known[Kernel(q, k, self.t)]["sum"]) == len(es[q]) for q, k in ways + [(k, q) for q, k in ways])
        return ways if whole or not self.across else ways + [(k, q) for q, k in ways]

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """The kernels that it is made of."""
        ways = self._ways
        back = [(k, q) for q, k in ways] if self.across else []
        return (
            *(Kernel(q, k, self.t) for q, k in ways + back),
            *(WithinFamilyKernel(q, k, self.t) for q, k in ways + back),
        )

    def replicates(self, known: Earlier, es: EmbeddingSet) -> Replicates:
        """Sum and count of potentials, of all and without each family (F,)."""
        by_family = ByFamily(es)
        full = {"sum": torch.zeros((), dtype=torch.float64), "count": torch.zeros((), dtype=torch.float64)}
        lost = {k: torch.zeros(by_family.count, dtype=torch.float64) for k in full}
        for q, k in self._looked(known, es):
            kernel, kin = known[Kernel(q, k, self.t)], known[WithinFamilyKernel(q, k, self.t)]
            rows = len(es[q])
            at = torch.searchsorted(kin["row"], kernel["row"])
            each = torch.full_like(kernel["sum"], float(len(es[k]) - (q == k)))
            sums = kernel["sum"]
            if self.across:
                sums, each = sums - kin["own"][at], each - kin["own_count"][at]
            # where either way saw a sample only, the gallery stays: a family left out takes just its queries along
            sampled = len(sums) < rows or len(known[Kernel(k, q, self.t)]["sum"]) < len(es[k])
            scale = rows / len(sums)  # sampled queries stand for all rows of their modality
            full["sum"] += sums.sum() * scale
            full["count"] += each.sum() * scale
            item = es.item_of_row(q)[kernel["row"]]
            lost["sum"] += by_family(sums, item) * scale
            lost["count"] += by_family(each, item) * scale
            if sampled:
                continue
            kind = ("sum", "count")
            back_kernel, back_kin = known[Kernel(k, q, self.t)], known[WithinFamilyKernel(k, q, self.t)]
            back = {"sum": back_kernel["sum"], "count": torch.full_like(back_kernel["sum"], float(rows - (q == k)))}
            for name, own in zip(kind, ("own", "own_count"), strict=True):
                column = back[name] - (back_kin[own] if self.across else 0.0)
                inside = kin[name] - (kin[own] if self.across else 0.0)
                lost[name] += by_family(column, es.item_of_row(k)[back_kernel["row"]])
                lost[name] -= by_family(inside, es.item_of_row(q)[kin["row"]])
        # a family without a sampled query changes nothing, and adds nothing to what the replicates scatter
        return Replicates(full, {k: full[k] - lost[k] for k in full})


@dataclass(frozen=True)
class Centroids:
    """Gram matrix of the summed rows of these modalities, their counts and squared lengths, and the inner products of
    matched rows: all that centroids can say."""

    modalities: tuple[str, ...]
    raw: bool = False

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """The sums that it is made of."""
        own = CentroidGram(self.modalities, self.raw)
        return (own, *own.after)

    def replicates(self, known: Earlier, es: EmbeddingSet) -> Replicates:
        """Gram matrix and counts of the modalities, of all and without each family (F, …)."""
        state = known[CentroidGram(self.modalities, self.raw)]
        cross = state["cross"].sum(0)
        state = state | {"pairs": state["count"][:, 0] * state["count"][:, -1]}
        full = {"gram": (cross + cross.T) / 2, "n": state["count"].sum(0)}
        plain = ("squares", "matched", "pairs")
        full |= {f: state[f].sum(0) for f in plain}
        by_family = ByFamily(es)
        gone = {f: by_family(state[f], state["row"]) for f in ("cross", "own", "count", *plain)}
        without = {
            "gram": full["gram"] - gone["cross"] - gone["cross"].mT + gone["own"],
            "n": full["n"] - gone["count"],
        } | {f: full[f] - gone[f] for f in plain}
        left = (without["n"] > 0).all(1)
        return Replicates(full, {k: x[left] for k, x in without.items()})
