"""Readers: a path in, an EmbeddingSet out. One function a format; nothing is ever unpickled."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.embeddings import EmbeddingSet, _first_line, read_safetensors
from workbench.errors import InputError

Reader = Callable[[Path], EmbeddingSet]
READERS: dict[str, Reader] = {}


def reader(suffix: str) -> Callable[[Reader], Reader]:
    def register(f: Reader) -> Reader:
        READERS[suffix] = f
        return f

    return register


def load(path: str | os.PathLike[str]) -> EmbeddingSet:
    """Read a set: a saved folder, a run (its last snapshot), a folder of .npy, .npz, .parquet or .safetensors.

    In `.npz` and `.safetensors`, arrays of two or three axes are modalities, and arrays of one axis are columns of
    the items (`id`, `family`, `split`, labels). In Parquet, columns of lists of numbers are modalities, and the rest
    are columns of the items; a missing list is a missing modality.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() not in READERS:
        raise InputError(f"{path}: cannot read {path.suffix or 'a file without suffix'}; known: {', '.join(READERS)}")
    return READERS[path.suffix.lower()](path)


def _folder(path: Path) -> EmbeddingSet:
    if (path / "manifest.json").exists():
        return EmbeddingSet.load(path)
    if (path / "snapshots").is_dir():
        from workbench.training.run import Run

        return Run(path).snapshot()
    files = sorted(path.glob("*.npy"))
    if not files:
        raise InputError(f"{path}: neither a set (manifest.json), nor a run (snapshots/), nor a folder of .npy files")
    arrays = {file.stem: _npy(file) for file in files}
    return _from_arrays(arrays, str(path))


def _npy(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="c", allow_pickle=False)  # copy on write: torch wants writable memory
    except ValueError as e:
        if "pickle" in str(e).lower() or "object" in str(e).lower():
            raise InputError(f"{file}: holds Python objects, which are never unpickled; save plain numbers") from None
        raise InputError(f"{file}: truncated or not an .npy file ({_first_line(e)})") from None
    except (OSError, EOFError) as e:
        raise InputError(f"{file}: truncated or not an .npy file ({_first_line(e)})") from None


@reader(".npz")
def npz(file: Path) -> EmbeddingSet:
    arrays = {}
    key = ""
    try:
        # opened here: numpy forgets to close what turns out to be cut short
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as f:
            if not isinstance(f, np.lib.npyio.NpzFile):
                raise InputError(f"{file}: not an .npz file but a single array; name it .npy and put it in a folder")
            for key in f.files:
                arrays[key] = f[key]
    except InputError:
        raise
    except ValueError as e:
        if "pickle" in str(e).lower() or "object" in str(e).lower():
            where = f"array {key!r} holds Python objects" if key else "is a pickle"
            raise InputError(f"{file}: {where}, which are never unpickled; save plain numbers or strings") from None
        raise InputError(f"{file}: array {key!r} is not readable ({_first_line(e)})") from None
    except (OSError, EOFError, zipfile.BadZipFile, KeyError) as e:
        raise InputError(f"{file}: truncated or not an .npz file ({_first_line(e)})") from None
    return _from_arrays(arrays, str(file))


@reader(".safetensors")
def safetensors(file: Path) -> EmbeddingSet:
    tensors = read_safetensors(file)
    arrays = {k: x if x.ndim > 1 else x.numpy() for k, x in tensors.items()}
    return _from_arrays(arrays, str(file))


@reader(".parquet")
def parquet(file: Path) -> EmbeddingSet:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except Exception as e:
        raise InputError(f"{file}: truncated or not Parquet ({_first_line(e)})") from None
    vectors, rows, columns = {}, {}, {}
    for name in table.column_names:
        column, kind = table[name].combine_chunks(), table.schema.field(name).type
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0) if column.num_chunks else pa.array([], kind)
        listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        if listed and pa.types.is_floating(kind.value_type):
            x, present = _lists(column, name, file)
            if len(x):
                vectors[name] = x
                if not present.all():
                    rows[name] = np.flatnonzero(present)
        elif listed and pa.types.is_integer(kind.value_type):
            raise InputError(
                f"{file}: column {name!r} holds lists of {kind.value_type}; vectors must be floating point"
            )
        else:
            columns[name] = column.to_pandas()
    if not vectors:
        raise InputError(f"{file}: no column holds lists of numbers; columns: {', '.join(table.column_names)}")
    return EmbeddingSet(vectors, pd.DataFrame(columns, index=range(len(table))), rows=rows, source=str(file))


def _lists(column, name: str, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """A list column as (n present, d) and the mask of rows that are present."""
    present = column.is_valid().to_numpy(zero_copy_only=False)
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)[present]
    if not len(lengths):
        return np.zeros((0, 1), np.float32), present
    width = int(lengths[0])
    if (lengths != width).any():
        odd = int(np.flatnonzero(present)[np.flatnonzero(lengths != width)[0]])
        raise InputError(
            f"{file}: column {name!r} has {int(column.value_lengths()[odd].as_py())} numbers at row {odd} "
            f"but {width} before; all vectors of a modality need one length"
        )
    flat = column.drop_null().flatten()
    if flat.null_count:
        row = int(np.flatnonzero(present)[flat.is_null().to_numpy(zero_copy_only=False).argmax() // max(width, 1)])
        raise InputError(f"{file}: column {name!r} has a missing number inside its vector at row {row}")
    return flat.to_numpy(zero_copy_only=False).reshape(-1, width), present


def _from_arrays(arrays: dict, source: str) -> EmbeddingSet:
    """Two or three axes: a modality; one axis: a column of the items."""
    vectors = {k: x for k, x in arrays.items() if x.ndim > 1}
    columns = {k: np.asarray(x) for k, x in arrays.items() if x.ndim == 1}
    if not vectors:
        shapes = ", ".join(f"{k} {tuple(x.shape)}" for k, x in arrays.items()) or "nothing"
        raise InputError(f"{source}: no array of vectors (rows, d); it holds {shapes}")
    if not columns:
        return EmbeddingSet(vectors, source=source)
    counts = {k: len(x) for k, x in columns.items()}
    count = next(iter(counts.values()))
    for name, n in counts.items():
        if n != count:
            raise InputError(
                f"{source}: column {name!r} has {n} entries but {next(iter(counts))!r} has {count}; "
                "columns and modalities need one entry an item"
            )
    return EmbeddingSet(vectors, pd.DataFrame(columns), source=source)


def as_set(data: object) -> EmbeddingSet:
    """Whatever a person holds - a set, a path, a run, a mapping of arrays - as an EmbeddingSet."""
    if isinstance(data, EmbeddingSet):
        return data
    if isinstance(data, str | os.PathLike):
        return load(data)
    if hasattr(data, "snapshot"):
        return data.snapshot()
    if hasattr(data, "items"):
        return EmbeddingSet({str(k): x for k, x in data.items()})
    raise InputError(f"cannot read {type(data).__name__} as embeddings; give a path or {{'image': x, 'text': y}}")
