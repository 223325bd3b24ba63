"""What a null may ask beyond the states: the scanned set, its labellings, and the size of a retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial, reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.scan.plan import SAMPLE_ROWS, Scan
from workbench.scan.statistics import Earlier, Ranks, Sample, State
from workbench.sets.embeddings import EmbeddingSet


@dataclass(frozen=True)
class Context:
    """What a null may ask beyond the states: the set, the labellings, and the size of a retrieval."""

    scan: Scan
    known: Earlier
    subsampling: bool = True  # whether intervals are made that need a diagnostic again on parts of the set
    cache: dict[Any, Any] = field(default_factory=dict)  # what several nulls of one report make alike

    @property
    def es(self) -> EmbeddingSet:
        """The set that was scanned, fused queries among its modalities."""
        return self.scan.es

    @cached_property
    def rows(self) -> dict[str, int]:
        """How many rows each modality has."""
        return {m: len(self.es[m]) for m in self.es.modalities}

    @cached_property
    def owner(self) -> dict[str, Tensor]:
        """The item of each row of a modality, (n,)."""
        return {m: self.es.item_of_row(m) for m in self.es.modalities}

    @cached_property
    def family(self) -> Tensor:
        """The family of each item, (N,)."""
        return torch.as_tensor(self.scan.view.family)

    @cached_property
    def independent(self) -> bool:
        """Whether every item is a family of its own."""
        return self.scan.view.families_are_items

    def single(self, *modalities: str) -> bool:
        """Whether the items are independent, and have one row at most in each of these modalities."""
        return self.independent and all(self._most(m) == 1 for m in modalities)

    def _most(self, m: str) -> int:
        if ("most", m) not in self.cache:
            self.cache["most", m] = self.scan.view.most(m)
        return int(self.cache["most", m])

    def shared(self, *modalities: str) -> np.ndarray:
        """The items that have all of these modalities, ascending."""
        has = [np.unique(self.owner[m].numpy()) for m in modalities]
        return reduce(partial(np.intersect1d, assume_unique=True), has)

    def families(self, items: np.ndarray) -> np.ndarray:
        """The family of each of these items."""
        return self.family[torch.from_numpy(items)].numpy()

    def label(self, by: str) -> Tensor | None:
        """The class of each item in a labelling, (N,), or nothing."""
        return self.scan.view.labels.get(by)

    def retrieval(self, states: Sequence[State], scope: tuple[str, ...]) -> tuple[int, int, np.ndarray]:
        """Queries with a match, keys, and matches a query."""
        state = states[0]
        if "positives" in state:
            positives, keys = state["positives"].numpy(), self.rows[scope[1]]
        else:
            positives, keys = np.ones(len(state["row"])), len(state["row"])
        queries = len(positives)
        if self.scan.sampled(Ranks(scope[0], scope[1])):
            queries = min(queries, len(self.known[Sample(scope[0], SAMPLE_ROWS)]["row"]))
        return queries, keys, positives
