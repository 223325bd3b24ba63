"""Thresholds with a guarantee: how many answers hold the match, and from which score on an answer may be trusted."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import betaincinv
from torch import Tensor

from workbench.disk import write_text
from workbench.errors import InputError
from workbench.lists.said import Said
from workbench.sets.constant import refuse_constant
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import as_set

BLOCK = 1_024
BINS = 10  # of the calibration curve
FEW = 20  # families
SURE = 0.95  # that the precision is what was asked for


@dataclass(repr=False)
class Thresholds(Said):
    """`frame`: a line a direction. `k`, `score` and `set_size`: as many answers, or all from this cosine on (so many at
    the median), hold the match of a new query with the asked coverage. `accept`: cosine from which the first answer is
    right at the asked precision, and `accepted`, the share of queries that reach it; NaN where no score does.
    `calibration`: per direction and tenth of the queries by score, its mean and how often the first answer is right.
    """

    frame: pd.DataFrame
    calibration: pd.DataFrame
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def sentences(self) -> list[str]:
        """What each direction promises, in words."""
        out = []
        for r in self.frame.to_dict("records"):
            gallery = f"of {r['gallery']:,}"
            if math.isfinite(r["k"]):
                holds = f"the first {int(r['k']):,} {gallery} hold the match of {self.about['coverage']:.0%} of queries"
                holds += f", and so do all from cosine {r['score']:.3f} on, {int(r['set_size']):,} at the median"
            else:
                holds = f"too few families ({r['families']:,}) to hold the match of {self.about['coverage']:.0%}"
            if math.isfinite(r["accept"]):
                trust = (
                    f"from cosine {r['accept']:.3f} on the first answer is right {self.about['precision']:.0%} of the "
                )
                trust += f"time, for {r['accepted']:.0%} of queries"
            else:
                trust = f"no cosine makes the first answer right {self.about['precision']:.0%} of the time beyond doubt"
            out.append(f"{r['query']} → {r['key']}: {holds}; {trust}.")
        return out

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the thresholds to a CSV file, a line a direction."""
        write_text(Path(path), self.frame.to_csv(index=False))
        return Path(path)


def thresholds(data: Any, *, coverage: float = 0.95, precision: float = 0.95) -> Thresholds:
    r"""For each direction, the answers that hold the match, and the cosine from which the first answer may be trusted.

    Coverage is conformal: a query of a new family finds its match among the answers with at least this probability,
    whatever the distribution; one query a family counts, and of F families the $\lceil (F+1)(1-\alpha)\rceil$-th worst
    decides. Precision is tested from the highest score down, by the exact binomial bound over families, and stops at
    the first threshold that fails (fixed sequence), so that it holds with 95 % confidence. Both hold for galleries of
    this size. Cost: all pairs. Source: Vovk et al. 2005; Angelopoulos et al. 2021 (learn then test).

    >>> import workbench as wb
    >>> found = thresholds(wb.testing.planted(items=200, cosine=0.9))
    >>> int(found.frame.loc[0, "k"])
    1
    """
    shares(coverage=coverage, precision=precision)
    es = as_set(data).layer()
    refuse_constant(es)
    lines, curves = [], []
    for a, b in permutations(es.modalities, 2):
        if es[a].shape[-1] == es[b].shape[-1]:
            found = asked(es, a, b)
            lines.append({"query": a, "key": b} | promised(found, coverage, precision))
            curves += [{"query": a, "key": b} | c for c in calibrated(found)]
    if not lines:
        raise InputError(f"{es.source}: no two modalities of one width, so there are no scores to set a threshold for")
    about = {"source": es.source, "coverage": coverage, "precision": precision}
    return Thresholds(pd.DataFrame(lines), pd.DataFrame(curves), about)


def shares(**asked: float) -> None:
    """Raise `InputError` for what is no share."""
    for name, x in asked.items():
        if not 0 < x < 1:
            raise InputError(f"{name} {x}: give a share between 0 and 1")


