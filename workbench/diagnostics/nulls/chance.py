"""Nulls of retrieval and neighbours: where a random order of the gallery puts the matches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from workbench.diagnostics.context import Context
from workbench.diagnostics.nulls import retrieval
from workbench.diagnostics.nulls.bands import Band, binomial, normal, spread
from workbench.diagnostics.nulls.trade import effective, trades
from workbench.diagnostics.registry import NAN_BAND, Null
from workbench.diagnostics.scope import Scope
from workbench.diagnostics.states import FirstRowsState
from workbench.scan.statistics import Matched, Neighbours, Positive, Ranks, State, VolumeRanks

DRAWS = 60
OVERLAPS = 4_000  # items whose lists are compared in each draw


def _hit_chance(n: float, k: int, positives: np.ndarray) -> float:
    """Chance that a random order of n puts one of the positives among the first k, averaged over queries."""
    miss = np.ones_like(positives)
    for i in range(int(k)):
        miss *= np.clip((n - positives - i) / max(n - i, 1), 0, 1)
    return float(1 - miss.mean())


def chance_recall(context: Context, states: Sequence[State], scope: Scope, *, k: int) -> Band:
    """Recall among the first k of a random order of the gallery."""
    queries, gallery, positives = context.retrieval(states, scope)
    if not context.single(*scope):
        return retrieval.share(lambda found: found.before < k)(context, scope, queries)
    return binomial(queries, _hit_chance(gallery, min(k, gallery), positives)) if queries else NAN_BAND


def chance_volume(context: Context, states: Sequence[State], scope: Scope, **params: Any) -> Band:
    """Recall at 1 of whole tuples in a random order; the anchors of a family hit and miss together."""
    n = len(states[0]["row"])
    family = context.family[states[0]["row"]].numpy()
    return binomial(round(effective(family)), 1 / n) if n else NAN_BAND


def chance_mixed(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Recall at 1 among the rows of both modalities, without the query itself."""
    queries, gallery, positives = context.retrieval(states, scope)
    if not context.single(*scope):
        return retrieval.share(lambda found: found.won)(context, scope, queries)
    gallery += len(context.es[scope[0]]) - 1
    return binomial(queries, _hit_chance(gallery, 1, positives)) if queries else NAN_BAND


def chance_median_rank(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """The middle of that many ranks drawn evenly: a Beta order statistic."""
    queries, gallery, positives = context.retrieval(states, scope)
    if not queries:
        return NAN_BAND
    if not context.single(*scope):
        return retrieval.middle(context, scope, queries)
    half = (queries + 1) / 2
    return tuple((0.5 + gallery * betaincinv(half, half, [0.025, 0.5, 0.975])).tolist())


def _ranked(gain: Callable[[np.ndarray], np.ndarray], drawn: Callable[..., Band]) -> Callable[..., Band]:
    """The mean of a gain over the rank of a match in a random order; `drawn` where items depend on each other."""

    def band(context: Context, states: Sequence[State], scope: Scope) -> Band:
        queries, gallery, positives = context.retrieval(states, scope)
        if not queries:
            return NAN_BAND
        if not context.single(*scope):
            return drawn(context, scope, queries)
        g = gain(np.arange(1, gallery + 1))
        mean = float(g.mean())
        deviation = math.sqrt(max(float(np.square(g).mean()) - mean**2, 0.0))
        return normal(mean, deviation / math.sqrt(queries))

    return band


def overlaps(first_rows: Callable[[Any], FirstRowsState], overlap: Callable[[Tensor, Tensor], Tensor]) -> Null:
    """Lists of neighbours of which one is dealt out anew: items keep their neighbours, and lose who they are."""

    def band(context: Context, states: Sequence[State], scope: Scope) -> Band:
        items = context.shared(*scope)
        lists, asked = [], []
        for state in (first_rows(s) for s in states):
            mine = np.isin(state["item"].numpy(), items)
            asked.append(np.searchsorted(items, state["item"].numpy()[mine]))
            lists.append(torch.full((len(items), state["key_item"].shape[1]), -1))
            lists[-1][asked[-1]] = _among(state["key_item"][torch.from_numpy(mine)], items)
        there = [np.isin(np.arange(len(items)), a) for a in asked]
        if there[0].sum() < 3:
            return NAN_BAND
        family = context.families(items)
        out, seen = [], 0
        for to in trades(family, DRAWS):
            back = np.argsort(to)
            some = np.flatnonzero(there[0] & there[1][back])[:OVERLAPS]
            theirs = lists[1][back[some]]
            theirs = torch.where(theirs >= 0, torch.from_numpy(to)[theirs.clamp_min(0)], -1)
            out.append(float(overlap(lists[0][some], theirs).mean()) if len(some) else math.nan)
            seen += len(some)
        return spread(np.array(out), seen / DRAWS / float((there[0] & there[1]).sum()))

    return Null("pairing shuffle", band, _own_neighbours)


def _among(items: Tensor, known: np.ndarray) -> Tensor:
    """Items as positions among the known ones, −1 for others."""
    at = torch.from_numpy(np.searchsorted(known, items.numpy())).clamp_max(len(known) - 1)
    return torch.where(torch.from_numpy(known)[at] == items, at, -1)


def independent_verdicts(verdicts: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> Null:
    """Two verdicts with these shares of yes that know nothing of each other: how often they differ."""

    def band(context: Context, states: Sequence[State], scope: Scope) -> Band:
        first, every, row = verdicts(*states)
        p, q = float(first.double().mean()), float(every.double().mean())
        n = round(effective(context.family[context.owner[scope[0]][row]].numpy()))
        return binomial(n, p * (1 - q) + q * (1 - p))

    return Null("independent verdicts", band, _joint_reads)


def _joint_reads(*m: str) -> tuple:
    return (VolumeRanks(m[0], m[1], m[1:]), *(Ranks(m[0], x) for x in m[1:]))


def _positives(a: str, b: str, **params: Any) -> tuple:
    return (Positive(a, b),)


def _own_neighbours(a: str, b: str) -> tuple:
    return Neighbours(a, a), Neighbours(b, b)


def recall(k: int) -> Null:
    """Random pairing for recall among the first k of a fixed gallery."""
    return Null("pairing shuffle", lambda c, s, scope: chance_recall(c, s, scope, k=k), _positives)


MIXED = Null("pairing shuffle", chance_mixed, _positives)
RANK = Null("pairing shuffle", chance_median_rank, _positives)
RECIPROCAL = Null(
    "pairing shuffle", _ranked(lambda r: 1 / r, retrieval.band(lambda found: 1 / (1 + found.before))), _positives
)
GAIN = Null(
    "pairing shuffle",
    _ranked(lambda r: np.where(r <= 10, 1 / np.log2(1 + r), 0.0), retrieval.band(lambda found: found.gain)),
    _positives,
)
VOLUME = Null(
    "pairing shuffle",
    chance_volume,
    lambda *scope, **params: (Matched(scope),),
)
