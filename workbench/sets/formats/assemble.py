"""What a reader handed on, as a set: which arrays and columns are modalities, and which belong to the items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError, first_line, unknown
from workbench.progress import progress
from workbench.sets.checks import NAME
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import columnar as tables
from workbench.sets.formats.source import Arrays, Table


@dataclass(frozen=True)
class Reading:
    """What in a source is what: modality → column, the columns of ids and labels. Empty: as found, or guessed."""

    modalities: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    label: str = ""
    drop_missing: bool = False  # rows that are NaN, infinite or zero: the modality is then missing for their items


def of_arrays(found: Arrays, reading: Reading) -> EmbeddingSet:
    """Two or three axes: a modality; one axis: a column of the items."""
    vectors = {k: x for k, x in found.arrays.items() if x.ndim > 1}
    columns = {k: np.asarray(x) for k, x in found.arrays.items() if x.ndim == 1}
    if not vectors:
        shapes = ", ".join(f"{k} {tuple(x.shape)}" for k, x in found.arrays.items()) or "nothing"
        raise InputError(f"{found.source}: no array of vectors (rows, d); it holds {shapes}")
    vectors, names = pick(vectors, reading, found.source)
    frame = found.columns
    if columns:
        counts = {k: len(x) for k, x in columns.items()}
        count = next(iter(counts.values()))
        for name, n in counts.items():
            if n != count:
                raise InputError(
                    f"{found.source}: column {name!r} has {n} entries but {next(iter(counts))!r} has {count}; "
                    "columns and modalities need one entry an item"
                )
        frame = pd.DataFrame(columns) if frame is None else frame.assign(**columns)
    rows = {names[k]: np.asarray(r) for k, r in found.rows.items() if k in names}
    if reading.drop_missing:
        vectors, rows = usable(vectors, rows)
    return EmbeddingSet(vectors, labelled(frame, reading, found.source), rows=rows, source=found.source)


def pick(found: Mapping[str, Any], reading: Reading, source: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Vectors under the names of their modalities, and the modality of each name in the source."""
    for column in reading.modalities.values():
        if column not in found:
            raise InputError(f"{source}: no vectors named {column!r}; there are {', '.join(found)}")
    wanted = reading.modalities or {k: k for k in found}
    return {m: found[c] for m, c in wanted.items()}, {c: m for m, c in wanted.items()}


def labelled(frame: pd.DataFrame | None, reading: Reading, source: str) -> pd.DataFrame | None:
    """The items with `id` and `label` where the reading says they are."""
    for target, column in (("id", reading.id), ("label", reading.label)):
        if column and (frame is None or column not in frame):
            raise unknown(f"column of {source} for {target}", column, [] if frame is None else frame.columns)
        if column and column != target:
            assert frame is not None
            frame = frame.assign(**{target: frame[column].to_numpy()})
    return frame


class _Rows:
    """The rows of one modality as they come: in memory, or in a file where there may be more than fit."""

    def __init__(self, name: str, source: str, scratch: Path | None) -> None:
        self.name, self.source, self.count = name, source, 0
        self.file = None if scratch is None else (scratch / f"{name}.raw").open("wb")
        self.blocks: list[np.ndarray] = []
        self.items: list[np.ndarray] = []
        self.shape: tuple[int, ...] = ()
        self.dtype: np.dtype | None = None

    def add(self, x: np.ndarray, items: np.ndarray) -> None:
        if not len(x):
            return
        if self.dtype is not None and (x.shape[1:] != self.shape or x.dtype != self.dtype):
            raise InputError(
                f"{self.source}: column {self.name!r} has {'×'.join(map(str, x.shape[1:]))} numbers ({x.dtype}) at row "
                f"{int(items[0])} but {'×'.join(map(str, self.shape))} ({self.dtype}) before; "
                "all vectors of a modality need one length"
            )
        self.shape, self.dtype = x.shape[1:], x.dtype
        self.count += len(x)
        self.items.append(items)
        if self.file is None:
            self.blocks.append(x)
        else:
            self.file.write(np.ascontiguousarray(x).data)

    def whole(self) -> np.ndarray:
        if self.file is None:
            return np.concatenate(self.blocks)
        self.close()
        assert self.dtype is not None
        return np.memmap(self.file.name, dtype=self.dtype, mode="r+", shape=(self.count, *self.shape))

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


