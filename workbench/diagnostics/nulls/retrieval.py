"""Retrieval where items depend on each other: whole families, with all their rows, take the place of others by lot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.diagnostics.context import Context
from workbench.diagnostics.nulls.bands import Band, around, binomial, percentiles
from workbench.diagnostics.nulls.trade import some_families, trades
from workbench.diagnostics.registry import NAN_BAND
from workbench.diagnostics.scope import Scope

SCORES = 2_000_000  # queries times keys whose order is looked at
LEAST_QUERIES = 64
DRAWS = 400
PLACES = 4_000_000  # items times draws


@dataclass(frozen=True)
class Rearranged:
    """What some queries would gain from each item, were it theirs, and whose place their items take in each draw.

    `before` (Q, n): keys of other items before the item's best one; `gain` (Q, n): that of nDCG at 10; `won` (Q, n):
    whether the item's best key comes first among all, rows of the query's own modality included; `place` (D, Q).
    """

    before: Tensor
    gain: Tensor
    won: Tensor
    place: Tensor
    whole: bool  # all queries are here

    def draws(self, of: Tensor) -> Tensor:
        """A measure of the queries, (Q, n), at the places they take: (D, Q)."""
        return of[torch.arange(self.place.shape[1]), self.place]


def rearranged(context: Context, a: str, b: str) -> Rearranged | None:
    """Made once for all measures of a direction."""
    key = ("rearranged", a, b)
    if key not in context.cache:
        context.cache[key] = _rearrange(context, a, b)
    return context.cache[key]


def _rearrange(context: Context, a: str, b: str) -> Rearranged | None:
    es, items = context.es, context.shared(a, b)
    if len(items) < 4:
        return None
    family = context.families(items)
    rows = context.rows[a] / max(len(np.unique(context.owner[a])), 1)
    most = max(SCORES // context.rows[b], LEAST_QUERIES) / rows
    some = some_families(family, max(int(most), 2))
    query = torch.isin(context.owner[a], torch.from_numpy(items[some])).nonzero()[:, 0]
    at = torch.from_numpy(np.searchsorted(items, context.owner[a][query].numpy()))
    score = es.unit(a, query) @ es.unit(b).T
    place = torch.empty(score.shape, dtype=torch.long)
    order = score.argsort(dim=1, descending=True, stable=True)
    place.scatter_(1, order, torch.arange(score.shape[1]).expand_as(order))
    owner = context.owner[b]
    theirs = torch.from_numpy(np.searchsorted(items, owner.numpy())).clamp_max(len(items) - 1)
    mine = torch.from_numpy(items)[theirs] == owner
    theirs, place = theirs[mine].expand(len(query), -1), place[:, mine]
    before = torch.full((len(query), len(items)), score.shape[1]).scatter_reduce(1, theirs, place, "amin")
    gain = torch.where(place < 10, 1 / torch.log2(2.0 + place), 0.0).double()
    count = torch.bincount(theirs[0], minlength=len(items)).clamp_max(10)
    ideal = (1 / torch.log2(torch.arange(2, 12, dtype=torch.float64))).cumsum(0)[count - 1]
    gain = torch.zeros(before.shape, dtype=torch.float64).scatter_add(1, theirs, gain) / ideal
    own = es.unit(a, query) @ es.unit(a).T
    own.masked_fill_(context.owner[a][query][:, None] == context.owner[a][None], -4.0)
    won = (before == 0) & (score.max(1).values > own.max(1).values)[:, None]
    times = int(np.clip(PLACES // len(items), 40, DRAWS))
    place = torch.from_numpy(np.stack([to[at.numpy()] for to in trades(family, times)]))
    return Rearranged(before, gain, won, place, len(some) == len(items))


Law = Callable[[np.ndarray, int, int], Band]  # of drawn means, of how many queries, and how many there are in all


def _of_means(measure: Callable[[Rearranged], Tensor], law: Law) -> Callable[[Context, Scope, int], Band]:
    """The band of a mean over queries: of all of them as it is drawn, of more than were looked at by this law."""

    def made(context: Context, scope: Scope, queries: int) -> Band:
        found = rearranged(context, scope[0], scope[-1])
        if found is None or not queries:
            return NAN_BAND
        each = found.draws(measure(found).double())
        means = each.mean(1).numpy()
        return percentiles(means) if found.whole else law(means, each.shape[1], queries)

    return made


def band(measure: Callable[[Rearranged], Tensor]) -> Callable[[Context, Scope, int], Band]:
    """The band of a mean over queries, of many by its deviation."""
    return _of_means(measure, lambda means, drawn, queries: around(float(means.mean()), means, drawn / queries))


def share(measure: Callable[[Rearranged], Tensor]) -> Callable[[Context, Scope, int], Band]:
    """The band of a share of queries: with fewer queries, by as much as those of a family hit and miss together."""

    def law(means: np.ndarray, drawn: int, queries: int) -> Band:
        p = float(means.mean())
        alike = float(means.var(ddof=1)) * drawn / max(p * (1 - p), 1e-300)
        return binomial(max(int(queries / max(alike, 1.0)), 1), p)

    return _of_means(measure, law)


def middle(context: Context, scope: Scope, queries: int) -> Band:
    """The band of the median rank."""
    found = rearranged(context, scope[0], scope[-1])
    if found is None or not queries:
        return NAN_BAND
    ranks = 1 + found.draws(found.before).double()
    low, mid, high = percentiles(ranks.quantile(0.5, dim=1).numpy())
    shrink = 1.0 if found.whole else min((ranks.shape[1] / queries) ** 0.5, 1.0)
    return mid - (mid - low) * shrink, mid, mid + (high - mid) * shrink
