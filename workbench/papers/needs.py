"""What a set of the user's must have, so that a paper's comparison can be made on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.errors import InputError
from workbench.sets.embeddings import EmbeddingSet


@dataclass(frozen=True)
class DataNeeds:
    """What a set of the user's must have, so that the same comparison can be made on it."""

    modalities: int = 2
    label: bool = False
    every: bool = False  # takes all modalities, and not the first ones only
    gaps: bool = False  # items may lack a row: what is missing is what the paper is about
    min_items: int = 60  # items, so that each part of the split has some

    def lacking(self, es: EmbeddingSet, label: str) -> str:
        """What is missing, as the end of a sentence; empty where nothing is."""
        if len(es.modalities) < self.modalities:
            return f"{self.modalities} modalities or more, and it has {', '.join(es.modalities)}"
        if self.label and not label:
            return f"a column of classes: --label, one of {', '.join(map(str, es.items.columns))}"
        if label and label not in es.items:
            return f"column {label!r}, which is not there; there are {', '.join(map(str, es.items.columns))}"
        return ""

    def taken(self, es: EmbeddingSet) -> tuple[str, ...]:
        """The modalities that the comparison takes."""
        return tuple(es.modalities if self.every else es.modalities[: self.modalities])

    def check(self, es: EmbeddingSet, label: str, key: str) -> None:
        """One row an item in what is taken (or none), enough items, and a class for each where there are classes."""
        for m in self.taken(es):
            several = len(es.item_of_row(m).unique()) < len(es.item_of_row(m))
            if several or not (self.gaps or es.aligned(m)):
                had, needs = ("several", "one row or none") if self.gaps else ("missing or several", "one row")
                raise InputError(f"{es.source}: modality {m!r} has {had} rows an item; paper {key} needs {needs} each")
            if es[m].ndim != 2:
                raise InputError(
                    f"{es.source}: modality {m!r} has several layers; paper {key} needs one vector an item: take one "
                    "(es.layer)"
                )
        whole = has_all(es, self.taken(es))
        if whole.sum() < self.min_items:
            kind = "items" if whole.all() else f"items with a row in {' and '.join(self.taken(es))}"
            raise InputError(
                f"{es.source}: {whole.sum()} {kind}; paper {key} needs {self.min_items} or more, to split them"
            )
        if label:
            empty = int(es.items[label].isna().sum())
            if empty:
                raise InputError(f"{es.source}: column {label!r} is empty for {empty} items; take the others (es.take)")
            classes = es.items[label][whole].astype(str).nunique()
            if classes < 2:
                raise InputError(f"{es.source}: column {label!r} has one class; paper {key} needs two or more")

    @property
    def sentence(self) -> str:
        """What is needed, as the page of the paper says it."""
        labels = " and a column of classes (--label)" if self.label else ""
        each = "at most one row an item" if self.gaps else "one row an item"
        return f"a set of {self.modalities} modalities or more, {each}{labels}"


def has_all(es: EmbeddingSet, modalities: Sequence[str]) -> np.ndarray:
    """Which items have a row in each of the modalities, (N,) of booleans."""
    return np.logical_and.reduce([np.isin(np.arange(len(es)), es.item_of_row(m).numpy()) for m in modalities])
