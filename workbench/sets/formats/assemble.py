"""What a reader handed on, as a set: which arrays and columns are modalities, and which belong to the items."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError, first_line, listed, unknown
from workbench.progress import progress
from workbench.sets.checks import NAME, SPLITS
from workbench.sets.columns import as_json, settled, text
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import columnar as tables
from workbench.sets.formats import wide
from workbench.sets.formats.guess import SHORT, says_bits, short_names, told, verdicts
from workbench.sets.formats.ids import of_items, told_apart
from workbench.sets.formats.keys import crossed
from workbench.sets.formats.long import split_up
from workbench.sets.formats.plain import table_of, to_frame
from workbench.sets.formats.shards import SPLIT_NAMES, split_in
from workbench.sets.formats.source import Arrays, Table
from workbench.sets.formats.tidy import tidy
from workbench.sets.formats.uneven import evened
from workbench.sets.grouping import composed

PLAINLY = re.compile(r"float\d+, \d+ numbers a row")  # vectors of which there is nothing to say


@dataclass(frozen=True)
class Reading:
    """What in a source is what: modality → column, the columns of ids and labels. Empty: as found, or guessed.

    `captions`: modalities whose lists of vectors are several captions an item, not layers; `bits`: columns of bytes
    that hold eight dimensions each; `split_map`: a name of a split → train, validation or test; `item`: the column that
    says which item a row belongs to, where several do.
    """

    modalities: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    label: str = ""
    drop_missing: bool = False  # rows that are NaN, infinite or zero: the modality is then missing for their items
    captions: tuple[str, ...] = ()
    bits: tuple[str, ...] = ()
    split_map: Mapping[str, str] = field(default_factory=dict)
    item: str = ""


def of_arrays(found: Arrays, reading: Reading, *, short: bool = False) -> EmbeddingSet:
    """Two or three axes: a modality, unless it is plainly none; one axis: a column of the items."""
    real, stood_for = wide.dequantised(found.arrays, found.source)
    found = replace(found, arrays=real)
    named = wide.by_key(found.arrays)
    arrays, keys = named.arrays, named.ids
    if keys and named.rows:
        found = replace(found, arrays=arrays, rows=named.rows)
    if not keys:
        found = evened(found)
        arrays = found.arrays
    if found.lacking and not reading.drop_missing:
        raise InputError(found.lacking)
    frame = found.columns
    if keys:
        found.said.append(f"{len(keys):,} names with a vector each: the names are the ids")
        if frame is None:
            frame = pd.DataFrame({"id": keys})
    many = {k: x for k, x in arrays.items() if x.ndim > 1}
    columns = {k: np.asarray(x) for k, x in arrays.items() if x.ndim == 1}
    in_text = _in_text(frame, columns, found) if not many else None
    if in_text is not None:
        es = of_table(in_text, reading, short=short)
        found.said.extend(in_text.said)
        return es
    if not many:
        shapes = listed((f"{k} {tuple(x.shape)}" for k, x in arrays.items()), 6) or "nothing"
        raise InputError(f"{found.source}: no array of vectors (rows, d); it holds {shapes}")
    judged = verdicts([wide.column(k, x) for k, x in many.items()])
    chosen = [k for k, v in judged.items() if v.take or (k in stood_for and many[k].shape[-1] >= SHORT)]
    if not chosen:  # what speaks for it is nothing, and there is nothing else: checked, and refused, as such
        chosen = list(many)
    wanted = _wanted(reading, chosen, list(many), found.source, short)
    rest = {k: x for k, x in many.items() if k not in wanted.values()}
    vectors: dict[str, Any] = {}
    rows = {m: np.asarray(found.rows[c]) for m, c in wanted.items() if c in found.rows}
    for m, c in wanted.items():
        x, was = wide.widened(many[c], c, found.source, c in reading.bits or says_bits(c))
        was = stood_for.get(c, was)
        if x.ndim == 3 and {m, c} & set(reading.captions):
            rows[m] = np.repeat(rows.get(m, np.arange(len(x))), x.shape[1])
            was += f", {x.shape[1]} captions an item"
            x = x.reshape(-1, x.shape[-1])
        found.said += _said(m, c, was, x.shape[1] if x.ndim == 3 else 0, every=short)
        vectors[m] = x
    _no_captions(reading, wanted, found.source)
    count = _count(frame, columns, vectors, rows, found.source)
    for k, x in rest.items():
        fits = x.ndim == 2 and (len(x) == count or k in found.rows)
        found.said.append(told(k, judged[k]) if fits else f"{k} is left out: {judged[k].why or 'not asked for'}")
        if fits:
            at = np.asarray(found.rows[k]) if k in found.rows else np.arange(count)
            cells = np.full(count, None, dtype=object)
            cells[at] = [as_json(row) for row in np.asarray(x)]
            columns[k] = cells
    if columns:
        frame = _joined(frame, columns, found.source)
    frame = None if frame is None else settled(frame)
    if frame is not None:
        frame = _uncrossed(frame, vectors, rows, found)
    if reading.drop_missing:
        vectors, rows = usable(vectors, rows)
    frame = labelled(frame, reading, found.source)
    return of_items(vectors, frame, rows, reading.item, found.source)


def _uncrossed(frame: pd.DataFrame, vectors: dict[str, Any], rows: Mapping[str, Any], found: Arrays) -> pd.DataFrame:
    """Rows of a modality in the order of another's, where the ids of both stand beside them in two orders."""
    if (pair := crossed(frame, vectors)) is None:
        return frame
    a, first, b, second = pair
    place = pd.Series(np.arange(len(frame)), index=text(frame[second])).reindex(text(frame[first]))
    if place.isna().any() or b in rows:
        raise _crossed(found.source, first, second)
    vectors[b] = vectors[b][place.to_numpy().astype(np.int64)]
    found.said.append(f"rows of {b} are put in the order of {a}, by {first} = {second}")
    return frame.assign(**{second: frame[first]})


