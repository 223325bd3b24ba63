"""Arrays and tables side by side: by the id where both have one, else by row order, and never without a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError
from workbench.sets.formats.source import Arrays

KEYS = (
    *("id", "ids", "uid", "key", "keys", "_id", "item_id", "image_path", "path", "paths", "file_name", "filename"),
    *("filenames", "file", "url", "index", "image_id", "sample_id"),
)  # columns that name every item, likeliest first


@dataclass
class Part:
    """What one file brings: arrays, columns of the items, and which item each row of an array is."""

    name: str
    arrays: Mapping[str, Any]
    columns: pd.DataFrame | None = None
    rows: Mapping[str, Any] = field(default_factory=dict)
    items: int | None = None

    @property
    def count(self) -> int | None:
        """How many items it has."""
        if self.columns is not None:
            return len(self.columns)
        return self.items if self.items is not None else next((len(x) for x in self.arrays.values()), None)


def joined(parts: Sequence[Part], source: str) -> Arrays:
    """One source of several parts; raises `InputError` where their rows cannot be the same items."""
    said: list[str] = []
    parts = [p for p in parts if p.count is not None]
    arrays: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    frame: pd.DataFrame | None = None
    owner, first = "", parts[0]
    for part in sorted(parts, key=lambda p: p.columns is None):  # columns first: they may hold the key
        key = None if frame is None or part.columns is None else _key(frame, part.columns)
        if key is not None:
            assert frame is not None
            place = _places(frame[key], part.columns[key], key, owner, part.name, said)  # type: ignore[index]
            frame = _with(frame, part.columns.iloc[place].reset_index(drop=True), owner, part.name)  # type: ignore
            said.append(f"{part.name} is joined to {owner} by {key}")
            taken = {k: _moved(x, part.rows.get(k), place) for k, x in part.arrays.items()}
        else:
            if part.columns is not None:
                alone = frame is None and not any(p.arrays and p.columns is None for p in parts)
                frame = part.columns.reset_index(drop=True) if frame is None else _even(frame, part, owner)
                if not alone:
                    said.append(f"{part.name} is joined by row order")
            taken = {k: (x, part.rows.get(k)) for k, x in part.arrays.items()}
            _agree(first if not owner else Part(owner, {}, frame), part)
        if part.columns is not None:
            owner = owner or part.name
        for name, (x, at) in taken.items():
            if name in arrays:
                raise InputError(f"{part.name}: a second array named {name!r}; rename one of the files")
            arrays[name] = x
            rows |= {} if at is None else {name: at}
    order = [k for p in parts for k in p.arrays]
    return Arrays({k: arrays[k] for k in order}, source, frame, rows, said)


def _key(a: pd.DataFrame, b: pd.DataFrame) -> str | None:
    both = [str(c) for c in a.columns if c in b.columns and str(c).lower() in KEYS]
    return min(both, key=lambda c: KEYS.index(c.lower()), default=None)


def _places(a: pd.Series, b: pd.Series, key: str, first: str, second: str, said: list[str]) -> np.ndarray:
    """Where each key of `a` stands in `b`."""
    mine, other = _names(a), _names(b)
    for column, name in ((a, first), (b, second)):
        if column.isna().any():
            raise InputError(f"{name}: column {key!r}, which joins it, is empty at row {int(column.isna().argmax())}")
    for column, name in ((mine, first), (other, second)):
        if column.duplicated().any():
            odd = column[column.duplicated()].iloc[0]
            raise InputError(f"{name}: column {key!r} has {odd!r} twice, so that it joins no table; ids must be unique")
    place = pd.Series(np.arange(len(other)), index=other).reindex(mine)
    if place.isna().any():
        gone = mine[place.isna().to_numpy()]
        raise InputError(
            f"{second} lacks {key} {gone.iloc[0]!r} of {first} ({len(gone):,} of {len(mine):,} are missing); "
            "give it those rows, or take the rows away"
        )
    if len(other) > len(mine):
        said.append(f"{second} has {len(other) - len(mine):,} rows more, which {first} does not name: left out")
    return place.to_numpy().astype(np.int64)


def _names(ids: pd.Series) -> pd.Series:
    """Ids as text; 1.0 is 1, as whole numbers that once had a gap are written."""
    if ids.dtype.kind == "f" and bool((ids.dropna() % 1 == 0).all()):
        return ids.astype("Int64").astype(str)
    return ids.astype(str)


def _moved(x: Any, at: Any, place: np.ndarray) -> tuple[Any, Any]:
    """Rows of an array in the order of the items that they join."""
    if at is None:
        x = np.asarray(x) if not hasattr(x, "detach") else x
        return x[place], None
    new = pd.Series(np.arange(len(place)), index=place)
    to = new.reindex(np.asarray(at)).to_numpy()
    keep = np.flatnonzero(~np.isnan(to.astype(float)))
    return np.asarray(x)[keep], to[keep].astype(np.int64)


def _even(frame: pd.DataFrame, part: Part, owner: str) -> pd.DataFrame:
    assert part.columns is not None
    if len(frame) != len(part.columns):
        raise InputError(
            f"{part.name} has {len(part.columns):,} rows but {owner} has {len(frame):,}; files side by side need one "
            "row an item, or a column id in both"
        )
    return _with(frame, part.columns.reset_index(drop=True), owner, part.name)


def _with(frame: pd.DataFrame, more: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Both tables; a column that both have must say the same."""
    for name in more.columns:
        if name not in frame:
            continue
        a, b = (_names(c).where(c.notna(), "") for c in (frame[name], more[name]))
        odd = (a.to_numpy() != b.to_numpy()).nonzero()[0]
        if len(odd):
            raise InputError(
                f"column {name!r} is in {first} and in {second}, with other values at row {int(odd[0])}; rename one"
            )
    return pd.concat([frame, more[[c for c in more if c not in frame]]], axis=1)


def _agree(first: Part, part: Part) -> None:
    if first.count != part.count and first is not part:
        raise InputError(
            f"{part.name} has {part.count:,} rows but {first.name} has {first.count:,}; files side by side need one "
            "row an item, in the same order"
        )
