"""Apply a shipped treatment to files: Parquet and .npy a part at a time, whatever else is read whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from workbench.disk import whole_file
from workbench.errors import InputError, first_line, listed, unknown
from workbench.progress import progress
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import load
from workbench.sets.formats.columnar import is_list, vectors
from workbench.treatments.base import rows
from workbench.treatments.portable import NoDirectionError, Treatment

ROWS = 16_384  # vectors that are read together
PIECE = 2_048  # … that one thread changes


def opened(folder: str | os.PathLike[str]) -> Treatment:
    """A treatment from its folder; raises `InputError` where there is none, or one that is cut short."""
    folder = Path(folder)
    try:
        return Treatment.load(folder)
    except FileNotFoundError as e:
        raise InputError(
            f"{folder}: no treatment ({Path(e.filename).name} is missing); make one with treat -o"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError) as e:
        raise InputError(f"{folder}: no readable treatment ({first_line(e)}); make it again with treat -o") from None


def apply(
    t: Treatment, path: Path, out: Path, *, role: str = "key", columns: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Write `path` with its vectors changed to `out`, whole or not at all; how many vectors of each modality changed.

    `columns`: modality → column (default: their own names). Everything else of a table stays as it is, and a missing
    vector stays missing. Raises `InputError` where a vector is not of the width that was treated, or has no direction.
    """
    columns = dict(columns or {})
    for m in columns:
        if m not in t.modalities:
            raise unknown("modality of this treatment", m, t.modalities)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if out.exists() and out.resolve() == path.resolve():
        raise InputError(f"{out}: is what is read; choose another file")
    if path.suffix.lower() in (".parquet", ".pq"):
        return _parquet(t, path, out, role, columns)
    if path.suffix.lower() == ".npy":
        return _npy(t, path, out, role, columns)
    return _set(t, path, out, role)


def _changed(t: Treatment, x: np.ndarray, m: str, role: str, source: str, start: int) -> np.ndarray:
    def piece(i: int) -> np.ndarray:
        part = x[i : i + PIECE]
        try:
            return t.encode(part, m) if t.codec and role == "key" else t.transform(part, m, role)
        except NoDirectionError as e:
            raise NoDirectionError(i + e.row, e.what) from None

    try:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            parts = list(pool.map(piece, range(0, len(x), PIECE)))
        return np.concatenate(parts) if len(parts) > 1 else parts[0]
    except NoDirectionError as e:
        raise InputError(f"{source}: {NoDirectionError(start + e.row, e.what)}; mend or leave out such rows") from None
    except ValueError as e:
        raise InputError(f"{source}: {e}") from None


