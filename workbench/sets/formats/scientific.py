"""HDF5, Zarr, AnnData and MuData."""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError, first_line
from workbench.sets.formats.arrays import SMALL, SWELL
from workbench.sets.formats.registry import reader
from workbench.sets.formats.source import Arrays, needed

HEAP = b"GCOL\x01\0\0\0"  # a collection of the global heap, version 1


@reader(
    "hdf5",
    "HDF5, AnnData .h5ad, MuData .h5mu",
    magic=b"\x89HDF\r\n\x1a\n",
    suffixes=(".h5", ".hdf5", ".h5ad", ".h5mu"),
    extra="hdf5",
)
def hdf5(file: Path) -> Arrays:
    """Datasets by name; those in groups are called group.name. Where AnnData or MuData wrote it, as such."""
    h5py = needed("h5py", "hdf5", "an HDF5 file")
    _heaps(file)
    try:
        with h5py.File(file, "r") as f:
            kind = f.attrs.get("encoding-type", "")
            kind = kind.decode() if isinstance(kind, bytes) else str(kind)
            if kind.lower() in ("anndata", "mudata"):
                return _annotated(file, f)
            arrays: dict[str, Any] = {}

            def take(name: str, node: Any) -> None:
                if isinstance(node, h5py.Dataset) and node.ndim in (1, 2, 3):
                    _measure(file, name, node.nbytes, node.id.get_storage_size())
                    arrays[name.replace("/", ".")] = _plain(node, name, file)

            f.visititems(take)
    except InputError:
        raise
    except Exception as e:
        raise InputError(f"{file}: truncated or not HDF5 ({first_line(e)}); fetch or write it again") from None
    return Arrays(arrays, str(file))


