"""Vector stores: their rows as they come over the wire, with nothing of the store needed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError
from workbench.sets.embeddings import EmbeddingSet

PAGE = 1_000  # points asked for at once


def from_rows(
    rows: Iterable[Mapping[str, Any]], modalities: Mapping[str, str] | None = None, *, id: str = "id"
) -> EmbeddingSet:
    """A set of mappings, one an item, such as a cursor or a scroll yields.

    `modalities`: modality → key of its vector; without it, every value that is a list of numbers is one. A vector that
    is missing is a missing modality; pgvector's text form `[1,2,3]` is read too. The other values are columns.

    >>> es = from_rows([{"id": 7, "image": [1.0, 0.0]}, {"id": 8, "image": None}, {"id": 9, "image": [0.0, 2.0]}])
    >>> es.items["id"].tolist(), es.item_of_row("image").tolist()
    (['7', '8', '9'], [0, 2])
    """
    vectors: dict[str, list[np.ndarray]] = {}
    at: dict[str, list[int]] = {}
    plain = []
    keys = dict(modalities or {})
    for i, row in enumerate(rows):
        if not modalities:
            keys |= {k: k for k, v in row.items() if k not in keys and _is_vector(v)}
        for m, key in keys.items():
            if (x := row.get(key)) is not None:
                found = _vector(x, key, i)
                if vectors.get(m) and vectors[m][0].shape != found.shape:
                    raise InputError(f"row {i}: {key} has {len(found)} numbers but {len(vectors[m][0])} before")
                vectors.setdefault(m, []).append(found)
                at.setdefault(m, []).append(i)
        plain.append({k: v for k, v in row.items() if k not in keys.values()})
    if not vectors:
        raise InputError("no row has a vector; say which key holds one with modalities={'image': 'embedding'}")
    items = pd.DataFrame(plain)
    if id != "id" and id in items:
        items = items.rename(columns={id: "id"})
    whole = {m: np.stack(x) for m, x in vectors.items()}
    return EmbeddingSet(whole, items, rows={m: r for m, r in at.items() if len(r) != len(items)}, source="rows")


def _is_vector(v: Any) -> bool:
    if isinstance(v, np.ndarray):
        return v.ndim == 1 and v.dtype.kind == "f"
    return isinstance(v, list | tuple) and len(v) > 0 and all(isinstance(x, float | int) for x in v)


def _vector(x: Any, key: str, row: int) -> np.ndarray:
    try:
        if isinstance(x, str):
            x = [float(v) for v in x.strip().removeprefix("[").removesuffix("]").split(",")]
        return np.asarray(x, dtype=np.float32)
    except (ValueError, TypeError):
        raise InputError(f"row {row}: {key} holds {x!r:.60}, which is no vector") from None


def qdrant_rows(client: Any, collection: str) -> Iterator[dict[str, Any]]:
    """Every point of a Qdrant collection: its id, its payload, and its vector or named vectors."""
    place = None
    while True:
        points, place = client.scroll(collection, limit=PAGE, offset=place, with_payload=True, with_vectors=True)
        for p in points:
            named = p.vector if isinstance(p.vector, dict) else {"vector": p.vector}
            yield {"id": p.id, **(p.payload or {}), **named}
        if place is None:
            return


def cursor_rows(cursor: Any, query: str) -> Iterator[dict[str, Any]]:
    """Every row of a query, from a cursor of any Python database driver (psycopg with pgvector among them)."""
    cursor.execute(query)
    names = [c[0] for c in cursor.description]
    while rows := cursor.fetchmany(PAGE):
        yield from (dict(zip(names, row, strict=True)) for row in rows)
