"""Tallies: what a diagnostic reads where leaving out a family must be exact.

A tally names the statistics it is made of, and gives their sums over the whole set and, in one go, the sums without
each family (leading axis F). A diagnostic is then one formula, evaluated on both: the value and its jackknife.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.embeddings import EmbeddingSet
from workbench.statistics import CentroidGram, Earlier, Kernel, Kin, State, Statistic


@dataclass(frozen=True)
class Tally:
    full: State
    without: State | None  # leading axis: the family left out


def by_family(values: Tensor, item: Tensor, es: EmbeddingSet) -> Tensor:
    """Sums of per-row values by the family of their item: (n, …) → (F, …)."""
    family = torch.as_tensor(es.families)[item]
    out = torch.zeros(int(es.families.max()) + 1, *values.shape[1:], dtype=torch.float64)
    return out.index_add(0, family, values.double())


@dataclass(frozen=True)
class Potential:
    """Sum and count of Gaussian potentials over ordered pairs of distinct rows of these modalities together."""

    modalities: tuple[str, ...]
    t: float

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        ways = list(itertools.product(self.modalities, repeat=2))
        return tuple(Kernel(q, k, self.t) for q, k in ways) + tuple(Kin(q, k, self.t) for q, k in ways)

    def tally(self, known: Earlier, es: EmbeddingSet) -> Tally:
        full = {"sum": torch.zeros((), dtype=torch.float64), "count": torch.zeros((), dtype=torch.float64)}
        lost = {k: torch.zeros(int(es.families.max()) + 1, dtype=torch.float64) for k in full}
        whole = True
        for q, k in itertools.product(self.modalities, repeat=2):
            kernel, kin = known[Kernel(q, k, self.t)], known[Kin(q, k, self.t)]
            rows, keys = len(es[q]), len(es[k]) - (q == k)
            sampled = len(kernel["row"]) < rows
            whole &= not sampled
            # sampled queries stand for all rows of their modality
            scale = rows / len(kernel["row"])
            full["sum"] += kernel["sum"].sum() * scale
            full["count"] += rows * keys
            item = es.rows(q)[kernel["row"]]
            each = torch.full_like(kernel["sum"], float(keys))
            if sampled:  # the gallery stays; a family left out takes only its queries along
                lost["sum"] += by_family(kernel["sum"], item, es) * scale
                lost["count"] += by_family(each, item, es) * scale
            else:
                own = es.rows(q)[kin["row"]]
                lost["sum"] += 2 * by_family(kernel["sum"], item, es) - by_family(kin["sum"], own, es)
                lost["count"] += 2 * by_family(each, item, es) - by_family(kin["count"], own, es)
        without = {k: full[k] - lost[k] for k in full}
        if not whole:  # families without a sampled query change nothing, and are no replicates
            seen = lost["count"] > 0
            without = {k: x[seen] for k, x in without.items()}
        return Tally(full, without)


@dataclass(frozen=True)
class Centroids:
    """Gram matrix of the summed unit rows of these modalities, and their counts: all that centroids can say."""

    modalities: tuple[str, ...]

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        return (CentroidGram(self.modalities), *CentroidGram(self.modalities).after)

    def tally(self, known: Earlier, es: EmbeddingSet) -> Tally:
        state = known[CentroidGram(self.modalities)]
        cross, count = state["cross"].sum(0), state["count"].sum(0)
        full = {"gram": (cross + cross.T) / 2, "n": count}
        lost = by_family(state["cross"], state["row"], es)  # (F, M, M): s_f · S
        own = by_family(state["own"], state["row"], es)  # summed over the family's items: s_f · s_f
        gone = by_family(state["count"], state["row"], es)
        without = {"gram": full["gram"] - lost - lost.mT + own, "n": count - gone}
        left = (without["n"] > 0).all(1)
        return Tally(full, {k: x[left] for k, x in without.items()})