def _crossed(source: str, first: str, second: str) -> InputError:
    return InputError(
        f"{source}: {first} and {second} hold the same values in another order, so that a row is no pair; give the two "
        "as tables of their own, which are joined by them, or rename the one that is no id of these items"
    )


def _in_text(frame: Any, columns: Mapping[str, Any], found: Arrays) -> Table | None:
    """Columns as a table, where they are of one length and some hold vectors as text."""
    every = {**({} if frame is None else {str(c): frame[c].tolist() for c in frame}), **columns}
    values = {name: x.tolist() if hasattr(x, "tolist") else x for name, x in every.items()}
    if not values or len({len(v) for v in values.values()}) > 1:
        return None
    table = table_of(values, found.source)
    return table if tidy(table, alone=False).vectors else None


def _count(frame: Any, columns: Any, vectors: Any, rows: Any, source: str) -> int:
    """How many items there are, where frame and columns agree."""
    counts = {f"column {k!r}": len(x) for k, x in columns.items()}
    counts |= {} if frame is None else {"the table of columns": len(frame)}
    counts |= {f"modality {m!r}": len(x) for m, x in vectors.items() if m not in rows} if counts else {}
    first = next(iter(counts), "")
    for name, n in counts.items():
        if n != counts[first]:
            raise InputError(
                f"{source}: {name} has {n} rows but {first} has {counts[first]}; columns and modalities need one "
                "row an item, in the same order"
            )
    if counts:
        return counts[first]
    owners = [int(np.max(r)) + 1 for r in rows.values() if len(r)]
    return next((len(x) for m, x in vectors.items() if m not in rows), max(owners, default=0))


def _joined(frame: Any, columns: Mapping[str, Any], source: str) -> pd.DataFrame:
    if frame is None:
        return pd.DataFrame(dict(columns))
    for name, x in columns.items():
        if name in frame and frame[name].astype(str).tolist() != pd.Series(x).astype(str).tolist():
            raise InputError(f"{source}: column {name!r} is there twice, with other values; rename one")
    return frame.reset_index(drop=True).assign(**columns)


