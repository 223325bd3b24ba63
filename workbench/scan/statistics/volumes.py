"""Ranks by the volume that an anchor spans with the tuples of the other modalities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from workbench.geometry import volume
from workbench.scan.asks import Ask, Between, Counted
from workbench.scan.contracts import VOLUME_TIE, Earlier, PairStatistic, State, Statistic
from workbench.scan.reductions.own import Own
from workbench.scan.statistics.rows import OwnVolume
from workbench.scan.tile import Rows, Tile, among, rounded

PAIRS = 1 << 11  # tuples whose float64 rows are held together


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

    def asks(self, tile: Tile, earlier: Earlier) -> tuple[Ask, ...]:
        _, _, best, whole = self._tuples(tile, earlier)
        if not whole or len(self.others) > 1:
            return ()  # the products of more directions, or of chosen rows, are its own
        return (Between(*tile.q.kept((self, "limits"), lambda: self._limits(best, tile.q.rounding))),)

    def map(self, tile: Tile, earlier: Earlier, *answers: Any) -> State:
        if answers:
            return self._of_pairs(tile, self._tuples(tile, earlier)[2], answers[0])
        q, k = tile.q, tile.k
        mine, theirs, best, whole = self._tuples(tile, earlier)
        _, more, det = k.frame(self.others, earlier[self.after[0]]["item"])
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

    def _tuples(self, tile: Tile, earlier: Earlier) -> tuple[Tensor, Tensor, Tensor, bool]:
        """Queries that have a tuple, keys that stand for one, the volumes of the former, and whether these are all."""
        own = earlier[self.after[0]]
        theirs = tile.k.frame(self.others, own["item"])[0]
        mine, best = tile.q.kept((self, "own"), lambda: self._own(tile.q, own))
        return mine, theirs, best, len(mine) == len(tile.q) and len(theirs) == len(tile.k)

    def _own(self, q: Rows, own: State) -> tuple[Tensor, Tensor]:
        """Which of these rows have a tuple, and its volume."""
        mine = among(q.index, own["row"]).nonzero()[:, 0]
        return mine, own["volume"][torch.searchsorted(own["row"], q.index[mine])]

    def _of_pairs(self, tile: Tile, best: Tensor, found: Counted) -> State:
        """With one other the volume is the sine of the angle: smaller where the cosine is larger, whatever its sign."""
        low, high = tile.q.kept((self, "limits"), lambda: self._limits(best, tile.q.rounding))
        if any(pairs is None and bool(near.any()) for pairs, near in zip(found.pairs, found.near, strict=True)):
            found = Between(low, high).of(tile)  # too many to list: counted and found in one and the same product
        others = len(tile.k) - (0 if tile.own is None else (tile.own.last - tile.own.first).double())
        smaller = found.more[0] + others - found.more[1] - found.near[1]
        tied = torch.zeros_like(smaller)
        for p in found.near.any(1).nonzero()[:, 0].tolist():
            i, j = found.pairs[p] or tile.reduce.between(tile.scores, low[p], high[p], found.near[p], tile.own)
            gap = self._exact(tile, i, j) - best[i]
            smaller.index_add_(0, i, (gap < -VOLUME_TIE).double())
            tied.index_add_(0, i, (gap.abs() <= VOLUME_TIE).double())
        return {"row": tile.q.index, "above": smaller[:, None], "tied": tied[:, None]}

    @staticmethod
    def _limits(best: Tensor, rounding: float) -> tuple[Tensor, Tensor]:
        """Lower and upper limits of cosines, (2, n) each: above the first upper, or not above the second lower, a
        volume surely is smaller; not above the first lower, and above the second upper, it surely is not."""
        far, near = ((1 - x.clamp(0, 1).square()).sqrt() for x in (best - VOLUME_TIE, best + VOLUME_TIE))
        high = rounded(far + rounding, torch.float32, up=True)  # beyond it a volume surely is smaller
        least = rounded(near - rounding, torch.float32, up=False)  # and within it not, or where this is below 0
        below_zero = torch.full_like(least, -torch.finfo(torch.float32).tiny)
        low = least.where(least >= 0, below_zero)
        under = torch.full_like(low, -torch.inf)
        # the same on the other side, where limits are not counted with what is above them
        minus_high, minus_low = (torch.nextafter(-x, under) for x in (high, least.clamp_min(0)))
        return torch.stack([low, minus_high]), torch.stack([high, minus_low])

    def _exact(self, tile: Tile, i: Tensor, j: Tensor) -> Tensor:
        """Float64 volumes of chosen anchors with chosen tuples, (n,)."""
        es, out = tile.q.view.es, []
        for a, b in zip(i.split(PAIRS), j.split(PAIRS), strict=True):
            item = tile.k.item[b]
            others = [es.unit(m, es.first_row(m, item)) for m in self.others]
            out.append(volume(torch.stack([*others, es.unit(self.query, tile.q.index[a])], 1)))
        return torch.cat(out)