def _heaps(file: Path) -> None:
    """Refuse a heap of texts with an entry that takes no room: libhdf5 walks it for ever, and cannot be interrupted."""
    if not file.is_file() or not file.stat().st_size:
        return
    with file.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        start = raw.find(HEAP)
        while start >= 0:
            at, end = start + 16, min(start + int.from_bytes(raw[start + 8 : start + 16], "little"), len(raw))
            while at + 16 <= end:
                entry, size = (
                    int.from_bytes(raw[at : at + 2], "little"),
                    int.from_bytes(raw[at + 8 : at + 16], "little"),
                )
                # entry 0 is what is free, with its head; of the others the size is that of the text, in eights
                taken = (16 + -(-size // 8) * 8 if entry else size) % 2**64
                if not taken:
                    raise InputError(
                        f"{file}: damaged HDF5, its heap of texts at byte {start:,} has an entry without an end; "
                        "write the file anew (h5repack)"
                    )
                at += taken
            start = raw.find(HEAP, start + 1)


def _plain(node: Any, name: str, file: Path) -> np.ndarray:
    """A dataset as an array; text as text. References to objects and to other files are refused."""
    if not hasattr(node, "asstr"):  # of Zarr
        x = node[...]
        return np.array(x.tolist(), dtype=str) if x.dtype.kind in "OT" else x
    if node.dtype.kind == "O":
        if node.dtype.metadata and "vlen" in node.dtype.metadata and node.dtype.metadata["vlen"] in (str, bytes):
            return np.asarray(node.asstr()[...], dtype=str)
        raise InputError(f"{file}: dataset {name!r} holds {node.dtype}, which is neither numbers nor text")
    x = node[...]
    return np.char.decode(x, "utf-8") if x.dtype.kind == "S" else x


def _measure(file: Path, name: str, opened: int, stored: int) -> None:
    # a damaged header may declare more than the file has
    stored = min(stored, file.stat().st_size) if file.is_file() else stored
    if opened > SMALL and opened > SWELL * max(stored, 1):
        raise InputError(
            f"{file}: {name!r} holds {stored:,} bytes that open to {opened:,}: no set of embeddings shrinks so"
        )


@reader(
    "zarr",
    "Zarr",
    folder=lambda names, path: bool(names & {"zarr.json", ".zgroup", ".zarray"}),
    extra="zarr",
)
def zarr(path: Path) -> Arrays:
    """Arrays of a Zarr group by name."""
    library = needed("zarr", "zarr", "a Zarr store")
    arrays: dict[str, Any] = {}
    try:
        root = library.open(str(path), mode="r")
        if hasattr(root, "members") and "obs" in root and "obsm" in root:
            return _annotated(path, root)
        found = [(path.stem, root)] if not hasattr(root, "members") else list(root.members(max_depth=None))
        for name, node in found:
            if hasattr(node, "shape") and node.ndim in (1, 2, 3):
                _measure(path, name, node.nbytes, node.nbytes_stored())
                arrays[name.replace("/", ".")] = _plain(node, name, path)
    except InputError:
        raise
    except Exception as e:
        raise InputError(f"{path}: not a readable Zarr store ({first_line(e)})") from None
    return Arrays(arrays, str(path))


def _annotated(file: Path, f: Any) -> Arrays:
    """`obsm` as modalities and `obs` as columns; of MuData each member's own `obsm` too, called member.key.

    Read from the layout that both document, as their libraries hold pandas back.
    """
    whole = _frame(f["obs"], file)
    place = pd.Series(np.arange(len(whole)), index=whole["id"])
    arrays, rows = {}, {}
    said: list[str] = []
    for member, part in {"": f, **(dict(_members(f["mod"])) if "mod" in f else {})}.items():
        ids = whole["id"] if not member else _frame(part["obs"], file)["id"]
        for key, x in _members(part["obsm"]) if "obsm" in part else ():
            name = _name(f"{member}.{key.removeprefix('X_')}" if member else key.removeprefix("X_"))
            held = _held(x, name, file)
            if held is None:  # a mask of members is MuData's own
                said += [] if getattr(x, "ndim", 2) == 1 else [f"obsm {key} is left out: {_kind(x)}, and no vectors"]
                continue
            arrays[name] = held
            at = place.reindex(ids).to_numpy()
            if np.isnan(at.astype(float)).any():
                raise InputError(f"{file}: {name} has observations that obs does not name")
            if not np.array_equal(at, np.arange(len(whole))):
                rows[name] = at.astype(np.int64)
    if not arrays:
        raise InputError(f"{file}: no floating-point array in obsm; put the embeddings there, one a modality")
    return Arrays(arrays, str(file), whole, rows, said)


def _kind(node: Any) -> str:
    kind = node.attrs.get("encoding-type", "") or str(getattr(node, "dtype", "a group"))
    return kind.decode() if isinstance(kind, bytes) else str(kind).replace("_", " ")


def _held(node: Any, name: str, file: Path) -> np.ndarray | None:
    """A matrix of `obsm`, be it a frame whose columns are numbers; nothing where it is no matrix of floats."""
    if not hasattr(node, "dtype"):
        if _kind(node) != "dataframe":
            return None
        numbers = [node[c][...] for c in node.attrs.get("column-order", []) if hasattr(node[c], "dtype")]
        whole = len(numbers) == len(node.attrs.get("column-order", [])) > 0
        return np.stack(numbers, 1) if whole and all(x.dtype.kind == "f" for x in numbers) else None
    if node.ndim != 2 or node.dtype.kind != "f":
        return None
    _measure(file, name, node.nbytes, node.id.get_storage_size() if hasattr(node, "id") else node.nbytes_stored())
    return np.asarray(node[...])


def _members(group: Any) -> Iterable[tuple[str, Any]]:
    return group.items() if hasattr(group, "items") else group.members()


def _frame(group: Any, file: Path) -> pd.DataFrame:
    """A frame as AnnData stores it: its index as `id`, then columns of numbers, text, categories, nullable values."""
    index = group.attrs["_index"]
    columns: dict[str, Any] = {"id": _plain(group[index], str(index), file).astype(str)}
    for name in group.attrs.get("column-order", []):
        node = group[name]
        if hasattr(node, "dtype"):
            columns[str(name)] = _plain(node, str(name), file)
        elif "categories" in node:
            codes, known = node["codes"][...], _plain(node["categories"], str(name), file)
            columns[str(name)] = [known[c] if c >= 0 else None for c in codes]
        elif "values" in node:
            values = _plain(node["values"], str(name), file).tolist()
            held = [None if gone else v for v, gone in zip(values, node["mask"][...], strict=True)]
            columns[str(name)] = pd.Series(held, dtype=object if None in held else None)  # whole numbers stay whole
    return pd.DataFrame(columns)


def _name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "_-." else "_" for c in text)
