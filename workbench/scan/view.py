"""What a statistic may ask of a set: labels, families, halves, lengths and cosines of chosen rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from workbench.scan.reductions import plain
from workbench.sets.embeddings import EmbeddingSet

SPAN = 1_024  # rows whose lengths are taken together


class SetView:
    """A set with its labellings, as statistics see it.

    `labels` gives, by the name of a labelling, the class of each item (−1: none).
    """

    def __init__(self, es: EmbeddingSet, labels: Mapping[str, np.ndarray] | None = None) -> None:
        self.es = es
        self.reduce: ModuleType = plain  # where a scan has better ones it says so
        self.family = es.families
        self.labels = {name: torch.as_tensor(x, dtype=torch.long) for name, x in (labels or {}).items()}

    def label_of(self, by: str, item: Tensor) -> Tensor:
        """The class of items in a labelling, −1 for none."""
        return self.labels[by][item] if by in self.labels else torch.full((len(item),), -1)

    def classes(self, by: str) -> int:
        """How many classes a labelling has."""
        return int(self.labels[by].max()) + 1 if by in self.labels else 0

    def most(self, m: str) -> int:
        """The most rows that an item has in a modality."""
        return 1 if self.es.aligned(m) else int(torch.bincount(self.es.item_of_row(m)).max())

    @cached_property
    def half(self) -> Tensor:
        """0 or 1 for each item, by the name of its family: whatever is fitted on one is judged on the other."""
        return torch.from_numpy(self.es.halves)

    @cached_property
    def families_are_items(self) -> bool:
        """Whether every item is a family of its own."""
        return len(np.unique(self.family)) == len(self.family)

    def by_family(self, m: str) -> tuple[Tensor, Tensor]:
        """The families of a modality's rows, ascending, and which rows those are."""
        if m not in self._by_family:
            family = torch.as_tensor(self.family)[self.es.item_of_row(m)]
            order = torch.argsort(family, stable=True)
            self._by_family[m] = (family[order], order)
        return self._by_family[m]

    @cached_property
    def _by_family(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {}

    def cosines(self, query: str, rows: Tensor, key: str, keys: Tensor) -> Tensor:
        """Float64 cosines of chosen pairs, (n,)."""
        x, y = self.es[query], self.es[key]
        if torch.float64 in (x.dtype, y.dtype):  # whose squares may leave its range
            parts = zip(rows.split(plain.PAIRS), keys.split(plain.PAIRS), strict=True)
            out = [torch.linalg.vecdot(self._row(query, i), self._row(key, j)) for i, j in parts]
            dots = torch.cat(out) if out else torch.zeros(0, dtype=torch.float64)
        else:
            dots = self.reduce.dots(x, rows, y, keys)
        return dots / (self.length(query)[rows] * self.length(key)[keys])

    def _row(self, m: str, at: Tensor) -> Tensor:
        """Rows in float64, to be divided by their `length`."""
        return self.es.unit(m, at) if self.es[m].dtype == torch.float64 else self.es[m][at].double()

    def length(self, m: str) -> Tensor:
        """Lengths of the rows that `_row` gives: (n,)."""
        if m not in self._lengths:
            n = len(self.es[m])
            parts = [self._row(m, torch.arange(s, min(s + SPAN, n))).norm(dim=1) for s in range(0, n, SPAN)]
            self._lengths[m] = torch.cat(parts)
        return self._lengths[m]

    @cached_property
    def _lengths(self) -> dict[str, Tensor]:
        return {}
