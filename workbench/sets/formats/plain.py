"""Columns of the items: to pandas without losing a digit, what is no plain value as JSON, tables of text."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError, first_line, listed
from workbench.sets.columns import as_json, as_text
from workbench.sets.formats import by_id, delimited
from workbench.sets.formats.follow import following
from workbench.sets.formats.registry import reader
from workbench.sets.formats.source import Table, once

TEXT = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")


def to_frame(table: Any) -> pd.DataFrame:
    """A table of Arrow as a frame: whole numbers stay whole where some are missing, nested values become JSON."""
    import pyarrow as pa

    columns = [plain(c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c) for c in table.columns]
    if not columns:
        return pd.DataFrame(index=range(table.num_rows))
    made = pa.Table.from_arrays(columns, names=table.schema.names)
    return made.to_pandas(integer_object_nulls=True, ignore_metadata=True)


def plain(column: Any) -> Any:
    """A column of Arrow with one value a row: bytes of a picture as such, everything else that is nested as JSON."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kind = column.type
    if hasattr(kind, "storage_type"):
        return plain(column.storage)
    if pa.types.is_struct(kind) and {f.name for f in kind} == {"bytes", "path"}:
        held = column.field("bytes")
        return held if held.null_count < len(held) else column.field("path")
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if pa.types.is_dictionary(kind) and column.dictionary.null_count:
        return column.dictionary_decode()  # a class that is null is none
    if not pa.types.is_nested(kind):
        return column
    return pa.array([None if v is None else as_json(dict(v) if pa.types.is_map(kind) else v)
                     for v in column.to_pylist()], pa.string())  # fmt: skip


def column_of(values: Sequence[Any]) -> Any:
    """Values as a column of Arrow; of several kinds as text."""
    import pyarrow as pa

    values = [None if isinstance(v, float) and v != v else v for v in values]
    try:
        kinds = {type(v) for v in values if v is not None}
        if bool in kinds and len(kinds) > 1:
            raise TypeError
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array([None if v is None else as_text(v) for v in values], pa.string())


def table_of(columns: Mapping[str, Sequence[Any]], source: str) -> Table:
    """A table of columns that are there at once; vectors are float32 where that loses nothing."""
    import pyarrow as pa

    made = {str(name): column_of(values) for name, values in columns.items()}
    for name, column in made.items():
        if column.type == pa.list_(pa.float64()):
            x = column.flatten().to_numpy(zero_copy_only=False)
            with np.errstate(over="ignore"):
                exact = bool(np.array_equal(x.astype(np.float32).astype(np.float64), x, equal_nan=True))
            made[name] = column.cast(pa.list_(pa.float32())) if exact else column
    whole = pa.table(made)
    return Table(whole.schema, lambda: iter(whole.to_batches(max_chunksize=8_192)), whole.num_rows, source)