def _wanted(reading: Reading, chosen: list[str], every: list[str], source: str, short: bool) -> dict[str, str]:
    """Modality → name in the source."""
    for column in reading.modalities.values():
        if column not in every:
            raise InputError(f"{source}: no vectors named {column!r}; there are {listed(every)}")
    return dict(reading.modalities) or (short_names(chosen) if short else {k: k for k in chosen})


def _said(m: str, column: str, was: str, layers: int, *, every: bool) -> list[str]:
    """What a modality is and was; unless `every` one is asked for, only where something was assumed."""
    if not every and m == column and not layers and PLAINLY.fullmatch(was):
        return []
    line = f"{column} is the modality {m}: {was}"
    if layers:
        line += f"; {layers} vectors a row, read as layers: --captions {m} reads them as captions"
    return [line]


def _no_captions(reading: Reading, wanted: Mapping[str, str], source: str) -> None:
    for name in reading.captions:
        if name not in wanted and name not in wanted.values():
            raise unknown(f"modality of {source} for captions", name, wanted)


def labelled(frame: pd.DataFrame | None, reading: Reading, source: str) -> pd.DataFrame | None:
    """The items with `id`, `label` and `split` where and as the reading says they are."""
    for target, column in (("id", reading.id), ("label", reading.label)):
        if not column or (frame is not None and column == target in frame):
            continue
        parts = [column] if frame is not None and column in frame else column.split(",")
        lacking = [c for c in parts if frame is None or c not in frame]
        if frame is None or lacking:
            there = [] if frame is None else frame.columns
            raise unknown(f"column of {source} for {target}", lacking[0], there)
        if len(parts) == 1:
            frame = frame.assign(**{target: frame[column].to_numpy()})
        else:
            frame = frame.assign(**{target: composed(frame, column)})
    if frame is None or "split" not in frame:
        return frame
    names = {v: str(v).strip() for v in frame["split"].dropna().unique()}
    known = {**SPLIT_NAMES, **reading.split_map}
    for value, name in names.items():
        told_by = known.get(name, known.get(name.lower(), ""))
        if not told_by and (part := split_in(name)) is not None:
            told_by = SPLIT_NAMES[part[0].lower()]  # test_unseen
        names[value] = told_by or name
        if names[value] not in SPLITS:
            raise InputError(
                f"{source}: {name!r} is no split that is known; say which one it is: --split-map {name}=train "
                f"(or {', '.join(SPLITS[1:])})"
            )
    return frame.assign(split=[names.get(v) if v == v else None for v in frame["split"]])


class _Rows:
    """The rows of one modality as they come: in memory, or in a file where there may be more than fit."""

    def __init__(self, name: str, source: str, scratch: Path | None, captions: bool) -> None:
        self.name, self.source, self.count, self.captions = name, source, 0, captions
        self.file = None if scratch is None else (scratch / f"{name}.raw").open("wb")
        self.blocks: list[np.ndarray] = []
        self.items: list[np.ndarray] = []  # the items that have rows, and how many each has
        self.counts: list[np.ndarray] = []
        self.width, self.dtype, self.nested = 0, np.dtype(np.float32), False

    def add(self, x: np.ndarray, counts: np.ndarray, start: int, nested: bool) -> None:
        there = np.flatnonzero(counts > 0)
        if not len(x):
            return
        if self.count and (x.shape[1] != self.width or x.dtype != self.dtype):
            raise InputError(
                f"{self.source}: column {self.name!r} has {x.shape[1]} numbers ({x.dtype}) at row "
                f"{start + int(there[0])} but {self.width} ({self.dtype}) before; "
                "all vectors of a modality need one length"
            )
        self.width, self.dtype, self.nested = x.shape[1], x.dtype, nested
        self.count += len(x)
        self.items.append(start + there)
        self.counts.append(counts[there])
        if self.file is None:
            self.blocks.append(x)
        else:
            self.file.write(np.ascontiguousarray(x).data)

    def whole(self) -> tuple[Any, np.ndarray, int]:
        """The vectors, the item of each row, and how many layers each row has (0: none)."""
        self.close()
        items, counts = np.concatenate(self.items), np.concatenate(self.counts)
        shape: tuple[int, ...] = (self.count, self.width)
        even = self.nested and not self.captions and bool((counts == counts[0]).all())
        if even:
            shape = (len(items), int(counts[0]), self.width)
        else:
            items = np.repeat(items, counts)
        if self.file is None:
            return np.concatenate(self.blocks).reshape(shape), items, shape[1] if even else 0
        x = np.memmap(self.file.name, dtype=self.dtype, mode="r+", shape=shape)
        return x, items, shape[1] if even else 0

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


