"""Files of arrays: .npy, .npz, safetensors, torch files, and folders of them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench.disk import read_safetensors
from workbench.errors import InputError, first_line
from workbench.sets.formats.keys import plainly
from workbench.sets.formats.registry import reader
from workbench.sets.formats.shards import splits
from workbench.sets.formats.source import Arrays

SWELL = 100  # times that an archive may grow when it is opened; embeddings hardly shrink
SMALL = 1 << 28  # bytes that may always come out of one


@reader("npy", "one array of numpy", magic=b"\x93NUMPY", suffixes=(".npy",))
def npy(file: Path) -> Arrays:
    """One array: the modality is called as the file."""
    return Arrays({file.stem: array_of(file)}, str(file))


def array_of(file: Path) -> np.ndarray:
    """The array of an .npy file, mapped from it."""
    try:
        return np.load(file, mmap_mode="c", allow_pickle=False)  # copy on write: torch wants writable memory
    except Exception as e:  # a damaged header fails in as many ways as Python's parser knows
        if "pickle" in str(e).lower() or "object" in str(e).lower():
            raise InputError(f"{file}: holds Python objects, which are never unpickled; save plain numbers") from None
        raise InputError(f"{file}: truncated or not an .npy file ({first_line(e)}); fetch or write it again") from None


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
        raise InputError(f"{file}: truncated or not an .npz file ({first_line(e)}); fetch or write it again") from None
    return Arrays({k: x for k, x in arrays.items() if isinstance(x, np.ndarray)}, str(file))


def swells(file: Path) -> None:
    """Refuse an archive that says of itself that it grows beyond all measure."""
    try:
        with zipfile.ZipFile(file) as z:
            out = sum(i.file_size for i in z.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as e:
        raise InputError(f"{file}: truncated or not a zip archive ({first_line(e)}); fetch or write it again") from None
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
    return Arrays({k: x if x.ndim > 1 else flat(x) for k, x in tensors.items()}, str(file))


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
        raise InputError(f"{file}: truncated or not a torch file ({first_line(e)}); fetch or write it again") from None
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as e:  # torch has many ways to say so
        if "weights_only" in str(e) or "Unsupported" in str(e):
            raise InputError(
                f"{file}: holds Python objects, which are never unpickled; save a dict of tensors"
            ) from None
        raise InputError(f"{file}: truncated or not a torch file ({first_line(e)}); fetch or write it again") from None
    if isinstance(found, torch.Tensor):
        return Arrays({file.stem: found}, str(file))
    if not isinstance(found, dict):
        raise InputError(f"{file}: holds a {type(found).__name__}; a dict of tensors by modality is read")
    if _names_modalities(found):
        return _by_modality(found, file)
    return Arrays(*_held(found, file))


def _names_modalities(found: Mapping[Any, Any]) -> bool:
    """Whether a dict holds a dict of vectors by item for each modality, and not one of modalities for each item."""
    import torch

    parts = list(found.values())
    if not parts or not all(isinstance(v, dict) and len(v) > len(parts) for v in parts):
        return False
    return all(isinstance(x, torch.Tensor) and x.numel() > 1 for part in parts for x in part.values())


def flat(x: Any) -> np.ndarray:
    """A tensor of one axis as an array; of a type that numpy lacks as float32."""
    import torch

    narrow = x.dtype == torch.bfloat16 or "float8" in str(x.dtype)
    return x.float().numpy() if narrow else x.numpy()


def _held(found: Mapping[Any, Any], file: Path) -> tuple[dict[str, Any], str]:
    """The tensors of a dict, or of a dict of such dicts that have the same names: {path: {image: x, text: y}}."""
    import torch

    inner = [v for v in found.values() if isinstance(v, dict)]
    if len(inner) == len(found) > 1 and len({frozenset(map(str, v)) for v in inner}) == 1:
        if all(isinstance(x, torch.Tensor) and x.ndim > 1 for v in inner for x in v.values()) and splits(list(found)):
            whole = {str(n): torch.cat([v[n] for v in inner]).detach() for n in inner[0]}
            counts = [len(next(iter(v.values()))) for v in inner]
            return whole | {"split": np.repeat([str(k) for k in found], counts)}, str(file)
        turned: dict[str, Any] = {"id": np.asarray([str(k) for k in found])}
        for name in inner[0]:
            parts = [v[name] for v in inner]
            if all(isinstance(x, torch.Tensor) and x.numel() > 1 for x in parts):
                turned[str(name)] = _stacked(parts, name, file)
            elif all(isinstance(x, str | int | float) for x in parts):
                turned[str(name)] = np.asarray(parts)
        return turned, str(file)
    arrays: dict[str, Any] = {}
    for k, x in found.items():
        if isinstance(x, np.ndarray):
            x = torch.from_numpy(x)
        if isinstance(x, list | tuple) and x and all(isinstance(v, torch.Tensor) and v.ndim > 1 for v in x):
            x = torch.cat(list(x))  # batches, as a loop collects them
        if isinstance(x, torch.Tensor):
            x = x.detach()
            arrays[str(k)] = x if x.ndim > 1 else flat(x)
        elif isinstance(x, list | tuple) and x and all(isinstance(v, str | int | float | dict | None) for v in x):
            arrays[str(k)] = _column(x)
    return arrays, str(file)


def _stacked(vectors: Sequence[Any], name: Any, file: Path) -> Any:
    """Vectors as the rows of one tensor."""
    import torch

    flats = [x.detach().reshape(-1) for x in vectors]
    if len({len(x) for x in flats}) > 1:
        raise InputError(f"{file}: {name!r} has vectors of several lengths; one modality needs one length")
    return torch.stack(flats)


def _column(values: Sequence[Any]) -> np.ndarray:
    """A list as a column: as numpy has it, or value by value where some are missing or maps."""
    if all(isinstance(v, str | int | float) for v in values):
        return np.asarray(values)
    held = np.empty(len(values), dtype=object)
    held[:] = values
    return held


def _plainly(key: Any) -> str:
    return plainly(str(key))


def _by_modality(found: Mapping[Any, Mapping[Any, Any]], file: Path) -> Arrays:
    """{image: {path: x}, text: {path: y}}: the items are the paths, whatever their order in each."""
    import torch

    spelt: Callable[[Any], str] = str
    if all(len({plainly(str(i)) for i in part}) == len(part) for part in found.values()):
        spelt = _plainly  # é in one part, and in the other as an e and an accent
    ids = list(dict.fromkeys(spelt(i) for part in found.values() for i in part))
    place = {i: k for k, i in enumerate(ids)}
    arrays: dict[str, Any] = {"id": np.asarray(ids)}
    rows = {}
    for name, part in found.items():
        at = np.array([place[spelt(i)] for i in part])
        order = np.argsort(at)
        arrays[str(name)] = _stacked(list(part.values()), name, file)[torch.from_numpy(order)]
        if len(at) < len(ids):
            rows[str(name)] = at[order]
    return Arrays(arrays, str(file), None, rows)
