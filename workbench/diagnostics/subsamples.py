"""Parts of the families, drawn without replacement: how far a diagnostic scatters when its gallery varies too.

For whatever is no mean of independent rows: graphs of neighbours, spectra, indices of clusters, what is fitted. The
whole diagnostic is made again on each part; no row is ever there twice, so none is its own neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.diagnostics.context import Context
from workbench.diagnostics.registry import SUBSAMPLING_SMALL, Diagnostic, NotApplicable, statistics_of
from workbench.diagnostics.scope import Measurement, Scope, measurements
from workbench.scan.executors import execute
from workbench.scan.plan import SAMPLE_ROWS, Scan
from workbench.scan.statistics import Earlier, PairStatistic
from workbench.scan.threads import threads
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.fused import PLUS, with_fused
from workbench.sets.span import in_own_span

PARTS = 12
KEPT = 0.8  # of the families: near the whole, so that neighbours are as near
MOST = 250  # families of a part: the scatter of more is that of these, scaled
FEW = 3  # rows of a modality below which a part says nothing
USABLE = 0.75  # of the parts, in which the diagnostic must apply


@dataclass(frozen=True)
class Error:
    """What parts scatter by, scaled to the whole, and their mean; NaN where too few parts have the value."""

    plain: float = math.nan
    typical: float = math.nan

    def of(self, value: float) -> float:
        """The standard error of a value of the whole: larger as that is, where it grows with the number of items."""
        return self.plain * max(abs(value / self.typical), 1.0) if self.typical else self.plain


def errors(asked: Sequence[Measurement], context: Context) -> dict[int, Error]:
    """The errors of those that are subsampled, by the id of each."""
    wanted = [one for one in asked if isinstance(one.of, Diagnostic) and one.of.subsampled and not one.reason]
    families, code = np.unique(context.family.numpy(), return_inverse=True)
    kept = min(round(KEPT * len(families)), len(families) - 1, MOST)
    if not wanted or kept < 2 or not context.subsampling:
        return {}
    values: dict[int, list[float]] = {id(one): [] for one in wanted}
    single = context.es.only([m for m in context.es.modalities if PLUS not in m])

    def looked_at(part: np.ndarray) -> dict[int, float]:
        if any(np.isin(own.numpy(), part).sum() < FEW for own in context.owner.values()):
            return {}
        labels = {by: label.numpy()[part] for by, label in context.scan.view.labels.items()}
        return _values(single.take(part), wanted, labels, str(context.scan.device))

    with threads(context.scan.device) as pool:
        for found in pool.map(looked_at, _parts(code, len(families), kept)):
            for one, value in found.items():
                if math.isfinite(value):
                    values[one].append(value)
    return {id(one): _error(values[id(one)], one, len(families), kept, context) for one in wanted}


def _parts(code: np.ndarray, families: int, kept: int) -> Iterator[np.ndarray]:
    """The items of each part, ascending."""
    rng = np.random.default_rng(0)
    for _ in range(PARTS):
        yield np.flatnonzero(np.isin(code, rng.choice(families, kept, replace=False)))


def _values(
    es: EmbeddingSet,
    wanted: Sequence[Measurement],
    labels: Mapping[str, np.ndarray] | None = None,
    device: str = "auto",
) -> dict[int, float]:
    """What some measurements say of a set, by the id of each; NaN where they do not apply.

    Few rows in many dimensions are looked at in coordinates of their own span: what asks one modality alone in those of
    that modality, and only what axes matter to in the set's.
    """
    found: dict[int, float] = {}
    for alone in (True, False):
        some = [one for one in wanted if (len(one.scope) == 1) is alone]
        if not some:
            continue
        read = dict.fromkeys(s for one in some for s in statistics_of(one.reads))
        fused = [m for one in some for m in one.scope]
        known: Earlier = {}
        for space, axes in ((es, True), (in_own_span(es, alone=alone), False)):
            of_these = [s for s in read if s.axes is axes]
            scan = Scan(with_fused(space, fused), of_these, labels=labels, device=device, exact=True)
            known |= execute(scan, "local")
        found |= {id(one): _value(one, known, scan) for one in some}
    return found


def bare(es: EmbeddingSet, names: Sequence[str]) -> dict[tuple[str, Scope], float]:
    """Values alone by diagnostic and scope, without interval and null: for looking at many spaces; NaN for none."""
    asked = [one for one in measurements(es.layout, {}, names) if not one.reason]
    found = _values(es, asked)
    return {(one.of.name, one.scope): found[id(one)] for one in asked}


def averages(es: EmbeddingSet, names: Sequence[str]) -> dict[str, float]:
    """The mean of each over its scopes, of those that have a value; NaN where none has."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for (name, _), value in bare(es, names).items():
        if not math.isnan(value):
            found[name].append(value)
    return {name: float(np.mean(v)) if v else math.nan for name, v in found.items()}


def _value(one: Measurement, known: Earlier, scan: Scan) -> float:
    diagnostic = one.of
    assert isinstance(diagnostic, Diagnostic)
    replicated = [r.replicates(known, scan.es).full if hasattr(r, "replicates") else known[r] for r in one.reads]
    try:
        got: Any = diagnostic.function(*replicated, **one.params)
    except NotApplicable:
        return math.nan
    if diagnostic.each == "row":
        got = got[0]
    return float(got.double().mean()) if diagnostic.each else float(got)


def _error(values: list[float], one: Measurement, families: int, kept: int, context: Context) -> Error:
    assert isinstance(one.of, Diagnostic)
    capped = kept == MOST < round(KEPT * families)
    if len(values) < USABLE * PARTS or (capped and one.of.interval == SUBSAMPLING_SMALL):
        return Error()
    looked = [s for s in statistics_of(one.reads) if isinstance(s, PairStatistic) and context.scan.sampled(s)]
    of = min(families, SAMPLE_ROWS) if looked else families  # a sample of queries knows no more than it has
    return Error(float(np.std(values, ddof=1)) * math.sqrt(kept / (of - kept)), float(np.mean(values)))
