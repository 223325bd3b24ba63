"""Retrieval where a table says what answers what: many keys for a query, many queries for a key, with grades."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from workbench.diagnostics import retrieval
from workbench.diagnostics.retrieval import expected_hits, expected_ranks, over_ties
from workbench.diagnostics.states import PlacesState
from workbench.errors import InputError, unknown
from workbench.scan.contracts import TIE
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import as_set
from workbench.sets.formats.plain import read_columns

CHUNK = 256  # queries at once
MIDDLE = retrieval.median_rank.__name__  # a median, where the others are means
DRAWS = 1_000  # of families, for the intervals


def by_relevance(
    data: object, relevance: pd.DataFrame | str | os.PathLike[str], *, query: str, key: str
) -> pd.DataFrame:
    r"""Recall, ranks, MRR and nDCG of `query` rows that look for `key` rows, where a table says which answer which.

    `relevance`: two columns of ids, of the query's item and of the key's, and a third of grades, where there is one
    (none: 1; zero: not relevant), or a file of such. What a table names is all that counts: an item's own pair too. A
    line a measure: `value`, its 95 % interval over families of queries, and `queries`. `recall_at_k`: a relevant key is
    among the first k, as everywhere here; `recall_share_at_k`: the share of the relevant ones that are. Gain is the
    grade, $\sum_p g_p/\log_2(1+r_p)$ over the best order's, both cut at ten; ties count by expectation. Raises
    `InputError` for ids that are not there. Cost: all pairs. Source: Järvelin & Kekäläinen 2002; trec_eval.

    >>> x = torch.eye(4)
    >>> table = pd.DataFrame({"query": [0, 0, 1], "key": [0, 2, 3], "grade": [2, 1, 1]})
    >>> found = by_relevance({"image": x, "text": x}, table, query="text", key="image")
    >>> round(float(found.loc["recall_at_1", "value"]), 3), int(found.loc["mrr", "queries"])
    (0.5, 2)
    """
    es = as_set(data)
    each: dict[str, list[float]] = {name: [] for name in MEASURES}
    family: list[int] = []
    families = np.asarray(es.families)
    for found in _judged(es, _links(es, relevance), query, key):
        for name, measure in MEASURES.items():
            each[name].append(float(measure(found)))
        family.append(int(families[found.item]))
    lines = []
    for name, values in each.items():
        middle = np.median(values) if name == MIDDLE else np.mean(values)
        low, high = (math.nan, math.nan) if name == MIDDLE else _interval(np.array(values), np.array(family))
        lines.append({"measure": name, "value": float(middle), "low": low, "high": high, "queries": len(values)})
    return pd.DataFrame(lines).set_index("measure")


@dataclass(frozen=True)
class Judged:
    """A query row of an item: of each relevant key row, the best first, how many others are above, and its grade.

    `ranks`: `above` and `tied` (1, P), among the key rows that are not relevant; `best`: the grades, highest first.
    """

    item: int
    ranks: PlacesState
    grade: np.ndarray
    best: np.ndarray

    def within(self, k: int) -> np.ndarray:
        """How surely each relevant row is among the first k."""
        places = range(len(self.grade))
        return np.array([float(over_ties(self.ranks, lambda r: (r <= k).double(), p)[0]) for p in places])

    def gain(self) -> float:
        """The graded gain of the first ten over that of the best order."""
        found = sum(
            g * float(over_ties(self.ranks, lambda r: torch.where(r <= 10, 1 / torch.log2(1 + r), 0.0), p)[0])
            for p, g in enumerate(self.grade)
        )
        best = self.best[:10]
        return float(found / (best / np.log2(np.arange(2, len(best) + 2))).sum())


def _first(k: int, found: Judged) -> float:
    return float(expected_hits(found.ranks, k)[0])


def _share(k: int, found: Judged) -> float:
    return float(found.within(k).mean())


MEASURES: dict[str, Callable[[Judged], float]] = {
    **{f"recall_at_{k}": partial(_first, k) for k in (1, 5, 10)},
    **{f"recall_share_at_{k}": partial(_share, k) for k in (1, 5, 10)},
    MIDDLE: lambda found: float(expected_ranks(found.ranks)[0]),
    retrieval.mrr.__name__: lambda found: float(over_ties(found.ranks, lambda r: 1 / r, 0)[0]),
    retrieval.ndcg_at_10.__name__: Judged.gain,
}


def _links(es: EmbeddingSet, relevance: pd.DataFrame | str | os.PathLike[str]) -> dict[int, dict[int, float]]:
    """Item of the query → item of the key → grade, of what is relevant at all."""
    table = relevance if isinstance(relevance, pd.DataFrame) else read_columns(Path(relevance))
    if len(table.columns) < 2:
        raise InputError("a table of relevance has two columns of ids, of queries and of keys, and a third of grades")
    place = {i: k for k, i in enumerate(es.items["id"].tolist())}
    ids = [columns.text(table[c]) for c in table.columns[:2]]
    try:
        grades = np.ones(len(table)) if len(table.columns) < 3 else table.iloc[:, 2].to_numpy(dtype=float)
    except (TypeError, ValueError):
        raise InputError(
            f"column {table.columns[2]!r} holds what is no grade; grades are numbers, 0 not relevant"
        ) from None
    wrong = ~np.isfinite(grades) | (grades < 0)
    if wrong.any():
        raise InputError(
            f"column {table.columns[2]!r} of the table of relevance has {grades[wrong][0]:g} at row "
            f"{int(wrong.argmax())}; grades are 0 and more: fill it in, or take the row away"
        )
    for c, each in zip(table.columns[:2], ids, strict=True):
        if (empty := np.asarray(each) == "").any():
            raise InputError(
                f"column {c!r} of the table of relevance is empty at row {int(empty.argmax())}; a row names a query "
                "and a key: fill it in, or take the row away"
            )
    out: dict[int, dict[int, float]] = {}
    for q, k, g in zip(*ids, grades, strict=True):
        for i in (q, k):
            if i not in place:
                raise unknown(f"item of {es.source}, which the table of relevance names", i, list(place)[:50])
        if g > 0:
            out.setdefault(place[q], {})[place[k]] = max(g, out.get(place[q], {}).get(place[k], 0.0))
    if not out:
        raise InputError("the table of relevance names no relevant pair")
    return out


def _judged(es: EmbeddingSet, links: dict[int, dict[int, float]], query: str, key: str) -> Iterator[Judged]:
    for m in (query, key):
        if m not in es.modalities:
            raise unknown("modality", m, es.modalities)
    keys, owner, item_of = es.unit(key).double(), es.item_of_row(key).numpy(), es.item_of_row(query).tolist()
    asked = [r for r, i in enumerate(item_of) if i in links]
    for start in range(0, len(asked), CHUNK):
        at = asked[start : start + CHUNK]
        scores = es.unit(query, torch.tensor(at)).double() @ keys.T
        for row, s in zip(at, scores, strict=True):
            item = item_of[row]
            of_item = np.zeros(len(es))
            of_item[list(links[item])] = list(links[item].values())
            grade = of_item[owner]
            mine = np.flatnonzero(grade > 0)
            if not len(mine):
                continue
            mine = mine[np.argsort(-s[torch.from_numpy(mine)].numpy(), kind="stable")]
            gap = s[torch.from_numpy(grade == 0)][None] - s[torch.from_numpy(mine)][:, None]
            ranks: PlacesState = {
                "above": (gap > TIE).sum(1)[None].double(),
                "tied": (gap.abs() <= TIE).sum(1)[None].double(),
            }
            alike = torch.from_numpy(mine)
            same = ((s[alike][:, None] - s[alike]).abs() <= TIE).double().numpy()
            yield Judged(
                item, ranks, same @ grade[mine] / same.sum(1), np.sort(grade[mine])[::-1]
            )  # equals come in any order


def _interval(values: np.ndarray, family: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of means over families drawn with replacement."""
    _, code = np.unique(family, return_inverse=True)
    count, total = np.bincount(code), np.bincount(code, values)
    if len(count) < 2:
        return math.nan, math.nan
    drawn = np.random.default_rng(0).integers(len(count), size=(DRAWS, len(count)))
    low, high = np.quantile(total[drawn].sum(1) / count[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)
