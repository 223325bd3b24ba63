"""Files and folders that are whole or not there, and tensors on disk."""

from __future__ import annotations

import ctypes
import json
import math
import os
import re
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.errors import InputError, first_line

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with whole_file(path) as staging:
        staging.write_text(text, encoding="utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place once it is written, and is gone where that fails."""
    if path.is_dir() or not path.name:
        raise InputError(f"{path}: is a folder; give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.writing")
    try:
        yield staging
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path` that takes its place once it is filled, and is gone where that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".writing", dir=path.parent))
    try:
        yield staging
        staging.chmod(0o755)
        replace_folder(staging, path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def cache_folder() -> Path:
    """Where what was worked out once is kept for the next time: WORKBENCH_CACHE, else the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("WORKBENCH_CACHE") or Path(home) / "workbench")


def is_kept(name: str) -> bool:
    """Whether there is something under this name."""
    return (cache_folder() / f"{name}.npz").exists()


def kept(name: str, make: Callable[[], list[np.ndarray]]) -> list[np.ndarray]:
    """Arrays that were kept under this name, or are made now; where nothing can be kept they are made each time."""
    import numpy as np

    file = cache_folder() / f"{name}.npz"
    try:
        with np.load(file, allow_pickle=False) as known:
            return [known[f"arr_{i}"] for i in range(len(known.files))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # not there, cut short, or of another time
    made = make()
    # where nothing can be kept it is made again the next time
    with suppress(OSError, InputError), whole_file(file) as staging, staging.open("wb") as f:
        np.savez(f, *made)
    return made


def finite(x: Any) -> Any:
    """The same with nothing in the place of NaN and infinity, which JSON does not know.

    >>> finite({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    if isinstance(x, Mapping):
        return {str(k): finite(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [finite(v) for v in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


def read_yaml(text: str) -> Any:
    """YAML as its version 1.2 has it: 010 is ten, 12:30 and no are text, 1e-3 is a number.

    Raises `yaml.YAMLError` where it is none; no object is ever made.

    >>> read_yaml("[010, 12:30, no, 1e-3, true, ~]")
    [10, '12:30', 'no', 0.001, True, None]
    """
    import yaml

    return yaml.load(text, _loader())  # noqa: S506 - a safe loader


@cache
def _loader() -> Any:
    import yaml

    class Plain(yaml.SafeLoader):
        yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    for kind, pattern, first, make in SCALARS:
        Plain.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{pattern})$"), list(first))
        Plain.add_constructor(f"tag:yaml.org,2002:{kind}", lambda loader, node, make=make: make(node.value))
    return Plain


def _float(text: str) -> float:
    word = text.lower().lstrip("-+")
    return float(text.replace(".", "")) if word in (".inf", ".nan") else float(text)


NUMBER = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
SCALARS: list[tuple[str, str, str, Callable[[str], Any]]] = [
    ("null", r"~|null|Null|NULL|", "~nN\0", lambda _: None),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF", lambda s: s.lower() == "true"),
    ("int", r"[-+]?[0-9]+", "-+0123456789", int),
    ("float", rf"{NUMBER}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+.0123456789", _float),
]


# by the names of torch's types: files are also written where nobody needs torch, which takes a second to import
CODES = {
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.int64": "I64",
    "torch.int32": "I32",
}


CHECK_ROWS = 65_536  # rows looked at together when a set is checked or hashed: bounds the memory of both


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Every tensor of a file, memory-mapped; `InputError` where the file is missing or cut short."""
    from safetensors import safe_open

    try:
        with safe_open(file, framework="pt") as f:
            return {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise InputError(f"{file}: no such file") from None
    except Exception as e:
        raise InputError(f"{file}: truncated or not safetensors ({first_line(e)})") from None


def write_safetensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Tensors by name, some rows at a time, so that what is mapped from disk is never whole in memory."""
    import torch

    header, at = {}, 0
    for name, x in tensors.items():
        size = x.numel() * x.element_size()
        header[name] = {"dtype": CODES[str(x.dtype)], "shape": list(x.shape), "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with file.open("wb") as f:
        f.write(len(raw).to_bytes(8, "little") + raw)
        for x in tensors.values():
            for start in range(0, len(x), CHECK_ROWS):
                f.write(x[start : start + CHECK_ROWS].contiguous().view(torch.uint8).numpy().data)


def replace_folder(new: Path, path: Path) -> None:
    """Put `new` in the place of `path` in one step; the old folder, if any, is removed afterwards."""
    if not path.exists():
        os.rename(new, path)
    elif _exchange(new, path):
        shutil.rmtree(new)
    else:  # no atomic exchange on this system: the old folder keeps its content under another name until the end
        old = path.with_name(f".{path.name}.previous")
        shutil.rmtree(old, ignore_errors=True)
        os.rename(path, old)
        os.rename(new, path)
        shutil.rmtree(old)


def _exchange(a: Path, b: Path) -> bool:
    """Linux's renameat2 with RENAME_EXCHANGE; False where there is none."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    at_fdcwd, exchange = -100, 2
    return call(at_fdcwd, os.fsencode(a), at_fdcwd, os.fsencode(b), exchange) == 0
