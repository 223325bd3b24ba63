"""Weak slices: over columns, pairs of columns and clusters, where retrieval is lower than elsewhere."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtr, stdtr

from workbench.diagnostics import intervals
from workbench.diagnostics.retrieval import recall_at_1
from workbench.diagnostics.scoped_name import ScopedName
from workbench.disk import write_text
from workbench.errors import InputError
from workbench.lists.said import Said
from workbench.report.diagnose import diagnose
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import as_set

RATE = 0.05  # of false discoveries
MOST = 10  # slices
ALONE = 0.01  # p at which a pair of columns is weaker than either alone
FEW = 8  # families of a slice, and of the rest, at least
VALUES = 200  # of a column: more is a name
BINS = 4  # of a column of numbers
OVERLAP = 0.5  # of two slices' items: the second says nothing new
CLUSTERS = 24
ROUNDS = 20  # of k-means
HIT = recall_at_1.__name__


@dataclass(repr=False)
class Weak(Said):
    """`frame`: a line a slice, the most lost first: what (`slice`), items, families, its R@1 and that of the rest, the
    shrunk `effect`, its interval, and q, the false discovery rate at which it stands. `items` has the members of each.
    """

    frame: pd.DataFrame
    items: pd.DataFrame
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def sentences(self) -> list[str]:
        """A sentence a slice, or that there is none."""
        if not len(self.frame):
            near = self.about.get("nearest")
            more = f" Nearest to it: {near}." if near else ""
            none = (
                f"No slice of {self.about['tried']:,} is weaker than the rest at a false discovery rate of {RATE:.0%}."
            )
            return [none + more]
        return [
            f"{r['slice']}: R@1 {r['value']:.2f} of {r['items']:,} items, {r['rest']:.2f} elsewhere; "
            f"{r['effect']:+.2f} [{r['low']:+.2f}, {r['high']:+.2f}] after shrinking, q = {r['q']:.2g}."
            for r in self.frame.to_dict("records")
        ]

    def ids(self, k: int) -> list[str]:
        """The items of the k-th slice, for a selection."""
        return self.items["id"][self.items["slice"] == self.frame.loc[k, "slice"]].tolist()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the members of the slices to a CSV file: slice, id."""
        write_text(Path(path), self.items.to_csv(index=False))
        return Path(path)


def weak_slices(data: Any) -> Weak:
    r"""Where R@1 is lower than elsewhere: over all columns, pairs of columns, and clusters of each modality.

    An item's number is the mean of its directions. A slice's difference to the rest has the scatter of whole families;
    of all slices tried, those are kept whose false discovery rate is at most 5 % (Benjamini & Yekutieli 2001, whatever
    they share) and whose difference is negative. Effects are shrunk towards 0 by $\tau^2/(\tau^2+\mathrm{se}^2)$ with
    the variance τ² of true effects that the tries leave over. A pair of columns must be weaker than each alone. At most
    ten, no two of which share half of their items. Cost: R@1 of every direction, and k-means of each modality.

    >>> import workbench as wb
    >>> weak_slices(wb.testing.planted(items=100, cosine=0.9)).sentences[0][:8]
    'No slice'
    """
    es = as_set(data).layer()
    hit = hits(es)
    has = np.isfinite(hit)
    if has.sum() < 2 * FEW:
        raise InputError(f"{es.source}: {int(has.sum())} items ask for a match, too few for slices")
    family = pd.factorize(es.families)[0]
    tried = list(_tested(hit, family, _slices(es, has)))
    about = {"source": es.source, "items": len(es), "tried": len(tried), "value": float(hit[has].mean())}
    frame = pd.DataFrame(tried)
    none = pd.DataFrame({"slice": [], "id": []})
    if not len(frame):
        return Weak(frame, none, about)
    every = torch.from_numpy(frame["p"].to_numpy().copy())
    frame["q"] = intervals.false_discovery(every, however_they_depend=True).numpy()
    left = float(np.var(frame["difference"]) - np.mean(frame["se"] ** 2))
    shrunk = max(left, 0.0) / (max(left, 0.0) + frame["se"] ** 2)
    frame["effect"] = shrunk * frame["difference"]
    wide = frame["t"] * frame["se"] * np.sqrt(shrunk)  # a posterior is narrower by the root of its weight
    frame["low"], frame["high"] = frame["effect"] - wide, frame["effect"] + wide
    lower = frame[frame["difference"] < 0].sort_values("q")
    if len(lower):
        r = lower.iloc[0]
        about["nearest"] = f"{r['slice']}, R@1 {r['value']:.2f} and {r['rest']:.2f} elsewhere, q = {r['q']:.2g}"
    weak = frame[(frame["q"] <= RATE) & (frame["difference"] < 0)].sort_values("effect")
    kept = _apart(weak)
    chosen = frame.loc[kept].reset_index(drop=True)
    ids = columns.text(es.items["id"])
    members = [{"slice": r["slice"], "id": ids[i]} for r in chosen.to_dict("records") for i in r["at"]]
    shown = ["slice", "items", "families", "value", "rest", "effect", "low", "high", "q"]
    return Weak(chosen[shown], pd.DataFrame(members) if members else none, about)


