"""A path in, a set out: which format it is, what in it is a modality, and how a large one is brought in."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.embeddings import NAME, EmbeddingSet, check_place
from workbench.errors import InputError, first_line, unknown
from workbench.formats import arrays, scientific, tables, tar
from workbench.formats.source import Arrays, Table
from workbench.progress import progress

READERS: dict[str, tuple[str, Callable[[Path], Arrays | Table]]] = {
    "npy": ("one array of numpy", arrays.npy),
    "npy folder": ("a folder of .npy files, each a modality or a column", arrays.npy_folder),
    "npz": ("arrays of numpy, compressed or not", arrays.npz),
    "safetensors": ("tensors by name", arrays.safetensors),
    "torch": ("a dict of tensors by torch.save, read with weights_only", arrays.torch_file),
    "parquet": ("Parquet", lambda p: tables.parquet_files([p], str(p))),
    "parquet folder": ("a folder of Parquet files", lambda p: tables.parquet_files(_parts(p, "parquet"), str(p))),
    "arrow": ("Arrow IPC or Feather", lambda p: tables.arrow_files([p], str(p))),
    "arrow folder": ("a folder of Arrow files", lambda p: tables.arrow_files(_parts(p, "arrow"), str(p))),
    "datasets": ("Hugging Face datasets, save_to_disk", tables.datasets_folder),
    "lance": ("Lance, or a table of LanceDB (extra: lance)", tables.lance),
    "hdf5": ("HDF5, AnnData .h5ad, MuData .h5mu (extra: hdf5)", scientific.hdf5),
    "zarr": ("Zarr (extra: zarr)", scientific.zarr),
    "projector": ("TensorBoard's projector: vectors.tsv, metadata.tsv", arrays.projector),
    "webdataset": ("WebDataset, img2dataset: .tar shards with .npy in them", tar.webdataset),
    "clip": ("clip-retrieval and LAION: img_emb/, text_emb/, metadata/", arrays.clip_folder),
}
COLUMNS = (".csv", ".tsv", ".json", ".jsonl")  # columns of the items beside arrays
ENDS = ("embeddings", "embedding", "embeds", "embed", "emb", "vectors", "vector", "features")
IDS = ("uid", "key", "_id", "item_id", "image_path", "path", "file_name", "filename", "file", "url")


@dataclass(frozen=True)
class Reading:
    """What in a source is what: modality → column, the columns of ids and labels. Empty: as found, or guessed."""

    modalities: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    label: str = ""


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
    path = Path(path)
    if (path / "manifest.json").is_file() and not (path / "_versions").exists():
        return EmbeddingSet.load(path)
    if (path / "snapshots").is_dir():
        from workbench.training.run import Run

        return Run(path).snapshot()
    return read(path)


def read(path: Path, reading: Reading | None = None) -> EmbeddingSet:
    """A file or folder in one of the formats, with its modalities, ids and labels where `reading` says."""
    found = READERS[kind_of(Path(path))][1](Path(path))
    if isinstance(found, Table):
        return _of_table(found, reading or Reading())
    return _of_arrays(found, reading or Reading())


def kind_of(path: Path) -> str:
    """Which format a path holds, by its content; by its name only where the content does not say."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    return _folder(path) if path.is_dir() else _file(path)


def _folder(path: Path) -> str:
    names = {p.name for p in path.iterdir()}
    if names & {"zarr.json", ".zgroup", ".zarray"}:
        return "zarr"
    if "_versions" in names or path.suffix == ".lance":
        return "lance"
    if names & {"state.json", "dataset_dict.json"}:
        return "datasets"
    if names & {"img_emb", "text_emb"} or any(n.startswith(("img_emb_", "text_emb_")) for n in names):
        return "clip"
    if any(n.endswith("vectors.tsv") for n in names):
        return "projector"
    for kind, end in (
        ("webdataset", ".tar"),
        ("parquet folder", ".parquet"),
        ("arrow folder", ".arrow"),
        ("npy folder", ".npy"),
    ):
        if any(n.endswith(end) for n in names):
            return kind
    raise InputError(
        f"{path}: nothing in it that is known: neither a set (manifest.json), nor a run (snapshots/), nor "
        + ", ".join(READERS)
    )


