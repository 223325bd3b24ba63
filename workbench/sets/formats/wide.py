"""Arrays of any number type as floating vectors: quantised, packed, without a type, or one name a vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.errors import InputError
from workbench.sets.formats.guess import Column
from workbench.sets.formats.tidy import unpacked

MANY = 8  # vectors of one length by name that are items, not columns
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


def bfloat16(x: np.ndarray) -> np.ndarray:
    """Two bytes a number as float32, whose upper half they are."""
    raw = np.ascontiguousarray(x).view(np.uint16).astype(np.uint32) << 16
    return raw.view(np.float32)


def by_key(arrays: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """Many vectors of one length by name as one array, and their names; anything else as it is, and no names."""
    shapes = {tuple(x.shape) for x in arrays.values()}
    if len(arrays) < MANY or len(shapes) != 1:
        return arrays, []
    shape = shapes.pop()
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[0] != 1) or shape[-1] < 2:
        return arrays, []
    parts = list(arrays.values())
    kinds = {kind_of_numbers(x) for x in parts}
    if len(kinds) != 1 or not kinds.pop().startswith(("float", "bfloat", "int8", "uint8")):
        return arrays, []
    whole: Any
    if hasattr(parts[0], "detach"):
        import torch

        whole = torch.stack([x.reshape(-1) for x in parts])
    else:
        whole = np.stack([np.asarray(x).reshape(-1) for x in parts])
    return {"vectors": whole}, list(arrays)
