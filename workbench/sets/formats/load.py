"""A path in, a set out: which format it is, what in it is a modality, and how a large one is brought in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import InputError, first_line
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats.assemble import Reading, of_arrays, of_table
from workbench.sets.formats.bring_in import found_at
from workbench.sets.formats.columnar import BATCH
from workbench.sets.formats.kinds import named, told
from workbench.sets.formats.source import Table
from workbench.sets.grouping import by_item
from workbench.sets.run_folder import RunFolder

PANDAS_INDEX = "__index_level_0__"  # what a frame calls the rows that are left of it


def load(path: str | os.PathLike[str]) -> EmbeddingSet:
    """Read a set: a saved folder, a run (its last snapshot), or any format that is known by its content.

    Arrays of two or three axes are modalities, arrays of one axis are columns of the items (`id`, `family`, `split`,
    labels). In tables, columns of lists of numbers are modalities, and the rest are columns of the items; a missing
    list is a missing modality. `read` says what is what where names differ, `import_set` needs little memory.

    >>> import tempfile
    >>> import workbench as wb
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load(wb.testing.planted(items=10).save(f"{folder}/set")).modalities
    ('image', 'text')
    """
    return load_aloud(path)[0]


def load_aloud(path: str | os.PathLike[str], reading: Reading | None = None) -> tuple[EmbeddingSet, list[str]]:
    """The same, with what was assumed while it was read, in plain words; `reading` is for what is no set yet."""
    path, reading = Path(path), reading or Reading()
    if not is_saved(path) and not (path / "snapshots").is_dir():
        return _read(path, reading)
    es = EmbeddingSet.load(path) if is_saved(path) else RunFolder(path).snapshot()
    return by_item(es, reading.item) if reading.item else es, []


def is_saved(path: Path) -> bool:
    """Whether a path is the folder of a saved set."""
    return (path / "manifest.json").is_file() and not (path / "_versions").exists()  # which Lance has too


def is_set(path: Path, *, by_name: bool = True) -> bool:
    """Whether `load` would read a path as a set: a saved folder, or a format that its content (or name) tells."""
    return is_saved(path) or bool(told(path) or (by_name and named(path)))


def sets_in(path: Path) -> list[Path]:
    """The sets at a path: itself, or what a folder of them holds, told by content alone."""
    whole = told(path) if path.is_dir() and not is_saved(path) else None
    if not path.is_dir() or is_saved(path) or (whole and not whole.rank):
        return [path] if is_set(path) else []
    inner = [p for p in sorted(path.iterdir()) if not p.name.startswith(".") and is_set(p, by_name=False)]
    return [path] if whole and not whole.parts and not any(p.is_dir() for p in inner) else inner


def read(path: Path, reading: Reading | None = None) -> EmbeddingSet:
    """A file or folder in one of the formats, with its modalities, ids and labels where `reading` says."""
    return _read(Path(path), reading or Reading())[0]


def _read(path: Path, reading: Reading) -> tuple[EmbeddingSet, list[str]]:
    found = found_at(path, reading)
    return of_table(found, reading) if isinstance(found, Table) else of_arrays(found, reading), found.said


def as_set(data: object) -> EmbeddingSet:
    """Whatever a person holds - a set, a path, a run, a table, a mapping of arrays - as an EmbeddingSet.

    A table is anything with Arrow's interface (pandas, polars, DuckDB, Arrow) or a dataset of Hugging Face; its columns
    are taken as those of a file are.
    """
    if isinstance(data, EmbeddingSet):
        return data
    if isinstance(data, str | os.PathLike):
        return load(data)
    if hasattr(data, "snapshot"):
        return data.snapshot()
    if hasattr(data, "with_format"):  # a dataset of Hugging Face, whose selections and shuffles are kept
        data = data.with_format("arrow")[:]
    if hasattr(data, "__arrow_c_stream__"):
        return of_table(_held(data), Reading())
    if hasattr(data, "items"):
        _of_equal_rows(data)
        return EmbeddingSet({str(k): x for k, x in data.items()})
    raise InputError(f"cannot read {type(data).__name__} as embeddings; give a path or {{'image': x, 'text': y}}")


def _of_equal_rows(data: Any) -> None:
    """Refuse parts whose own indexes say that their rows are not the same, and masks, which would be forgotten."""
    first: tuple[str, Any] | None = None
    for name, part in data.items():
        if getattr(part, "mask", None) is not None and np.ma.is_masked(part):
            raise InputError(f"{name} has masked values; leave these rows out, or fill them with NaN and drop them")
        index = getattr(part, "index", None)
        if index is None or not hasattr(index, "equals"):
            continue
        if first is not None and not index.equals(first[1]):
            raise InputError(
                f"{name} has another index than {first[0]}: row i of each must be the same item; reindex one"
            )
        first = first or (str(name), index)


def _held(data: Any) -> Table:
    import pyarrow as pa

    try:
        table = pa.table(data)
    except (pa.ArrowException, TypeError, ValueError) as e:
        raise InputError(f"the {type(data).__name__} given is no table that Arrow can hold ({first_line(e)})") from None
    table = table.replace_schema_metadata().select([n for n in table.schema.names if n != PANDAS_INDEX])
    return Table(table.schema, lambda: iter(table.to_batches(max_chunksize=BATCH)), len(table), "the table given")
