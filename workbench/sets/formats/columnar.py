"""Tables: Parquet, Arrow and Feather, folders of them, Hugging Face `datasets`, Lance; read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import InputError, first_line, listed
from workbench.sets.formats.follow import following
from workbench.sets.formats.registry import reader
from workbench.sets.formats.shards import SPLIT_NAMES, in_order
from workbench.sets.formats.source import Table, needed

BATCH = 8_192  # rows at once


def parquet_files(files: Sequence[Path], source: str) -> Table:
    """Parquet files of one schema, in the order of their names."""
    import pyarrow.parquet as pq

    opened = []
    for file in files:
        if not file.stat().st_size:
            raise InputError(f"{file}: empty, not one byte; write it again, or take it out of the folder")
        try:
            opened.append(pq.ParquetFile(file, pre_buffer=False))  # it would keep the whole file
        except Exception as e:
            raise InputError(f"{file}: truncated or not Parquet ({first_line(e)}); fetch or write it again") from None

    counts = [f.metadata.num_rows for f in opened]
    schema = _one(files, [f.schema_arrow for f in opened], counts)

    kept: list[Any] = []  # a table that is one batch is looked at and then read: once from the disk

    def batches() -> Iterator[Any]:
        if kept:
            yield from kept
            return
        for file, f, count in zip(files, opened, counts, strict=True):
            try:
                for batch in f.iter_batches(batch_size=BATCH) if count else ():
                    made = _as(batch, schema)
                    kept.extend([made] if batch.num_rows == sum(counts) else [])
                    yield made
            except Exception as e:
                raise InputError(
                    f"{file}: truncated or damaged Parquet ({first_line(e)}); fetch or write it again"
                ) from None

    return following(Table(schema, batches, sum(counts), source), files, counts)


@reader("parquet", "Parquet", magic=b"PAR1", suffixes=(".parquet",), several=parquet_files)
def parquet(file: Path) -> Table:
    """One Parquet file."""
    return parquet_files([file], str(file))


@reader("parquet folder", "a folder of Parquet files", folder=".parquet", rank=3, parts=True)
def parquet_folder(path: Path) -> Table:
    """The Parquet files of a folder, which have one schema."""
    return parquet_files(in_order(path.glob("*.parquet")), str(path))


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

    schemas, counts = [], []
    for file in files:
        try:
            r = reader(file)
            schemas.append(r.schema)
            # a stream says how long it is only when it has been read
            every = r if hasattr(r, "__iter__") else (r.get_batch(k) for k in range(r.num_record_batches))
            counts.append(sum(b.num_rows for b in every))
        except Exception as e:
            raise InputError(f"{file}: truncated or not Arrow ({first_line(e)}); fetch or write it again") from None

    schema = _one(files, schemas, counts)

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
                    yield _as(batch.slice(start, BATCH), schema)

    return following(Table(schema, batches, sum(counts), source), files, counts)


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


@reader("arrow folder", "a folder of Arrow files", folder=".arrow", rank=4, parts=True)
def arrow_folder(path: Path) -> Table:
    """The Arrow files of a folder, which have one schema."""
    return arrow_files(in_order(path.glob("*.arrow")), str(path))


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
    schema = _one([path / s for s in parts], [t.schema for t in parts.values()], [t.count or 0 for t in parts.values()])
    named = "split" not in schema.names and (len(parts) > 1 or set(parts) <= set(SPLIT_NAMES))

    def batches() -> Iterator[Any]:
        for split, table in parts.items():
            for part in table.batches():
                batch = _as(part, schema)
                yield batch.append_column("split", pa.array([split] * batch.num_rows)) if named else batch

    whole = schema.append(pa.field("split", pa.string())) if named else schema
    counts = [(s, t.count or 0) for s, t in parts.items()]
    return Table(whole, batches, sum(n for _, n in counts), str(path), files=counts, called=list(parts))


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
        count, schema = found.count_rows(), found.schema
    except BaseException as e:  # where its library panics, that is no Exception
        raise _refused(e, f"{path}: not a readable Lance dataset") from None

    def batches() -> Iterator[Any]:
        try:
            yield from found.to_batches(batch_size=BATCH)
        except BaseException as e:
            raise _refused(e, f"{path}: damaged Lance dataset") from None

    return Table(schema, batches, count, str(path))


def _refused(e: BaseException, what: str) -> BaseException:
    """What goes wrong inside a library as one sentence; what a person or Python itself stops stays that."""
    if isinstance(e, KeyboardInterrupt | SystemExit | GeneratorExit | InputError | MemoryError):
        return e
    return InputError(f"{what} ({first_line(e)})")


def _one(files: Sequence[Path], schemas: Sequence[Any], counts: Sequence[int]) -> Any:
    """The schema of all files that have rows: of a column that is empty in one, or whole numbers, as the others say."""
    import pyarrow as pa

    there = [k for k, n in enumerate(counts) if n] or [0]
    first = plain = schemas[there[0]].remove_metadata()
    for k in there[1:]:
        other = schemas[k].remove_metadata()
        if other == first:
            continue
        if odd := set(plain.names) ^ set(other.names):
            raise InputError(
                f"{files[k]}: has other columns than {files[there[0]].name} ({listed(sorted(odd), 3)} is in one only); "
                "files that follow each other need the same columns: name them apart, or give them the same"
            )
        try:
            plain = pa.unify_schemas([plain, other], promote_options="permissive")
        except (pa.ArrowException, TypeError):
            name = next(n for n in plain.names if plain.field(n).type != other.field(n).type)
            raise InputError(
                f"{files[k]}: column {name!r} holds {other.field(name).type}, and {plain.field(name).type} in "
                f"{files[there[0]].name}; files that follow each other need one type a column"
            ) from None
    return schemas[there[0]] if plain == first else plain


def _as(batch: Any, schema: Any) -> Any:
    """A batch with the columns of a schema, in its order and of its types."""
    import pyarrow as pa

    if batch.schema.remove_metadata() == schema.remove_metadata():
        return batch
    held = [batch.column(f.name) for f in schema]
    held = [c if c.type == f.type else c.cast(f.type) for c, f in zip(held, schema, strict=True)]
    return pa.RecordBatch.from_arrays(held, schema=schema)


def is_list(kind: Any) -> bool:
    """Whether a column type is a list of any size."""
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def list_column(flat: np.ndarray, lengths: np.ndarray, present: np.ndarray) -> Any:
    """Numbers as a column of lists of these lengths, null where none is present."""
    import pyarrow as pa

    inner = flat if isinstance(flat, pa.Array) else pa.array(np.ascontiguousarray(flat))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    mask = np.append(~present, False)
    return pa.LargeListArray.from_arrays(pa.array(offsets, mask=mask, type=pa.int64()), inner)


def vectors(column: Any, name: str, source: str, start: int) -> tuple[Any, np.ndarray]:
    """A list column of one batch as (n present, d), and the mask of rows that are present."""
    if hasattr(column, "storage"):
        column = column.storage
    present = column.is_valid().to_numpy(zero_copy_only=False)
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    present = present & (lengths > 0)  # an empty list is a hole as well
    lengths = lengths[present]
    if not len(lengths):
        return np.zeros((0, 1), np.float32), present
    width = int(lengths[0])
    if (lengths != width).any():
        odd = int(np.flatnonzero(present)[np.flatnonzero(lengths != width)[0]])
        raise InputError(
            f"{source}: column {name!r} has {int(column.value_lengths()[odd].as_py())} numbers at row {start + odd} "
            f"but {width} before; all vectors of a modality need one length (--modality takes other columns)"
        )
    flat = column.drop_null().flatten()
    # a missing number comes out as NaN, as pandas took it in
    return flat.to_numpy(zero_copy_only=False).reshape(-1, width), present


def several(column: Any, name: str, source: str, start: int) -> tuple[np.ndarray, np.ndarray]:
    """A column of lists of vectors as (rows, d), and how many rows each item has: -1 where its list is missing."""
    if hasattr(column, "storage"):
        column = column.storage
    counts = np.where(
        column.is_valid().to_numpy(zero_copy_only=False),
        column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False),
        -1,
    ).astype(np.int64)
    inner = column.drop_null().flatten()
    own = np.repeat(np.arange(len(counts)), np.maximum(counts, 0))
    lengths = inner.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(lengths != (lengths[0] if len(lengths) else 0))
    if inner.null_count or len(odd):
        row = int(own[lengths.argmin() if inner.null_count else odd[0]])
        what = "a missing vector" if inner.null_count else "vectors of several lengths"
        raise InputError(f"{source}: column {name!r} has {what} in its list at row {start + row}")
    x, _ = vectors(inner, name, source, start)
    return x, counts
