"""What is checked once, on entry: names, dtypes, shapes, finite rows, ids and splits."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.disk import CHECK_ROWS
from workbench.errors import InputError, first_line
from workbench.sets import columns

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
SPLITS = ("train", "validation", "test")
FAR = 1e60  # the largest number of a row, and one over the smallest such: fourth powers can be summed in float64


def some(modalities: Collection[str], source: str) -> None:
    """Refuse a set of nothing."""
    if not modalities:
        raise InputError(f"{source}: no modality; give at least one array of vectors, such as {{'image': x}}")


def tensor_of(name: str, x: Any, source: str) -> Tensor:
    """Vectors as a float tensor (n, d) or (n, L, d) on the CPU; raises `InputError` for all that are none."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(f"{source}: {name!r} is no modality name; use letters, digits, '_', '-' and '.'")
    if not isinstance(x, Tensor):
        try:
            x = np.asarray(x)
        except (TypeError, ValueError) as e:
            raise InputError(f"{source}: modality {name!r} is no array of numbers ({first_line(e)})") from None
        if x.dtype.byteorder == ">":
            x = x.astype(x.dtype.newbyteorder("="))
        x = _plain(x)
        if x.dtype.kind not in "fiu":
            raise InputError(f"{source}: modality {name!r} has dtype {x.dtype}; vectors must be numbers")
        if x.dtype.itemsize > 8:
            x = x.astype(np.float64)
        x = torch.from_numpy(np.require(x, requirements=["C", "W"]))
    x = x.detach().cpu()
    if x.dtype.is_complex or x.dtype == torch.bool:
        raise InputError(f"{source}: modality {name!r} has dtype {str(x.dtype)[6:]}; vectors must be numbers")
    if not x.dtype.is_floating_point:  # quantised, or counts: exact in the type that is taken
        x = x.to(torch.float32 if x.dtype.itemsize < 4 else torch.float64)
    elif x.dtype.itemsize < 2:
        x = x.to(torch.float32)
    if x.ndim not in (2, 3) or 0 in x.shape:
        shape = "×".join(map(str, x.shape)) or "a single number"
        raise InputError(f"{source}: modality {name!r} is {shape}; vectors must be (rows, d) or (rows, layers, d)")
    return x


def _plain(x: np.ndarray) -> np.ndarray:
    """Arrays of numbers as numpy knows them: bfloat16 and float8 of ml_dtypes, and lists of numbers as objects."""
    if x.dtype.kind == "V" and x.dtype.fields is None and "float" in x.dtype.name:
        return x.astype(np.float32)
    if x.dtype.kind == "O" and x.ndim == 1 and len(x) and all(isinstance(row, list | np.ndarray) for row in x):
        widths = {len(row) for row in x}
        if len(widths) == 1:
            try:
                return np.asarray([*x], dtype=np.float64)
            except (TypeError, ValueError):
                return x
    return x


def check_rows(name: str, x: Tensor, source: str, item: Tensor | None = None) -> None:
    """Every number finite, no row of zeros, none out of the range in which fourth powers can be summed; the first
    offender is named, by its `item` where rows are not the items."""

    def place(row: int) -> str:
        if item is None:
            return f"row {row}"
        several = int((item == item[row]).sum()) > 1
        return f"row {row} (of item {int(item[row])})" if several else f"row {int(item[row])}"

    for start in range(0, len(x), CHECK_ROWS):
        part = x[start : start + CHECK_ROWS]
        # the sum of a row is finite unless an entry is not, or it overflows: only then look closer
        if not bool(part.double().sum().isfinite()):
            bad = (~part.isfinite()).nonzero()
            if len(bad):
                row, column = int(bad[0, 0]) + start, int(bad[0, -1])
                value = "NaN" if bool(part[tuple(bad[0])].isnan()) else "an infinite number"
                raise InputError(
                    f"{source}: modality {name!r} has {value} at {place(row)}, dimension {column} "
                    f"({len(bad)} such entries among {len(part):,} rows); "
                    "mend those rows, or leave them out (--drop-missing)"
                )
        largest = part.abs().amax(-1)
        zero = (largest == 0).nonzero()
        if len(zero):
            raise InputError(
                f"{source}: modality {name!r} has a zero vector at {place(int(zero[0, 0]) + start)}, which has no "
                "direction; leave the row out (--drop-missing): the modality is then missing for that item"
                + (f"; zeros that fill up captions: --captions {name} too" if x.ndim == 3 else "")
            )
        if part.dtype == torch.float64 and len(far := ((largest > FAR) | (largest < 1 / FAR)).nonzero()):
            raise InputError(
                f"{source}: the largest number of modality {name!r} at {place(int(far[0, 0]) + start)} is "
                f"{float(largest[tuple(far[0])]):.0e}, and powers of such leave the range of numbers; such rows are "
                "often memory that was never written: embed them again, or divide all rows by one number"
            )


def items_of(items: pd.DataFrame | None, count: int, source: str) -> pd.DataFrame:
    """The frame of items with unique ids as text, its splits known; raises `InputError` where they are not."""
    items = pd.DataFrame(index=range(count)) if items is None else items.reset_index(drop=True).copy()
    items.columns = [str(c) for c in items.columns]
    twice = items.columns[items.columns.duplicated()]
    if len(twice):
        raise InputError(f"{source}: two columns are called {twice[0]!r}; give each a name of its own")
    items = columns.settled(items)
    if "id" not in items:
        items.insert(0, "id", [str(i) for i in range(count)])
    if (gone := columns.missing(items["id"])).any():
        raise InputError(f"{source}: column 'id' is empty at row {int(np.flatnonzero(gone)[0])}; each item needs one")
    items["id"] = pd.Series(columns.text(items["id"]).tolist(), index=items.index)
    if items["id"].duplicated().any():
        row = int(np.flatnonzero(items["id"].duplicated())[0])
        raise InputError(
            f"{source}: column 'id' has {items['id'][row]!r} twice, again at row {row}; ids must be unique, or "
            "rows of one item: --item id; where two columns name a row together, --id batch,id"
        )
    if "split" in items:
        odd = ~items["split"].isin(SPLITS) & items["split"].notna()
        if odd.any():
            row = int(np.flatnonzero(odd)[0])
            raise InputError(
                f"{source}: column 'split' has {items['split'][row]!r} at row {row}; it may hold {', '.join(SPLITS)}"
            )
    return items