def of_table(
    table: Table, reading: Reading, scratch: Path | None = None, *, short: bool = False, **how: bool
) -> EmbeddingSet:
    """Columns of vectors are modalities, the others columns of the items; raises `InputError` for damage."""
    try:
        return gathered(table, reading, scratch, short=short, **how)
    except InputError:
        raise
    except (ValueError, OverflowError, ArithmeticError, NotImplementedError, OSError) as e:
        # such as text that is not UTF-8: what a damaged table holds shows only when it is looked at
        raise InputError(f"{table.source}: damaged, or of a kind that is not read ({first_line(e)})") from e


def gathered(table: Table, reading: Reading, scratch: Path | None, *, short: bool, **how: bool) -> EmbeddingSet:
    """The same, batch by batch, through files in `scratch` where there may be more than fits."""

    seen = tidy(table, tuple(reading.modalities.values()), reading.bits, **how)
    wanted = _wanted(reading, list(seen.vectors), list(seen.vectors), table.source, short)
    _no_captions(reading, wanted, table.source)
    for m in wanted:
        if not NAME.fullmatch(m):
            raise InputError(f"{table.source}: {m!r} is no modality name; use letters, digits, '_', '-' and '.'")
    rest = [n for n in seen.table.schema.names if n not in seen.vectors]
    into = {m: _Rows(m, table.source, scratch, bool({m, c} & set(reading.captions))) for m, c in wanted.items()}
    plain, start = [], 0
    try:
        for batch in progress(seen.table.batches(), f"read {Path(table.source).name}", _batches(table)):
            for m, c in wanted.items():
                column = batch.column(c)
                if nested := tables.is_list(column.type.value_type):
                    x, counts = tables.several(column, c, table.source, start)
                else:
                    x, present = tables.vectors(column, c, table.source, start)
                    counts = present.astype(np.int64)
                into[m].add(x, counts, start, nested)
            plain.append(batch.select(rest))
            start += batch.num_rows
    finally:
        for rows_of in into.values():
            rows_of.close()
    items = to_frame(stacked(plain)) if plain and rest else pd.DataFrame(index=range(start))
    vectors, rows = {}, {}
    for m, rows_of in into.items():
        if not rows_of.count:
            continue
        vectors[m], owner, layers = rows_of.whole()
        if not np.array_equal(owner, np.arange(start)):
            rows[m] = owner
        was = seen.vectors[wanted[m]]
        if rows_of.nested and not layers:
            was += f", {len(owner) / max(len(np.unique(owner)), 1):.3g} rows an item on average: captions"
        table.said += _said(m, wanted[m], was, layers, every=short)
    table.said.extend(seen.said)
    if not vectors:
        raise InputError(f"{table.source}: {listed(seen.vectors)} hold no vector at all")
    if reading.drop_missing:
        vectors, rows = usable(vectors, rows)
    item = reading.item
    if (long := split_up(vectors, rows, items, item, table.source)) is not None:
        vectors, rows, items, item = long.vectors, long.rows, long.frame, long.item
        table.said.append(long.said)
    if not item and (apart := crossed(items, vectors)) is not None:
        raise _crossed(table.source, apart[1], apart[3])
    frame = labelled(items, reading, table.source)
    if frame is not None and not item:
        frame = told_apart(frame, table.files, table.called, table.said)
    return of_items(vectors, frame, rows, item, table.source)


def stacked(batches: list[Any]) -> Any:
    """Batches as one table; a column that holds nothing in some batches has the type of the others."""
    import pyarrow as pa

    return pa.concat_tables([pa.Table.from_batches([b]) for b in batches], promote_options="permissive")


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
