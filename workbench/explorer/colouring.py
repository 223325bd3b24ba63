"""What points can be coloured by, and selected by: the items' columns and the ranks of their matches, as codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import unknown
from workbench.explorer import wire_format as wire
from workbench.explorer.inspection import Inspection
from workbench.sets import columns
from workbench.views.theme import HUES

MODALITY = "modality"
COLOURED = 8  # categories with a colour of their own; the others share one and are found by search
CATEGORIES = 5_000  # values of a column that is still a legend
NO_COLOUR = 65_535
REST = "#8a949e"
RANK = "rank "


def measures(inspection: Inspection) -> list[str]:
    """The columns of the items that are told apart by colour or by a chart, and the ranks of each direction."""
    return inspection.once("measures", lambda: _measures(inspection))


def _measures(inspection: Inspection) -> list[str]:
    items, out = inspection.items, []
    for c in items:
        x = items[c]
        if c == "id" or columns.holds_bytes(x):
            continue
        if x.dtype.kind in "fiu" or x.nunique() <= CATEGORIES and x.nunique() < len(x):
            out.append(str(c))
    return out + [f"{RANK}{a} → {b}" for a, b in inspection.directions]


def direction(name: str) -> tuple[str, str] | None:
    """The direction whose ranks a name means; nothing where it is a column."""
    a, arrow, b = name.removeprefix(RANK).partition(" → ")
    return (a, b) if name.startswith(RANK) and arrow else None


def values(inspection: Inspection, name: str) -> np.ndarray:
    """The value of each item (N,) under one of `measures`: numbers, where it has some, else text."""
    ranked = direction(name)
    if name not in inspection.items and ranked in inspection.directions:
        return inspection.ranks(*ranked)
    if name not in inspection.items:
        raise unknown("column", name, [MODALITY, *measures(inspection)])
    column = inspection.items[name]
    if column.dtype.kind in "fiu":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return columns.text(column)


def categories(text: np.ndarray) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Codes by falling frequency, names and counts; an item of which nothing is said has no colour."""
    said = pd.Series(text)
    counts = said[said != ""].value_counts()
    place = pd.Series(np.arange(len(counts)), index=counts.index)
    codes = place.reindex(said, fill_value=NO_COLOUR).to_numpy()
    return codes, [str(n) for n in counts.index], counts.to_numpy()


def coded(inspection: Inspection, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """A code an item under one of `measures`, and the legend of those codes."""
    given = values(inspection, name)
    if given.dtype.kind == "f":
        return _scaled(given, name, ranks=name not in inspection.items)
    codes, names, counts = categories(given)
    own = inspection.hues.get(name, {})
    entries = [
        {"name": n, "count": int(c), "color": own.get(n) or (HUES[k] if k < COLOURED else "")}
        for k, (n, c) in enumerate(zip(names, counts, strict=True))
    ]
    return codes.astype(np.uint16), {"kind": "category", "title": name, "entries": entries, "rest": REST}


def _scaled(given: np.ndarray, name: str, *, ranks: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """Numbers between their first and last percentile; ranks by their logarithm, from the first to the last."""
    known = np.isfinite(given)
    if not known.any():
        return np.full(len(given), NO_COLOUR, np.uint16), {"kind": "value", "title": name}
    low, high = (1.0, float(given[known].max())) if ranks else np.quantile(given[known], [0.01, 0.99])
    scale = np.log if ranks else np.asarray
    span = float(scale(high) - scale(low)) or 1.0
    with np.errstate(invalid="ignore"):
        share = np.clip((scale(given) - scale(low)) / span, 0, 1)
    code = np.where(known, np.nan_to_num(share) * 255, NO_COLOUR).astype(np.uint16)
    ends = {"low": f"{low:,.4g}", "high": f"{high:,.4g}"}
    missing = int((~known).sum())
    return code, {"kind": "value", "title": name, "colors": wire.ramp(), "rest": REST, "missing": missing, **ends}
