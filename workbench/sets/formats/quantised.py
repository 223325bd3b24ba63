"""Vectors of whole numbers with their scale, their zero or their lowest value beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.errors import InputError
from workbench.sets.formats.guess import says_vector, words

SCALE, ZERO, LOW = {"scale", "scales"}, {"zero", "zeros", "zp", "zeropoint"}, {"min", "minimum", "offset", "bias"}
BESIDES = {"point", "points", "quant", "quantization", "quantisation", "quantized", "q", "int8", "uint8"}


@dataclass(frozen=True)
class Quantised:
    """The names of what stands beside vectors of whole numbers q: (q - zero) · scale + low; empty for none."""

    scale: str = ""
    zero: str = ""
    low: str = ""

    def __bool__(self) -> bool:
        return bool(self.scale or self.zero)

    @property
    def names(self) -> list[str]:
        """Those that are there."""
        return [n for n in (self.zero, self.scale, self.low) if n]

    def __str__(self) -> str:
        said = [(self.zero, "less"), (self.scale, "times"), (self.low, "plus")]
        return ", ".join(f"{how} {name}" for name, how in said if name)

    def real(self, x: np.ndarray, numbers: Callable[[str], np.ndarray]) -> np.ndarray:
        """The numbers that whole ones stand for; `numbers` gives those beside them, of a shape that goes with x."""
        out = x.astype(np.float64)
        if self.zero:
            out -= numbers(self.zero)
        if self.scale:
            out *= numbers(self.scale)
        if self.low:
            out += numbers(self.low)
        return out.astype(np.float32)


def _subject(name: str) -> frozenset[str]:
    known = {w for w in words(name) if not says_vector(w)}
    return frozenset(known - SCALE - ZERO - LOW - BESIDES)


def beside(name: str, others: Iterable[str]) -> Quantised:
    """What a name's vectors were quantised by, among other names: called as they are, or as nothing else.

    >>> str(beside("image_emb", ["image_scale", "image_zero_point", "text_scale", "label"]))
    'less image_zero_point, times image_scale'
    """
    found: dict[str, str] = {}
    for role, said in (("scale", SCALE), ("zero", ZERO), ("low", LOW)):
        named = [o for o in others if o != name and said & {*words(o)} and (role == "low" or not LOW & {*words(o)})]
        own = [o for o in named if _subject(o) == _subject(name)] or [o for o in named if not _subject(o)]
        if len(own) == 1:
            found[role] = own[0]
    if "scale" not in found:
        found.pop("low", None)  # a least value alone may be anything
    return Quantised(**found)


def shaped(x: Any, rows: int, width: int, name: str, source: str) -> np.ndarray:
    """Numbers beside vectors, (rows, 1) or (1, width) or one; raises `InputError` for any other count."""
    flat = np.asarray(x, dtype=np.float64).reshape(-1)
    if len(flat) not in (1, rows, width):
        raise InputError(
            f"{source}: {name!r} has {len(flat):,} numbers; a scale or a zero is one, or one a row ({rows:,}), or one "
            f"a dimension ({width:,})"
        )
    if not np.isfinite(flat).all():
        raise InputError(f"{source}: {name!r} has no number at row {int((~np.isfinite(flat)).argmax())}")
    return flat[:, None] if len(flat) == rows else flat[None]
