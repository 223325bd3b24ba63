"""Rows of a set in the place of a paper's own data: the user's, or the emoji."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from workbench.papers import digits
from workbench.papers.needs import has_all
from workbench.papers.paper import Trial
from workbench.papers.parts import Part, Views, sides, split, unit
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.shipped import dataset

MOST = 4_000  # items of a set of the user's that an experiment takes


def given(trial: Trial, count: int | None = None) -> Views | None:
    """The user's own set in the place of the paper's, `count` modalities of it or all; nothing where none."""
    es = trial.data
    if es is None:
        return None
    return split(trial, *from_set(trial, es, es.modalities[:count], trial.label))


def from_set(trial: Trial, es: EmbeddingSet, modalities: Sequence[str], label: str) -> tuple[Part, list[Any]]:
    """Rows of the items that have all modalities, with their classes and the families of the items."""
    index, classes = sample(trial, es, modalities, label)
    whole = has_all(es, modalities)[index]
    return rows_of(es, index[whole], modalities, classes[whole]), family_names(es)[index[whole]].tolist()


def single_modality(trial: Trial, count: int) -> dict[str, Part]:
    """Test items of the user's with a row in just one of the first `count` modalities, by that modality; nothing where
    the set has no such items.
    """
    es = trial.data
    if es is None or has_all(es, es.modalities[:count]).all():
        return {}
    names = es.modalities[:count]
    index, classes = sample(trial, es, names, trial.label)
    has = np.stack([has_all(es, [m])[index] for m in names])
    apart = (has.sum(0) == 1) & (sides(trial, family_names(es)[index]) == "test")
    return {m: rows_of(es, index[h & apart], [m], classes[h & apart]) for m, h in zip(names, has, strict=True)}


def sample(trial: Trial, es: EmbeddingSet, modalities: Sequence[str], label: str) -> tuple[np.ndarray, np.ndarray]:
    """At most `MOST` items with a row in any of the modalities, and the number of their class (-1 without label)."""
    index = np.flatnonzero(np.any([has_all(es, [m]) for m in modalities], axis=0))
    index = index[np.sort(np.random.default_rng(0).permutation(len(index))[: trial.count(MOST, 160)])]
    if not label:
        return index, np.full(len(index), -1)
    return index, columns.codes(es.items[label].iloc[index])[0]


def rows_of(es: EmbeddingSet, index: np.ndarray, modalities: Sequence[str], classes: np.ndarray) -> Part:
    """The one row of each item in modalities that it has."""
    at = torch.from_numpy(index)
    x = {m: unit(es[m][es.first_row(m, at)].float(), dim=1) for m in modalities}
    return Part(x, None if (classes < 0).any() else torch.from_numpy(classes))


def family_names(es: EmbeddingSet) -> np.ndarray:
    """The family of each item by name, (N,); an item without one is a family of its own."""
    ids = columns.text(es.items["id"])
    if "family" not in es.items:
        return ids
    families = columns.text(es.items["family"])
    return np.where(families == "", ids, families)


shipped = cache(dataset)  # read once


def emoji(trial: Trial, *modalities: str, label: str = "group") -> Views:
    """Frozen features of the emoji set."""
    return split(trial, *from_set(trial, shipped("emoji"), modalities, label))


def halves(trial: Trial) -> Views:
    """Two modalities: the user's first two, or the left and right halves of digits."""
    return given(trial, 2) or digits.views_of_digits(trial, left=digits.LEFT, right=digits.RIGHT)
