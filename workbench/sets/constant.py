"""Modalities that tell nothing apart: every row is one and the same vector."""

from __future__ import annotations

from workbench.errors import InputError
from workbench.sets.embeddings import EmbeddingSet


def refuse_constant(es: EmbeddingSet) -> None:
    """Raise `InputError` where all rows of a modality are one vector."""
    for m in es.modalities:
        x = es[m]
        if len(x) > 1 and bool((x == x[:1]).all()):
            raise InputError(f"{es.source}: {m} is constant: all its {len(x):,} rows are one vector")
