"""Tables of any diagnostic: within each value of a column, layer by layer, or template by template."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from workbench.errors import InputError, unknown
from workbench.report.diagnose import diagnose
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import as_set

FIELDS = ["name", "modalities", "value", "low", "high", "null_low", "null_high", "n_query", "n_gallery", "reason"]
HEADLINES = ("recall_at_1", "modality_gap", "alignment", "uniformity")
LAYERED = ("avqi_safe_vs_adversarial", "avqi_quantile", "effective_rank", "mean_cosine")
MOST = 200  # slices of one column: more is a name


def slices(
    data: Any, by: str, *, only: Sequence[str] = HEADLINES, within: bool = False, **settings: Any
) -> pd.DataFrame:
    """Diagnostics by the values of a column: a row a slice, diagnostic and scope, with n and interval.

    Retrieval keeps the whole gallery, and only its queries are sliced, so that slices can be compared; `within=True`
    cuts the gallery too. Everything else is computed on the items of the slice alone.

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
    groups = es.items.groupby(by, sort=True, dropna=True).indices
    if len(groups) > MOST:
        raise InputError(f"column {by!r} has {len(groups):,} values, more than {MOST}: a name, not a label")
    out = []
    per_query = [] if within else [n for n in only if n.startswith(("recall_at", "mrr", "ndcg", "mixed_recall"))]
    whole = diagnose(es, only=per_query, **settings) if per_query else None
    rest = [n for n in only if n not in per_query]
    for value, at in groups.items():
        if whole is not None:
            out += [{by: value, "items": len(at), **row} for row in _queries(whole, es, at)]
        if rest:
            frame = diagnose(es.take(at), only=rest, **settings).frame[FIELDS]
            out += [{by: value, "items": len(at), **row} for row in frame.to_dict("records")]
    return pd.DataFrame(out)


def _queries(report, es: EmbeddingSet, at: np.ndarray) -> list[dict[str, Any]]:
    """Retrieval of the queries of some items against everything."""
    from workbench.diagnostics import intervals

    out = []
    for r in report.frame.to_dict("records"):
        column = f"{r['name']} {'→'.join(r['modalities'])}"
        row = {f: r[f] for f in FIELDS}
        values = report.items[column].to_numpy()[at] if column in report.items else np.array([])
        has = np.isfinite(values)
        if has.sum() < 2:
            row |= {"value": math.nan, "low": math.nan, "high": math.nan, "n_query": int(has.sum())}
            row["reason"] = r["reason"] or "fewer than two queries"
        else:
            family = torch.as_tensor(es.families[at][has])
            low, high = intervals.bootstrap(torch.from_numpy(values[has]), family, "mean")
            row |= {"value": float(values[has].mean()), "low": low, "high": high, "n_query": int(has.sum())}
            # fewer queries: the null is as much wider as its mean is less certain
            wider = math.sqrt(r["n_query"] / has.sum())
            for end in ("null_low", "null_high"):
                row[end] = min(max(r["null"] + (r[end] - r["null"]) * wider, 0.0), 1.0)
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
    only = only or (LAYERED if settings.get("roles") else LAYERED[2:])
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
    out = []
    for k in range(least):
        one = EmbeddingSet(
            {query: es[query][first[items] + k], key: es[key]},
            es.items,
            rows={query: items} | ({} if es.aligned(key) else {key: es.item_of_row(key)}),
        )
        report = diagnose(one, only=["recall_at_1", "mrr"], **settings)
        label = names[k] if k < len(names) else str(k)
        for name in ("recall_at_1", "mrr"):
            r = report.row(name, query, key)
            out.append({"template": label, "name": name, **{f: r[f] for f in FIELDS if f != "name"}})
    frame = pd.DataFrame(out)
    for name, part in frame.groupby("name", sort=False):
        spread = float(part["value"].max() - part["value"].min())
        frame.loc[len(frame)] = {"template": "spread", "name": name, "modalities": (query, key), "value": spread}
    return frame