def gathered(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns; what a row lacks is None there."""
    columns: dict[str, list[Any]] = {}
    count = 0
    for row in rows:
        for name, value in row.items():
            column = columns.setdefault(str(name), [])
            column.extend([None] * (count - len(column)))
            column.append(value)
        count += 1
    return {name: c + [None] * (count - len(c)) for name, c in columns.items()}


def _records(text: str, file: Path, said: list[str]) -> dict[str, list[Any]]:
    if file.suffix.lower() != ".json":
        rows = []
        for k, line in enumerate(text.split("\n")):
            if line.strip():
                try:
                    row = json.loads(line, object_pairs_hook=_once)
                except json.JSONDecodeError as e:
                    last = "" if text[text.index(line) + len(line) :].strip() else ", the last, cut short: take it away"
                    raise ValueError(f"line {k + 1}{last}; {e.msg} at character {e.pos + 1}") from None
                if not isinstance(row, dict):
                    raise ValueError(f"line {k + 1} holds {line.strip()!r:.40}, not {{name: value}}")
                rows.append(row)
        return gathered(rows)
    found = json.loads(text, object_pairs_hook=_once)
    if isinstance(found, list) and all(isinstance(r, dict) for r in found):
        return gathered(found)
    if isinstance(found, dict) and found and all(isinstance(v, list) for v in found.values()):
        if by_id.vectors(found):
            said.append(f"{len(found):,} names with a vector each: the names are the ids")
            return {"id": list(found), "vectors": list(found.values())}
        counts = {str(k): len(v) for k, v in found.items()}
        if len(set(counts.values())) > 1:
            raise ValueError(f"columns of several lengths: {', '.join(f'{k} {n}' for k, n in counts.items())}")
        return {str(k): v for k, v in found.items()}
    if isinstance(found, dict) and found and all(isinstance(v, dict) for v in found.values()):
        keys = list(dict.fromkeys(k for v in found.values() for k in v))
        if by_id.records(found):
            said.append(f"{len(found):,} names with a record each: the names are the ids")
            ids = {} if "id" in keys else {"id": list(found)}
            return ids | {str(k): [v.get(k) for v in found.values()] for k in keys}
        return {str(c): [v.get(k) for k in keys] for c, v in found.items()}  # as pandas writes it: column → row → value
    inner = [k for k, v in found.items() if isinstance(v, list) and v] if isinstance(found, dict) else []
    if len(inner) > 1:
        raise ValueError(f"several tables, {listed(inner)}, in one file; name the files of their vectors beside it")
    raise ValueError("needs a list of {name: value}, or {name: list}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, count in Counter(k for k, _ in pairs).items():
        if count > 1:
            raise ValueError(f"a row names {name!r} twice")
    return dict(pairs)


def _separated(text: str, file: Path, said: list[str]) -> dict[str, list[Any]]:
    usual = "\t" if file.suffix.lower() == ".tsv" else ","
    mark = delimited.mark(text, usual)
    if mark != usual:
        said.append(f"{file.name} is read with {delimited.MARKS[mark]} between its columns")
    names = next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])
    once([n for n in names if n], file)
    if not names:
        raise ValueError("no header line")
    if any(map(_is_vector, names)) or (len(names) > 1 and all(map(_is_number, names))):
        raise ValueError("no header line: its first line holds numbers; write the names of the columns above them")
    if len(names) == 1 and _is_one_of(names[0], text.split("\n")[1:]):
        raise ValueError(f"no header line: {names[0]!r} is such a value as those below it; write a name above them")
    blank = len(names) > 1  # in a table of one column an empty line is an empty cell
    how: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_values": ["", "\\N"], "skip_blank_lines": blank}
    frame = pd.read_csv(io.StringIO(text, newline=""), sep=mark, **how)
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError(f"its lines have more cells than the {len(names)} names of its first line")
    columns: dict[str, list[Any]] = {str(c): [None if v != v else v for v in frame[c].tolist()] for c in frame}
    return columns if mark == "," else delimited.decimal_points(columns, file.name, said)


def _is_one_of(name: str, below: Sequence[str]) -> bool:
    """Whether the first line of a list of files is a file too."""
    end = name.rpartition(".")[2].lower()
    there = [v.strip().strip('"').lower() for v in below if v.strip()]
    return "." in name and bool(there) and all(v.endswith(f".{end}") for v in there)


def _is_vector(text: str) -> bool:
    return text.strip()[:1] == "[" and text.count(".") > 1


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text))) and "." in text
    except ValueError:
        return False


def cells(file: Path, said: list[str]) -> dict[str, list[Any]]:
    """The columns of a .csv, .tsv, .json or .jsonl file, an empty cell None; `said` gets what was assumed."""
    try:
        text = delimited.text_of(file, said)
        return _records(text, file, said) if "json" in file.suffix.lower() else _separated(text, file, said)
    except InputError:
        raise
    except (ValueError, OSError, csv.Error, RecursionError, pd.errors.ParserError) as e:
        raise InputError(f"{file}: not readable as a table ({first_line(e)})") from None


def read_columns(file: Path, said: list[str] | None = None) -> pd.DataFrame:
    """A .csv, .tsv, .json or .jsonl file as columns of the items, lists as they are; `said` gets what was assumed."""
    found = cells(file, [] if said is None else said)
    made: dict[str, Any] = {}
    for name, values in found.items():
        nested = any(isinstance(v, list | dict) for v in values)
        made[name] = pd.Series(values, dtype=object) if nested else column_of(values).to_pandas(
            integer_object_nulls=True
        )  # fmt: skip
    return pd.DataFrame(made)


TEXT_TABLE = "text table"


def text_tables(files: Sequence[Path], source: str) -> Table:
    """Tables of text that have the same columns, one after the other."""
    said: list[str] = []
    every = [cells(f, said) for f in files]
    for f, columns in zip(files, every, strict=True):
        if set(columns) != set(every[0]):
            raise InputError(f"{f}: has other columns than {files[0].name}; one table needs the same in each file")
    counts = [len(next(iter(c.values()), [])) for c in every]
    table = table_of({name: [v for c in every for v in c[name]] for name in every[0]}, source)
    table.said += said
    return following(table, files, counts)


@reader(
    TEXT_TABLE,
    "CSV, TSV, JSON and JSON lines with a column of vectors",
    suffixes=TEXT,
    fits=lambda path: path.suffix.lower() != ".tsv" or not delimited.bare(path),
    several=text_tables,
)
def text_table(file: Path) -> Table:
    """A table of text; vectors may be lists, or text such as `[0.1, 0.2]`."""
    said: list[str] = []
    table = table_of(cells(file, said), str(file))
    table.said += said
    return table
