"""A set out, in formats that other tools open; ids, columns and vectors as they are stored, to the bit."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from workbench.disk import CODES, write_safetensors
from workbench.errors import InputError, unknown
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats.columnar import list_column
from workbench.sets.formats.registry import WRITERS, Writer
from workbench.sets.formats.source import needed

NEIGHBOURS = 15  # of an item, in the file for Embedding Atlas
BREAKS = r"[\t\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+"  # what some program takes for the end of a line or a cell
SPRITE = 8_192  # pixels a side that TensorBoard's projector takes at most


def writer(name: str, what: str, *, extra: str = "") -> Callable[[Callable[[EmbeddingSet, Path], None]], Any]:
    """Register a format; files are written beside their place and moved there whole."""

    def register(f: Callable[[EmbeddingSet, Path], None]) -> Callable[[EmbeddingSet, Path], Path]:
        def whole(es: EmbeddingSet, out: Path) -> Path:
            out = Path(out).absolute()
            if out.is_dir() and any(out.iterdir()):
                raise InputError(f"{out}: a folder with something in it; choose another name, nothing was written")
            out.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".writing-", dir=out.parent) as scratch:
                staging = Path(scratch) / out.name
                f(es, staging)
                if out.is_dir():
                    out.rmdir()
                shutil.move(str(staging), str(out))
            return out

        whole.__doc__ = f.__doc__
        WRITERS[name] = Writer(name, what, whole, extra)
        return whole

    return register


def write(es: EmbeddingSet, out: str | Path, to: str) -> Path:
    """Write a set in a format by name: one of `WRITERS`.

    >>> import tempfile
    >>> import workbench as wb
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     len(wb.load(write(wb.testing.planted(items=10), f"{folder}/set.parquet", "parquet")))
    10
    """
    if to not in WRITERS:
        raise unknown("format to write", to, WRITERS)
    return WRITERS[to].write(es, Path(out))


def _aligned(es: EmbeddingSet, to: str) -> None:
    for m in es.modalities:
        if not es.aligned(m):
            raise InputError(
                f"{to} has one row an item, and {m!r} has {len(es[m]):,} rows for {len(es):,} items: write Parquet "
                "where some are missing, or save the set"
            )


def _numpy(x: torch.Tensor, to: str) -> np.ndarray:
    if x.dtype == torch.bfloat16:
        raise InputError(f"{to} knows no bfloat16: write safetensors, or make the vectors float32 first")
    return x.numpy()


def _one_row(es: EmbeddingSet, m: str) -> np.ndarray:
    rows = es.item_of_row(m).numpy()
    if len(np.unique(rows)) != len(rows):
        raise InputError(f"a table has one row an item, and {m!r} has several for some: save the set instead")
    return rows


@writer("parquet", "Parquet: a list column a modality, missing where it is missing")
def parquet(es: EmbeddingSet, out: Path) -> None:
    """Every modality a list column; a modality that an item lacks is null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(_columns(es)), out)


def _columns(es: EmbeddingSet) -> dict[str, Any]:
    import pyarrow as pa

    table: dict[str, Any] = {str(c): pa.array(es.items[c], from_pandas=True) for c in es.items}
    for m in es.modalities:
        if m in table:
            raise InputError(f"{m!r} is both a modality and a column of the items: rename the column")
        table[m] = _list_column(_numpy(es[m], "a table"), _one_row(es, m), len(es))
    return table


def _list_column(x: np.ndarray, rows: np.ndarray, count: int) -> Any:
    import pyarrow as pa

    inner = pa.array(np.ascontiguousarray(x).reshape(-1))
    if x.ndim == 3:
        inner = pa.FixedSizeListArray.from_arrays(inner, x.shape[2])
    lengths = np.zeros(count, np.int64)
    lengths[rows] = x.shape[1]
    return list_column(inner, lengths, lengths > 0)


@writer("arrow", "Arrow IPC, which is also Feather 2")
def arrow(es: EmbeddingSet, out: Path) -> None:
    """As Parquet, memory-mappable."""
    import pyarrow as pa
    import pyarrow.feather as feather

    feather.write_feather(pa.table(_columns(es)), str(out), compression="uncompressed")