@dataclass(frozen=True)
class Asked:
    """One query of each family: the rank and cosine of its match, the cosine of its first answer, whether it is right,
    and how many keys reach each cosine, from a sample of queries."""

    rank: np.ndarray
    match: np.ndarray
    first: np.ndarray
    right: np.ndarray
    reached: np.ndarray  # cosines of sampled queries with all keys, ascending, (q, K)
    gallery: int


def asked(es: EmbeddingSet, a: str, b: str) -> Asked:
    """The first row of one item of each family asks all rows of `b`."""
    has = (es.layout.has[a] & es.layout.has[b]).nonzero()[:, 0].numpy()
    draw = np.random.default_rng(0).permutation(has)
    family = pd.factorize(es.families[draw])[0]
    items = np.sort(draw[np.unique(family, return_index=True)[1]])
    if len(items) < FEW:
        raise InputError(f"{es.source}: {len(items)} families have both {a} and {b}, and a guarantee needs {FEW}")
    row = es.first_row(a, items)
    keys, owner = es.unit(b).float(), es.item_of_row(b)
    low, high = (torch.searchsorted(owner, torch.from_numpy(items) + k) for k in (0, 1))
    rank, match, first = (torch.zeros(len(items)) for _ in range(3))
    sample: list[Tensor] = []
    for start in range(0, len(items), BLOCK):
        at = slice(start, start + BLOCK)
        s = es.unit(a, row[at]).float() @ keys.T
        place = torch.arange(len(keys))
        mine = (place >= low[at, None]) & (place < high[at, None])
        best = s.masked_fill(~mine, -2).max(1).values
        others = s.masked_fill(mine, -2)
        rank[at] = 1 + (others >= best[:, None]).sum(1).float()  # ties stand before: a guarantee takes no luck
        match[at], first[at] = best, s.max(1).values
        if start == 0:
            sample.append(s.sort(1).values)
    right = (rank == 1).numpy()
    return Asked(rank.numpy(), match.numpy(), first.numpy(), right, sample[0].numpy(), len(keys))


def promised(q: Asked, coverage: float, precision: float) -> dict[str, float]:
    """What is promised of one direction."""
    n = len(q.rank)
    worst = math.ceil((n + 1) * coverage) - 1  # in ascending order of rank
    k, score, size = math.nan, math.nan, math.nan
    if worst < n:
        k, score = float(np.sort(q.rank)[worst]), float(-np.sort(-q.match)[worst])
        size = float(np.median([len(x) - np.searchsorted(x, score, "left") for x in q.reached]))
    accept = trusted(q.first, q.right, precision)
    accepted = float((q.first >= accept).mean()) if math.isfinite(accept) else 0.0
    told = {"families": n, "gallery": q.gallery, "k": k, "score": score, "set_size": size}
    return told | {"accept": accept, "accepted": accepted}


def trusted(first: np.ndarray, right: np.ndarray, precision: float) -> float:
    """The least score from which the first answers are right with this precision, by 95 % confidence; NaN for none.

    Candidates are fixed beforehand: the scores of the best twentieth, two twentieths … of the queries.
    """
    order = np.argsort(-first, kind="stable")
    accept = math.nan
    for step in range(1, 21):
        n = max(len(first) * step // 20, 1)
        score = first[order[n - 1]]
        chosen = first >= score
        k, m = int(right[chosen].sum()), int(chosen.sum())
        least = float(betaincinv(k, m - k + 1, 1 - SURE)) if k else 0.0
        if least < precision:
            # a few queries cannot show a high precision whatever they get: the sequence begins where they could
            if (precision**m) > 1 - SURE:
                continue
            break
        accept = float(score)
    return accept


def calibrated(q: Asked) -> list[dict[str, float]]:
    """Tenths of the queries by the score of their first answer: its mean, and how often it is right."""
    order = np.argsort(q.first, kind="stable")
    return [
        {"score": float(q.first[at].mean()), "right": float(q.right[at].mean()), "queries": len(at)}
        for at in np.array_split(order, BINS)
    ]
