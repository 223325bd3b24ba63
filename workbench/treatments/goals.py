"""Goals: the number that a treatment is for, by query, so that two treatments are compared query by query."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import permutations, product

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.diagnostics.neighbours import skewness
from workbench.diagnostics.registry import NotApplicable
from workbench.diagnostics.retrieval import mixed_recall_at_1, mrr, ndcg_at_10, recall_at_1, recall_at_10
from workbench.errors import InputError
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.treatments.base import BYTES, CLASSES, MIXED, RETRIEVAL, directed, rows
from workbench.treatments.portable import Treatment

QUERIES = 4_000  # rows of a modality that ask, at most
AT_ONCE = 512  # queries
TIE = 1e-6  # scores nearer than this are equal: float32 products do not tell them apart
MOST = 10  # matches of a query that are ranked, as in `ndcg_at_10`
NEAREST = 10  # neighbours that vote, and keys among which hubs are counted

Direction = tuple[str, str]
Ranks = dict[str, Tensor]


@dataclass
class Judgement:
    """What each query got, by direction and measure, the family of its item, and how skewed the keys were found."""

    values: dict[Direction, dict[str, Tensor]] = field(default_factory=dict)
    family: dict[Direction, Tensor] = field(default_factory=dict)
    hubness: float = float("nan")

    def mean(self, measure: str) -> float:
        """The mean over directions of that over their queries."""
        return float(np.mean([float(v[measure].mean()) for v in self.values.values() if measure in v]))


@dataclass(frozen=True)
class Parts:
    """What a treatment is judged on: items to ask for, and those that it was fitted on, with their classes."""

    train: EmbeddingSet
    judged: EmbeddingSet
    label: str = ""


@dataclass(frozen=True)
class Goal:
    """What somebody wants of a space: `measure` is its number, which `judge` gives by query, beside others."""

    name: str
    measure: str
    unit: str
    judge: Callable[[Treatment, Parts], Judgement]
    says: str


def paired(before: Judgement, after: Judgement, measure: str) -> tuple[torch.Tensor, torch.Tensor]:
    """After minus before for every query, weighted so that directions count alike, and the family of each."""
    directions = [d for d in before.values if measure in before.values[d]]
    parts, families = [], []
    total = sum(len(before.family[d]) for d in directions)
    for d in directions:
        change = after.values[d][measure] - before.values[d][measure]
        parts.append(change * (total / len(directions) / max(len(change), 1)))
        families.append(before.family[d])
    codes = torch.unique(torch.cat(families), return_inverse=True)[1]
    return torch.cat(parts), codes


# -- asking --------------------------------------------------------------------------------------------------------


def asking(es: EmbeddingSet, m: str) -> np.ndarray:
    """The rows that ask, (q,): all, or as many as are enough, drawn by lot that only their count decides."""
    n = len(es[m])
    return np.arange(n) if n <= QUERIES else np.sort(np.random.default_rng(n).permutation(n)[:QUERIES])


@dataclass(frozen=True)
class Gallery:
    """The keys of a modality after a treatment, with the item of each."""

    keys: np.ndarray
    item: np.ndarray

    @classmethod
    def of(cls, t: Treatment, es: EmbeddingSet, m: str) -> Gallery:
        return cls(changed(t, rows(es, m), m, "key"), es.item_of_row(m).numpy())

    def span(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From which key to which each item reaches: keys stand in the order of their items."""
        return np.searchsorted(self.item, items, "left"), np.searchsorted(self.item, items, "right")


def changed(t: Treatment, x: np.ndarray, m: str, role: str) -> np.ndarray:
    """Rows as a treatment stores them or asks with them."""
    with directed(t, m):
        return t.transform(x, m, role)


