"""From states to one row of a report: the value, its interval, its null, and its sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from workbench.diagnostics import intervals, subsamples
from workbench.diagnostics.context import Context
from workbench.diagnostics.registry import Curve, Diagnostic, NotApplicable, statistics_of
from workbench.diagnostics.scope import Measurement, Scope
from workbench.diagnostics.scoped_name import ScopedName
from workbench.scan.statistics import PairStatistic, State
from workbench.scan.threads import give_back, threads

Columns = dict[str, np.ndarray]  # per-item values by diagnostic and scope, each (N,)
Arrays = dict[tuple[str, Scope], dict[str, np.ndarray]]  # curves by name and scope


def answers(asked: Sequence[Measurement], context: Context) -> tuple[list[dict[str, Any]], Columns, Arrays]:
    """Every measurement answered from the states of one scan: rows of a report, per-item columns, curves."""
    rows: list[dict[str, Any]] = []
    columns: Columns = {}
    arrays: Arrays = {}
    errors = subsamples.errors(asked, context)
    give_back()

    def answer(one: Measurement) -> tuple[dict[str, Any] | None, Columns, Arrays]:
        if isinstance(one.of, Curve):
            return None, {}, _drawn(one.of, one, context)
        column: Columns = {}
        return _row(one.of, one, context, column, errors.get(id(one), subsamples.Error())), column, {}

    with threads(context.scan.device) as pool:
        for row, column, made in pool.map(answer, asked):
            rows += [row] if row else []
            columns |= column
            arrays |= made
    return rows, columns, arrays


def _drawn(c: Curve, one: Measurement, context: Context) -> Arrays:
    more = (context.es, *one.scope) if c.sees_set else ()
    try:
        made = c.function(*(context.known[x] for x in one.reads), *more)
    except NotApplicable:
        return {}
    return {(c.name, one.scope): {k: np.asarray(x) for k, x in made.items()}}


def _row(
    d: Diagnostic, one: Measurement, context: Context, columns: Columns, error: subsamples.Error
) -> dict[str, Any]:
    """One row of a report; NaN with the reason where the diagnostic does not apply. `error`: its, if subsampled."""
    row = {
        "name": d.name,
        "modalities": one.scope,
        "value": math.nan,
        "low": math.nan,
        "high": math.nan,
        "interval_kind": d.interval,
        "null_low": math.nan,
        "null": math.nan,
        "null_high": math.nan,
        "null_kind": d.null.kind,
        "reference": d.null.reference,
        "better": d.better,
        "n_query": 0,
        "n_gallery": 0,
        "exact": True,
        "params": dict(one.params),
        "unit": d.unit,
        "bound": d.bound,
        "reason": None,
    }
    if one.reason:
        return row | {"reason": one.reason}
    try:
        return row | _evaluated(d, one, context, columns, error)
    except NotApplicable as why:
        return row | {"reason": str(why)}


def _evaluated(
    d: Diagnostic, one: Measurement, context: Context, columns: Columns, error: subsamples.Error
) -> dict[str, Any]:
    """The fields of a report's row that can be known; per-item values go to `columns`."""
    known, scope, params, reads = context.known, one.scope, one.params, one.reads
    replicated = [r.replicates(known, context.es) if hasattr(r, "replicates") else None for r in reads]
    states = [known[r] if t is None else t.full for r, t in zip(reads, replicated, strict=True)]
    got = d.function(*states, **params)
    if d.each:
        value, (low, high), many = _over_each(d, one, got, states[0], context, columns)
    else:
        value, (low, high), many = float(got), intervals.NO_INTERVAL, 0
        exact = [t.without for t in replicated if t is not None]
        if d.interval in intervals.JACKKNIVES and exact:
            low, high = intervals.JACKKNIVES[d.interval](value, d.function(*exact, **params))
    if not math.isfinite(value):
        raise NotApplicable("not a finite number: all vectors coincide, so there is nothing to divide by")
    if d.subsampled:
        families = int(context.family.max()) + 1
        low, high = intervals.subsampled(
            value, error.of(value), families, subsamples.PARTS, share=d.share, bound=d.bound
        )
    kind = d.interval
    if not kind.startswith("none"):
        kind += " over families"
        if not math.isfinite(low):
            few = int(context.family.max()) + 1 < intervals.FEW
            why = "not asked for" if not context.subsampling else "parts of the set are too small for it"
            kind = f"none: fewer than {intervals.FEW} families" if few else f"none: {why}"
        else:
            low, high = (min(max(x, d.bound[0]), d.bound[1]) if d.bound else x for x in (low, high))
    band = d.null.band(context, [known[x] for x in one.null_reads], scope, **params)
    sized = sizes(reads, context)
    if many:  # as many values as the mean was taken over
        sized["n_query"] = many
        sized["n_gallery"] = sized["n_gallery"] if d.on == "direction" else max(many, sized["n_gallery"] // len(scope))
    return sized | {
        "value": value,
        "low": low,
        "high": high,
        "interval_kind": kind,
        **dict(zip(("null_low", "null", "null_high"), _clipped(band, d.bound), strict=True)),
    }


def _clipped(band: tuple[float, float, float], bound: tuple[float, float] | None) -> tuple[float, ...]:
    low, high = bound or (-math.inf, math.inf)
    return tuple(min(max(x, low), high) if math.isfinite(x) else math.nan for x in band)


def _over_each(
    d: Diagnostic,
    one: Measurement,
    got: Any,
    state: State,
    context: Context,
    columns: Columns,
) -> tuple[float, tuple[float, float], int]:
    """Value, interval and number of values, where there is one an item, a query or a row; keeps them as a column."""
    if d.each == "row":
        got, item = got
    else:
        item = (
            state["row"] if d.each == "item" else context.owner[one.params.get("anchor") or one.scope[0]][state["row"]]
        )
    if len(got) < 2:
        raise NotApplicable("fewer than two matched items" if d.each != "row" else "fewer than two rows to judge")
    got = got.double()
    family = context.family[item]
    weight = state["count"] if d.each == "item" else torch.ones_like(got)
    column = torch.zeros(len(context.family), dtype=torch.float64).index_add(0, item, got)
    count = torch.zeros(len(context.family), dtype=torch.float64).index_add(0, item, weight)
    columns[ScopedName(d.name, one.scope).column] = (column / count).numpy()  # 0/0: the item has no value
    if d.each == "item":
        value = float(got.sum() / weight.sum())
        return value, intervals.jackknife_of_a_mean(got, weight, family), int(weight.sum())
    value = float(got.mean() if d.reduce == "mean" else got.quantile(0.5))
    if d.subsampled:
        return value, intervals.NO_INTERVAL, len(got)
    return (
        value,
        intervals.of_a_share(got, family) if d.reduce == "mean" else intervals.of_a_median(got, family),
        len(got),
    )


def sizes(reads: tuple, context: Context) -> dict[str, Any]:
    """How many queries met how many keys, and whether that was all of them."""
    known, read = context.known, statistics_of(reads)
    looked = {s.query: s for s in read if isinstance(s, PairStatistic) and "row" in known[s]}
    if looked:
        return {
            "n_query": sum(len(known[s]["row"]) for s in looked.values()),
            "n_gallery": sum(context.rows[k] for k in {s.key for s in read if isinstance(s, PairStatistic)}),
            "exact": not any(context.scan.sampled(s) for s in looked.values()),
        }
    state = known[read[0]]
    n = int(state["n"].sum()) if "n" in state else int(state["count"].sum()) if "cross" in state else len(state["row"])
    return {"n_query": n, "n_gallery": n}
