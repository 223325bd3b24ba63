"""What a reader hands on: arrays that are there at once, or a table that comes in batches."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import InputError


@dataclass
class Arrays:
    """Arrays by name, whatever can be sliced: two or three axes are vectors, one axis is a column of the items.

    `lacking`: why parts do not hold the same items, which is refused unless what lacks a row may be missing.
    """

    arrays: Mapping[str, Any]
    source: str
    columns: Any = None  # a frame of the items, where the format has one
    rows: Mapping[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)  # what was assumed while it was read, in plain words
    lacking: str = ""


@dataclass
class Table:
    """Record batches of one schema; columns of lists of numbers are vectors.

    `files`: the name and the count of rows of each, where several follow each other; `called`: in short, their split.
    """

    schema: Any
    batches: Callable[[], Iterator[Any]]
    count: int | None
    source: str
    said: list[str] = field(default_factory=list)
    files: Sequence[tuple[str, int]] = ()
    called: Sequence[str] = ()

    def __post_init__(self) -> None:
        once(self.schema.names, self.source)


def once(names: Iterable[str], source: object) -> None:
    """Refuse two columns of one name."""
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{source}: {count} columns are named {name!r}; a name says one thing: rename")


def needed(module: str, extra: str, what: str) -> Any:
    """A library that a format needs, or the one command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"{what} needs {module}: pip install 'workbench[{extra}]'") from None
