"""Columns of the items as people fill them: what is missing, what is a whole number, and which class a value is.

Every place that reads a column for its values comes through here, so that a missing value is never a class, never an
index and never the text "nan".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError

NESTED = (list, tuple, Mapping, set, frozenset, np.ndarray)


def settled(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of which every column is `cleaned`."""
    return frame.assign(**{str(name): cleaned(frame[name]) for name in frame})


def cleaned(column: pd.Series) -> pd.Series:
    """A column with one kind of values: empty text is missing, whole numbers stay whole whatever is missing.

    Values of several kinds become text, nested ones JSON, so that a set can always be written.
    """
    if column.dtype != object:
        if column.dtype == np.float16:
            return column.astype(np.float32)  # pandas cannot tell its values apart
        if not isinstance(column.dtype, pd.StringDtype):
            return column
        empty = column.str.strip() == ""
        return column.mask(empty) if bool(empty.any()) else column
    values = column.tolist()
    gone = missing(column).tolist()
    known = [v for v, g in zip(values, gone, strict=True) if not g]
    kinds = {type(v) for v in known}
    if kinds <= {str} or kinds <= {bytes}:
        if kinds and any(gone):
            filled = [None if g else v for v, g in zip(values, gone, strict=True)]
            return pd.Series(filled, index=column.index, dtype=column.dtype)
        return column
    if all(issubclass(k, bool | np.bool_) for k in kinds):
        return _typed(values, gone, column, "boolean" if any(gone) else "bool")
    truth = any(issubclass(k, bool | np.bool_) for k in kinds)  # among other values true is no 1
    if not truth and all(issubclass(k, int | np.integer) for k in kinds):
        low, high = min(known), max(known)
        kind = "Int64" if low >= -(2**63) and high < 2**63 else "UInt64" if low >= 0 and high < 2**64 else ""
        if kind:
            return _typed(values, gone, column, kind if any(gone) else kind.lower())
    elif not truth and all(issubclass(k, int | np.integer | float | np.floating) for k in kinds):
        numbers = [np.nan if g else float(v) for v, g in zip(values, gone, strict=True)]
        return pd.Series(numbers, index=column.index)
    elif len(kinds) == 1 and not issubclass(next(iter(kinds)), NESTED):
        return column  # dates, decimals and their like
    shown = [None if g else as_text(v) for v, g in zip(values, gone, strict=True)]
    return pd.Series(shown, index=column.index)


def _typed(values: Sequence[Any], gone: Sequence[bool], column: pd.Series, kind: str) -> pd.Series:
    filled = [pd.NA if g else v for v, g in zip(values, gone, strict=True)]
    return pd.Series(pd.array(filled, dtype=kind), column.index)


def missing(column: pd.Series) -> np.ndarray:
    """Where a column says nothing, (N,) bool: None, NaN, NaT, NA, empty text.

    >>> missing(pd.Series(["cat", None, "", " ", "0"])).tolist()
    [False, True, True, True, False]
    """
    gone = column.isna().to_numpy(dtype=bool).copy()
    if column.dtype == object or pd.api.types.is_string_dtype(column.dtype):
        gone |= np.array([isinstance(v, str) and not v.strip() for v in column.tolist()], dtype=bool)
    return gone


def text(column: pd.Series, absent: str = "") -> np.ndarray:
    """The values of a column in words, (N,); `absent` where it says nothing, and no ".0" behind a whole number.

    >>> text(pd.Series([3.0, np.nan, 4.0]), "?").tolist()
    ['3', '?', '4']
    """
    gone = missing(column)
    whole = False
    if column.dtype.kind == "f":
        there = column[~gone].to_numpy(dtype=float)
        whole = bool(np.all(np.isfinite(there)) and np.all(there == np.round(there)))
    words = [absent if g else _word(int(v) if whole else v) for v, g in zip(column.tolist(), gone, strict=True)]
    return np.array(words, dtype=object)


def _word(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return as_json(value) if isinstance(value, NESTED) else str(value)


def as_text(value: Any) -> str:
    """A value that stands among values of other kinds, in words; truth and what is nested as JSON has them."""
    return as_json(bool(value)) if isinstance(value, bool | np.bool_) else _word(value)


def as_json(value: Any) -> str:
    """A value as a line of JSON; of bytes only how many there are."""
    return json.dumps(_bare(value), ensure_ascii=False, default=str)


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _bare(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _bare(value.tolist())
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return [_bare(v) for v in value] if isinstance(value, list | tuple | set | frozenset) else value


def holds_bytes(column: pd.Series) -> bool:
    """Whether a column holds pictures or other raw bytes, whichever of its rows are empty."""
    return column.dtype == object and any(isinstance(v, bytes) for v in column)


def members(column: pd.Series) -> dict[Any, np.ndarray]:
    """Where each value of a column stands, in the order of the values; nowhere what is missing."""
    found = pd.Series(codes(column)[0])
    places = found[found >= 0].groupby(found).indices
    at = np.flatnonzero(found >= 0)
    return {column.iloc[at[places[k]][0]]: at[places[k]] for k in sorted(places)}


def codes(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """The class of each value, (N,), −1 where it is missing, and the names of the classes in order.

    Raises `InputError` where a value is a list or a map, which is no class.

    >>> found, names = codes(pd.Series(["dog", None, "cat", ""]))
    >>> found.tolist(), names
    ([1, -1, 0, -1], ['cat', 'dog'])
    """
    gone = missing(column)
    nested = next((v for v in column if isinstance(v, NESTED)), None) if column.dtype == object else None
    if nested is not None:
        raise InputError(
            f"column {column.name!r} holds {type(nested).__name__}s; a class is one value: make a column with one"
        )
    found = np.full(len(column), -1, dtype=np.int64)
    try:
        inner, names = pd.factorize(column[~gone], sort=True)
    except TypeError:  # values that have no order among each other
        inner, names = pd.factorize(pd.Series(text(column)[~gone]), sort=True)
    found[~gone] = inner
    words = text(pd.Series(names, dtype=column.dtype if column.dtype != object else None))
    return found, [str(w) for w in words]


def groups(column: pd.Series) -> np.ndarray:
    """A code for what an item belongs to, (N,): an item of which nothing is said stands for itself alone.

    >>> groups(pd.Series(["a", None, "a", None])).tolist()
    [0, 1, 0, 2]
    """
    gone = missing(column)
    found = pd.factorize(column.where(~gone))[0].astype(np.int64)
    found[gone] = len(column) + np.arange(int(gone.sum()))
    return pd.factorize(found)[0].astype(np.int64)
