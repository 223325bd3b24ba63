"""Ids of files that follow each other as one table: what counts from nought in each, and what is in two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from workbench.errors import InputError
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.grouping import by_item, grouped


def told_apart(frame: pd.DataFrame, files: Sequence[tuple[str, int]], said: list[str]) -> pd.DataFrame:
    """Rows of several files whose ids are the numbers of their rows have the name of the file before them.

    `files`: the name and the count of rows of each, in turn. Raises `InputError` where any other id is in two of them.
    """
    if len(files) < 2 or "id" not in frame or columns.missing(frame["id"]).any():
        return frame
    ids = columns.text(frame["id"])
    if not (again := pd.Series(ids).duplicated().to_numpy()).any():
        return frame
    of = np.repeat(np.arange(len(files)), [n for _, n in files])
    numbers = np.concatenate([np.arange(n) for _, n in files]).astype(str).astype(object)
    ones = np.concatenate([np.arange(1, n + 1) for _, n in files]).astype(str).astype(object)
    if (ids == numbers).all() or (ids == ones).all():
        stems = [name.rpartition(".")[0] or name for name, _ in files]
        said.append(f"ids are the numbers of the rows in each file: the first is called {stems[0]}/{ids[0]}")
        return frame.assign(id=[f"{stems[k]}/{i}" for k, i in zip(of, ids, strict=True)])
    row = int(again.argmax())
    first = int((ids == ids[row]).argmax())
    if of[row] == of[first]:
        return frame
    raise InputError(
        f"id {ids[row]!r} is in {files[of[first]][0]} and in {files[of[row]][0]} ({int(again.sum()):,} such): take the "
        "item out of one, if it is the same (between splits a leak), give --item id, if rows share items, or make ids "
        "differ"
    )


def of_items(
    vectors: Mapping[str, object], frame: pd.DataFrame | None, rows: Mapping[str, np.ndarray], item: str, source: str
) -> EmbeddingSet:
    """A set; where `item` names a column, and be it `id`, rows that say the same there are rows of one item."""
    if not item or frame is None or item not in frame:
        es = EmbeddingSet(vectors, frame, rows=rows, source=source)
        return by_item(es, item) if item else es
    es = EmbeddingSet(vectors, frame.drop(columns="id", errors="ignore"), rows=rows, source=source)
    return grouped(es, frame[item].reset_index(drop=True), item)
