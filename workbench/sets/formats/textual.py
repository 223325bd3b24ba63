"""Vectors that are written as text: lists of Python and JSON, pgvector, PostgreSQL arrays, what numpy prints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.errors import InputError
from workbench.sets.formats.guess import SHORT, says_vector

# in the place of a vector; the last is PostgreSQL's null
NONE = {"", "nan", "none", "null", "na", "n/a", "<na>", "[]", "()", "{}", "\\n"}
SAMPLE = 100  # cells that tell whether a column of text holds vectors
_WRAP = re.compile(r"(?:(?:np\.|numpy\.|torch\.)?(?:array|tensor|vector)\s*\()?\s*([\[({])([^\[\](){}]*)[\])}]\s*"
                   r"(?:,\s*\w+\s*=\s*[\w.'\"]+\s*)*\)?\s*")  # fmt: skip
_GAP = re.compile(r"[,;|\s]+")


def numbers(text: str) -> np.ndarray | None:
    """The numbers of a text, float32; None where it is no vector.

    >>> numbers("[0.5 1.\\n 2.]").tolist(), numbers("array([1., 2.], dtype=float32)").tolist(), numbers("a cat")
    ([0.5, 1.0, 2.0], [1.0, 2.0], None)
    """
    text = text.strip()
    inside = _WRAP.fullmatch(text)
    if inside is None and not text[:1].isdigit() and text[:1] not in "-+.":
        return None
    body = inside[2] if inside else text
    if ";" in body and "," in body:  # 0,12; -0,3: what is within a number there is its decimal point
        body = body.replace(",", ".")
    try:
        return np.array([w for w in _GAP.split(body) if w], dtype=np.float32)
    except (ValueError, OverflowError):
        return None


def absent(cell: Any) -> bool:
    """Whether a cell stands for no vector at all."""
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in NONE)


def looks(name: str, cells: Sequence[Any]) -> tuple[int, bool] | None:
    """How many numbers the cells hold (0: it varies) and whether all are whole; None where they are no vectors."""
    there = [c for c in cells if not absent(c)][:SAMPLE]
    found = [numbers(c) for c in there]
    good = [(c, x) for c, x in zip(there, found, strict=True) if x is not None and len(x) > 1]
    bracketed = all(c.strip()[:1] not in "-+.0123456789" for c, _ in good)
    short = [c for c in there if "..." in c and c.strip()[:1] in "[(a" and any(map(str.isdigit, c))]
    if len(short) * 2 > len(there) or (short and says_vector(name)):
        return 0, False  # cut short by numpy: refused where it is read
    if not good or (len(good) * 2 < len(there) and not says_vector(name)):
        return None
    widths = {len(x) for _, x in good}
    width = widths.pop() if len(widths) == 1 else 0
    whole = all(not re.search(r"[.eE]|nan|inf|;.*,|,.*;", c) for c, _ in good)
    if not bracketed and (len(good) < len(there) or width < SHORT or whole) and not says_vector(name):
        return None  # such as a telephone number
    return width, whole


def parsed(cells: Sequence[Any], name: str, source: str, start: int) -> list[np.ndarray | None]:
    """The vector of each cell, None where there is none; raises `InputError` where a cell holds something else."""
    out: list[np.ndarray | None] = []
    for row, cell in enumerate(cells):
        x = None if absent(cell) else numbers(cell)
        if x is None and not absent(cell):
            short = "cut short with '...' by numpy: write all numbers, as with x.tolist()"
            cut = short if "..." in cell else "which is no vector"
            raise InputError(f"{source}: column {name!r} holds {cell!r:.60} at row {start + row}, {cut}")
        out.append(x)
    return out