def hits(es: EmbeddingSet) -> np.ndarray:
    """The mean over directions of whether an item's rows find their match first, (N,); NaN where none asks."""
    report = diagnose(es, only=[HIT], subsampling=False, exact=True)
    rows = report.frame[report.frame["reason"].isna()]
    named = [ScopedName(HIT, scope) for scope in rows["modalities"]]
    found = [report.items[n.column].to_numpy(dtype=float) for n in named if n.column in report.items and not n.fused]
    if not found:
        raise InputError(f"{es.source}: no two modalities of one width, so there is no retrieval to slice")
    stacked = np.stack(found)
    there = np.isfinite(stacked)
    return np.where(there.any(0), np.where(there, stacked, 0).sum(0) / np.maximum(there.sum(0), 1), np.nan)


Slice = tuple[str, np.ndarray, tuple[str, ...]]  # what it is, whom it holds (N,), and of which simpler ones it is made


def _slices(es: EmbeddingSet, has: np.ndarray) -> Iterator[Slice]:
    """Values of columns, pairs of them, and clusters; each with a mask of the items that it holds."""
    single: list[tuple[str, str, np.ndarray]] = []
    for c in es.items:
        if c in ("id", "family"):
            continue
        single += [(str(c), name, at & has) for name, at in _values(es.items[c])]
    yield from ((name, at, ()) for _, name, at in single)
    for (c, one, x), (d, two, y) in combinations(single, 2):
        if c != d and "split" not in (c, d):
            yield f"{one} and {two}", x & y, (one, two)
    for m in es.modalities:
        items = es.layout.has[m].nonzero()[:, 0].numpy()
        rows = es.unit(m, es.first_row(m, items))
        code = clusters(rows.float(), min(CLUSTERS, int(math.sqrt(len(items) / 2))))
        for k in range(int(code.max()) + 1):
            at = np.zeros(len(es), dtype=bool)
            at[items[code == k]] = True
            centre = rows[torch.from_numpy(code == k)].mean(0)
            nearest = items[int((rows @ centre).argmax())]
            yield f"{m} like that of {columns.text(es.items['id'])[nearest]}", at & has, ()


def _values(column: pd.Series) -> Iterator[tuple[str, np.ndarray]]:
    """The slices of one column: its values, or quarters of its numbers."""
    if columns.holds_bytes(column):
        return
    if column.dtype.kind in "fiu" and column.nunique() > 2 * BINS:
        edges = np.unique(np.nanquantile(column.to_numpy(dtype=float), np.linspace(0, 1, BINS + 1)))
        for low, high in zip(edges, edges[1:], strict=False):
            inside = (column >= low) & ((column < high) if high < edges[-1] else (column <= high))
            yield f"{column.name} {low:.3g} … {high:.3g}", inside.fillna(False).to_numpy(dtype=bool)
        return
    try:
        code, names = columns.codes(column)
    except InputError:  # lists are no classes
        return
    if len(names) <= VALUES:
        yield from ((f"{column.name} {name}", code == k) for k, name in enumerate(names))


