"""Ids of files that follow each other as one table: what counts from nought in each, and what is in two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from workbench.errors import InputError
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats.guess import words
from workbench.sets.formats.keys import MOST, called_key
from workbench.sets.grouping import by_item, composed, grouped

FILES = {"path", "filepath", "file", "filename", "url", "uri"}
COUNTERS = ("idx", "index", "no", "number")  # names of what a loader counts its samples by, which are no keys of joins


def told_apart(
    frame: pd.DataFrame, files: Sequence[tuple[str, int]], called: Sequence[str], said: list[str]
) -> pd.DataFrame:
    """Rows of several files whose ids count them in each have the split, or the name, of the file before them.

    Raises `InputError` where any other id is in two of them.
    """
    if len(files) < 2 or "id" not in frame or columns.missing(frame["id"]).any():
        return frame
    ids = columns.text(frame["id"])
    if not (again := pd.Series(ids).duplicated().to_numpy()).any():
        return frame
    of = np.repeat(np.arange(len(files)), [n for _, n in files])
    if any(all(_counts(ids[of == k], first) for k in range(len(files))) for first in (0, 1)):
        stems = list(called) or [name.rpartition(".")[0] or name for name, _ in files]
        said.append(f"ids count the rows of each file: the first is called {stems[0]}/{ids[0]}")
        return frame.assign(id=[f"{stems[k]}/{i}" for k, i in zip(of, ids, strict=True)])
    row = int(again.argmax())
    first = int((ids == ids[row]).argmax())
    if of[row] == of[first]:
        return frame
    raise InputError(
        f"id {ids[row]!r} is in {files[of[first]][0]} and in {files[of[row]][0]} ({int(again.sum()):,} such): take the "
        + (
            "item out of one, if it is the same (a leak), or tell them apart: --id split,id"
            if "split" in frame
            else "item out of one, if it is the same, give --item id, if rows share items, or make ids differ"
        )
    )


def repeated(es: EmbeddingSet) -> list[str]:
    """Lines about columns such as image_id whose equal values have equal rows of a modality: rows of one item."""
    said = []
    for c in es.items:
        known = words(str(c))
        named = called_key(str(c)) or (known[-1:] or [""])[0] in COUNTERS or bool(FILES & {*known})
        if c == "id" or not named or columns.missing(es.items[c]).any() or es.items[c].is_unique:
            continue
        by = f"split,{c}" if "split" in es.items and (es.items.groupby(c)["split"].nunique() > 1).any() else str(c)
        code, names = pd.factorize(columns.text(composed(es.items, by)))
        first = torch.from_numpy(pd.Series(code).drop_duplicates().index.to_numpy().copy())[torch.from_numpy(code)]
        same = [m for m in es.modalities if es.aligned(m) and torch.equal(es[m], es[m][first])]
        mend = f"--item {by} makes {len(names):,} items of {len(es):,} rows"
        if len(same) == len(es.modalities):
            said.append(f"{len(es) - len(names):,} rows are there again, in every modality, where {c} is: {mend}")
        elif len(names) <= MOST * len(es):
            said += [f"{m} is the same wherever {c} is: {mend}" for m in same]
    return said


def _counts(ids: np.ndarray, first: int) -> bool:
    """Whether ids are the whole numbers from the first on, in any order."""
    return set(ids) == {str(first + k) for k in range(len(ids))}


def of_items(
    vectors: Mapping[str, object], frame: pd.DataFrame | None, rows: Mapping[str, np.ndarray], item: str, source: str
) -> EmbeddingSet:
    """A set; where `item` names a column, and be it `id`, rows that say the same there are rows of one item."""
    if not item or frame is None or any(c not in frame for c in item.split(",")):
        es = EmbeddingSet(vectors, frame, rows=rows, source=source)
        return by_item(es, item) if item else es
    es = EmbeddingSet(vectors, frame.drop(columns="id", errors="ignore"), rows=rows, source=source)
    return grouped(es, composed(frame, item).reset_index(drop=True), item)
