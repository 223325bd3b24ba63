"""One call from data to a Report: which diagnostics on which modalities, one scan, then values, intervals, nulls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from workbench.diagnostics.evaluate import Context, blank, evaluated
from workbench.diagnostics.registry import CURVES, Curve, Diagnostic, NotApplicable, choose, statistics_of
from workbench.diagnostics.scope import inapplicable, labellings, scopes
from workbench.errors import InputError, unknown
from workbench.report.doctor import examine
from workbench.report.report import Report, provenance
from workbench.scan.executors import execute
from workbench.scan.plan import Scan
from workbench.sets.formats import as_set
from workbench.sets.fused import PLUS, with_fused

Job = tuple[Diagnostic | Curve, tuple[str, ...]]


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
    scheduler: str | None = None,
    device: str = "auto",
) -> Report:
    """Diagnose a set, a path, or plain arrays `{"image": x, "text": y}`: every number with interval, null and n.

    `only` chooses diagnostics by name. `label` names a column of the items, for the questions about classes, and
    `roles` maps its values to `safe`, `unsafe` and `jailbreak`, for AVQI. `params` overrides parameters:
    `{"uniformity": {"t": 3}}`. Sets with layers are read at `layer` (default: the last). Above 20,000 rows pair
    statistics sample their queries against the whole gallery and say so; `exact=True` forces the full scan.
    `executor`: `local`, `ddp` (ranks of an initialised process group) or `dask` (the cluster at `scheduler`, or one
    started here): the same plan, so the same answer.

    >>> import torch
    >>> report = diagnose({"image": torch.eye(8), "text": torch.eye(8)}, only=["recall_at_1"])
    >>> report.value("recall_at_1", "image", "text")
    1.0
    """
    es = as_set(data)
    if layer is not None and not es.layers:
        raise InputError(f"{es.source}: layer={layer}, but its rows have no layers")
    if es.layers:
        layer = es.layers - 1 if layer is None else layer
        es = es.layer(layer)
    chosen = choose(only)
    settings = {d.name: d.params | _settings(d, (params or {}).get(d.name, {})) for d in chosen}
    for name in params or {}:
        if name not in settings:
            raise unknown("diagnostic", name, settings)
    labels, names = labellings(es, label, roles)
    jobs: list[Job] = [(d, s) for d in chosen for s in scopes(es, d.on, fused=d.fused)]
    if only is None:
        jobs += [(c, s) for c in CURVES.values() for s in scopes(es, c.on)]
    reads = {(d.name, s): d.reads(*s, **settings.get(d.name, {})) for d, s in jobs}
    reasons = {(d.name, s): inapplicable(es, d, reads[d.name, s], s, labels) for d, s in jobs}
    jobs = [job for job in jobs if isinstance(job[0], Diagnostic) or not reasons[job[0].name, job[1]]]
    nulls = {
        (d.name, s): d.null.reads(*s, **settings[d.name])
        for d, s in jobs
        if isinstance(d, Diagnostic) and not reasons[d.name, s]
    }
    applicable = [r for key, r in reads.items() if not reasons[key]] + list(nulls.values())
    whole = with_fused(es, (m for _, s in jobs for m in s if PLUS in m and not any(p not in es for p in m.split(PLUS))))
    scan = Scan(
        whole,
        (s for r in applicable for s in statistics_of(r)),
        labels={by: codes.numpy() for by, codes in labels.items()},
        device=device,
        exact=exact,
    )
    context = Context(whole, labels, scan, execute(scan, executor, scheduler))
    rows: list[dict[str, Any]] = []
    columns: dict[str, np.ndarray] = {}
    arrays: dict[tuple[str, tuple[str, ...]], dict[str, np.ndarray]] = {}
    for d, s in jobs:
        key = (d.name, s)
        if isinstance(d, Curve):
            arrays |= _drawn(d, s, reads[key], context)
            continue
        row = blank(d, s, settings[d.name])
        try:
            if reasons[key]:
                raise NotApplicable(reasons[key])
            row |= evaluated(d, s, settings[d.name], reads[key], nulls[key], context, columns)
        except NotApplicable as why:
            row["reason"] = str(why)
        rows.append(row)
    items = pd.DataFrame({"id": es.items["id"]} | columns)
    about = provenance(es, device=str(scan.device), executor=executor, layer=layer, label=label, classes=names)
    report = Report(pd.DataFrame(rows), items, arrays, about)
    report.findings = examine(report)
    return report


def _drawn(c: Curve, scope: tuple[str, ...], reads: tuple, context: Context) -> dict:
    more = (context.es, *scope) if c.sees_set else ()
    try:
        made = c.function(*(context.known[x] for x in reads), *more)
    except NotApplicable:
        return {}
    return {(c.name, scope): {k: np.asarray(x) for k, x in made.items()}}


def _settings(d: Diagnostic, given: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in d.params:
            raise unknown(f"parameter of {d.name}", name, d.params)
    try:
        made = {k: type(d.params[k])(v) for k, v in given.items()}
        if any(isinstance(v, float) and not v > 0 for v in made.values()):
            raise ValueError
        return made
    except (TypeError, ValueError):
        raise InputError(
            f"{d.name}: parameters {dict(given)} do not fit: numbers above 0 are needed; the defaults are {d.params}"
        ) from None
