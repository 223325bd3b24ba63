"""Few rows in many dimensions: the same rows in coordinates of their own span."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from workbench.sets.embeddings import EmbeddingSet

WORTH = 0.75  # rows a dimension, above which little would be saved


def in_own_span(es: EmbeddingSet, *, alone: bool = False) -> EmbeddingSet:
    """The set with as many dimensions as it has rows, where these are fewer: distances and angles stay what they are.

    With $X^\\top = QR$ the rows of $R^\\top$ are those of X along the columns of Q. Modalities of one width share a
    space and turn together, or, with `alone`, each in its own; the coordinates are float64.

    >>> es = EmbeddingSet({"a": torch.eye(3, 12), "b": 2 * torch.ones(3, 12)})
    >>> flat = in_own_span(es)
    >>> tuple(flat["a"].shape), bool((flat["a"] @ flat["b"].T - 2).abs().max() < 1e-12)
    ((3, 6), True)
    """
    spaces: dict[int | str, list[str]] = {}
    for m in es.modalities:
        spaces.setdefault(m if alone else es[m].shape[-1], []).append(m)
    out = copy.copy(es)
    out._vectors = dict(es._vectors)
    for together in spaces.values():
        rows = [es[m] for m in together]
        counts = [len(x) for x in rows]
        if sum(counts) <= WORTH * rows[0].shape[-1] and all(x.ndim == 2 for x in rows):
            out._vectors |= zip(together, _coordinates(rows).split(counts), strict=True)
    return out


def _coordinates(rows: list[Tensor]) -> Tensor:
    x = torch.cat([r.double() for r in rows])
    return torch.linalg.qr(x.T, mode="r").R.T.contiguous()
