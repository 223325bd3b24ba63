"""Files of text as they are saved elsewhere: their encoding, what stands between columns, commas in numbers."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from workbench.errors import InputError

MARKS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}  # between columns, likeliest first
LINES = 20  # of a table, that tell what stands between its columns
_COMMA = re.compile(r"\s*[-+]?\d+(?:,\d+)?(?:[eE][-+]?\d+)?\s*")
WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),  # begins as UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)


def text_of(file: Path, said: list[str]) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 where it begins with a byte-order mark, which is said.

    Raises `InputError` with the line that is in another encoding.
    """
    raw = file.read_bytes()
    for mark, codec, name in WIDE:
        if raw.startswith(mark):
            try:
                text = raw.decode(codec)
            except UnicodeDecodeError:
                raise InputError(f"{file}: begins as {name} but is damaged; save it as UTF-8") from None
            said.append(f"{file.name} is {name}")
            return text
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        raise InputError(f"{file}: line {line} is not UTF-8 (byte 0x{raw[e.start]:02x}); save it as UTF-8") from None
    if "\0" in text[:100]:
        raise InputError(f"{file}: has zero bytes in its text, as UTF-16 without a mark has; save it as UTF-8")
    return text


def mark(text: str, usual: str) -> str:
    """What stands between the columns: `usual`, unless only another gives the first lines equally many columns.

    >>> mark("id;emb\\n1;[0.5, 1]\\n", ","), mark("id,emb\\n1,a;b\\n", ","), mark("caption\\na, b\\n", ",")
    (';', ',', ',')
    """
    widths = {}
    for sign in (usual, *(m for m in MARKS if m != usual)):
        try:
            lines = list(islice(csv.reader(io.StringIO(text[: 1 << 20], newline=""), delimiter=sign), LINES + 1))
        except csv.Error:  # such as a cell longer than it reads
            lines = [line.split(sign) for line in text[: 1 << 20].splitlines()[: LINES + 1]]
        counts = {len(line) for line in lines[:LINES] if line}
        if len(text) > 1 << 20 and len(lines) <= LINES:
            counts = {len(line) for line in lines[:-1] if line}
        widths[sign] = counts.pop() if len(counts) == 1 else 0
    if widths[usual] > 1:
        return usual
    best = max(widths, key=lambda m: widths[m])
    return best if widths[best] > 1 else usual


def decimal_points(columns: Mapping[str, list[Any]], name: str, said: list[str]) -> dict[str, list[Any]]:
    """Columns in which every number is written with a decimal comma, with points, which is said."""
    out, changed = dict(columns), []
    for column, cells in columns.items():
        there = [c for c in cells if c is not None]
        if any("," in c for c in there) and all(_COMMA.fullmatch(c) for c in there):
            out[column] = [None if c is None else c.replace(",", ".") for c in cells]
            changed.append(column)
    if changed:
        more = f" and {len(changed) - 1} more columns" if len(changed) > 1 else ""
        said.append(f"{name}: {changed[0]}{more} have numbers with a decimal comma")
    return out


def bare(path: Path) -> bool:
    """Whether a .tsv file is of numbers alone, as TensorBoard's projector has them, or is called so."""
    if path.suffix.lower() != ".tsv":
        return False
    if "vectors" in path.name or path.name == "tensors.tsv":
        return True
    try:
        with path.open("rb") as f:
            cells = f.readline(1 << 20).split(b"\t")
        return len(cells) > 1 and bool([float(c) for c in cells])
    except (ValueError, OSError):
        return False
