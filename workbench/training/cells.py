"""Grids: every combination of some values, and the name of a combination that a file or a folder can have."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LONGEST = 80  # letters of a label that stands as it is


def cells(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the values, the last name varying fastest."""
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def label(name: str, cell: Mapping[str, Any]) -> str:
    """The name of a cell; values that are no file name, such as paths, keep their readable part and a hash.

    >>> label("infonce", {"train.temperature": 0.05})
    'infonce-temperature=0.05'
    """
    said = "-".join([name, *(f"{k.split('.')[-1]}={v}" for k, v in cell.items())])
    safe = re.sub(r"[^\w.=,+-]", "_", said)
    if safe == said and len(safe) <= LONGEST:
        return safe
    return f"{safe[:LONGEST] if safe == said else safe[-LONGEST:]}-{hashlib.sha256(said.encode()).hexdigest()[:6]}"