def _file(path: Path) -> str:
    with path.open("rb") as f:
        head = f.read(16)
    suffix = path.suffix.lower()
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:6] == b"ARROW1" or head[:4] == b"\xff\xff\xff\xff":
        return "arrow"
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return "hdf5"
    if head[:6] == b"\x93NUMPY":
        return "npy"
    if head[:4] == b"PK\x03\x04":
        return "torch" if suffix in (".pt", ".pth", ".bin", ".ckpt") or _holds_pickle(path) else "npz"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    if suffix in BY_NAME:
        return BY_NAME[suffix]  # cut short, or damaged: its reader says how
    if head[:1] == b"\x80":
        raise InputError(f"{path}: is a pickle, which is never read; save plain arrays")
    if head[:4] == b"FEA1":
        raise InputError(f"{path}: the first version of Feather; write it again as Feather 2, Arrow or Parquet")
    raise InputError(f"{path}: cannot read {suffix or 'a file without suffix'}; known: {', '.join(READERS)}")


BY_NAME = {
    ".npy": "npy",
    ".npz": "npz",
    ".safetensors": "safetensors",
    ".pt": "torch",
    ".pth": "torch",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".h5ad": "hdf5",
    ".h5mu": "hdf5",
    ".tsv": "projector",
    ".tar": "webdataset",
}


