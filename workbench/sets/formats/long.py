"""Long tables: a row a modality, one column of vectors, and a column that says of which modality each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError
from workbench.sets import columns
from workbench.sets.formats.guess import KINDS
from workbench.sets.formats.keys import MOST, called_key, names_in

FEW = 6  # modalities that one column may tell apart
MODALITIES = ("modality", "modalities")


@dataclass(frozen=True)
class Long:
    """A long table by modality: vectors, the row of the table of each, and the column that names its item."""

    vectors: dict[str, Any]
    rows: dict[str, np.ndarray]
    frame: pd.DataFrame
    item: str
    said: str


def split_up(
    vectors: Mapping[str, Any], rows: Mapping[str, np.ndarray], frame: pd.DataFrame, item: str, source: str
) -> Long | None:
    """Vectors and rows by modality; nothing where a table is no long one. `rows`: of the table, where some have none.

    Raises `InputError` where rows are told apart by modality, and no column says which of them belong together.
    """
    column = _telling(frame) if len(vectors) == 1 else ""
    if not column:
        return None
    of = columns.text(frame[column])
    item = item or _item(frame, of, column)
    names = list(dict.fromkeys(of))
    if not item:
        raise InputError(
            f"{source}: column {column!r} says that rows are of {' and '.join(names)}, but no column names the rows of "
            "one of them once and is in the other; say which rows are one item: --item COL"
        )
    ((m, x),) = vectors.items()
    owner = np.asarray(rows.get(m, np.arange(len(x))))
    at = {str(n): np.flatnonzero(of[owner] == n) for n in names}
    at = {n: k for n, k in at.items() if len(k)}
    counts = ", ".join(f"{n} {len(k):,}" for n, k in at.items())
    said = f"{column} says the modality of each row, {item} its item: {counts}"
    own = {n: owner[k] for n, k in at.items()}
    return Long({n: x[k] for n, k in at.items()}, own, frame.drop(columns=column), item, said)


def _telling(frame: pd.DataFrame) -> str:
    """The column whose every value is the name of a modality."""
    for c in frame:
        if frame[c].dtype.kind in "fciub" or columns.missing(frame[c]).any():
            continue
        seen = {str(v).lower() for v in pd.unique(frame[c])}
        if 2 <= len(seen) <= FEW and (seen <= KINDS or str(c).lower() in MODALITIES):
            return str(c)
    return ""


def _item(frame: pd.DataFrame, of: np.ndarray, column: str) -> str:
    """The column by which rows of modalities belong together: it names the rows of one of them once."""
    found = []
    for n in names_in(frame.drop(columns=column)):
        values = pd.Series(n.values)
        each = [values[of == m] for m in dict.fromkeys(of)]
        first = next((v for v in each if v.is_unique and (v != "").all()), None)
        if first is None:
            continue
        common = min(len(set(v) & set(first)) / min(v.nunique(), len(first)) for v in each)
        if common >= MOST:
            found.append((not called_key(n.column), -common, n.column))
    return min(found)[2] if found else ""
