"""Fused queries: the normalised sum of several modalities' unit vectors of one item, made when they are looked at."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor

from workbench.sets.embeddings import EmbeddingSet

PLUS = "+"


def parts(name: str) -> tuple[str, ...]:
    """The modalities that a fused query is made of; of any other modality itself.

    >>> parts("image+text")
    ('image', 'text')
    """
    return tuple(name.split(PLUS))


class Fused:
    """Behaves as the (n, d) table of a modality: for each item that has all parts, the sum of their first rows."""

    ndim = 2

    def __init__(self, es: EmbeddingSet, parts: tuple[str, ...]) -> None:
        self.es, self.parts = es, parts
        has = torch.ones(len(es), dtype=torch.bool)
        for m in parts:
            has &= torch.bincount(es.item_of_row(m), minlength=len(es)) > 0
        self.item = has.nonzero()[:, 0]
        self.shape = (len(self.item), es[parts[0]].shape[-1])
        self.dtype = torch.float64

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, at: slice | Tensor) -> Tensor:
        item = self.item[at]
        rows = [self.es.unit(m, self.es.first_row(m, item)) for m in self.parts]
        total = torch.stack(rows).sum(0)
        # opposite parts cancel: what is left to ask with is the first
        return torch.where(total.norm(dim=1, keepdim=True) > 1e-12, total, rows[0])


def with_fused(es: EmbeddingSet, names: Iterable[str]) -> EmbeddingSet:
    """The set with those of these names that fuse modalities of it beside its own: a view, nothing is copied."""
    names = [n for n in dict.fromkeys(names) if n not in es and all(part in es for part in parts(n))]
    if not names:
        return es
    out = copy.copy(es)
    out._fingerprint = es.fingerprint
    made = {n: Fused(es, parts(n)) for n in names}
    out._vectors = dict(es._vectors) | made  # type: ignore[assignment]  # read as a tensor is
    partial = {n: f.item for n, f in made.items() if len(f) < len(es)}
    out._rows = dict(es._rows) | partial
    return out
