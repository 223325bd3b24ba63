"""Nulls of labels: what an index of classes reads when labels are shuffled, and what guesses would get right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.diagnostics.context import Context
from workbench.diagnostics.nulls.bands import Band, ratio, spread
from workbench.diagnostics.nulls.trade import some_families, trades
from workbench.diagnostics.registry import NAN_BAND, NotApplicable, Null
from workbench.diagnostics.scope import Scope
from workbench.geometry import between, products, segment_sum
from workbench.scan.reductions.plain import by_class
from workbench.scan.statistics import ClassMoments, ClassSpread, Diameter, State, Statistic, centroids
from workbench.scan.statistics.crossfit import ridged

SHUFFLES = 40
MOST_ROWS = 20_000  # rows whose shuffles are affordable …
MOST_DISTANCES = 5_000  # … and where all distances must be held: 200 MB
SILHOUETTE_WORK, SILHOUETTE_LEAST = 500_000, 100  # distances that are looked at, of so many rows at least
PROBED_ROWS = 2_000
DEALT = 2_000_000  # labels that may be dealt out for one report
SEED = 8_191  # not 0: a set may have been dealt out with the seed that everybody takes

Measure = Callable[..., Tensor]


@dataclass(frozen=True)
class Dealt:
    """Labels to be dealt out anew: `row` (n,) of a modality that bear one, the place of each one's item among `label`
    (I,), the labels of the items, and `family` (I,): families trade their labels, whole."""

    row: Tensor
    place: Tensor
    label: Tensor
    family: np.ndarray

    @classmethod
    def of(cls, context: Context, m: str, by: str = "label") -> Dealt | None:
        """The labelled rows of a modality, or nothing where there are none."""
        label = context.label(by)
        if label is None:
            return None
        row = (label[context.owner[m]] >= 0).nonzero()[:, 0]
        item, place = torch.unique(context.owner[m][row], return_inverse=True)
        return cls(row, place, label[item], context.family[item].numpy()) if len(row) else None

    def some(self, most: int) -> Dealt:
        """At most so many of the rows, as items stand in the table after a shuffle of families."""
        if len(self.row) <= most:
            return self
        kept = torch.from_numpy(some_families(self.family, max(most * len(self.label) // len(self.row), 2), SEED))
        mine = torch.isin(self.place, kept)
        place = torch.searchsorted(kept, self.place[mine])
        return Dealt(self.row[mine], place, self.label[kept], self.family[kept.numpy()])

    def shuffled(self) -> Iterator[Tensor]:
        """The labels of the rows, (n,), as each lot gives them."""
        for to in trades(self.family, SHUFFLES, SEED):
            yield self.label[torch.from_numpy(to)][self.place]


def roles(measure: Measure, reads: Callable[..., tuple]) -> Null:
    """An index of named roles, on raw vectors."""
    return Null("label shuffle", _band(measure, reads, "role"), reads)


def labels(measure: Measure, reads: Callable[..., tuple]) -> Null:
    """An index of the classes of a column."""
    return Null("label shuffle", _band(measure, reads, "label"), reads)


def _band(measure: Measure, reads: Callable[..., tuple], by: str) -> Callable[..., Band]:
    def band(context: Context, states: Sequence[State], scope: Scope, **params: Any) -> Band:
        wanted = reads(*scope, **params)
        out = []
        for known in _shuffled(context, scope[0], by, wanted):
            try:
                out.append(float(measure(*(known[type(s)] for s in wanted))))
            except NotApplicable:
                continue
        return ratio(np.array(out)) if out else NAN_BAND

    return band


def _shuffled(context: Context, m: str, by: str, wanted: tuple[Statistic, ...]) -> list[dict[type, State]]:
    """The states that each shuffle would give, made once for all indices that read the same."""
    raw = any(getattr(s, "raw", False) for s in wanted)
    far = next((s for s in wanted if isinstance(s, Diameter)), None)
    key = ("shuffles", m, by, raw, far)
    if key not in context.cache:
        context.cache[key] = list(_states(context, m, by, raw, far))
    return context.cache[key]


def _states(context: Context, m: str, by: str, raw: bool, far: Diameter | None) -> Iterator[dict[type, State]]:
    dealt = Dealt.of(context, m, by)
    if dealt is None or len(dealt.row) > (MOST_DISTANCES if far else MOST_ROWS):
        return
    x = context.es[m][dealt.row].double() if raw else context.es.unit(m, dealt.row)
    x = x - x.mean(0) if raw else x
    classes = int(dealt.label.max()) + 1
    d = between(x, x) if far else None
    centre = x.mean(0)
    around = x - centre
    total, square = products(around), around.square().sum(1)
    for mixed in dealt.shuffled():
        moments = {"n": torch.bincount(mixed, minlength=classes).double(), "sum": segment_sum(x, mixed, classes)}
        mu = centroids(moments["sum"], moments["n"]) - centre
        inner, own = around @ mu.T, mu.square().sum(1)
        length = (square - 2 * inner.gather(1, mixed[:, None])[:, 0] + own[mixed]).clamp_min(0).sqrt()
        score = (own / 2 - inner).masked_fill(moments["n"] == 0, torch.inf)
        spread = {
            "sum": segment_sum(length, mixed, classes),
            "widest": torch.zeros(classes, dtype=torch.float64).scatter_reduce(0, mixed, length, "amax"),
            "within": total - products(mu * moments["n"].sqrt()[:, None]),  # what is not between the classes
            "nearest": (score.argmin(1) == mixed).double().sum(),
        }
        known: dict[type, State] = {ClassMoments: moments, ClassSpread: spread}
        if d is not None and far is not None:
            found = by_class(d, mixed, mixed, torch.arange(len(d)), spread["widest"], far.bins)
            known[type(far)] = {"squared": found.most, "histogram": found.spread}
        yield known


def silhouette(measure: Measure, reads: Callable[..., tuple]) -> Null:
    """The silhouette of some hundred rows among all, under shuffled labels."""

    def band(context: Context, states: Sequence[State], scope: Scope) -> Band:
        dealt = Dealt.of(context, scope[0])
        if dealt is None or len(dealt.row) < 4:
            return NAN_BAND
        n = len(dealt.row)
        judged = int(np.clip(SILHOUETTE_WORK // n, SILHOUETTE_LEAST, n))
        asked = torch.from_numpy(np.sort(np.random.default_rng(SEED).permutation(n)[:judged]))
        x = context.es.unit(scope[0], dealt.row).float()
        d, row = torch.cdist(x[asked], x), torch.arange(n)
        d[torch.arange(len(asked)), asked] = 0
        across, classes, out = d.T.contiguous(), int(dealt.label.max()) + 1, []
        for mixed in dealt.shuffled():
            sums = torch.zeros(classes, len(asked)).index_add_(0, mixed, across).T.double()
            count = torch.bincount(mixed, minlength=classes).double()
            try:
                value, _ = measure({"row": asked, "sum": sums}, {"row": row, "label": mixed, "item": row}, {"n": count})
            except NotApplicable:
                return NAN_BAND
            out.append(float(value.mean()))
        return spread(np.array(out), min(len(asked) / len(states[0]["row"]), 1.0))

    return Null("label shuffle", band, reads)


def neighbours(measure: Measure, reads: Callable[..., tuple]) -> Null:
    """A mean over queries of what their neighbours' labels say, the labels dealt out anew; the states are those of the
    neighbours, of the labels of the queries' modality, and of those of the keys' where that is another."""

    def band(context: Context, states: Sequence[State], scope: Scope) -> Band:
        label = context.label("label")
        if label is None:
            return NAN_BAND
        out = []
        for mixed in _mixed(context, label):
            dealt = [s | {"label": mixed[s["item"]]} for s in states[1:]]
            try:
                out.append(float(measure(states[0], *dealt)[0].mean()))
            except NotApplicable:
                return NAN_BAND
        return spread(np.array(out))

    return Null("label shuffle", band, reads)


def probe(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """A ridge regression onto shuffled labels, fitted on one half of the families and judged on the other."""
    dealt = Dealt.of(context, scope[0])
    if dealt is None:
        return NAN_BAND
    whole, dealt = len(dealt.row), dealt.some(PROBED_ROWS)
    x, half = context.es.unit(scope[0], dealt.row), context.scan.view.half[context.owner[scope[0]][dealt.row]]
    classes, parts = int(dealt.label.max()) + 1, []
    for f in (1, 0):  # rows of half 0 are judged by what half 1 taught
        taught, judged = (half == f).nonzero()[:, 0], (half != f).nonzero()[:, 0]
        if not len(taught) or not len(judged):
            return NAN_BAND
        mean = x[taught].mean(0)
        r = x[taught] - mean
        fitted = torch.linalg.solve(ridged(r.T @ r, torch.tensor(float(len(r)))), r.T)
        parts.append((taught, judged, ((x[judged] - mean) @ fitted).T.contiguous()))
    out = []
    for mixed in dealt.shuffled():
        hits = 0.0
        for taught, judged, weight in parts:
            said = torch.zeros(classes, len(judged), dtype=torch.float64).index_add_(0, mixed[taught], weight)
            share = torch.bincount(mixed[taught], minlength=classes) / len(taught)
            said += share[:, None] * (1 - weight.sum(0))
            hits += float((said.argmax(0) == mixed[judged]).sum())
        out.append(hits / len(x))
    return spread(np.array(out), len(x) / whole)


def _mixed(context: Context, label: Tensor) -> list[Tensor]:
    """The label of each item, (N,), as each lot gives it to the labelled ones; made once a report."""
    if "mixed" not in context.cache:
        known = (label >= 0).nonzero()[:, 0]
        times, out = int(np.clip(DEALT // max(len(known), 1), 12, SHUFFLES)), []
        for to in trades(context.family[known].numpy(), times, SEED):
            out.append(label.clone())
            out[-1][known] = label[known[torch.from_numpy(to)]]
        context.cache["mixed"] = out
    return context.cache["mixed"]


PROBE = Null("label shuffle", probe)
