"""Statistics over pairs of rows: potentials, histograms, ranks, neighbours, volumes, and shifted retrieval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from workbench.scan.asks import Ask, Between, Counted, Potentials
from workbench.scan.asks import Histogram as Bins
from workbench.scan.contracts import BINS, TIE, Earlier, PairStatistic, State, Statistic
from workbench.scan.reductions.own import Own
from workbench.scan.reductions.plain import FAR
from workbench.scan.statistics.rows import AlongGap, FirstMatch, Positive
from workbench.scan.tile import Rows, Tile, rounded

DEARER = 512  # one float64 pair costs as much as so many coarse ones


@dataclass(frozen=True)
class Kernel(PairStatistic):
    """Per query row: the sum of Gaussian potentials exp(−t‖x−y‖²) over all key rows but the row itself."""

    query: str
    key: str
    t: float = 2.0
    per_row: ClassVar = {"sum": "sum"}

    def asks(self, tile: Tile, earlier: Earlier) -> tuple[Ask, ...]:
        return (Potentials(self.t),)

    def map(self, tile: Tile, earlier: Earlier, *answers: Any) -> State:
        return {"row": tile.q.index, "sum": answers[0]}


@dataclass(frozen=True)
class Histogram(PairStatistic):
    """Cosines of query rows with key rows of other items, counted in bins from −1 to 1."""

    query: str
    key: str
    totals: ClassVar = {"count": "sum"}
    sampled: ClassVar = True

    def asks(self, tile: Tile, earlier: Earlier) -> tuple[Ask, ...]:
        return (Bins(BINS),)

    def map(self, tile: Tile, earlier: Earlier, *answers: Any) -> State:
        return {"count": answers[0]}


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

    def asks(self, tile: Tile, earlier: Earlier) -> tuple[Ask, ...]:
        _, _, best, low, high = self._fine(tile, earlier)
        if tile.screen:
            limits = [_band(b, tile.coarse_error, torch.bfloat16) for b in best]
            low, high = (torch.stack(x) for x in zip(*limits, strict=True))
        return (Between(low, high, coarse=tile.screen),)

    def map(self, tile: Tile, earlier: Earlier, *answers: Any) -> State:
        row, has, best, low, high = self._fine(tile, earlier)
        counted: Counted = answers[0]
        if tile.screen and float(counted.near.sum()) * DEARER > len(tile.k) * counted.near.numel():
            tile.screening.missed()
            counted = tile.answer(Between(low, high))
        more, tied = counted.more, torch.zeros_like(counted.more)
        for p in counted.near.any(1).nonzero()[:, 0].tolist():
            more[p], tied[p] = self._settled(tile, best[p], more[p], counted.near[p], counted.pairs[p])
        if has is not None:
            more, tied = more[:, has], tied[:, has]
        return {"row": row, "above": more.T, "tied": tied.T}

    def _fine(self, tile: Tile, earlier: Earlier) -> tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor]:
        return tile.q.kept(self, lambda: self._limits(tile.q, earlier))

    def _limits(self, q: Rows, earlier: Earlier) -> tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor]:
        """Rows that have a match, which of these rows they are (None: all), the scores of the matches (P, n), and for
        each of them two limits: (P, n) each."""
        positive = earlier[self.after[0]]
        at = torch.searchsorted(positive["row"], q.index).clamp_max(len(positive["row"]) - 1)
        has = positive["row"][at] == q.index
        # a query without a match has no rank: its threshold is out of reach, and its row is dropped at the end
        best = torch.where(has[:, None], positive["score"][at], 2.0).T.contiguous()
        limits = [_band(b, q.rounding, torch.float32) for b in best]
        low, high = (torch.stack(x) for x in zip(*limits, strict=True))
        return q.index[has], None if bool(has.all()) else has, best, low, high

    @staticmethod
    def _settled(
        tile: Tile, best: Tensor, more: Tensor, near: Tensor, pairs: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """How many keys win and how many tie, once those that are near were looked at in float64."""
        more, tied = more.clone(), torch.zeros_like(more)
        if pairs is None:  # float32 cannot tell most of them apart
            rows = near.nonzero()[:, 0]
            exact = tile.exact
            if tile.own is not None:
                exact = exact.masked_fill(tile.own.mask(len(tile.k), exact.device), FAR)
            gap = exact[rows.to(exact.device)] - best[rows, None].to(exact.device)
            more[rows] = (gap > TIE).sum(1).double().cpu()
            tied[rows] = (gap.abs() <= TIE).sum(1).double().cpu()
            return more, tied
        i, j = pairs
        gap = tile.q.dot(tile.k, i, j) - best[i]
        more.index_add_(0, i, (gap > TIE).double())
        tied.index_add_(0, i, (gap.abs() <= TIE).double())
        return more, tied


def _band(best: Tensor, band: Tensor | float, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """Thresholds in float32: above the upper a pair surely wins, not above the lower it surely loses.

    Rounding is monotone, so what the product's own rounding to this precision does cannot carry a score across a
    threshold rounded away from it.
    """
    low = rounded(best - band - TIE, precision, up=False)
    low = torch.nextafter(low, torch.full_like(low, -torch.inf))
    return low.float(), rounded(best + band + TIE, precision, up=True).float()


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

    def map(self, tile: Tile, earlier: Earlier, *answers: Any) -> State:
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
