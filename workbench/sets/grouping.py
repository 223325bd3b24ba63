"""Items that several rows of a table share: captions of one picture, crops, templates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from workbench.errors import InputError
from workbench.sets.embeddings import EmbeddingSet


def by_item(es: EmbeddingSet, column: str) -> EmbeddingSet:
    """Rows that share a value of a column are rows of one item; a row that stands there again is kept once.

    Of the other columns the item has what its first row says; its id is the value. Raises `InputError` where the
    column is not there, or empty for a row.

    >>> x = torch.eye(4)
    >>> es = EmbeddingSet({"image": x[[0, 0, 1]], "text": x[:3]}, pd.DataFrame({"picture": ["a", "a", "b"]}))
    >>> by_item(es, "picture").describe()["modalities"]["text"]["rows"], len(by_item(es, "picture")["image"])
    (3, 2)
    """
    values = es.column(column)
    if values.isna().any():
        row = int(np.flatnonzero(values.isna())[0])
        raise InputError(f"{es.source}: column {column!r} is empty at row {row}, so its item is not known")
    codes, names = pd.factorize(values)
    first = pd.Series(codes).drop_duplicates().index
    items = es.items.iloc[first].reset_index(drop=True).assign(id=[str(n) for n in names])
    vectors, rows = {}, {}
    for m in es.modalities:
        owner = codes[es.item_of_row(m).numpy()]
        raw = es[m].contiguous().view(torch.uint8).numpy().reshape(len(owner), -1)
        seen = pd.DataFrame({"item": owner, "row": [r.tobytes() for r in raw]})
        keep = np.flatnonzero(~seen.duplicated())
        vectors[m], rows[m] = es[m][torch.from_numpy(keep)], owner[keep]
    return EmbeddingSet(vectors, items, rows=rows, source=es.source)