def of_table(table: Table, reading: Reading, scratch: Path | None = None) -> EmbeddingSet:
    """Columns of lists of numbers are modalities, the others columns of the items; raises `InputError` for damage."""
    try:
        return gathered(table, reading, scratch)
    except InputError:
        raise
    except (ValueError, OverflowError, ArithmeticError, NotImplementedError, OSError) as e:
        # such as text that is not UTF-8: what a damaged table holds shows only when it is looked at
        raise InputError(f"{table.source}: damaged, or of a kind that is not read ({first_line(e)})") from e


def gathered(table: Table, reading: Reading, scratch: Path | None) -> EmbeddingSet:
    """The same, batch by batch, through files in `scratch` where there may be more than fits."""
    import pyarrow as pa

    listed = {f.name: f.type for f in table.schema if tables.is_vector(f.type)}
    whole = [f.name for f in table.schema if pa.types.is_list(f.type) and pa.types.is_integer(f.type.value_type)]
    wanted = [c for c in reading.modalities.values() if c not in listed]
    for name in wanted or (whole if not listed else []):
        if name in whole:
            raise InputError(
                f"{table.source}: column {name!r} holds lists of whole numbers; vectors must be floating point"
            )
    if not listed:
        raise InputError(f"{table.source}: no column holds lists of numbers; columns: {', '.join(table.schema.names)}")
    chosen, _ = pick(listed, reading, table.source)
    columns_of = reading.modalities or {k: k for k in listed}
    for m in chosen:
        if not NAME.fullmatch(m):
            raise InputError(f"{table.source}: {m!r} is no modality name; use letters, digits, '_', '-' and '.'")
    rest = [n for n in table.schema.names if n not in listed]
    gathered = {m: _Rows(m, table.source, scratch) for m in chosen}
    plain, start = [], 0
    try:
        for batch in progress(table.batches(), f"read {Path(table.source).name}", _batches(table)):
            for m, into in gathered.items():
                x, present = tables.vectors(batch.column(columns_of[m]), columns_of[m], table.source, start)
                into.add(x, start + np.flatnonzero(present))
            plain.append(batch.select(rest))
            start += batch.num_rows
    finally:
        for into in gathered.values():
            into.close()
    items = pa.Table.from_batches(plain).to_pandas() if plain and rest else pd.DataFrame(index=range(start))
    vectors, rows = {}, {}
    for m, into in gathered.items():
        if into.count:
            vectors[m] = into.whole()
            if into.count != start:
                rows[m] = np.concatenate(into.items)
    if not vectors:
        raise InputError(f"{table.source}: {', '.join(listed)} hold no vector at all")
    if reading.drop_missing:
        vectors, rows = usable(vectors, rows)
    return EmbeddingSet(vectors, labelled(items, reading, table.source), rows=rows, source=table.source)


def usable(
    vectors: Mapping[str, Any], rows: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The rows that have a direction, and the item of each: without those that are NaN, infinite or zero."""
    kept: dict[str, np.ndarray] = {}
    owners: dict[str, np.ndarray] = {}
    for m, x in vectors.items():
        flat = np.asarray(x).reshape(len(x), -1)
        good = np.isfinite(flat).all(1) & (flat != 0).any(1)
        kept[m], owner = np.asarray(x)[good], rows.get(m, np.arange(len(x)))
        owners |= {m: owner[good]} if m in rows or not good.all() else {}
    return kept, owners


def _batches(table: Table) -> int | None:
    return None if table.count is None else -(-table.count // tables.BATCH)
