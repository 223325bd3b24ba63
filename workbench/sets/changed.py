"""A set like another but for some rows or columns: what planted faults, and their noise, are made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from workbench.sets.embeddings import EmbeddingSet


def changed(
    es: EmbeddingSet,
    vectors: Mapping[str, Tensor] | None = None,
    rows: Mapping[str, Any] | None = None,
    items: pd.DataFrame | None = None,
) -> EmbeddingSet:
    """The same set with other vectors of some modalities, other items of their rows, or other columns."""
    own = {m: es.item_of_row(m) for m in es.modalities if not es.aligned(m)} | dict(rows or {})
    given = vectors or {}
    return EmbeddingSet(
        {m: given.get(m, es[m]) for m in es.modalities},
        es.items if items is None else items,
        rows=own,
        source=es.source,
    )


def drawn(seed: int, *shape: int) -> Tensor:
    """Gaussian numbers of a seed, in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
