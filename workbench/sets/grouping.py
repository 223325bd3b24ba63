"""Items that several rows share: captions of one picture, crops, templates, what a padded sampler shows twice.

One rule everywhere: equal ids are one item, its distinct rows are its rows, an exact repeat counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.errors import InputError, unknown
from workbench.sets import columns
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
    return grouped(es, composed(es.items, column) if column not in es.items else es.items[column], column)


def composed(items: pd.DataFrame, names: str) -> pd.Series:
    """The values of several columns as one, a/b; raises `InputError` for one that is not there."""
    parts = names.split(",")
    for c in parts:
        if c not in items:
            raise unknown("column of the items", c, items.columns)
    if len(parts) == 1:
        return items[names]
    gone = np.any([columns.missing(items[c]) for c in parts], axis=0)
    values = ["/".join(v) for v in zip(*(columns.text(items[c]) for c in parts), strict=True)]
    return pd.Series([None if g else v for g, v in zip(gone, values, strict=True)], index=items.index, dtype=object)


def grouped(es: EmbeddingSet, values: pd.Series, name: str) -> EmbeddingSet:
    """The same by values that stand beside the items; `name` is what they are called."""
    if (gone := columns.missing(values)).any():
        row = int(np.flatnonzero(gone)[0])
        raise InputError(f"{es.source}: column {name!r} is empty at row {row}, so its item is not known")
    codes, names = pd.factorize(values)
    _in_one_split(es, codes, names, name)
    first = pd.Series(codes).drop_duplicates().index
    items = es.items.iloc[first].reset_index(drop=True).assign(id=columns.text(pd.Series(names)))
    vectors, rows = {}, {}
    for m in es.modalities:
        owner = codes[es.item_of_row(m).numpy()]
        keep = _distinct(es[m], owner)
        vectors[m], rows[m] = es[m][torch.from_numpy(keep)], owner[keep]
    return EmbeddingSet(vectors, items, rows=rows, source=es.source)


def _in_one_split(es: EmbeddingSet, codes: np.ndarray, names: pd.Index, name: str) -> None:
    """Refuse items whose rows are in several splits: two items of one name, or a leak."""
    if "split" not in es.items:
        return
    split = es.items["split"].fillna("").to_numpy()
    first = pd.Series(split).groupby(codes).transform("first").to_numpy()
    if (odd := split != first).any():
        row = int(odd.argmax())
        raise InputError(
            f"{es.source}: {name} {str(names[codes[row]])!r} is in {first[row] or 'no split'} and in "
            f"{split[row] or 'none'}; "
            f"where {name} counts the items of each split, --item split,{name}; else it is a leak: take it out of one"
        )


def of_rows(
    modalities: Mapping[str, Tensor], ids: Sequence[Any], items: pd.DataFrame | None = None, *, source: str
) -> EmbeddingSet:
    """A set of rows side by side whose items are told by ids, which may come again: `{name: (n, d)}`, n ids.

    >>> es = of_rows({"image": torch.eye(2)[[0, 0, 1]], "text": torch.eye(3)}, [7, 7, 8], source="the rows given")
    >>> len(es), len(es["image"]), len(es["text"])
    (2, 2, 3)
    """
    frame = pd.DataFrame(index=range(len(ids))) if items is None else items.drop(columns="id", errors="ignore")
    return grouped(EmbeddingSet(modalities, frame, source=source), pd.Series([*ids]), "ids")


def plain_ids(ids: Any) -> list[Any]:
    """Ids as numbers and texts, from a list, an array or a tensor."""
    return ids.tolist() if hasattr(ids, "tolist") else [i.item() if hasattr(i, "item") else i for i in ids]


def _distinct(x: Tensor, owner: np.ndarray) -> np.ndarray:
    """The rows that are kept: all but those that stand there again for the same item."""
    several = np.flatnonzero(np.bincount(owner)[owner] > 1)
    if not len(several):
        return np.arange(len(owner))
    raw = x[torch.from_numpy(several)].contiguous().view(torch.uint8).numpy().reshape(len(several), -1)
    seen = pd.DataFrame({"item": owner[several], "row": [r.tobytes() for r in raw]})
    keep = np.ones(len(owner), dtype=bool)
    keep[several[seen.duplicated().to_numpy()]] = False
    return np.flatnonzero(keep)
