"""Arrays of any number type as floating vectors: quantised, packed, without a type, or one name a vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.errors import InputError
from workbench.sets.formats.guess import Column
from workbench.sets.formats.quantised import beside, shaped
from workbench.sets.formats.tidy import unpacked

MANY = 8  # vectors of one length by name that are items, not columns
CAPTIONS = 32  # vectors of a name at most, where names have several
NARROW = ("int8", "uint8", "int16", "uint16")


def kind_of_numbers(x: Any) -> str:
    """The type of an array's or tensor's numbers, by its short name."""
    return str(x.dtype).removeprefix("torch.")


def column(name: str, x: Any) -> Column:
    """An array of two or more axes, as the guess takes it."""
    kind = kind_of_numbers(x)
    if x.ndim == 3:
        return Column(name, kind, int(x.shape[2]), "even")
    return Column(name, kind, int(x.shape[-1]) if x.ndim == 2 else 0)


def widened(x: Any, name: str, source: str, bits: bool = False) -> tuple[Any, str]:
    """An array or tensor as floating vectors, and what it was."""
    kind = kind_of_numbers(x)
    size = f"{x.shape[-1]} numbers a row" if x.ndim else ""
    if bits and kind in ("uint8", "int8"):
        return unpacked(np.asarray(x)), f"bits packed in {kind}, {8 * x.shape[-1]} dimensions of +1 and -1"
    if kind.startswith("float8"):
        raw = x.float() if hasattr(x, "detach") else x.astype(np.float32)
        return raw, f"{kind}, {size}, widened to float32"
    if not hasattr(x, "detach"):
        if kind == "bfloat16":
            return x.astype(np.float32), f"{kind}, {size}, widened to float32"
        if x.dtype.kind == "V" and x.dtype.names is None and x.dtype.itemsize == 2:
            return bfloat16(x), f"two bytes a number without a type, read as bfloat16, {size}"
        if x.dtype.kind == "V":
            raise InputError(f"{source}: {name!r} holds {x.dtype}, numbers without a type; save them as float32")
        if x.dtype.kind in "iu" and x.ndim in (2, 3):
            to = np.float32 if kind in NARROW else np.float64
            return x.astype(to), f"{kind}, {size}, widened to {np.dtype(to).name}"
    elif not x.dtype.is_floating_point and not x.dtype.is_complex and kind != "bool":
        x = x.float() if kind in NARROW else x.double()
        return x, f"{kind}, {size}, widened to {kind_of_numbers(x)}"
    return x, f"{kind}, {size}"


def dequantised(arrays: Mapping[str, Any], source: str) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Arrays with vectors of whole numbers as the numbers they stand for, where their scale or zero stands beside them;
    and what those were. A scale or a zero that is no column of the rows is gone with it."""
    whole = [k for k, x in arrays.items() if x.ndim == 2 and not column(k, x).floating]
    by = {k: q for k in whole if (q := beside(k, [o for o in arrays if o not in whole]))}
    out, was = dict(arrays), {}
    for k, q in by.items():
        n, d = arrays[k].shape
        out[k] = q.real(np.asarray(arrays[k]), lambda name, n=n, d=d: shaped(arrays[name], n, d, name, source))  # type: ignore[misc]
        was[k] = f"{kind_of_numbers(arrays[k])}, {d} numbers a row, {q}"
        for name in q.names:
            if arrays[name].ndim != 1 or len(arrays[name]) != n:
                out.pop(name, None)
    return out, was


def bfloat16(x: np.ndarray) -> np.ndarray:
    """Two bytes a number as float32, whose upper half they are."""
    raw = np.ascontiguousarray(x).view(np.uint16).astype(np.uint32) << 16
    return raw.view(np.float32)


@dataclass(frozen=True)
class Named:
    """Vectors by name as one array, `ids` their names; `rows`: of which of these each row is, where some have several.

    Without ids: what is no such thing, as it was.
    """

    arrays: Mapping[str, Any]
    ids: list[str] = field(default_factory=list)
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)


def by_key(arrays: Mapping[str, Any]) -> Named:
    """Many vectors of one width by name, or a few of each name."""
    widths = {x.shape[-1] if x.ndim in (1, 2) else 0 for x in arrays.values()}
    counts = [x.shape[0] if x.ndim > 1 else 1 for x in arrays.values()]
    if len(arrays) < MANY or len(widths) != 1 or widths.pop() < 2:
        return Named(arrays)
    few = 0 < min(counts) < max(counts) <= CAPTIONS and all(x.ndim == 2 for x in arrays.values())
    if set(counts) != {1} and not few:
        return Named(arrays)
    parts = list(arrays.values())
    kinds = {kind_of_numbers(x) for x in parts}
    if len(kinds) != 1 or not kinds.pop().startswith(("float", "bfloat", "int8", "uint8")):
        return Named(arrays)
    whole: Any
    if hasattr(parts[0], "detach"):
        import torch

        whole = torch.cat([x.reshape(-1, x.shape[-1]) for x in parts])
    else:
        whole = np.concatenate([np.asarray(x).reshape(-1, x.shape[-1]) for x in parts])
    return Named({"vectors": whole}, list(arrays), {"vectors": np.repeat(np.arange(len(parts)), counts)} if few else {})
