"""The statistics: what is summed over rows or over pairs of rows, and how two sums become one.

Nothing but a statistic knows about chunks. Each is a frozen, hashable spec; its state is a plain dict of tensors.
`totals` names the fields that are one number (or matrix) for the whole set, `per_row` the fields that carry one value
a row beside their `row` index, and both say how two states merge. A row statistic looks at a `Chunk` (a span of
items), a pair statistic at a block of similarities (Q, K) between query rows and key rows.

Letters: N items, n rows, d dimensions, Q queries, K keys, C classes, M modalities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from workbench.objectives.geometry import gram_volume_of, volume

if TYPE_CHECKING:
    from workbench.plan import Chunk, Rows

State = dict[str, Tensor]
Earlier = dict["Statistic", State]
TIE = 1e-12  # cosines nearer than this are equal: far above float64 rounding, far below any real difference
BINS = 100  # of a histogram of cosines
VOLUME_TIE = 1e-7  # a volume is the root of a difference of squares, which keeps half of float64's digits
MERGE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"sum": torch.add, "max": torch.maximum, "min": torch.minimum}


class Statistic:
    """What a state holds, and how two become one; `after` names statistics that must be known first."""

    totals: ClassVar[dict[str, str]] = {}
    per_row: ClassVar[dict[str, str]] = {}

    @property
    def after(self) -> tuple[Statistic, ...]:
        return ()

    def merge(self, a: State, b: State) -> State:
        out = {name: MERGE[how](a[name], b[name]) for name, how in self.totals.items()}
        if self.per_row:
            out |= merge_rows(a, b, self.per_row)
        return out


def merge_rows(a: State, b: State, fields: dict[str, str]) -> State:
    """Join two states by their row index: the same rows combine, others stand side by side, ascending."""
    ra, rb = a["row"], b["row"]
    if len(ra) == len(rb) and torch.equal(ra, rb):
        return {"row": ra} | {f: MERGE[how](a[f], b[f]) for f, how in fields.items()}
    if len(ra) and len(rb) and int(ra[0]) > int(rb[-1]):
        a, b, ra, rb = b, a, rb, ra
    if not len(ra) or not len(rb) or int(ra[-1]) < int(rb[0]):
        return {"row": torch.cat([ra, rb])} | {f: torch.cat([a[f], b[f]]) for f in fields}
    row, place = torch.unique(torch.cat([ra, rb]), return_inverse=True)
    ia, ib = place[: len(ra)], place[len(ra) :]
    out = {"row": row}
    for f, how in fields.items():
        x = torch.empty(len(row), *a[f].shape[1:], dtype=a[f].dtype)
        x[ib] = b[f]
        both = torch.isin(ia, ib)
        x[ia[both]] = MERGE[how](a[f][both], x[ia[both]])
        x[ia[~both]] = a[f][~both]
        out[f] = x
    return out


class RowStatistic(Statistic):
    def look(self, chunk: Chunk, earlier: Earlier) -> State:
        raise NotImplementedError


class PairStatistic(Statistic):
    """Bound to query and key modality; sees each block of similarities once, from its own side."""

    query: str
    key: str

    def look(self, scores: Tensor, q: Rows, k: Rows, earlier: Earlier) -> State:
        """The state of the query rows against these keys; `scores` (Q, K) are cosines in float32."""
        raise NotImplementedError


# -- over rows -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moments(RowStatistic):
    """Count, mean and centred scatter of the unit rows of one modality, or of several joined side by side.

    Joined, each item counts once for every combination of its rows, and only where no modality is missing.
    """

    modalities: tuple[str, ...]

    def look(self, chunk: Chunk, earlier: Earlier) -> State:
        rows = chunk.tuples(self.modalities)
        x = torch.cat([chunk.unit(m)[i] for m, i in zip(self.modalities, rows.rows, strict=True)], 1)
        mean = x.mean(0) if len(x) else x.new_zeros(x.shape[1])
        y = x - mean
        return {"n": torch.tensor(float(len(x)), dtype=torch.float64), "mean": mean, "scatter": y.T @ y}

    def merge(self, a: State, b: State) -> State:
        """Chan, Golub & LeVeque 1983: no cancellation, however tight the cone of the rows is."""
        n = a["n"] + b["n"]
        if float(n) == 0:
            return a
        d = b["mean"] - a["mean"]
        return {
            "n": n,
            "mean": a["mean"] + d * (b["n"] / n),
            "scatter": a["scatter"] + b["scatter"] + torch.outer(d, d) * (a["n"] * b["n"] / n),
        }


@dataclass(frozen=True)
class CentroidGram(RowStatistic):
    """Inner products of each item's summed rows with the sums of all rows, for one or two modalities.

    With S_m the sum of the unit rows of modality m and s_im that of item i: `cross` (., M, M) holds s_im · S_m', and
    `own` the same with the sum over the item's family. The Gram matrix of the sums without a family then follows
    exactly, and with it every function of the centroids: gap, resultant length, mean cosine.
    """

    modalities: tuple[str, ...]
    per_row: ClassVar = {"cross": "sum", "own": "sum", "count": "sum"}

    @property
    def after(self) -> tuple[Statistic, ...]:
        return tuple(Moments((m,)) for m in self.modalities)

    def look(self, chunk: Chunk, earlier: Earlier) -> State:
        sums = torch.stack([earlier[s]["mean"] * earlier[s]["n"] for s in self.after])  # (M, d)
        mine, count = chunk.item_sums(self.modalities)  # (N, M, d), (N, M)
        kin = chunk.family_sums(self.modalities)
        return {
            "row": chunk.items,
            "cross": mine @ sums.T,
            "own": mine @ kin.mT,
            "count": count,
        }


@dataclass(frozen=True)
class Matched(RowStatistic):
    """Per item: squared distance, cosine, or volume of its matched rows, summed over combinations of rows."""

    modalities: tuple[str, ...]
    alpha: float = 2.0
    per_row: ClassVar = {"count": "sum", "distance": "sum", "cosine": "sum", "volume": "sum"}

    def look(self, chunk: Chunk, earlier: Earlier) -> State:
        t = chunk.tuples(self.modalities)
        x = torch.stack([chunk.unit(m)[i] for m, i in zip(self.modalities, t.rows, strict=True)], 1)  # (n, M, d)
        pair = torch.combinations(torch.arange(len(self.modalities)))
        a, b = x[:, pair[:, 0]], x[:, pair[:, 1]]  # (n, pairs, d)
        values = {
            "count": torch.ones(len(x), dtype=torch.float64),
            "distance": (a - b).square().sum(-1).pow(self.alpha / 2).mean(1),
            "cosine": (a * b).sum(-1).mean(1),
            "volume": volume(x),
        }
        item, place = torch.unique(t.item, return_inverse=True)
        zeros = torch.zeros(len(item), dtype=torch.float64)
        return {"row": item} | {f: zeros.index_add(0, place, v) for f, v in values.items()}


@dataclass(frozen=True)
class OwnVolume(RowStatistic):
    """Per anchor row: its volume with the first row of each other modality of its item, and that item."""

    anchor: str
    others: tuple[str, ...]
    per_row: ClassVar = {"volume": "sum", "item": "max"}

    def look(self, chunk: Chunk, earlier: Earlier) -> State:
        t = chunk.tuples((self.anchor, *self.others))
        row, place = torch.unique(t.rows[0], return_inverse=True)
        # combinations come in order, so the first of a row holds the first rows of the others
        first = torch.full((len(row),), len(place)).scatter_reduce(0, place, torch.arange(len(place)), "amin")
        anchor = chunk.unit(self.anchor)[row][:, None]
        others = torch.stack([chunk.unit(m)[i[first]] for m, i in zip(self.others, t.rows[1:], strict=True)], 1)
        return {
            "row": chunk.row_index(self.anchor)[row],
            "volume": volume(torch.cat([others, anchor], 1)),
            "item": t.item[first],
        }


@dataclass(frozen=True)
class Kin(RowStatistic):
    """Per query row: Gaussian potentials to the key rows of its own family, which a left-out family takes away."""

    query: str
    key: str
    t: float = 2.0
    per_row: ClassVar = {"sum": "sum", "count": "sum"}

    def look(self, chunk: Chunk, earlier: Earlier) -> State:
        row, other, x, y = chunk.kin(self.query, self.key)
        e = torch.exp(-self.t * (x - y).square().sum(1))
        base = chunk.row_index(self.query)
        zeros = torch.zeros(len(base), dtype=torch.float64)
        return {
            "row": base,
            "sum": zeros.index_add(0, row, e),
            "count": zeros.index_add(0, row, torch.ones_like(e)),
        }


@dataclass(frozen=True)
class Positive(RowStatistic):
    """Per query row that has a match: the cosine to the best of the key rows of its item, in float64."""

    query: str
    key: str
    per_row: ClassVar = {"score": "max", "positives": "sum"}

    def look(self, chunk: Chunk, earlier: Earlier) -> State:
        t = chunk.tuples((self.query, self.key))
        cos = (chunk.unit(self.query)[t.rows[0]] * chunk.unit(self.key)[t.rows[1]]).sum(1)
        row, place = torch.unique(t.rows[0], return_inverse=True)
        best = torch.full((len(row),), -torch.inf, dtype=torch.float64).scatter_reduce(0, place, cos, "amax")
        count = torch.zeros(len(row), dtype=torch.float64).index_add(0, place, torch.ones_like(cos))
        return {"row": chunk.row_index(self.query)[row], "score": best, "positives": count}


@dataclass(frozen=True)
class Sample(RowStatistic):
    """The k rows of a modality whose hashed position is smallest: the same rows for any chunking and order."""

    modality: str
    k: int
    per_row: ClassVar = {"hash": "sum"}

    def look(self, chunk: Chunk, earlier: Earlier) -> State:
        row = chunk.row_index(self.modality)
        # splitmix64: a bijection of the position, so no two rows tie
        z = (row + 1) * -7046029254386353131
        z = (z ^ (z >> 30 & 0x3FFFFFFFF)) * -4658895280553007687
        z = (z ^ (z >> 27 & 0x1FFFFFFFFF)) * -7723592293110705685
        return self._smallest({"row": row, "hash": z ^ (z >> 31 & 0x1FFFFFFFF)})

    def merge(self, a: State, b: State) -> State:
        return self._smallest(merge_rows(a, b, self.per_row))

    def _smallest(self, s: State) -> State:
        if len(s["row"]) <= self.k:
            return s
        keep = torch.sort(torch.topk(s["hash"], self.k, largest=False).indices).values
        return {f: x[keep] for f, x in s.items()}


# -- over pairs of rows --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kernel(PairStatistic):
    """Per query row: the sum of Gaussian potentials exp(−t‖x−y‖²) over all key rows but the row itself."""

    query: str
    key: str
    t: float = 2.0
    per_row: ClassVar = {"sum": "sum"}

    def look(self, scores: Tensor, q: Rows, k: Rows, earlier: Earlier) -> State:
        # exp(2t(cos − 1)): float32 holds it down to 1e-38, so a wider kernel works in float64
        s = scores if self.t <= 10 else scores.double()
        e = torch.exp(s.mul(2 * self.t).sub_(2 * self.t))
        if self.query == self.key and q.overlaps(k):
            e.masked_fill_(q.same_row(k), 0.0)
        return {"row": q.index, "sum": e.sum(1, dtype=torch.float64)}


@dataclass(frozen=True)
class Histogram(PairStatistic):
    """Cosines of query rows with key rows of other items, counted in bins from −1 to 1."""

    query: str
    key: str
    totals: ClassVar = {"count": "sum"}

    def look(self, scores: Tensor, q: Rows, k: Rows, earlier: Earlier) -> State:
        s = scores.clamp(-1, 1)
        if q.overlaps(k):
            s = s[~q.same_item(k)]
        return {"count": torch.histc(s, BINS, -1, 1).double().cpu()}


@dataclass(frozen=True)
class Ranks(PairStatistic):
    """Per query row: how many key rows of other items score above its best match, and how many tie with it."""

    query: str
    key: str
    per_row: ClassVar = {"above": "sum", "tied": "sum"}

    @property
    def after(self) -> tuple[Statistic, ...]:
        return (Positive(self.query, self.key),)

    def look(self, scores: Tensor, q: Rows, k: Rows, earlier: Earlier) -> State:
        positive = earlier[self.after[0]]
        at = torch.searchsorted(positive["row"], q.index)
        at = at.clamp_max(len(positive["row"]) - 1)
        has = positive["row"][at] == q.index
        # a query without a match has no rank: its threshold is out of reach, and its row is dropped at the end
        best = torch.where(has, positive["score"][at], torch.inf).to(scores.device)
        band = q.rounding
        low, high = (best - band).to(scores.dtype)[:, None], (best + band).to(scores.dtype)[:, None]
        sure, maybe = scores > high, scores >= low
        if q.overlaps(k):
            other = ~q.same_item(k)
            sure, maybe = sure & other, maybe & other
        above = sure.sum(1)
        near = maybe.sum(1) - above
        above, tied = above.double().cpu(), torch.zeros(len(q.index), dtype=torch.float64)
        if bool(near.any()):
            i, j = (maybe & ~sure).nonzero(as_tuple=True)
            exact = q.dot(k, i, j)
            i, gap = i.cpu(), exact.cpu() - best.cpu()[i.cpu()]
            above.index_add_(0, i, (gap > TIE).double())
            tied.index_add_(0, i, (gap.abs() <= TIE).double())
        return {"row": q.index[has], "above": above[has], "tied": tied[has]}


# -- by class, on raw vectors --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassMoments(RowStatistic):
    """Count and sum of the raw rows of each class; a second look gives the spread around the centroids."""

    modality: str
    classes: int
    totals: ClassVar = {"n": "sum", "sum": "sum"}

    def look(self, chunk: Chunk, earlier: Earlier) -> State:
        x, label = chunk.labelled(self.modality)
        one = torch.nn.functional.one_hot(label, self.classes).double()
        return {"n": one.sum(0), "sum": one.T @ x}


@dataclass(frozen=True)
class ClassSpread(RowStatistic):
    """Sum over the rows of each class of the distance to their centroid."""

    modality: str
    classes: int
    totals: ClassVar = {"sum": "sum"}

    @property
    def after(self) -> tuple[Statistic, ...]:
        return (ClassMoments(self.modality, self.classes),)

    def look(self, chunk: Chunk, earlier: Earlier) -> State:
        x, label = chunk.labelled(self.modality)
        m = earlier[self.after[0]]
        r = (x - (m["sum"] / m["n"].clamp_min(1)[:, None])[label]).norm(dim=1)
        return {"sum": torch.zeros(self.classes, dtype=torch.float64).index_add(0, label, r)}


@dataclass(frozen=True)
class VolumeRanks(PairStatistic):
    """Per item: how many tuples of the other modalities span a smaller volume with its anchor than its own does.

    The key of a block is the first of `others`, whose rows stand for the whole tuple of their item. Volumes are made
    in float64, so nothing needs a second look.
    """

    query: str
    key: str
    others: tuple[str, ...]
    per_row: ClassVar = {"above": "sum", "tied": "sum"}

    @property
    def after(self) -> tuple[Statistic, ...]:
        return (OwnVolume(self.query, self.others),)

    def look(self, scores: Tensor, q: Rows, k: Rows, earlier: Earlier) -> State:
        own = earlier[self.after[0]]
        mine = torch.isin(q.index, own["row"]).nonzero()[:, 0]
        theirs = k.first_of(own["item"].unique())
        anchor = q.unit()[mine]
        basis = torch.stack([k.unit(m)[theirs] for m in self.others], 1)  # (K, M-1, d)
        v = gram_volume_of(anchor, basis, eps=0.0)  # (Q, K)
        best = own["volume"][torch.searchsorted(own["row"], q.index[mine])].to(v.device)[:, None]
        other = q.item[mine].to(v.device)[:, None] != k.item[theirs].to(v.device)[None]
        tie = VOLUME_TIE
        above, tied = ((v < best - tie) & other).sum(1), (((v - best).abs() <= tie) & other).sum(1)
        return {"row": q.index[mine], "above": above.double().cpu(), "tied": tied.double().cpu()}


@dataclass(frozen=True)
class Diameter(PairStatistic):
    """The largest distance between two raw rows of the same class, for each class."""

    query: str
    key: str
    classes: int
    totals: ClassVar = {"squared": "max"}

    @property
    def after(self) -> tuple[Statistic, ...]:
        return (ClassMoments(self.query, self.classes),)

    def look(self, scores: Tensor, q: Rows, k: Rows, earlier: Earlier) -> State:
        m = earlier[self.after[0]]
        centre = m["sum"] / m["n"].clamp_min(1)[:, None]
        out = torch.zeros(self.classes, dtype=torch.float64)
        for c in range(self.classes):
            x, y = q.raw(c) - centre[c], k.raw(c) - centre[c]
            if len(x) and len(y):
                # around the centroid the product form loses nothing: a diameter is at least the largest radius
                d = x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T
                out[c] = d.max().clamp_min(0)
        return {"squared": out}