@writer("atlas", "Parquet with x, y and neighbours, as Embedding Atlas opens it")
def atlas(es: EmbeddingSet, out: Path) -> None:
    """The map of the first modality's rows, each item's neighbours in it, and the columns without vectors."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from workbench.sets.projection import project

    m = es.modalities[0]
    _one_row(es, m)
    place = project(es.only([m]), "pca")
    xy = np.full((len(es), 2), np.nan, np.float32)
    xy[place.item] = place.xy
    table: dict[str, Any] = {str(c): pa.array(es.items[c], from_pandas=True) for c in es.items}
    table |= {"x": xy[:, 0], "y": xy[:, 1], "neighbors": pa.array(_neighbours(es, m))}
    pq.write_table(pa.table(table), out)


def _neighbours(es: EmbeddingSet, m: str) -> list[dict[str, list[Any]] | None]:
    """Positions and cosine distances of the nearest items."""
    x, rows = es.unit(m, dtype=torch.float32), es.item_of_row(m).numpy()
    k = min(NEIGHBOURS + 1, len(x))
    out: list[dict[str, list[Any]] | None] = [None] * len(es)
    for at in torch.arange(len(x)).split(1_024):
        found = (x[at] @ x.T).topk(k, dim=1)
        for i, near, cosine in zip(at.tolist(), found.indices.tolist(), found.values.tolist(), strict=True):
            kept = [(int(rows[j]), 1 - c) for j, c in zip(near, cosine, strict=True) if j != i][: k - 1]
            out[rows[i]] = {"ids": [j for j, _ in kept], "distances": [d for _, d in kept]}
    return out


@writer("npz", "arrays of numpy: modalities, and a column of the items each")
def npz(es: EmbeddingSet, out: Path) -> None:
    """Needs every item to have every modality, once."""
    _aligned(es, "npz")
    arrays = {m: _numpy(es[m], "npz") for m in es.modalities}
    with out.open("wb") as f:  # numpy would add a suffix to a name
        np.savez(f, **(arrays | _plain_columns(es, arrays)))  # type: ignore[arg-type]


def _plain_columns(es: EmbeddingSet, arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    out = {}
    for c in es.items:
        if c in arrays:
            raise InputError(f"{c!r} is both a modality and a column of the items: rename the column")
        if columns.holds_bytes(es.items[c]):
            raise InputError(f"column {c!r} holds bytes, which this format cannot keep: write Parquet")
        # dates, and whole numbers of which some are missing, have no type of their own there
        numbers = isinstance(es.items[c].dtype, np.dtype) and es.items[c].dtype.kind in "fiub"
        out[str(c)] = es.items[c].to_numpy() if numbers else columns.text(es.items[c]).astype(str)
    return out


@writer("safetensors", "tensors by name; columns that are numbers")
def safetensors(es: EmbeddingSet, out: Path) -> None:
    """Modalities to the bit, bfloat16 too; of the columns only numbers, as the format has no text."""
    _aligned(es, "safetensors")
    numbers = {
        str(c): torch.from_numpy(np.array(es.items[c])) for c in es.items if f"torch.{es.items[c].dtype}" in CODES
    }
    write_safetensors(out, {m: es[m] for m in es.modalities} | numbers)


@writer("hdf5", "HDF5", extra="hdf5")
def hdf5(es: EmbeddingSet, out: Path) -> None:
    """Modalities and columns as datasets."""
    h5py = needed("h5py", "hdf5", "an HDF5 file")
    _aligned(es, "HDF5")
    arrays = {m: _numpy(es[m], "HDF5") for m in es.modalities}
    with h5py.File(out, "w") as f:
        for name, x in arrays.items():
            f.create_dataset(name, data=x)
        for name, x in _plain_columns(es, arrays).items():
            f.create_dataset(name, data=x.astype(object) if x.dtype.kind == "U" else x, dtype=_text(h5py, x))


def _text(h5py: Any, x: np.ndarray) -> Any:
    return h5py.string_dtype() if x.dtype.kind == "U" else x.dtype


@writer("zarr", "Zarr", extra="zarr")
def zarr(es: EmbeddingSet, out: Path) -> None:
    """Modalities and columns as arrays of a group."""
    library = needed("zarr", "zarr", "a Zarr store")
    _aligned(es, "Zarr")
    arrays = {m: _numpy(es[m], "Zarr") for m in es.modalities}
    root = library.open_group(str(out), mode="w")
    for name, x in (arrays | _plain_columns(es, arrays)).items():
        if x.dtype.kind == "U":  # Zarr has a type for text of any length, none for numpy's fixed one
            root.create_array(name, shape=x.shape, dtype="string")[:] = x.astype(object)
        else:
            root.create_array(name, data=x)


@writer("lance", "Lance", extra="lance")
def lance(es: EmbeddingSet, out: Path) -> None:
    """As Parquet."""
    import pyarrow as pa

    needed("lance", "lance", "a Lance dataset").write_dataset(pa.table(_columns(es)), str(out))


@writer("projector", "a folder for TensorBoard's projector: a vectors file a modality, metadata, a sprite")
def projector(es: EmbeddingSet, out: Path) -> None:
    """Numbers are written with all their digits, so that float32 comes back to the bit."""
    _aligned(es, "the projector")
    out.mkdir()
    kept = [c for c in es.items if not columns.holds_bytes(es.items[c])]
    text = pd.DataFrame({c: columns.text(es.items[c]) for c in kept}).replace(BREAKS, " ", regex=True)
    if len(kept) == 1:
        (out / "metadata.tsv").write_text("\n".join(text[kept[0]]) + "\n", encoding="utf-8")
    else:
        lines = [
            "\t".join(re.sub(BREAKS, " ", str(c)) for c in kept),
            *("\t".join(r) for r in text.itertuples(index=False, name=None)),
        ]
        (out / "metadata.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    several = len(es.modalities) > 1
    for m in es.modalities:
        x = es[m].float().numpy()
        if x.ndim == 3:
            raise InputError(f"the projector has one vector a row, and {m!r} has layers: choose one with .layer(k)")
        file = out / (f"{m}_vectors.tsv" if several else "vectors.tsv")
        with file.open("w") as f:
            for row in x:
                f.write("\t".join(repr(float(v)) for v in row) + "\n")
        if several:
            shutil.copyfile(out / "metadata.tsv", out / f"{m}_metadata.tsv")
    if several:
        (out / "metadata.tsv").unlink()
    pictures = [c for c in es.items if str(c).endswith("_png")]
    if pictures:
        _sprite(es.items[pictures[0]], out / "sprite.png")


def _sprite(column: pd.Series, file: Path) -> None:
    import io
    import math

    from PIL import Image

    side = math.ceil(math.sqrt(len(column)))
    edge = max(1, min(64, SPRITE // side))
    sheet = Image.new("RGB", (side * edge, side * edge), "white")
    for k, raw in enumerate(column):
        if isinstance(raw, bytes):
            picture = Image.open(io.BytesIO(raw)).convert("RGB").resize((edge, edge))
            sheet.paste(picture, (k % side * edge, k // side * edge))
    sheet.save(file)