def _scored(t: Treatment, queries: np.ndarray, keys: np.ndarray, query: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Scores of some queries with all keys at once; all alike where the widths differ, which leaves chance."""
    active = t.activated(keys, query) if t.bias.get("gated") else None
    for start in range(0, len(queries), AT_ONCE):
        at = slice(start, start + AT_ONCE)
        if queries.shape[1] == keys.shape[1]:
            yield at, t.scores(queries[at], keys, query, active)
        else:
            yield at, np.zeros((len(queries[at]), len(keys)), dtype=np.float32)


def _matches(scores: np.ndarray, low: np.ndarray, high: np.ndarray, most: int) -> np.ndarray:
    """The scores of each query's matches, best first, (q, most), −inf for none; taken out of `scores`."""
    at, count = np.arange(len(scores)), high - low
    found = np.full((len(scores), max(int(count.max(initial=0)), 1)), -np.inf, dtype=scores.dtype)
    for k in range(found.shape[1]):
        has = count > k
        found[has, k] = scores[at[has], low[has] + k]
        scores[at[has], low[has] + k] = -np.inf
    return -np.sort(-found, axis=1)[:, :most]


def _count(scores: np.ndarray, best: np.ndarray, above: np.ndarray, tied: np.ndarray) -> None:
    """Add how many keys stand above each match, and how many beside it."""
    for p in range(best.shape[1]):
        limit = best[:, p, None]
        higher = (scores > limit + TIE).sum(1)
        above[:, p] += higher
        tied[:, p] += (scores >= limit - TIE).sum(1) - higher


def ranked(
    t: Treatment, es: EmbeddingSet, query: str, key: str, mixed: bool = False
) -> tuple[Ranks, np.ndarray, float]:
    """Where the matches of each query stand, the items that asked, and the skewness of how often keys are found.

    With `mixed` the rows of the query's own modality, of other items, are keys too, as in `mixed_recall_at_1`.
    """
    gallery = Gallery.of(t, es, key)
    own = Gallery.of(t, es, query) if mixed else None
    at = asking(es, query)
    item = es.item_of_row(query).numpy()[at]
    low, high = gallery.span(item)
    at, item, low, high = (x[high > low] for x in (at, item, low, high))
    if not len(at):
        raise InputError(f"no item that is judged has both {query} and {key}")
    queries = changed(t, rows(es, query)[at], query, "query")
    most = min(int((high - low).max()), MOST)
    best = np.zeros((len(at), most), dtype=np.float32)
    above, tied = (np.zeros((len(at), most)) for _ in range(2))
    found = np.zeros(len(gallery.keys))
    for part, scores in _scored(t, queries, gallery.keys, query):
        if len(gallery.keys) > NEAREST:
            nearest = np.argpartition(-scores, NEAREST, axis=1)[:, :NEAREST]
            found += np.bincount(nearest.ravel(), minlength=len(found))
        best[part] = _matches(scores, low[part], high[part], most)
        _count(scores, best[part], above[part], tied[part])
    if own is not None:
        first, last = own.span(item)
        for part, scores in _scored(t, queries, own.keys, query):
            _matches(scores, first[part], last[part], 1)
            _count(scores, best[part], above[part], tied[part])
    row = torch.arange(len(at))
    ranks = {"row": row, "above": torch.from_numpy(above), "tied": torch.from_numpy(tied)}
    ranks["positives"] = torch.from_numpy((high - low).astype(np.float64))
    return ranks, item, _skewed(found)


def _skewed(found: np.ndarray) -> float:
    try:
        return float(skewness(torch.from_numpy(found)))
    except NotApplicable:
        return 0.0


def _by_pairs(t: Treatment, parts: Parts, measures: dict[str, Callable[[Ranks], Tensor]], mixed: bool) -> Judgement:
    es, out, skewed = parts.judged, Judgement(), []
    family = es.families
    for a, b in permutations(es.modalities, 2):
        ranks, item, hubs = ranked(t, es, a, b, mixed)
        out.values[a, b] = {name: measure(ranks).double() for name, measure in measures.items()}
        out.family[a, b] = torch.from_numpy(family[item])
        skewed.append(hubs)
    out.hubness = float(np.mean(skewed))
    return out


def _retrieval(t: Treatment, parts: Parts) -> Judgement:
    return _by_pairs(t, parts, {f.__name__: f for f in (recall_at_1, recall_at_10, mrr)}, mixed=False)


def _mixed(t: Treatment, parts: Parts) -> Judgement:
    measures = {MIXED_GAIN: lambda r: ndcg_at_10(r, r), MIXED_HITS: recall_at_1}
    return _by_pairs(t, parts, measures, mixed=True)


def _storage(t: Treatment, parts: Parts) -> Judgement:
    return _by_pairs(t, parts, {f.__name__: f for f in (recall_at_10, recall_at_1)}, mixed=False)


# -- classes -------------------------------------------------------------------------------------------------------


def _classes(t: Treatment, parts: Parts) -> Judgement:
    """Whose class wins the vote of the ten nearest train rows, and whose is nearest of the classes' means; all ways."""
    if not parts.label:
        raise InputError("the goal classes needs --label, a column of the items with their classes")
    both = parts.train.column(parts.label), parts.judged.column(parts.label)
    whole, names = columns.codes(pd.concat(both, ignore_index=True))
    known, asked = whole[: len(both[0])], whole[len(both[0]) :]
    out, family = Judgement(), parts.judged.families
    for a, b in product(parts.judged.modalities, repeat=2):
        keys = Gallery.of(t, parts.train, b)
        voters = known[keys.item]
        there = voters >= 0
        x, voters = keys.keys[there], voters[there]
        at = asking(parts.judged, a)
        item = parts.judged.item_of_row(a).numpy()[at]
        has = np.isin(asked[item], voters)
        at, item = at[has], item[has]
        if len(np.unique(voters)) < 2 or not len(at):
            raise InputError(
                f"column {parts.label!r}: at least two classes need rows of {b} to fit on, and one to judge"
            )
        queries = changed(t, rows(parts.judged, a)[at], a, "query")
        votes, centres = [], []
        ones = np.eye(len(names), dtype=np.float32)[voters]
        means = ones.T @ x / np.maximum(ones.sum(0), 1)[:, None]
        for part, scores in _scored(t, queries, x, a):
            own = asked[item[part]]
            nearest = np.argpartition(-scores, min(NEAREST, len(x)) - 1, axis=1)[:, :NEAREST]
            votes.append(_won(ones[nearest].sum(1), own))
        if queries.shape[1] == x.shape[1]:
            length = np.maximum(np.linalg.norm(means, axis=1), 1e-12)
            near = np.where(ones.sum(0) > 0, queries @ (means / length[:, None]).T, -np.inf)
            centres.append(_won(near, asked[item]))
        out.values[a, b] = {VOTE: torch.from_numpy(np.concatenate(votes))}
        if centres:
            out.values[a, b][CENTRE] = torch.from_numpy(np.concatenate(centres))
        out.family[a, b] = torch.from_numpy(family[item])
    return out


def _won(found: np.ndarray, own: np.ndarray) -> np.ndarray:
    """1 where the class of a query has most; those that tie share the point."""
    top = found >= found.max(1, keepdims=True) - TIE
    return (top[np.arange(len(own)), own] / top.sum(1)).astype(np.float64)


VOTE, CENTRE = "knn_accuracy", "nearest_mean_accuracy"
MIXED_GAIN, MIXED_HITS = f"mixed_{ndcg_at_10.__name__}", mixed_recall_at_1.__name__

GOALS = {
    g.name: g
    for g in (
        Goal(
            RETRIEVAL,
            recall_at_1.__name__,
            "R@1",
            _retrieval,
            "each modality asks the other, both ways",
        ),
        Goal(MIXED, MIXED_GAIN, "nDCG@10", _mixed, "one index holds all modalities"),
        Goal(CLASSES, VOTE, "accuracy", _classes, "ten nearest train rows vote, within and across"),
        Goal(BYTES, recall_at_10.__name__, "R@10", _storage, "each modality asks the other"),
    )
}
