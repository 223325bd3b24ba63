"""Which format a path holds, told by its content; by its name only where the content does not say."""

from __future__ import annotations

from pathlib import Path

from workbench.errors import InputError
from workbench.sets.formats import (  # noqa: F401 - their readers declare themselves
    arrays,
    columnar,
    folders,
    plain,
    projector,
    scientific,
    tar,
)
from workbench.sets.formats.registry import HEAD, READERS, Reader

PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")  # gzip, bzip2, xz, zstd, zip


def told(path: Path) -> Reader | None:
    """The format that the content of a file or folder tells, if it tells one."""
    if path.is_dir():
        names = {p.name for p in path.iterdir()}
        fitting = [r for r in READERS.values() if r.tells_folder(names, path)]
        return min(fitting, key=lambda r: r.rank, default=None)
    if not path.is_file():
        return None  # a pipe would be waited for
    head = _head(path)
    return next((r for r in READERS.values() if r.tells_file(head, path)), None)


def named(path: Path) -> Reader | None:
    """The format that the name of a file means it to be."""
    if path.is_dir():
        return None
    return next((r for r in READERS.values() if path.suffix.lower() in r.suffixes and r.fits(path)), None)


def kind_of(path: Path) -> str:
    """Which format a path holds, by its content; by its name only where the content does not say.

    Raises `InputError` where there is nothing, or nothing that is known.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if found := told(path) or named(path):  # by its name: cut short, or damaged, and its reader says how
        return found.name
    known = ", ".join(READERS)
    if path.is_dir():
        raise InputError(
            f"{path}: nothing in it that is known: neither a set (manifest.json), nor a run (snapshots/), nor {known}"
        )
    head = _head(path)
    if head[:1] == b"\x80":
        raise InputError(f"{path}: is a pickle, which is never read; save plain arrays")
    if head[:4] == b"FEA1":
        raise InputError(f"{path}: the first version of Feather; write it again as Feather 2, Arrow or Parquet")
    if any(head.startswith(m) for m in PACKED):
        raise InputError(f"{path}: is compressed; unpack it first (gunzip, unzip, zstd -d), or write it as Parquet")
    raise InputError(f"{path}: cannot read {path.suffix.lower() or 'a file without suffix'}; known: {known}")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as f:
            return f.read(HEAD)
    except OSError:
        return b""
