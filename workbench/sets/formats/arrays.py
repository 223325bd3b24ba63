"""Files of arrays: .npy, .npz, safetensors, torch files, and folders of them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.disk import read_safetensors
from workbench.errors import InputError, first_line
from workbench.sets.formats.registry import reader
from workbench.sets.formats.source import Arrays

SWELL = 100  # times that an archive may grow when it is opened; embeddings hardly shrink
SMALL = 1 << 28  # bytes that may always come out of one


@reader("npy", "one array of numpy", magic=b"\x93NUMPY", suffixes=(".npy",))
def npy(file: Path) -> Arrays:
    """One array: the modality is called as the file."""
    return Arrays({file.stem: _npy(file)}, str(file))


@reader("npy folder", "a folder of .npy files, each a modality or a column", folder=".npy", rank=4)
def npy_folder(path: Path) -> Arrays:
    """A folder of .npy files, each a modality or a column."""
    return Arrays({file.stem: _npy(file) for file in sorted(path.glob("*.npy"))}, str(path))


def _npy(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="c", allow_pickle=False)  # copy on write: torch wants writable memory
    except Exception as e:  # a damaged header fails in as many ways as Python's parser knows
        if "pickle" in str(e).lower() or "object" in str(e).lower():
            raise InputError(f"{file}: holds Python objects, which are never unpickled; save plain numbers") from None
        raise InputError(f"{file}: truncated or not an .npy file ({first_line(e)})") from None


def _zipped(head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04")


def _holds_pickle(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as z:
            return any(n.endswith("data.pkl") for n in z.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _is_torch(head: bytes, path: Path) -> bool:
    return _zipped(head) and (path.suffix.lower() in (".pt", ".pth", ".bin", ".ckpt") or _holds_pickle(path))


@reader(
    "npz",
    "arrays of numpy, compressed or not",
    magic=lambda head, path: _zipped(head) and not _is_torch(head, path),
    suffixes=(".npz",),
)
def npz(file: Path) -> Arrays:
    """Arrays of numpy by name."""
    arrays = {}
    key = ""
    swells(file)
    try:
        # opened here: numpy forgets to close what turns out to be cut short
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as f:
            if not isinstance(f, np.lib.npyio.NpzFile):
                raise InputError(f"{file}: not an .npz file but a single array; name it .npy")
            for key in f.files:
                arrays[key] = f[key]
    except InputError:
        raise
    except ValueError as e:
        if "pickle" in str(e).lower() or "object" in str(e).lower():
            where = f"array {key!r} holds Python objects" if key else "is a pickle"
            raise InputError(f"{file}: {where}, which are never unpickled; save plain numbers or strings") from None
        raise InputError(f"{file}: array {key!r} is not readable ({first_line(e)})") from None
    except Exception as e:  # a damaged archive fails in as many ways as it has parts
        raise InputError(f"{file}: truncated or not an .npz file ({first_line(e)})") from None
    return Arrays({k: x for k, x in arrays.items() if isinstance(x, np.ndarray)}, str(file))


def swells(file: Path) -> None:
    """Refuse an archive that says of itself that it grows beyond all measure."""
    try:
        with zipfile.ZipFile(file) as z:
            out = sum(i.file_size for i in z.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as e:
        raise InputError(f"{file}: truncated or not a zip archive ({first_line(e)})") from None
    size = file.stat().st_size
    if out > SMALL and out > SWELL * size:
        raise InputError(f"{file}: {size:,} bytes that open to {out:,}: no set of embeddings shrinks so")


@reader(
    "safetensors",
    "tensors by name",
    magic=lambda head, path: head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size,
    suffixes=(".safetensors",),
)
def safetensors(file: Path) -> Arrays:
    """Tensors by name, mapped from the file."""
    tensors = read_safetensors(file)
    return Arrays({k: x if x.ndim > 1 else x.numpy() for k, x in tensors.items()}, str(file))


@reader("torch", "a dict of tensors by torch.save, read with weights_only", magic=_is_torch, suffixes=(".pt", ".pth"))
def torch_file(file: Path) -> Arrays:
    """A file of torch.save with nothing but tensors, plain containers and strings in it; no other object is made."""
    import torch

    try:
        with zipfile.ZipFile(file):
            swells(file)
    except zipfile.BadZipFile:
        pass  # the format before torch 1.6
    except InputError:
        raise
    except Exception as e:
        raise InputError(f"{file}: truncated or not a torch file ({first_line(e)})") from None
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as e:  # torch has many ways to say so
        if "weights_only" in str(e) or "Unsupported" in str(e):
            raise InputError(
                f"{file}: holds Python objects, which are never unpickled; save a dict of tensors"
            ) from None
        raise InputError(f"{file}: truncated or not a torch file ({first_line(e)})") from None
    if isinstance(found, torch.Tensor):
        return Arrays({file.stem: found}, str(file))
    if not isinstance(found, dict):
        raise InputError(f"{file}: holds a {type(found).__name__}; a dict of tensors by modality is read")
    arrays = {}
    for k, x in found.items():
        if isinstance(x, torch.Tensor):
            x = x.detach()
            arrays[str(k)] = x if x.ndim > 1 else x.numpy() if x.dtype != torch.bfloat16 else x.float().numpy()
        elif isinstance(x, list | tuple) and x and all(isinstance(v, str | int | float) for v in x):
            arrays[str(k)] = np.asarray(x)
    return Arrays(arrays, str(file))


@reader(
    "clip",
    "clip-retrieval and LAION: img_emb/, text_emb/, metadata/",
    folder=lambda names, path: (
        bool(names & {"img_emb", "text_emb"}) or any(n.startswith(("img_emb_", "text_emb_")) for n in names)
    ),
)
def clip_folder(path: Path) -> Arrays:
    """What clip-retrieval and LAION publish: `img_emb/img_emb_0.npy`, `text_emb/…`, `metadata/metadata_0.parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays: dict[str, np.ndarray] = {}
    parts: dict[str, list[Path]] = {}
    for name, folder in (("image", "img_emb"), ("text", "text_emb")):
        files = sorted([*path.glob(f"{folder}/{folder}_*.npy"), *path.glob(f"{folder}_*.npy")], key=_number)
        if files:
            parts[name] = files
            blocks = [_npy(f) for f in files]
            arrays[name] = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    files = sorted([*path.glob("metadata/metadata_*.parquet"), *path.glob("metadata_*.parquet")], key=_number)
    columns = None
    if files:
        try:
            columns = pa.concat_tables([pq.read_table(f) for f in files], promote_options="default").to_pandas()
        except Exception as e:
            raise InputError(f"{files[0].parent}: metadata not readable as Parquet ({first_line(e)})") from None
    counts = {name: len(x) for name, x in arrays.items()} | ({} if columns is None else {"metadata": len(columns)})
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{k} {n}" for k, n in counts.items())
        raise InputError(f"{path}: the shards do not agree on the number of items ({said})")
    return Arrays(arrays, str(path), columns)


def _number(file: Path) -> tuple[int, str]:
    tail = file.stem.rsplit("_", 1)[-1]
    return (int(tail), "") if tail.isdigit() else (0, file.stem)


@reader(
    "projector",
    "TensorBoard's projector: vectors.tsv, metadata.tsv",
    suffixes=(".tsv",),
    folder=lambda names, path: any(n.endswith("vectors.tsv") for n in names),
)
def projector(path: Path) -> Arrays:
    """TensorBoard's projector: `vectors.tsv`, and `metadata.tsv` with a header, or one label a line.

    A folder with `image_vectors.tsv`, `text_vectors.tsv`, … has a modality each.
    """
    if path.is_dir():
        parts = [projector(f) for f in sorted(path.glob("*vectors.tsv"))]
        columns = next((p.columns for p in parts if p.columns is not None), None)
        return Arrays({k: x for p in parts for k, x in p.arrays.items()}, str(path), columns)
    file = path
    try:
        vectors = pd.read_csv(file, sep="\t", header=None, dtype=np.float32)
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError) as e:
        raise InputError(f"{file}: needs one vector a line, numbers with tabs between ({first_line(e)})") from None
    meta = file.with_name(file.name.replace("vectors", "metadata"))
    columns = None
    if meta.exists() and meta != file:
        try:
            lines = meta.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as e:
            raise InputError(f"{meta}: not UTF-8 ({first_line(e)})") from None
        headed = "\t" in lines[0] if lines else False
        cells = [line.split("\t") for line in lines]
        names = cells[0] if headed else ["name"]
        body = cells[1:] if headed else cells
        if len(body) != len(vectors) or any(len(c) != len(names) for c in body):
            raise InputError(
                f"{meta}: needs {len(vectors)} lines of {len(names)} columns, as many as {file.name} has vectors"
            )
        columns = pd.DataFrame(body, columns=names)
    if vectors.isna().to_numpy().any():
        row = int(vectors.isna().any(axis=1).to_numpy().argmax())
        raise InputError(f"{file}: line {row + 1} has fewer than {vectors.shape[1]} numbers")
    stem = file.stem.replace("vectors", "").strip("_-. ")
    name = "".join(c if c.isalnum() or c in "_-." else "_" for c in stem) or "vectors"
    return Arrays({name: vectors.to_numpy()}, str(path), columns)
