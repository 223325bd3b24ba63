"""Tables: Parquet, Arrow and Feather, folders of them, Hugging Face `datasets`, Lance; read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import InputError, first_line
from workbench.sets.formats.registry import reader
from workbench.sets.formats.source import Table, needed

BATCH = 8_192  # rows at once


def parquet_files(files: Sequence[Path], source: str) -> Table:
    """Parquet files of one schema, in the order of their names."""
    import pyarrow.parquet as pq

    opened = []
    for file in files:
        try:
            opened.append(pq.ParquetFile(file, pre_buffer=False))  # it would keep the whole file
        except Exception as e:
            raise InputError(f"{file}: truncated or not Parquet ({first_line(e)})") from None

    def batches() -> Iterator[Any]:
        for file, f in zip(files, opened, strict=True):
            try:
                yield from f.iter_batches(batch_size=BATCH)
            except Exception as e:
                raise InputError(f"{file}: truncated or damaged Parquet ({first_line(e)})") from None

    return Table(
        _one(files, [f.schema_arrow for f in opened]), batches, sum(f.metadata.num_rows for f in opened), source
    )


@reader("parquet", "Parquet", magic=b"PAR1", suffixes=(".parquet",), several=parquet_files)
def parquet(file: Path) -> Table:
    """One Parquet file."""
    return parquet_files([file], str(file))


@reader("parquet folder", "a folder of Parquet files", folder=".parquet", rank=2, parts=True)
def parquet_folder(path: Path) -> Table:
    """The Parquet files of a folder, which have one schema."""
    return parquet_files(sorted(path.glob("*.parquet")), str(path))


def arrow_files(files: Sequence[Path], source: str) -> Table:
    """Arrow IPC files (Feather 2) or streams (what `datasets` writes), in the order given."""
    import pyarrow as pa

    def reader(file: Path) -> Any:
        raw = pa.memory_map(str(file))
        try:
            return pa.ipc.open_file(raw)
        except pa.ArrowInvalid:
            raw.seek(0)
            return pa.ipc.open_stream(raw)

    schemas, count = [], 0
    for file in files:
        try:
            r = reader(file)
            schemas.append(r.schema)
            # a stream says how long it is only when it has been read
            count += (
                sum(b.num_rows for b in r)
                if hasattr(r, "__iter__")
                else sum(r.get_batch(k).num_rows for k in range(r.num_record_batches))
            )
        except Exception as e:
            raise InputError(f"{file}: truncated or not Arrow ({first_line(e)})") from None

    def batches() -> Iterator[Any]:
        for file in files:
            r = reader(file)
            every = r if hasattr(r, "__iter__") else (r.get_batch(k) for k in range(r.num_record_batches))
            for batch in every:
                try:
                    batch.validate(full=True)  # offsets that point outside would be followed
                except pa.ArrowInvalid as e:
                    raise InputError(f"{file}: damaged Arrow ({first_line(e)})") from None
                for start in range(0, batch.num_rows, BATCH):
                    yield batch.slice(start, BATCH)

    return Table(_one(files, schemas), batches, count, source)


@reader(
    "arrow",
    "Arrow IPC or Feather",
    magic=(b"ARROW1", b"\xff\xff\xff\xff"),
    suffixes=(".arrow", ".feather"),
    several=arrow_files,
)
def arrow(file: Path) -> Table:
    """One Arrow file or stream."""
    return arrow_files([file], str(file))


@reader("arrow folder", "a folder of Arrow files", folder=".arrow", rank=3, parts=True)
def arrow_folder(path: Path) -> Table:
    """The Arrow files of a folder, which have one schema."""
    return arrow_files(sorted(path.glob("*.arrow")), str(path))


@reader(
    "datasets",
    "Hugging Face datasets, save_to_disk",
    folder=lambda names, path: bool(names & {"state.json", "dataset_dict.json"}),
)
def datasets_folder(path: Path) -> Table:
    """A folder of `Dataset.save_to_disk`, or of a `DatasetDict`, whose splits become the column `split`."""
    import json

    import pyarrow as pa

    state = path / "state.json"
    if state.exists():
        try:
            files = [path / f["filename"] for f in json.loads(state.read_text())["_data_files"]]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{state}: not the state of a saved dataset; save it again with save_to_disk") from None
        for file in files:
            if file.parent != path or not file.exists():
                raise InputError(f"{state}: names {file.name}, which is not in this folder")
        return arrow_files(files, str(path))
    try:
        splits = json.loads((path / "dataset_dict.json").read_text())["splits"]
        parts = {str(s): datasets_folder(path / str(s)) for s in splits if (path / str(s) / "state.json").exists()}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: no dataset of save_to_disk here (no state.json)") from None
    if not parts:
        raise InputError(f"{path}: its dataset_dict.json names no split that is there")
    schema = _one([path / s for s in parts], [t.schema for t in parts.values()])
    named = "split" not in schema.names and set(parts) <= {"train", "validation", "test"}

    def batches() -> Iterator[Any]:
        for split, table in parts.items():
            for batch in table.batches():
                yield batch.append_column("split", pa.array([split] * batch.num_rows)) if named else batch

    whole = schema.append(pa.field("split", pa.string())) if named else schema
    return Table(whole, batches, sum(t.count or 0 for t in parts.values()), str(path))


@reader(
    "lance",
    "Lance, or a table of LanceDB",
    folder=lambda names, path: "_versions" in names or path.suffix == ".lance",
    extra="lance",
)
def lance(path: Path) -> Table:
    """A Lance dataset, which is also what a LanceDB table is on disk."""
    library = needed("lance", "lance", "a Lance dataset")
    try:
        found = library.dataset(str(path))
        count = found.count_rows()
    except Exception as e:
        raise InputError(f"{path}: not a readable Lance dataset ({first_line(e)})") from None

    def batches() -> Iterator[Any]:
        try:
            yield from found.to_batches(batch_size=BATCH)
        except Exception as e:
            raise InputError(f"{path}: damaged Lance dataset ({first_line(e)})") from None

    return Table(found.schema, batches, count, str(path))


def _one(files: Sequence[Path], schemas: Sequence[Any]) -> Any:
    for file, schema in zip(files, schemas, strict=True):
        if schema.remove_metadata() != schemas[0].remove_metadata():
            raise InputError(f"{file}: has other columns or types than {files[0].name}; one table needs one schema")
    return schemas[0]


def is_vector(kind: Any) -> bool:
    """Whether a column type is a list of floating numbers, or of such lists (layers)."""
    import pyarrow as pa

    if hasattr(kind, "storage_type"):  # fixed-shape tensors
        return is_vector(kind.storage_type)
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    inner = kind.value_type
    return bool(pa.types.is_floating(inner)) or is_vector(inner)


def vectors(column: Any, name: str, source: str, start: int) -> tuple[np.ndarray, np.ndarray]:
    """A list column of one batch as (n present, d) or (n, L, d), and the mask of rows that are present."""
    if hasattr(column, "storage"):
        column = column.storage
    present = column.is_valid().to_numpy(zero_copy_only=False)
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)[present]
    if not len(lengths):
        return np.zeros((0, 1), np.float32), present
    width = int(lengths[0])
    if (lengths != width).any():
        odd = int(np.flatnonzero(present)[np.flatnonzero(lengths != width)[0]])
        raise InputError(
            f"{source}: column {name!r} has {int(column.value_lengths()[odd].as_py())} numbers at row {start + odd} "
            f"but {width} before; all vectors of a modality need one length"
        )
    if not width:
        raise InputError(
            f"{source}: column {name!r} has a vector of no numbers at row {start}; leave it missing instead"
        )
    flat = column.drop_null().flatten()
    if flat.null_count:
        row = int(np.flatnonzero(present)[flat.is_null().to_numpy(zero_copy_only=False).argmax() // max(width, 1)])
        raise InputError(f"{source}: column {name!r} has a missing number inside its vector at row {start + row}")
    if is_vector(flat.type):
        inner, _ = vectors(flat, name, source, start * width)
        return inner.reshape(len(lengths), width, -1), present
    return flat.to_numpy(zero_copy_only=False).reshape(-1, width), present
