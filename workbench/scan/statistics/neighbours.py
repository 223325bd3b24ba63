"""Nearest neighbours: candidates in float32 tile by tile, settled in float64 once all keys were seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from workbench.scan.asks import Ask, Best
from workbench.scan.contracts import TIE, Earlier, PairStatistic, Prepared, State, Statistic
from workbench.scan.reductions.plain import FAR, NONE
from workbench.scan.tile import Tile
from workbench.scan.view import SetView

SLACK = 2  # neighbours kept beyond k, so that float64 can settle who is k-th
MOST_TIES = 5_000_000  # keys that tie for last places, over all rows: 80 MB
CELLS = 2**24  # cosines of rows with all keys at once: 128 MB
BLOCK = 2_048  # keys that the few rows in doubt meet at once


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

    def asks(self, tile: Tile, earlier: Earlier) -> tuple[Ask, ...]:
        allowed = tile.k.labels(self.by) >= 0 if self.by else None
        edge = earlier[Prepared(self)]["edge"][tile.q.index]
        return (Best(self.width, self.query == self.key, allowed, edge),)

    def map(self, tile: Tile, earlier: Earlier, *answers: Any) -> State:
        score, index, edge = answers[0]
        edges = earlier[Prepared(self)]["edge"]
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
