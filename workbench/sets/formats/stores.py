"""Vector stores: their rows as they come over the wire, with nothing of the store needed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from workbench.errors import InputError
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats.assemble import Reading, of_table
from workbench.sets.formats.plain import gathered, table_of

PAGE = 1_000  # points asked for at once


def from_rows(
    rows: Iterable[Mapping[str, Any]], modalities: Mapping[str, str] | None = None, *, id: str = "id"
) -> EmbeddingSet:
    """A set of mappings, one an item, such as a cursor or a scroll yields.

    `modalities`: modality → key of its vector; without it, every value that looks like a vector is one: a list of
    floating numbers, but no box, colour or multivector beside it (`source` of the set says what was left out). A vector
    that is missing is a missing modality; pgvector's text form `[1,2,3]` is read too. The other values are columns.

    >>> es = from_rows([{"id": 7, "image": [1.0, 0.0]}, {"id": 8, "image": None}, {"id": 9, "image": [0.0, 2.0]}])
    >>> es.items["id"].tolist(), es.item_of_row("image").tolist()
    (['7', '8', '9'], [0, 2])
    """
    columns = gathered(rows)
    if not columns:
        raise InputError("no row has a vector; there are no rows")
    if id != "id" and id in columns:
        columns.pop("id", None)
        columns = {("id" if k == id else k): v for k, v in columns.items()}
    for m, key in (modalities or {}).items():
        for i, value in enumerate(columns.get(key, ())):
            if not isinstance(value, str | list | tuple | np.ndarray | None) and not hasattr(value, "to_list"):
                raise InputError(f"row {i}: {key} holds {value!r:.60}, which is no vector for {m}")
    plain = {k: [v.to_list() if hasattr(v, "to_list") else v for v in values] for k, values in columns.items()}
    table = table_of(plain, "rows")
    es = of_table(table, Reading(dict(modalities or {})), store=True)
    vectors = {m: es[m].float() for m in es.modalities}
    rows_of = {m: es.item_of_row(m) for m in es.modalities if not es.aligned(m)}
    left = [line.partition(";")[0] for line in table.said if " is left out: " in line]
    source = f"rows ({'; '.join(left)})" if left else "rows"
    return EmbeddingSet(vectors, es.items, rows=rows_of, source=source)


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