def _holds_pickle(path: Path) -> bool:
    import zipfile

    try:
        with zipfile.ZipFile(path) as z:
            return any(n.endswith("data.pkl") for n in z.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _parts(path: Path, end: str) -> list[Path]:
    return sorted(path.glob(f"*.{end}"))


# -- what is a modality ------------------------------------------------------------------------------------------------


def _of_arrays(found: Arrays, reading: Reading) -> EmbeddingSet:
    """Two or three axes: a modality; one axis: a column of the items."""
    vectors = {k: x for k, x in found.arrays.items() if x.ndim > 1}
    columns = {k: np.asarray(x) for k, x in found.arrays.items() if x.ndim == 1}
    if not vectors:
        shapes = ", ".join(f"{k} {tuple(x.shape)}" for k, x in found.arrays.items()) or "nothing"
        raise InputError(f"{found.source}: no array of vectors (rows, d); it holds {shapes}")
    vectors, names = _chosen(vectors, reading, found.source)
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
    rows = {names[k]: r for k, r in found.rows.items() if k in names}
    return EmbeddingSet(vectors, _labelled(frame, reading, found.source), rows=rows, source=found.source)


def _chosen(found: Mapping[str, Any], reading: Reading, source: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Vectors under the names of their modalities, and the modality of each name in the source."""
    for column in reading.modalities.values():
        if column not in found:
            raise InputError(f"{source}: no vectors named {column!r}; there are {', '.join(found)}")
    wanted = reading.modalities or {k: k for k in found}
    return {m: found[c] for m, c in wanted.items()}, {c: m for m, c in wanted.items()}


def _labelled(frame: pd.DataFrame | None, reading: Reading, source: str) -> pd.DataFrame | None:
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


def _of_table(table: Table, reading: Reading, scratch: Path | None = None) -> EmbeddingSet:
    try:
        return _gathered(table, reading, scratch)
    except InputError:
        raise
    except (ValueError, OverflowError, ArithmeticError, NotImplementedError, OSError) as e:
        # such as text that is not UTF-8: what a damaged table holds shows only when it is looked at
        raise InputError(f"{table.source}: damaged, or of a kind that is not read ({first_line(e)})") from e


def _gathered(table: Table, reading: Reading, scratch: Path | None) -> EmbeddingSet:
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
    chosen, _ = _chosen(listed, reading, table.source)
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
    return EmbeddingSet(vectors, _labelled(items, reading, table.source), rows=rows, source=table.source)


def _batches(table: Table) -> int | None:
    return None if table.count is None else -(-table.count // tables.BATCH)


# -- bringing in -------------------------------------------------------------------------------------------------------


def import_set(
    sources: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], reading: Reading | None = None
) -> tuple[EmbeddingSet, list[str]]:
    """Bring files of any format into a saved set at `out`; returns it, and what was guessed in plain words.

    Several tables of one schema follow each other; several arrays are the modalities of the same items; a table
    without vectors (or .csv, .tsv, .json, .jsonl) beside them holds the columns. Tables are read in batches: vectors
    go through a file beside `out`, so that memory does not grow with them.
    """
    paths = [Path(s) for s in sources]
    if not paths:
        raise InputError("nothing to import: name a file or a folder")
    out = Path(out)
    check_place(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    said: list[str] = []
    with tempfile.TemporaryDirectory(prefix=".import-", dir=out.parent) as scratch:
        found = _together(paths)
        reading = _guess(found, reading or Reading(), said)
        if isinstance(found, Table):
            es = _of_table(found, reading, Path(scratch))
        else:
            es = _of_arrays(found, reading)
        es = _with_id(es, said) if not reading.id else es
        es.save(out)
    return EmbeddingSet.load(out), said


def _together(paths: Sequence[Path]) -> Arrays | Table:
    """One source of several paths."""
    kinds = {p: kind_of(p) for p in paths if p.suffix.lower() not in COLUMNS or p.name.startswith("vectors")}
    every = set(kinds.values())
    if len(every) == 1 and len(paths) > 1:
        name = f"{paths[0].parent.name or paths[0].parent.absolute().name}"
        if every == {"parquet"}:
            return tables.parquet_files(paths, name)
        if every == {"arrow"}:
            return tables.arrow_files(paths, name)
    if len(paths) == 1 and kinds:
        return READERS[kinds[paths[0]]][1](paths[0])
    merged, frame, sources = {}, None, []
    for path in paths:
        sources.append(path.name)
        part = READERS[kinds[path]][1](path) if path in kinds else Arrays({}, str(path), _columns(path))
        if isinstance(part, Table):
            if any(tables.is_vector(f.type) for f in part.schema):
                raise InputError(f"{path}: a table with vectors cannot be joined to {paths[0]}; import them one by one")
            import pyarrow as pa

            part = Arrays({}, str(path), pa.Table.from_batches(list(part.batches())).to_pandas())
        for name, x in part.arrays.items():
            if name in merged:
                raise InputError(f"{path}: a second array named {name!r}; rename one of the files")
            merged[name] = x
        if part.columns is not None:
            frame = part.columns if frame is None else frame.join(part.columns, rsuffix="_2")
    return Arrays(merged, " + ".join(sources), frame)


def _columns(file: Path) -> pd.DataFrame:
    try:
        if file.suffix.lower() in (".json", ".jsonl"):
            return pd.read_json(file, lines=file.suffix.lower() == ".jsonl", dtype=False)
        return pd.read_csv(file, sep="\t" if file.suffix.lower() == ".tsv" else ",", dtype=str, keep_default_na=False)
    except (ValueError, OSError, UnicodeDecodeError, pd.errors.ParserError) as e:
        raise InputError(f"{file}: not readable as a table ({first_line(e)})") from None


def _guess(found: Arrays | Table, reading: Reading, said: list[str]) -> Reading:
    """Names of modalities from names of columns, where none were given: image_embedding is image."""
    if reading.modalities:
        return reading
    if isinstance(found, Table):
        names = [f.name for f in found.schema if tables.is_vector(f.type)]
    else:
        names = [k for k, x in found.arrays.items() if x.ndim > 1]
    guessed: dict[str, str] = {}
    for name in names:
        short = _short(name)
        guessed[short if short not in guessed and short not in names else _plain(name)] = name
    for m, column in guessed.items():
        if m != column:
            said.append(f"{column} is the modality {m}")
    return Reading(guessed, reading.id, reading.label)


def _short(name: str) -> str:
    text = name
    for end in ENDS:
        for cut in (f"_{end}", f".{end}", f"-{end}"):
            text = text.removesuffix(cut)
        text = text.removeprefix(f"{end}_")
    return {"img": "image", "txt": "text"}.get(text, _plain(text or name))


def _plain(name: str) -> str:
    text = "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "_" for c in name).lstrip("_-.")
    return text or "vectors"


def _with_id(es: EmbeddingSet, said: list[str]) -> EmbeddingSet:
    """A column that names every item once is its id, where the source has none."""
    if not (es.items["id"] == [str(i) for i in range(len(es))]).all():
        return es
    for c in es.items:
        if str(c).lower() in IDS and es.items[c].notna().all() and es.items[c].astype(str).is_unique:
            said.append(f"{c} is the id: every item has another one")
            es.items["id"] = es.items[c].astype(str)
            return es
    said.append("ids are the numbers of the rows: no column names every item once")
    return es


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
