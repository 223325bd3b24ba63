"""Tables of any diagnostic: within each value of a column, layer by layer, or template by template."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from workbench.diagnostics import intervals
from workbench.diagnostics.registry import choose, diagnostics, headlines
from workbench.diagnostics.scoped_name import ScopedName
from workbench.errors import InputError, unknown
from workbench.report.diagnose import diagnose
from workbench.report.report import Report
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import as_set

FIELDS = ["name", "modalities", "value", "low", "high", "null_low", "null_high", "reference"]
FIELDS += ["n_query", "n_gallery", "reason"]
MOST = 200  # slices of one column: more is a name


def slices(
    data: Any, by: str, *, only: Sequence[str] | None = None, within: bool = False, **settings: Any
) -> pd.DataFrame:
    """Diagnostics by the values of a column: a row a slice, diagnostic and scope, with n and interval.

    By default the headline numbers. Retrieval keeps the whole gallery, and only its queries are sliced, so that slices
    can be compared; `within=True` cuts the gallery too. Everything else is computed on the items of the slice alone.

    >>> import workbench as wb
    >>> es = wb.testing.planted(items=60)
    >>> es.items["kind"] = ["a", "b"] * 30
    >>> frame = slices(es, "kind", only=["recall_at_1"])
    >>> sorted(frame["kind"].unique())
    ['a', 'b']
    """
    es = as_set(data)
    if by not in es.items:
        raise unknown("column of the items", by, es.items.columns)
    groups = columns.members(es.items[by])
    if len(groups) > MOST:
        raise InputError(f"column {by!r} has {len(groups):,} values, more than {MOST}: a name, not a label")
    out = []
    chosen = choose(only or headlines())
    per_query = [] if within else [d.name for d in chosen if d.per_query]
    if settings.get("label") == by:  # within one class there is nothing to tell apart: rows are judged among all
        per_query += [d.name for d in chosen if d.labelling and d.each]
    whole = diagnose(es, only=per_query, **settings) if per_query else None
    rest = [d.name for d in chosen if d.name not in per_query]
    for value, at in groups.items():
        if whole is not None:
            out += [{by: value, "items": len(at), **row} for row in _queries(whole, es, at)]
        if rest:
            frame = diagnose(es.take(at), only=rest, **settings).frame[FIELDS]
            out += [{by: value, "items": len(at), **row} for row in frame.to_dict("records")]
    return pd.DataFrame(out)


def _queries(report: Report, es: EmbeddingSet, at: np.ndarray) -> list[dict[str, Any]]:
    """Retrieval of the queries of some items against everything."""
    out = []
    for r in report.frame.to_dict("records"):
        column = ScopedName(r["name"], r["modalities"]).column
        reduce = diagnostics()[r["name"]].reduce
        row = {f: r[f] for f in FIELDS}
        values = report.items[column].to_numpy()[at] if column in report.items else np.array([])
        has = np.isfinite(values)
        if has.sum() < 2:
            row |= {"value": math.nan, "low": math.nan, "high": math.nan, "n_query": int(has.sum())}
            row["reason"] = r["reason"] or "fewer than two queries"
        else:
            family = torch.as_tensor(es.families[at][has])
            made = intervals.of_a_share if reduce == "mean" else intervals.of_a_median
            low, high = made(torch.from_numpy(values[has]), family)
            value = float(np.mean(values[has]) if reduce == "mean" else np.median(values[has]))
            row |= {"value": value, "low": low, "high": high, "n_query": int(has.sum())}
            # fewer queries: the null is as much wider as its mean or median is less certain
            wider = math.sqrt(r["n_query"] / has.sum())
            for end in ("null_low", "null_high"):
                row[end] = float(np.clip(r["null"] + (r[end] - r["null"]) * wider, *(r["bound"] or (None, None))))
        out.append(row)
    return out


def layers(data: Any, *, only: Sequence[str] | None = None, **settings: Any) -> pd.DataFrame:
    """Diagnostics of every layer of a set whose rows have layers: a row a layer, diagnostic and scope.

    By default rank and cone, and the cluster indices where roles are given.

    >>> import torch
    >>> draw = torch.Generator().manual_seed(0)
    >>> frame = layers({"text": torch.randn(40, 3, 8, generator=draw)}, only=["effective_rank"])
    >>> frame["layer"].tolist()
    [0, 1, 2]
    """
    es = as_set(data)
    if not only:
        grouped = {"role"} if settings.get("roles") else set()
        only = [n for n, d in diagnostics().items() if d.layered and {d.labelling} - {""} <= grouped]
    if not es.layers:
        raise InputError(f"{es.source}: its rows have no layers; give vectors of shape (rows, layers, dimensions)")
    out = []
    for k in range(es.layers):
        frame = diagnose(es, only=only, layer=k, **settings).frame[FIELDS]
        out += [{"layer": k, **row} for row in frame.to_dict("records")]
    return pd.DataFrame(out)


def templates(data: Any, query: str, key: str, *, names: Sequence[str] = (), **settings: Any) -> pd.DataFrame:
    """Prompt sensitivity: retrieval with the k-th row of each item's queries alone, for every k that all items have.

    Rows of an item must stand in the order of the templates. The last line, `spread`, is the largest value minus the
    smallest: how much the choice of a template decides.
    """
    es = as_set(data)
    count = torch.bincount(es.item_of_row(query), minlength=len(es))
    least = int(count[count > 0].min()) if bool((count > 0).any()) else 0
    if least < 2:
        raise InputError(f"{es.source}: prompt sensitivity needs at least two rows of {query!r} for every item")
    first = count.cumsum(0) - count
    items = (count > 0).nonzero()[:, 0]
    paired = [n for n, d in diagnostics().items() if d.paired]
    out = []
    for k in range(least):
        one = EmbeddingSet(
            {query: es[query][first[items] + k], key: es[key]},
            es.items,
            rows={query: items} | ({} if es.aligned(key) else {key: es.item_of_row(key)}),
        )
        report = diagnose(one, only=paired, **settings)
        label = names[k] if k < len(names) else str(k)
        for name in paired:
            r = report.row(name, query, key)
            out.append({"template": label, "name": name, **{f: r[f] for f in FIELDS if f != "name"}})
    frame = pd.DataFrame(out)
    for name, part in frame.groupby("name", sort=False):
        spread = float(part["value"].max() - part["value"].min())
        frame.loc[len(frame)] = {
            "template": "spread",
            "name": name,
            "modalities": (query, key),
            "value": spread,
            "reference": False,
        }
    return frame
