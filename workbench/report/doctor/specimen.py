"""What a rule over the vectors looks at: whole families of a set, a few thousand items at most, in the set's order."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.report.report import Report
from workbench.sets.embeddings import EmbeddingSet

TOLD = 20  # ids that a finding names
TWIN = 0.02  # of the usual squared distance: nearer rows are one thing seen twice
MOST_ITEMS = 2_000  # all cosines of one pair of modalities are 32 MB


def named(es: EmbeddingSet, items: Tensor) -> list[str]:
    """The ids of items, no more than a finding can hold."""
    return [str(x) for x in es.items["id"].iloc[items[:TOLD].numpy()]]


def first_rows(es: EmbeddingSet, m: str, items: Tensor) -> Tensor:
    """The first row of each of these items, unit length, float64: (n, d)."""
    return es.unit(m, es.first_row(m, items)).double()


def twin(x: Tensor) -> float:
    """The cosine above which unit rows are one thing seen twice: two of x taken at random hardly ever are so near."""
    return 1 - TWIN * (1 - float(x.mean(0).square().sum()))


@dataclass(frozen=True)
class Specimen:
    """Items of a set, all of them or whole families drawn by lot, and the report on the whole.

    `es`: the items drawn; `all`: the whole set; `label` (n,): the class of each item drawn, −1 for none.
    """

    es: EmbeddingSet
    report: Report
    all: EmbeddingSet
    label: Tensor | None = None
    _cache: dict[Any, Tensor] = field(default_factory=dict, repr=False)
    _making: dict[Any, Lock] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, es: EmbeddingSet, report: Report, label: Tensor | None = None) -> Specimen:
        """Whole families, by lot, until `MOST_ITEMS` are reached; the same ones each time."""
        if len(es) <= MOST_ITEMS:
            return cls(es, report, es, label)
        lot = np.array([zlib.crc32(b"%d" % f) for f in range(int(es.families.max()) + 1)])[es.families]
        order = np.argsort(lot, kind="stable")
        whole = order[lot[order] < lot[order[MOST_ITEMS]]]
        place = np.sort(whole if len(whole) > 1 else order[:MOST_ITEMS])  # one family may be larger than that
        return cls(es.take(place), report, es, None if label is None else label[torch.from_numpy(place)])

    @cached_property
    def family(self) -> Tensor:
        """The family of each item, (n,)."""
        return torch.from_numpy(np.asarray(self.es.families))

    def items(self, *modalities: str) -> Tensor:
        """The items that have all of these modalities, ascending."""
        return torch.stack([self.es.layout.has[m] for m in modalities]).all(0).nonzero()[:, 0]

    def named(self, items: Tensor) -> list[str]:
        """The ids of items, no more than a finding can hold."""
        return named(self.es, items)

    def raw(self, m: str) -> Tensor:
        """The first row, as it was given, of each item that has this modality, float64: (n, d)."""
        return self.known(("raw", m), lambda: self.es[m][self.es.first_row(m, self.items(m))].double())

    def unit(self, m: str, items: Tensor) -> Tensor:
        """The first row of each of these items, unit length, float64: (n, d)."""
        if torch.equal(items, self.items(m)):
            return self.known(("unit", m), lambda: first_rows(self.es, m, items))
        return first_rows(self.es, m, items)

    def cosines(self, a: str, b: str) -> Tensor:
        """Cosines between the items that have both, (n, n): row i and column i are one item."""
        both = self.items(a, b)
        return self.known(("cosines", a, b), lambda: self.unit(a, both) @ self.unit(b, both).T)

    def known(self, what: tuple[str, ...], make: Callable[[], Tensor]) -> Tensor:
        """What several rules ask, on whichever thread: made once, and changed by none."""
        with self._making.setdefault(what, Lock()):
            if what not in self._cache:
                self._cache[what] = make()
            return self._cache[what]
