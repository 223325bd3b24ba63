"""One call from data to a Report: which diagnostics on which modalities, one sweep, then values, intervals, nulls."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.diagnostics import intervals
from workbench.diagnostics.clusters import ROLES
from workbench.diagnostics.registry import CURVES, Diagnostic, Reason, choose
from workbench.embeddings import EmbeddingSet
from workbench.errors import InputError, unknown
from workbench.executors import execute
from workbench.formats import as_set
from workbench.plan import SAMPLE_ROWS, Sweep
from workbench.report import Report, provenance
from workbench.statistics import Earlier, PairStatistic, Sample, State


@dataclass(frozen=True)
class Context:
    """What a null may ask beyond the states: the set, the classes, and the size of a retrieval."""

    es: EmbeddingSet
    label: Tensor | None
    sweep: Sweep
    known: Earlier

    def retrieval(self, states: Sequence[State], subject: tuple[str, ...]) -> tuple[int, int, np.ndarray]:
        """Queries with a match, keys, and matches a query."""
        state = states[0]
        if "positives" in state:
            positives, keys = state["positives"].numpy(), len(self.es[subject[1]])
        else:
            positives, keys = np.ones(len(state["row"])), len(state["row"])
        sample = self.known.get(Sample(subject[0], SAMPLE_ROWS))
        queries = len(positives) if sample is None else min(len(positives), len(sample["row"]))
        return queries, keys, positives


def diagnose(
    data: Any,
    *,
    only: Sequence[str] | None = None,
    label: str | None = None,
    roles: Mapping[str, Iterable[Any]] | None = None,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    layer: int | None = None,
    exact: bool = False,
    executor: str = "local",
    device: str = "auto",
) -> Report:
    """Diagnose a set, a path, or plain arrays `{"image": x, "text": y}`: every number with interval, null and n.

    `only` chooses diagnostics by name. `label` names a column of the items and `roles` maps its values to `safe`,
    `unsafe` and `jailbreak`, for the cluster indices. `params` overrides parameters: `{"uniformity": {"t": 3}}`.
    Sets with layers are read at `layer` (default: the last). Above 20,000 rows pair statistics sample their queries
    against the whole gallery and say so; `exact=True` forces the full sweep.
    """
    es = as_set(data)
    if es.layers:
        layer = es.layers - 1 if layer is None else layer
        es = es.layer(layer)
    chosen = choose(only)
    settings = {d.name: d.params | _settings(d, (params or {}).get(d.name, {})) for d in chosen}
    for name in params or {}:
        if name not in settings:
            raise unknown("diagnostic", name, settings)
    codes = _roles(es, label, roles)
    jobs = [(d, s) for d in chosen for s in subjects(es, d.on)]
    families = {d.family for d in chosen}
    curves = [
        (c, s)
        for c in CURVES.values()
        if c.function.__module__.rsplit(".", 1)[-1] in families and (only is None)
        for s in subjects(es, c.on)
    ]
    reasons = {(d.name, s): _inapplicable(es, d.family, s, codes) for d, s in jobs}
    reads: dict[tuple, tuple] = {}
    for d, s in jobs:
        if not reasons[d.name, s]:
            reads[d.name, s] = d.reads(*s, **settings[d.name])
            reads[d.name, s, "null"] = d.null.reads(*s, **settings[d.name])
    for c, s in curves:
        if not _inapplicable(es, c.function.__module__.rsplit(".", 1)[-1], s, codes):
            reads[c.name, s] = c.reads(*s)
    wanted = [s for r in itertools.chain.from_iterable(reads.values()) for s in getattr(r, "statistics", (r,))]
    sweep = Sweep(es, wanted, label=None if codes is None else codes.numpy(), device=device, exact=exact)
    known = execute(sweep, executor)
    context = Context(es, codes, sweep, known)
    rows: list[dict[str, Any]] = []
    columns: dict[str, np.ndarray] = {}
    for d, s in jobs:
        key, settings_here = (d.name, s), settings[d.name]
        row = _blank(d, s, settings_here)
        try:
            if reasons[key]:
                raise Reason(reasons[key])
            row |= _evaluate(d, s, settings_here, reads[key], known, context, columns)
            band = d.null.band(context, [known[x] for x in reads[(*key, "null")]], s, **settings_here)
            row |= dict(zip(("null_low", "null", "null_high"), _clipped(band, d.bound), strict=True))
        except Reason as why:
            row["reason"] = str(why)
        rows.append(row)
    arrays = {}
    for c, s in curves:
        if (c.name, s) in reads:
            try:
                made = c.function(*(known[x] for x in reads[c.name, s]))
            except Reason:
                continue
            arrays[c.name, s] = {k: np.asarray(x) for k, x in made.items()}
    items = pd.DataFrame({"id": es.items["id"]} | columns)
    about = provenance(es, device=str(sweep.device), executor=executor, layer=layer, label=label)
    return Report(pd.DataFrame(rows), items, arrays, about)


def subjects(es: EmbeddingSet, on: str) -> list[tuple[str, ...]]:
    m = es.modalities
    if on == "modality":
        return [(x,) for x in m]
    if on == "pair":
        return list(itertools.combinations(m, 2))
    if on == "direction":
        return list(itertools.permutations(m, 2))
    return [m] if len(m) > 1 else []


def _settings(d: Diagnostic, given: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in d.params:
            raise unknown(f"parameter of {d.name}", name, d.params)
    try:
        return {k: type(d.params[k])(v) for k, v in given.items()}
    except (TypeError, ValueError):
        raise InputError(f"{d.name}: parameters {dict(given)} do not fit; the defaults are {d.params}") from None


def _roles(es: EmbeddingSet, label: str | None, roles: Mapping[str, Iterable[Any]] | None) -> Tensor | None:
    if label is not None and label not in es.items:
        raise unknown("column of the items", label, es.items.columns)
    if roles is None:
        return None
    if label is None:
        raise InputError("roles= needs label=, the column of the items whose values it maps")
    codes = torch.full((len(es),), -1)
    values = es.items[label].astype(str).to_numpy()
    for role, members in roles.items():
        if role not in ROLES:
            raise unknown("role", role, ROLES)
        members = [members] if isinstance(members, str) else members
        wanted = {str(x) for x in members}
        missing = wanted - set(values)
        if missing:
            raise InputError(f"roles: column {label!r} never has {', '.join(sorted(missing))} (for role {role!r})")
        codes[torch.from_numpy(np.isin(values, sorted(wanted)))] = ROLES.index(role)
    return codes


def _inapplicable(es: EmbeddingSet, family: str, subject: tuple[str, ...], codes: Tensor | None) -> str:
    """The reason why nothing of this family can be said of these modalities, or nothing."""
    widths = {m: es[m].shape[-1] for m in subject}
    if len(set(widths.values())) > 1:
        said = ", ".join(f"{m} {d}-d" for m, d in widths.items())
        return f"different spaces: {said}; train or project them into one first"
    if family == "clusters" and codes is None:
        return "needs label= and roles={safe, unsafe, jailbreak}: the index means nothing on other groups"
    if len(subject) > 1:
        shared = set(es.rows(subject[0]).tolist()) if not es.aligned(subject[0]) else None
        for m in subject[1:]:
            if not es.aligned(m):
                own = set(es.rows(m).tolist())
                shared = own if shared is None else shared & own
        if shared is not None and len(shared) < 2:
            return f"only {len(shared)} items have {' and '.join(subject)}"
    if any(len(es[m]) < 2 for m in subject) or len(es) < 2:
        return "needs at least two items"
    return ""


def _blank(d: Diagnostic, subject: tuple[str, ...], params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": d.name,
        "modalities": subject,
        "value": math.nan,
        "low": math.nan,
        "high": math.nan,
        "interval_kind": d.interval,
        "null_low": math.nan,
        "null": math.nan,
        "null_high": math.nan,
        "null_kind": d.null.kind,
        "better": d.better,
        "n_query": 0,
        "n_gallery": 0,
        "exact": True,
        "params": dict(params),
        "unit": d.unit,
        "bound": d.bound,
        "reason": None,
    }


def _clipped(band: tuple[float, float, float], bound: tuple[float, float] | None) -> tuple[float, ...]:
    low, high = bound or (-math.inf, math.inf)
    return tuple(min(max(x, low), high) if math.isfinite(x) else math.nan for x in band)


def _evaluate(
    d: Diagnostic,
    subject: tuple[str, ...],
    params: Mapping[str, Any],
    reads: tuple,
    known: Earlier,
    context: Context,
    columns: dict[str, np.ndarray],
) -> dict[str, Any]:
    es = context.es
    tallies = [r.tally(known, es) if hasattr(r, "tally") else None for r in reads]
    states = [known[r] if t is None else t.full for r, t in zip(reads, tallies, strict=True)]
    got = d.function(*states, **params)
    row: dict[str, Any] = _sizes(reads, known, context)
    kind, low, high = d.interval, math.nan, math.nan
    if d.each:
        value, (low, high) = _over_each(d, subject, params, got, states[0], es, columns)
    else:
        value = float(got)
        exact = [t for t in tallies if t is not None]
        if d.interval.startswith("jackknife") and exact:
            without = d.function(*(t.without for t in exact), **params)
            interval = intervals.jackknife if d.interval == "jackknife" else intervals.jackknife_of_the_square
            low, high = interval(value, without)
    if not math.isfinite(value):
        raise Reason("all vectors coincide, so there is nothing to divide by")
    if d.interval.startswith(("jackknife", "bootstrap")):
        kind += " over families"
        if not math.isfinite(low):
            kind = f"none: fewer than {intervals.FEW} families"
        else:
            low, high = (min(max(x, d.bound[0]), d.bound[1]) if d.bound else x for x in (low, high))
    return row | {"value": value, "low": low, "high": high, "interval_kind": kind}


def _over_each(
    d: Diagnostic,
    subject: tuple[str, ...],
    params: Mapping[str, Any],
    got: Tensor,
    state: State,
    es: EmbeddingSet,
    columns: dict[str, np.ndarray],
) -> tuple[float, tuple[float, float]]:
    """Value and interval of a diagnostic that has one value an item or a query; keeps them as a column."""
    if len(got) < 2:
        raise Reason("fewer than two matched items")
    item = state["row"] if d.each == "item" else es.rows(params.get("anchor") or subject[0])[state["row"]]
    family = torch.as_tensor(es.families)[item]
    weight = state.get("count", torch.ones_like(got)) if d.each == "item" else torch.ones_like(got)
    column = torch.zeros(len(es), dtype=torch.float64).index_add(0, item, got)
    count = torch.zeros(len(es), dtype=torch.float64).index_add(0, item, weight)
    joint = "→" if d.on == "direction" else "·"
    columns[f"{d.name} {joint.join(subject)}"] = (column / count).numpy()  # 0/0: the item has no value
    if d.each == "item":
        value = float(got.sum() / weight.sum())
        return value, intervals.jackknife_of_a_mean(got, weight, family)
    value = float(got.mean() if d.reduce == "mean" else got.quantile(0.5))
    return value, intervals.bootstrap(got, family, d.reduce)


def _sizes(reads: tuple, known: Earlier, context: Context) -> dict[str, Any]:
    """How many queries met how many keys, and whether that was all of them."""
    statistics = [s for r in reads for s in getattr(r, "statistics", (r,))]
    looked = {s.query: s for s in statistics if isinstance(s, PairStatistic) and "row" in known[s]}
    if looked:
        keys = {s.key for s in statistics if isinstance(s, PairStatistic)}
        return {
            "n_query": sum(len(known[s]["row"]) for s in looked.values()),
            "n_gallery": sum(len(context.es[k]) for k in keys),
            "exact": not any(context.sweep.sampled[q] for q in looked),
        }
    state = known[statistics[0]]
    n = int(state["n"].sum()) if "n" in state else len(state["row"])
    return {"n_query": n, "n_gallery": n}