def _parquet(t: Treatment, path: Path, out: Path, role: str, columns: Mapping[str, str]) -> dict[str, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if out.suffix.lower() not in (".parquet", ".pq"):
        raise InputError(f"{out}: a Parquet file is written as one: name it .parquet")
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as e:
        raise InputError(f"{path}: not readable as Parquet ({first_line(e)})") from None
    named = _named(t, file.schema_arrow, columns, path)
    count = dict.fromkeys(named.values(), 0)
    batches = file.iter_batches(batch_size=ROWS)
    writer = None
    with whole_file(out) as staging:
        try:
            start = 0
            for batch in progress(batches, f"apply {t.name}", -(-file.metadata.num_rows // ROWS)):
                table = pa.Table.from_batches([batch])
                for column, m in named.items():
                    at = table.schema.get_field_index(column)
                    x, there = vectors(batch.column(at), column, str(path), start)
                    made = _changed(t, x, m, role, f"{path}, column {column}", start) if len(x) else _none(t, m, role)
                    count[m] += len(x)
                    table = table.set_column(at, column, _column(made, there))
                if writer is None:
                    rest = [c for c in table.column_names if c not in named]  # vectors neither shrink nor repeat
                    how = dict.fromkeys(named, "NONE") | dict.fromkeys(rest, "SNAPPY")
                    writer = pq.ParquetWriter(staging, table.schema, compression=how, use_dictionary=rest)
                writer.write_table(table)
                start += len(batch)
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise InputError(f"{path}: has no rows")
    return count


def _named(t: Treatment, schema: Any, columns: Mapping[str, str], path: Path) -> dict[str, str]:
    """Column → modality: what was said, else columns of their names."""
    there = [f.name for f in schema]
    for c in columns.values():
        if c not in there:
            raise unknown(f"column of {path}", c, there)
    named = {c: m for m, c in columns.items()} | {m: m for m in t.modalities if m in there and m not in columns}
    lists = [f.name for f in schema if is_list(f.type)]
    if not named:
        raise InputError(
            f"{path}: none of its columns is named {listed(t.modalities)}, which this treatment changes; its vectors "
            f"stand in {listed(lists) or 'no column'}: --modality {t.modalities[0]}=COLUMN"
        )
    for c in named:
        if c not in lists or is_list(schema.field(c).type.value_type):
            raise InputError(
                f"{path}: column {c!r} holds {schema.field(c).type}, not one vector a row; import it first"
            )
    return named


def _none(t: Treatment, m: str, role: str) -> np.ndarray:
    """No vectors, in the shape in which there would be some."""
    one = np.ones((1, t.facts["modalities"][m]["width"]), dtype=np.float32)
    return _changed(t, one, m, role, "", 0)[:0]


def _column(x: np.ndarray, there: np.ndarray) -> Any:
    """Rows as a column of lists of one length, or of bytes; null where none is there."""
    import pyarrow as pa

    x = np.ascontiguousarray(x)
    mask = None if there.all() else pa.array(~there)
    if mask is not None:  # a missing row takes its place in a list of fixed size
        full = np.zeros((len(there), x.shape[1]), dtype=x.dtype)
        full[there] = x
        x = full
    if x.dtype == np.uint8:
        kind = pa.binary(x.shape[1])
        cells = pa.FixedSizeBinaryArray.from_buffers(kind, len(x), [None, pa.py_buffer(x)])
        return cells if mask is None else pa.compute.if_else(mask, pa.scalar(None, kind), cells)
    return pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1], mask=mask)


def _npy(t: Treatment, path: Path, out: Path, role: str, columns: Mapping[str, str]) -> dict[str, int]:
    if out.suffix.lower() != ".npy":
        raise InputError(f"{out}: an array is written as one: name it .npy")
    m = _whose(t, path, columns)
    try:
        x = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise InputError(f"{path}: not readable as .npy ({first_line(e)})") from None
    if x.ndim != 2 or not len(x):
        raise InputError(f"{path}: {x.shape}, where rows of vectors are expected")
    # plain reads and writes: what is mapped would count as memory of this process until the system needs it
    with whole_file(out) as staging, staging.open("wb") as to, path.open("rb") as from_:
        from_.seek(x.offset)
        for start in progress(range(0, len(x), ROWS), f"apply {t.name}", -(-len(x) // ROWS)):
            if x.flags.c_contiguous:
                read = np.fromfile(from_, x.dtype, min(ROWS, len(x) - start) * x.shape[1]).reshape(-1, x.shape[1])
            else:
                read = x[start : start + ROWS]
            part = _changed(t, read, m, role, str(path), start)
            if not start:
                shape = {"descr": part.dtype.str, "fortran_order": False, "shape": (len(x), part.shape[1])}
                np.lib.format.write_array_header_1_0(to, shape)
            to.write(np.ascontiguousarray(part).data)
        to.flush()
    return {m: len(x)}


def _whose(t: Treatment, path: Path, columns: Mapping[str, str]) -> str:
    """The modality of an array: what was said, else what its file is called."""
    said = [m for m, c in columns.items() if c in (path.name, path.stem, str(path))]
    found = said or [m for m in t.modalities if m == path.stem]
    if not found:
        known = " or ".join(f"--modality {m}={path.name}" for m in t.modalities)
        raise InputError(f"{path}: of which modality are these vectors? Say {known}")
    return found[0]


def _set(t: Treatment, path: Path, out: Path, role: str) -> dict[str, int]:
    """A saved set, or what is read as one, as a saved set."""
    es = load(path)
    if t.codec and role == "key":
        raise InputError(f"{t.name} writes codes, which a saved set does not hold: convert {path} to Parquet first")
    mine = [m for m in es.modalities if m in t.modalities]
    if not mine:
        raise InputError(
            f"{path}: its modalities are {listed(es.modalities)}; this treatment changes {listed(t.modalities)}"
        )
    changed = {m: _changed(t, rows(es, m), m, role, f"{path}, {m}", 0) if m in mine else es[m] for m in es.modalities}
    own = {m: es.item_of_row(m) for m in es.modalities if not es.aligned(m)}
    EmbeddingSet(changed, es.items, rows=own, source=f"{path}, {t!r}").save(out)
    return {m: len(es[m]) for m in mine}