def clusters(x: torch.Tensor, k: int) -> np.ndarray:
    """k-means on the sphere, from rows far apart: the cluster of each unit row, (n,)."""
    draw = torch.Generator().manual_seed(0)
    centres = x[torch.randint(len(x), (1,), generator=draw)]
    while len(centres) < k:  # each next one by how far it lies from those before (Arthur & Vassilvitskii 2007)
        far = (1 - (x @ centres.T).max(1).values).clamp_min(0) + 1e-12
        centres = torch.cat([centres, x[torch.multinomial(far, 1, generator=draw)]])
    for _ in range(ROUNDS):
        code = (x @ centres.T).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, code, x)
        centres = torch.nn.functional.normalize(torch.where(sums.norm(dim=1, keepdim=True) > 0, sums, centres), dim=1)
    return (x @ centres.T).argmax(1).numpy()


def _tested(hit: np.ndarray, family: np.ndarray, slices: Iterator[Slice]) -> Iterator[dict[str, Any]]:
    """Each slice that is large enough against the rest: difference, error over families, p, and t of the interval."""
    known: dict[str, dict[str, Any]] = {}
    has = np.isfinite(hit)
    for name, at, parents in slices:
        rest = has & ~at
        if min(len(np.unique(family[at])), len(np.unique(family[rest]))) < FEW:
            continue
        found = _difference(hit, family, at, rest)
        if any(x in known and found["value"] >= known[x]["value"] for x in parents):
            continue  # no weaker than one column alone
        for x in parents:  # and surely so: against the rest of that column's value
            if x in known and _same(hit, family, at, known[x]["mask"] & ~at):
                break
        else:
            line = {"slice": name, "items": int(at.sum()), "families": len(np.unique(family[at])), **found}
            if not parents:
                known[name] = line | {"mask": at}
            yield line | {"at": np.flatnonzero(at)}


def _difference(hit: np.ndarray, family: np.ndarray, at: np.ndarray, rest: np.ndarray) -> dict[str, float]:
    """Mean within less mean elsewhere, as one sum over families: a family on both sides goes in or out whole.

    A few rows that all miss show no scatter of their own, so the error is never less than that of as many rows of
    families dealt by lot, and the p is the larger of both.
    """
    one, other = float(hit[at].mean()), float(hit[rest].mean())
    each = np.where(at, (hit - one) / at.sum(), 0) - np.where(rest, (hit - other) / rest.sum(), 0)
    both = at | rest
    sums = np.bincount(family[both], weights=each[both])
    own, freedom = intervals.scatter(torch.from_numpy(sums[np.bincount(family[both]) > 0]))
    freedom = min(freedom, len(np.unique(family[at])) - 1.0)
    lot = _by_lot(hit, family, at, rest)
    p = max(2 * float(ndtr(-abs(one - other) / lot)) if lot else 1.0, _p(abs(one - other), own, freedom))
    return {
        "value": one,
        "rest": other,
        "difference": one - other,
        "se": max(own, lot),
        "p": p,
        "t": intervals.student(freedom),
    }


def _p(far: float, se: float, freedom: float) -> float:
    return 2 * float(stdtr(freedom, -far / se)) if se > 0 else 0.0


def _by_lot(hit: np.ndarray, family: np.ndarray, at: np.ndarray, rest: np.ndarray) -> float:
    """The error of the difference where slices are dealt by lot, from how families scatter about the mean of all."""
    both = at | rest
    size = np.bincount(family[both])
    left = np.bincount(family[both], weights=hit[both] - hit[both].mean())
    each = float(np.square(left).sum() / np.square(size).sum())  # of a family of one; larger ones move together
    parts = [np.square(np.bincount(family[x])).sum() / x.sum() ** 2 for x in (at, rest)]
    return math.sqrt(each * sum(parts))


def _same(hit: np.ndarray, family: np.ndarray, at: np.ndarray, rest: np.ndarray) -> bool:
    if len(np.unique(family[rest])) < FEW:
        return True
    return _difference(hit, family, at, rest)["p"] > ALONE


def _apart(weak: pd.DataFrame) -> list[int]:
    """Lines that say something new, at most ten: none shares half of its items with one before."""
    kept: list[int] = []
    for k in weak.index:
        mine = set(weak.loc[k, "at"].tolist())
        others = [set(weak.loc[j, "at"].tolist()) for j in kept]
        if all(len(mine & other) <= OVERLAP * min(len(mine), len(other)) for other in others):
            kept.append(k)
        if len(kept) == MOST:
            break
    return kept
