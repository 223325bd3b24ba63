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
from workbench.diagnostics.nulls.bands import Band, binomial, normal
from workbench.diagnostics.registry import NAN_BAND, Null
from workbench.diagnostics.scope import Scope
from workbench.scan.statistics import Matched, Neighbours, Positive, Ranks, State, VolumeRanks


def _hit_chance(n: float, k: int, positives: np.ndarray) -> float:
    """Chance that a random order of n puts one of the positives among the first k, averaged over queries."""
    miss = np.ones_like(positives)
    for i in range(int(k)):
        miss *= np.clip((n - positives - i) / max(n - i, 1), 0, 1)
    return float(1 - miss.mean())


def chance_recall(context: Context, states: Sequence[State], scope: Scope, *, k: int) -> Band:
    """Recall among the first k of a random order of the gallery."""
    queries, gallery, positives = context.retrieval(states, scope)
    return binomial(queries, _hit_chance(gallery, min(k, gallery), positives)) if queries else NAN_BAND


def chance_mixed(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Recall at 1 among the rows of both modalities, without the query itself."""
    queries, gallery, positives = context.retrieval(states, scope)
    gallery += len(context.es[scope[0]]) - 1
    return binomial(queries, _hit_chance(gallery, 1, positives)) if queries else NAN_BAND


def chance_median_rank(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """The middle of that many ranks drawn evenly: a Beta order statistic."""
    queries, gallery, positives = context.retrieval(states, scope)
    if not queries:
        return NAN_BAND
    half = (queries + 1) / 2
    share = betaincinv(half, half, [0.025, 0.5, 0.975])
    several = float(positives.mean())
    return tuple((0.5 + gallery * (1 - (1 - share) ** (1 / several))).tolist())


def _ranked(gain: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Band]:
    """The mean of a gain over the rank of the best of P matches in a random order."""

    def band(context: Context, states: Sequence[State], scope: Scope) -> Band:
        queries, gallery, positives = context.retrieval(states, scope)
        if not queries:
            return NAN_BAND
        p = float(positives.mean())
        rank = np.arange(1, gallery + 1)
        # the best of p even draws: later than r with chance (1 − r/n)^p
        chance = (1 - (rank - 1) / gallery) ** p - (1 - rank / gallery) ** p
        g = gain(rank)
        mean = float(chance @ g)
        deviation = math.sqrt(max(float(chance @ g**2) - mean**2, 0.0))
        return normal(mean, deviation / math.sqrt(queries))

    return band


def chance_overlap(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Lists of neighbours that know nothing of each other: the chance that an item stands in one at all."""
    chances, items_of = [], []
    for state in states:
        listed = state["key_item"].sort(1).values
        distinct = 1 + (listed.diff(dim=1) != 0).sum(1).double() - (listed[:, 0] < 0).double()
        items = torch.unique(state["item"])
        if len(items) < 3:
            return NAN_BAND
        chances.append(float(distinct.mean()) / (len(items) - 1))
        items_of.append(items)
    shared = items_of[0][torch.isin(items_of[0], items_of[1])]
    p = min(sum(chances) / 2, 1.0)
    # as many chances to agree as the shorter list has members that could be in the other
    known = [torch.isin(state["key_item"], shared).sum(1).double().mean() for state in states]
    n, k = len(shared), max(float(min(known)), 1.0)
    return normal(p, math.sqrt(p * (1 - p) / (n * k))) if n > 2 else NAN_BAND


def independent_verdicts(verdicts: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> Null:
    """Two verdicts with these shares of yes that know nothing of each other: how often they differ."""

    def band(context: Context, states: Sequence[State], scope: Scope) -> Band:
        first, every, row = verdicts(*states)
        p, q = float(first.double().mean()), float(every.double().mean())
        return binomial(len(row), p * (1 - q) + q * (1 - p))

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
RECIPROCAL = Null("pairing shuffle", _ranked(lambda r: 1 / r), _positives)
GAIN = Null("pairing shuffle", _ranked(lambda r: np.where(r <= 10, 1 / np.log2(1 + r), 0.0)), _positives)
OVERLAP = Null("pairing shuffle", chance_overlap, _own_neighbours)
VOLUME = Null(
    "pairing shuffle",
    lambda c, s, scope, **params: chance_recall(c, s, scope, k=1),
    lambda *scope, **params: (Matched(scope),),
)
