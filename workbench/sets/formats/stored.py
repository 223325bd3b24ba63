"""Vectors kept as the bytes they have in memory, as in SQLite, LMDB and many a Parquet file; or as base64 of these."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import numpy as np

from workbench.errors import InputError
from workbench.sets.formats.guess import SHORT

KINDS = ("float16", "float32", "float64")  # the narrowest first: wide numbers look wild when they are cut in two
USUAL = {"float16": (1e-6, 1e2), "float32": (1e-9, 1e4), "float64": (1e-9, 1e4)}  # sizes of coordinates
MOST = 0.98  # of the numbers: of noise a sixth at the most


def looks(cells: Sequence[bytes]) -> tuple[str, int] | None:
    """The kind of the numbers that bytes are, and how many a vector; None where they are none.

    >>> x = np.random.default_rng(0).standard_normal((8, 16))
    >>> looks([row.astype("f4").tobytes() for row in x]), looks([b"a word of text!!" for _ in x])
    (('float32', 16), None)
    """
    lengths = {len(c) for c in cells}
    if len(lengths) != 1 or (length := lengths.pop()) < 2 * SHORT:
        return None
    raw = b"".join(cells)
    for kind in KINDS:
        size = np.dtype(kind).itemsize
        if length % size or length // size < SHORT:
            continue
        x = np.frombuffer(raw, kind)
        if kind == "float16" and not x[::2].any():
            continue  # every other one is zero: the lower halves of float32 that once was bfloat16
        least, most = USUAL[kind]
        with np.errstate(invalid="ignore"):  # of bytes that are no such numbers
            size_of = np.abs(x[x != 0].astype(np.float64))
        good = np.isfinite(size_of) & (size_of > least) & (size_of < most)
        if len(size_of) > len(x) // 4 and good.mean() >= MOST and len(np.unique(size_of)) > SHORT:
            return kind, length // size
    return None


def from_base64(text: str) -> bytes | None:
    """The bytes that a text is the base64 of; None where it is none, such as a word."""
    try:
        return base64.b64decode(text, validate=True) if len(text) >= 8 * SHORT else None
    except (binascii.Error, ValueError):
        return None


def as_bytes(cells: Sequence[str | bytes | None]) -> list[bytes | None]:
    """Cells as bytes, of texts what they are the base64 of; None for what is neither."""
    return [from_base64(c) if isinstance(c, str) else c for c in cells]


def vectors(cells: Sequence[bytes | None], kind: str, width: int, where: tuple[str, str, int]) -> np.ndarray:
    """The numbers of all that are there, (n, width) in float32 or float64; `where`: name, source and first row."""
    size = width * np.dtype(kind).itemsize
    for k, c in enumerate(cells):
        if c is not None and len(c) != size:
            name, source, start = where
            raise InputError(
                f"{source}: column {name!r} has {len(c):,} bytes at row {start + k}, where {size:,} ({width} numbers, "
                f"{kind}) are expected; all vectors of a modality need one length"
            )
    x = np.frombuffer(b"".join(c for c in cells if c is not None), kind).reshape(-1, width)
    return x.astype(np.float64 if kind == "float64" else np.float32)
