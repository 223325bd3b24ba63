"""What a format is: how it is told, read and written, declared with the function that does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats.source import Arrays, Table

HEAD = 16  # bytes that a file is told by


@dataclass(frozen=True)
class Reader:
    """How a format is told and read.

    `magic`: the first bytes of a file, or a function of these and the path; `suffixes`: names that say what a damaged
    file was meant to be, where it also `fits`, as two formats may share a suffix. `folder`: a function of the names in
    a folder and its path, or the suffix of the files in it; `rank`: of several formats that would read a folder the
    lowest does. `parts`: each file of such a folder may be a set of its own. `several` reads files of one schema as
    one. `extra`: the extra of this package that it needs.
    """

    name: str
    what: str
    read: Callable[[Path], Arrays | Table]
    magic: bytes | tuple[bytes, ...] | Callable[[bytes, Path], bool] = ()
    suffixes: tuple[str, ...] = ()
    fits: Callable[[Path], bool] = lambda path: True
    folder: str | Callable[[set[str], Path], bool] = ""
    rank: int = 0
    parts: bool = False
    several: Callable[[Sequence[Path], str], Arrays | Table] | None = None
    extra: str = ""

    @property
    def summary(self) -> str:
        """What the format is, in a few words."""
        return self.what + (f" (extra: {self.extra})" if self.extra else "")

    def tells_file(self, head: bytes, path: Path) -> bool:
        """Whether a file that begins so is of this format."""
        return self.magic(head, path) if callable(self.magic) else bool(self.magic) and head.startswith(self.magic)

    def tells_folder(self, names: set[str], path: Path) -> bool:
        """Whether a folder with files of these names is of this format."""
        if callable(self.folder):
            return self.folder(names, path)
        return bool(self.folder) and any(n.endswith(self.folder) for n in names)


@dataclass(frozen=True)
class Writer:
    """How a set is written in a format: `write(es, out)` gives the place that it made."""

    name: str
    what: str
    write: Callable[[EmbeddingSet, Path], Path]
    extra: str = ""

    @property
    def summary(self) -> str:
        """What the format is, in a few words."""
        return self.what + (f" (extra: {self.extra})" if self.extra else "")


READERS: dict[str, Reader] = {}
WRITERS: dict[str, Writer] = {}


def reader(name: str, what: str, **facts: Any) -> Callable[[Callable[[Path], Any]], Callable[[Path], Any]]:
    """Declare what reads a format, with the facts of `Reader`."""

    def register(f: Callable[[Path], Any]) -> Callable[[Path], Any]:
        READERS[name] = Reader(name, what, f, **facts)
        return f

    return register
