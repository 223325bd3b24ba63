"""Statistics over pairs of rows: potentials, histograms, ranks, neighbours, volumes, and shifted retrieval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from workbench.geometry import volume
from workbench.scan.contracts import BINS, TIE, VOLUME_TIE, Earlier, PairStatistic, Prepared, State, Statistic
from workbench.scan.reductions.own import Own
from workbench.scan.reductions.plain import FAR, NONE
from workbench.scan.statistics.rows import AlongGap, FirstMatch, OwnVolume, Positive
from workbench.scan.tile import Tile, rounded
from workbench.scan.view import SetView

SLACK = 2  # neighbours kept beyond k, so that float64 can settle who is k-th
PAIRS = 1 << 11  # tuples whose float64 rows are held together
DENSE = 64  # where more than one pair in so many is too near to call, the whole tile is done in float64
DEARER = 512  # one float64 pair costs as much as so many coarse ones
MOST_TIES = 5_000_000  # keys that tie for last places, over all rows: 80 MB
CELLS = 2**24  # cosines of rows with all keys at once: 128 MB
BLOCK = 2_048  # keys that the few rows in doubt meet at once


@dataclass(frozen=True)
class Kernel(PairStatistic):
    """Per query row: the sum of Gaussian potentials exp(−t‖x−y‖²) over all key rows but the row itself."""

    query: str
    key: str
    t: float = 2.0
    per_row: ClassVar = {"sum": "sum"}

    def map(self, tile: Tile, earlier: Earlier) -> State:
        return {"row": tile.q.index, "sum": tile.potentials(self.t)}


@dataclass(frozen=True)
class Histogram(PairStatistic):
    """Cosines of query rows with key rows of other items, counted in bins from −1 to 1."""

    query: str
    key: str
    totals: ClassVar = {"count": "sum"}
    sampled: ClassVar = True

    def map(self, tile: Tile, earlier: Earlier) -> State:
        return {"count": tile.reduce.histogram(tile.scores, BINS, tile.own)}


@dataclass(frozen=True)
class Ranks(PairStatistic):
    """Per query row and match: how many key rows of other items score above it, and how many tie with it.

    `above`, `tied` (n, P) in the order of `Positive`: the best match first. The match is one of the keys unless `match`
    names another modality, whose rows it then comes from: what a mixed gallery adds.
    """

    query: str
    key: str
    match: str = ""
    per_row: ClassVar = {"above": "sum", "tied": "sum"}
    screens: ClassVar = True

    @property
    def after(self) -> tuple[Statistic, ...]:
        return (Positive(self.query, self.match or self.key),)

    def map(self, tile: Tile, earlier: Earlier) -> State:
        positive = earlier[self.after[0]]
        at = torch.searchsorted(positive["row"], tile.q.index).clamp_max(len(positive["row"]) - 1)
        has = positive["row"][at] == tile.q.index
        # a query without a match has no rank: its threshold is out of reach, and its row is dropped at the end
        best = torch.where(has[:, None], positive["score"][at], 2.0)
        found = [self._count(tile, best[:, p]) for p in range(best.shape[1])]
        more, tied = (torch.stack(x, 1) for x in zip(*found, strict=True))
        return {"row": tile.q.index[has], "above": more[has], "tied": tied[has]}

    def _count(self, tile: Tile, best: Tensor) -> tuple[Tensor, Tensor]:
        scores, band, precision = tile.screened()
        low, high = _band(best, band, precision)
        sure, near = self._band_counts(tile, scores, low, high)
        if tile.screen and float(near.sum()) * DEARER > scores.numel():
            tile.screening.missed()
            scores = tile.scores
            low, high = _band(best, tile.q.rounding, scores.dtype)
            sure, near = self._band_counts(tile, scores, low, high)
        more, tied = sure.clone(), torch.zeros(len(best), dtype=torch.float64)
        if not bool(near.any()):
            return more, tied
        if float(near.sum()) * DENSE > scores.numel():
            rows = near.nonzero()[:, 0]
            exact = (
                tile.exact
                if tile.own is None
                else tile.exact.masked_fill(tile.own.mask(len(tile.k), scores.device), FAR)
            )
            gap = exact[rows.to(scores.device)] - best[rows, None].to(scores.device)
            more[rows] = (gap > TIE).sum(1).double().cpu()
            tied[rows] = (gap.abs() <= TIE).sum(1).double().cpu()
            return more, tied
        i, j = tile.reduce.between(scores, low, high, near, tile.own)
        gap = tile.q.dot(tile.k, i, j) - best[i]
        more.index_add_(0, i, (gap > TIE).double())
        tied.index_add_(0, i, (gap.abs() <= TIE).double())
        return more, tied

    @staticmethod
    def _band_counts(tile: Tile, scores: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """How many keys surely win, and how many more are near."""
        open_, sure = tile.reduce.above(scores, torch.stack([low, high]), tile.own)
        return sure, open_ - sure


def _band(best: Tensor, band: Tensor | float, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """Thresholds in float32: above the upper a pair surely wins, not above the lower it surely loses.

    Rounding is monotone, so what the product's own rounding to this precision does cannot carry a score across a
    threshold rounded away from it.
    """
    low = rounded(best - band - TIE, precision, up=False)
    low = torch.nextafter(low, torch.full_like(low, -torch.inf))
    return low.float(), rounded(best + band + TIE, precision, up=True).float()


@dataclass(frozen=True)
class Neighbours(PairStatistic):
    """Per query row: its k nearest key rows, and their cosines; within a modality, rows of other items only.

    `index` (n, k) positions of key rows, `score` (n, k), `item` (n,) and `key_item` (n, k). Membership and order are
    those of float64, ties by position, and `tied` (n,) says where these decided; within a modality so are the two
    best scores. Where keys tie for the last places, `tie_row` and `tie_key` (p,) list all of these, `tie_share` (p,)
    the part of a place of each. Fewer keys than k: −1. `by` lets only keys with a class there be neighbours.
    """

    query: str
    key: str
    k: int = 10
    by: str = ""
    per_row: ClassVar = {"score": "max"}

    @property
    def width(self) -> int:
        """How many candidates are kept, so that float64 can settle who is k-th."""
        return self.k + SLACK

    def canonical(self, view: SetView) -> Statistic:
        """Where every item has a class, all keys may be neighbours."""
        whole = bool(self.by) and self.by in view.labels and bool((view.labels[self.by] >= 0).all())
        return Neighbours(self.query, self.key, self.k) if whole else self

    def prepare(self, view: SetView, earlier: Earlier) -> State:
        """What the last of each row's candidates has at least: it rises as tiles are seen, and spares their rest."""
        return {"edge": torch.full((len(view.es[self.query]),), FAR)}

    def map(self, tile: Tile, earlier: Earlier) -> State:
        edges = earlier[Prepared(self)]["edge"]
        edge = edges[tile.q.index]
        own = tile.own if self.query == self.key else None
        allowed = tile.k.labels(self.by) >= 0 if self.by else None
        score, index = tile.reduce.best(tile.scores, tile.k.index, self.width, own, allowed, edge)
        # another thread's rows may be overtaken here: an edge that is too low costs time, nothing else
        edges[tile.q.index] = torch.maximum(edges[tile.q.index], edge)
        return {"row": tile.q.index, "score": score, "index": index}

    def merge(self, a: State, b: State) -> State:
        if not torch.equal(a["row"], b["row"]):
            row = torch.unique(torch.cat([a["row"], b["row"]]))
            a, b = self._on(row, a), self._on(row, b)
        return self._best(a["row"], *(torch.cat([a[f], b[f]], 1) for f in ("score", "index")))

    def concatenate(self, states: list[State]) -> State:
        row = torch.cat([s["row"] for s in states])
        width = max(s["score"].shape[1] for s in states)
        wide = [self._on(s["row"], s, width) for s in states]
        return {"row": row} | {f: torch.cat([s[f] for s in wide]) for f in ("score", "index")}

    def _on(self, row: Tensor, s: State, width: int = 0) -> State:
        """The state on more rows, or with more places, than it has."""
        at, have = torch.searchsorted(row, s["row"]), s["score"].shape[1]
        score = torch.full((len(row), max(width, have)), FAR)
        index = torch.full(score.shape, NONE)
        score[at, :have], index[at, :have] = s["score"], s["index"]
        return {"row": row, "score": score, "index": index}

    def _best(self, row: Tensor, score: Tensor, index: Tensor) -> State:
        score, at = torch.topk(score, min(self.width, score.shape[1]), dim=1)
        return {"row": row, "score": score, "index": index.gather(1, at)}

    def finish(self, state: State, view: SetView) -> State:
        """Settle in float64 what float32 leaves open."""
        es, row, index = view.es, state["row"], state["index"]
        score = state["score"].double()
        known = index != NONE
        score[~known] = FAR
        band = 2 * (es[self.query].shape[-1] + 4) * 2.0**-24
        close = (score[:, :-1] - score[:, 1:] <= band) & known[:, 1:]
        redo = torch.nn.functional.pad(close, (1, 0)) | torch.nn.functional.pad(close, (0, 1))
        if self.query == self.key:
            redo[:, :2] = True  # distances are made of these
        i, j = (redo & known).nonzero(as_tuple=True)
        score[i, j] = view.cosines(self.query, row[i], self.key, index[i, j])
        score, index = _ordered(score, index)
        # whoever was left out scores at most the last kept, give or take the band
        full = (known.all(1)) & (len(es[self.key]) > index.shape[1])
        edge = score[:, min(self.k, score.shape[1]) - 1]
        doubt = (full & (edge <= state["score"][:, -1].double() + band)).nonzero()[:, 0]
        for part in doubt.split(256) if len(doubt) else ():
            score[part], index[part] = self._rescore(view, row[part], score.shape[1])
        tied = torch.zeros(len(row), dtype=torch.bool)
        if score.shape[1] > self.k:
            tied = (index[:, self.k] != NONE) & (score[:, self.k - 1] - score[:, self.k] <= TIE)
        ties = self._ties(view, row, score, index, tied) if self.query == self.key else {}
        score, index = score[:, : self.k], index[:, : self.k]
        index = index.masked_fill((index == NONE) | (score <= -2.5), -1)
        key_item = torch.where(index < 0, -1, es.item_of_row(self.key)[index.clamp_min(0)])
        return {
            "row": row,
            "score": score,
            "index": index,
            "item": es.item_of_row(self.query)[row],
            "key_item": key_item,
            "tied": tied,
            "keys": torch.tensor(len(es[self.key])),
        } | ties

    def _ties(self, view: SetView, row: Tensor, score: Tensor, index: Tensor, tied: Tensor) -> State:
        """The keys that tie for the last places, and the part of a place that each has."""
        at = tied.nonzero()[:, 0]
        edge = score[:, min(self.k, score.shape[1]) - 1]
        beyond = score[at, -1] >= edge[at] - TIE  # their ties may go on after what was kept
        spilt, kept = at[beyond], at[~beyond]
        i, j = ((score[kept] - edge[kept, None]).abs() <= TIE).nonzero(as_tuple=True)
        found = [(kept[i], index[kept[i], j])]
        most = max(MOST_TIES // max(len(spilt), 1), self.k)
        for part in spilt.split(max(CELLS // len(view.es[self.key]), 1)) if len(spilt) else ():
            same = (self._exact(view, row[part]) - edge[part, None]).abs() <= TIE
            if int(same.sum(1).max()) > most:
                lot = torch.rand(same.shape, generator=torch.Generator().manual_seed(int(part[0])))
                drawn = lot.masked_fill(~same, -1).topk(most, dim=1)
                same = torch.zeros_like(same).scatter_(1, drawn.indices, drawn.values >= 0)
            i, j = same.nonzero(as_tuple=True)
            found.append((part[i], j))
        tie_row, tie_key = (torch.cat(x) for x in zip(*found, strict=True))
        nearer = (score[:, : self.k] > edge[:, None] + TIE).sum(1)
        each = (self.k - nearer).double() / torch.bincount(tie_row, minlength=len(row)).clamp_min(1)
        return {"tie_row": tie_row, "tie_key": tie_key, "tie_share": each[tie_row]}

    def _exact(self, view: SetView, row: Tensor) -> Tensor:
        """The cosines of a few rows with all keys that may be theirs, in float64; of the others `FAR`."""
        x, own = view.es.unit(self.query, row), view.es.item_of_row(self.query)[row]
        starts = range(0, len(view.es[self.key]), BLOCK)
        keys = (view.es.unit(self.key, slice(s, s + BLOCK)).T for s in starts)
        return torch.cat([self._allowed(view, x @ k, own, s) for s, k in zip(starts, keys, strict=True)], 1)

    def _allowed(self, view: SetView, exact: Tensor, own: Tensor, start: int) -> Tensor:
        """The same with `FAR` for keys of the own item, and for those without a class."""
        item = view.es.item_of_row(self.key)[start : start + exact.shape[1]]
        if self.query == self.key:
            exact.masked_fill_(own[:, None] == item[None], FAR)
        if self.by:
            exact.masked_fill_((view.label_of(self.by, item) < 0)[None], FAR)
        return exact

    def _rescore(self, view: SetView, row: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """The nearest keys of a few rows, all in float64: ties by position, wherever they fall."""
        es, score, index = view.es, torch.zeros(len(row), 0, dtype=torch.float64), torch.zeros(len(row), 0).long()
        x, own = es.unit(self.query, row), es.item_of_row(self.query)[row]
        for start in range(0, len(es[self.key]), BLOCK):
            at = slice(start, start + BLOCK)
            exact = self._allowed(view, x @ es.unit(self.key, at).T, own, start)
            keys = torch.arange(start, start + exact.shape[1]).expand_as(exact)
            # all that tie with the last place must stay until the positions are compared
            last = torch.topk(exact, min(width, exact.shape[1]), dim=1).values[:, -1:]
            most = int((exact >= last - TIE).sum(1).max())
            top, place = torch.topk(exact, most, dim=1)
            score, index = torch.cat([score, top], 1), torch.cat([index, keys.gather(1, place)], 1)
            score, index = (x[:, :width] for x in _ordered(score, index))
        return score, index


def _grid(score: Tensor) -> Tensor:
    """Scores that rounding alone tells apart become equal."""
    return (score / TIE).round() * TIE


def _ordered(score: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Descending by score, ties ascending by index."""
    by_index = torch.argsort(index, dim=1, stable=True)
    score, index = score.gather(1, by_index), index.gather(1, by_index)
    at = torch.argsort(_grid(score), dim=1, descending=True, stable=True)
    return score.gather(1, at), index.gather(1, at)


@dataclass(frozen=True)
class VolumeRanks(PairStatistic):
    """Per item: how many tuples of the other modalities span a smaller volume with its anchor than its own does.

    The key of a block is the first of `others`, whose rows stand for the whole tuple of their item. With an orthonormal
    basis of tuple j, vol² = (1 − Σ⟨b_jm, a⟩²) det G_j: float32 products, float64 for what they cannot tell apart.
    """

    query: str
    key: str
    others: tuple[str, ...]
    per_row: ClassVar = {"above": "sum", "tied": "sum"}

    @property
    def after(self) -> tuple[Statistic, ...]:
        return (OwnVolume(self.query, self.others),)

    def map(self, tile: Tile, earlier: Earlier) -> State:
        own, q, k = earlier[self.after[0]], tile.q, tile.k
        mine = torch.isin(q.index, own["row"]).nonzero()[:, 0]
        theirs, more, det = k.frame(self.others, own["item"])
        best = own["volume"][torch.searchsorted(own["row"], q.index[mine])]
        whole = len(mine) == len(q) and len(theirs) == len(k)
        scores = tile.scores if whole else tile.scores[mine.to(q.x.device)][:, theirs.to(q.x.device)]
        own_tuples = Own.of(q.item[mine], k.item[theirs]) if tile.overlaps else None
        inside = scores.square()
        for basis in more:
            inside += (q.x[mine.to(q.x.device)] @ basis.T).square_()
        squared = inside.neg_().add_(1).mul_(det)
        # a product is off by its rounding, its square by twice that, and each further direction adds one
        band = 3 * len(self.others) * (q.rounding + 2.0**-23)
        low = ((best - VOLUME_TIE).clamp_min(0).square() - band).float()
        high = ((best + VOLUME_TIE).square() + band).float()
        # the smaller are what is not above; a query's own tuple is in neither count
        others = squared.shape[1] - (0 if own_tuples is None else (own_tuples.last - own_tuples.first).double())
        open_, larger = tile.reduce.above(squared, torch.stack([low, high]), own_tuples)
        smaller, near = others - open_, open_ - larger
        tied = torch.zeros_like(smaller)
        if bool(near.any()):
            i, j = tile.reduce.between(squared, low, high, near, own_tuples)
            gap = self._exact(tile, mine[i], theirs[j]) - best[i]
            smaller.index_add_(0, i, (gap < -VOLUME_TIE).double())
            tied.index_add_(0, i, (gap.abs() <= VOLUME_TIE).double())
        return {"row": q.index[mine], "above": smaller[:, None], "tied": tied[:, None]}

    def _exact(self, tile: Tile, i: Tensor, j: Tensor) -> Tensor:
        """Float64 volumes of chosen anchors with chosen tuples, (n,)."""
        es, out = tile.q.view.es, []
        for a, b in zip(i.split(PAIRS), j.split(PAIRS), strict=True):
            item = tile.k.item[b]
            others = [es.unit(m, torch.searchsorted(es.item_of_row(m), item)) for m in self.others]
            out.append(volume(torch.stack([*others, es.unit(self.query, tile.q.index[a])], 1)))
        return torch.cat(out)


@dataclass(frozen=True)
class Shifted(PairStatistic):
    """Per sampled query: what retrieval and loss become as both modalities move along the gap by δ (Liang et al.).

    Queries become unit(a − ½δu), keys unit(b + ½δu), with u the direction of mean(a) − mean(b). Per δ, `above` (n, Δ)
    counts the keys of other items above the match, `others` sums their exp((cos − 1)/temperature), `own` (n, Δ) is
    the cosine of the match.
    """

    query: str
    key: str
    deltas: tuple[float, ...]
    temperature: float = 0.01
    per_row: ClassVar = {"above": "sum", "others": "sum", "own": "max"}
    sampled: ClassVar = True

    @property
    def after(self) -> tuple[Statistic, ...]:
        along = (AlongGap(m, self.query, self.key) for m in (self.query, self.key))
        return *along, FirstMatch(self.query, self.key)

    def map(self, tile: Tile, earlier: Earlier) -> State:
        q, k = tile.q, tile.k
        of_query, of_key, first = (earlier[s] for s in self.after)
        at = torch.searchsorted(first["row"], q.index).clamp_max(len(first["row"]) - 1)
        has = (first["row"][at] == q.index).nonzero()[:, 0]
        at, whole = at[has], len(has) == len(q)
        au, bu, mu = of_query["along"][q.index[has]], of_key["along"][k.index], of_key["along"][first["match"][at]]
        half = torch.tensor(self.deltas, dtype=torch.float64)[:, None] / 2
        lengths = [(1 + s * 2 * half * y + half * half).sqrt() for s, y in ((-1, au), (1, bu), (1, mu))]
        of_queries, of_keys, of_matches = lengths  # (Δ, Q), (Δ, K), (Δ, Q)
        own = (first["cosine"][at] + half * au - half * mu - half * half) / (of_queries * of_matches)
        above, others = tile.reduce.shifted(
            tile.scores if whole else tile.scores[has.to(tile.scores.device)],
            ((-half * bu).float(), (1 / of_keys).float()),
            ((half * au - half * half).float(), (1 / of_queries).float()),
            (own + q.rounding).float(),
            self.temperature,
            Own.of(q.item[has], k.item) if tile.overlaps else None,
        )
        return {"row": q.index[has], "above": above.T, "others": others.T, "own": own.T}
