"""One call from data to a Report: what is asked of the set, one scan for all of it, the answers, and the doctor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from workbench.diagnostics.context import Context
from workbench.diagnostics.evaluate import answers
from workbench.diagnostics.scope import labellings, measurements
from workbench.report.doctor import Specimen, examine
from workbench.report.report import Report, provenance
from workbench.scan.executors import execute
from workbench.scan.plan import Scan
from workbench.scan.threads import give_back, threads
from workbench.sets.formats import as_set
from workbench.sets.fused import with_fused


def diagnose(
    data: Any,
    *,
    only: Sequence[str] | None = None,
    label: str | None = None,
    roles: Mapping[str, Iterable[Any]] | None = None,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    layer: int | None = None,
    exact: bool = False,
    subsampling: bool = True,
    executor: str = "local",
    scheduler: str | None = None,
    device: str = "auto",
) -> Report:
    """Diagnose a set, a path, or plain arrays `{"image": x, "text": y}`: every number with interval, null and n.

    `only` chooses diagnostics by name. `label` names a column of the items, for the questions about classes, and
    `roles` maps its values to `safe`, `unsafe` and `jailbreak`, for AVQI. `params` overrides parameters:
    `{"uniformity": {"t": 3}}`. Sets with layers are read at `layer` (default: the last). Above 20,000 rows pair
    statistics sample their queries against the whole gallery and say so; `exact=True` uses them all. Some intervals
    need a diagnostic made again on twelve parts of the set: `subsampling=False` leaves them out.
    `executor`: `local`, `ddp` (ranks of an initialised process group) or `dask` (the cluster at `scheduler`, or one
    started here): the same plan, so the same answer. Raises `InputError` where the data cannot be read so.

    >>> import torch
    >>> report = diagnose({"image": torch.eye(8), "text": torch.eye(8)}, only=["recall_at_1"])
    >>> report.value("recall_at_1", "image", "text")
    1.0
    """
    es = as_set(data).layer(layer)
    labels, classes = labellings(None if label is None else es.column(label), roles)
    asked = measurements(es.layout, labels, only, params)
    scan = Scan(
        with_fused(es, (m for a in asked for m in a.scope)),
        (s for a in asked for s in a.statistics),
        labels={by: codes.numpy() for by, codes in labels.items()},
        device=device,
        exact=exact,
    )
    about = provenance(es.describe(), device=str(scan.device), executor=executor, label=label, classes=classes)
    with threads(scan.device, worthwhile=scan.worthwhile):
        rows, columns, arrays = answers(asked, Context(scan, execute(scan, executor, scheduler), subsampling))
        give_back()
        known = {c: es.items[c] for c in ("id", label) if c is not None}
        report = Report(pd.DataFrame(rows), pd.DataFrame(known | columns), arrays, about)
        report.findings = examine(report, Specimen.of(es, report, labels.get("label")) if only is None else None)
    return report
