"""Ranks by the volume that an anchor spans with the tuples of the other modalities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from workbench.geometry import volume
from workbench.scan.contracts import VOLUME_TIE, Earlier, PairStatistic, State, Statistic
from workbench.scan.reductions.own import Own
from workbench.scan.statistics.rows import OwnVolume
from workbench.scan.tile import Rows, Tile, rounded

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

    def map(self, tile: Tile, earlier: Earlier) -> State:
        own, q, k = earlier[self.after[0]], tile.q, tile.k
        theirs, more, det = k.frame(self.others, own["item"])
        mine, best = q.kept((self, "own"), lambda: self._own(q, own))
        whole = len(mine) == len(q) and len(theirs) == len(k)
        if whole and len(self.others) == 1:
            return self._of_pairs(tile, best)
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

    def _own(self, q: Rows, own: State) -> tuple[Tensor, Tensor]:
        """Which of these rows have a tuple, and its volume."""
        mine = torch.isin(q.index, own["row"]).nonzero()[:, 0]
        return mine, own["volume"][torch.searchsorted(own["row"], q.index[mine])]

    def _of_pairs(self, tile: Tile, best: Tensor) -> State:
        """With one other the volume is the sine of the angle: smaller where the cosine is larger, whatever its sign."""
        limits = tile.q.kept((self, "limits"), lambda: self._limits(best, tile.q.rounding))
        high, low, minus_high, minus_low = limits
        scores, own = tile.scores, tile.own
        beyond, from_low, from_minus_high, from_minus_low = tile.reduce.above(scores, limits, own)
        others = len(tile.k) - (0 if own is None else (own.last - own.first).double())
        smaller, tied = beyond + others - from_minus_high, torch.zeros_like(beyond)
        sides = ((low, high, from_low - beyond), (minus_high, minus_low, from_minus_high - from_minus_low))
        for bottom, top, count in sides:
            if bool(count.any()):
                i, j = tile.reduce.between(scores, bottom, top, count, own)
                gap = self._exact(tile, i, j) - best[i]
                smaller.index_add_(0, i, (gap < -VOLUME_TIE).double())
                tied.index_add_(0, i, (gap.abs() <= VOLUME_TIE).double())
        return {"row": tile.q.index, "above": smaller[:, None], "tied": tied[:, None]}

    @staticmethod
    def _limits(best: Tensor, rounding: float) -> Tensor:
        """Of cosines: above the first, or not above the third, a volume surely is smaller; not above the second, and
        above the fourth, it surely is not: (4, n)."""
        far, near = ((1 - x.clamp(0, 1).square()).sqrt() for x in (best - VOLUME_TIE, best + VOLUME_TIE))
        high = rounded(far + rounding, torch.float32, up=True)  # beyond it a volume surely is smaller
        least = rounded(near - rounding, torch.float32, up=False)  # and within it not, or where this is below 0
        below_zero = torch.full_like(least, -torch.finfo(torch.float32).tiny)
        low = least.where(least >= 0, below_zero)
        under = torch.full_like(low, -torch.inf)
        # the same on the other side, where limits are not counted with what is above them
        minus_high, minus_low = (torch.nextafter(-x, under) for x in (high, least.clamp_min(0)))
        return torch.stack([high, low, minus_high, minus_low])

    def _exact(self, tile: Tile, i: Tensor, j: Tensor) -> Tensor:
        """Float64 volumes of chosen anchors with chosen tuples, (n,)."""
        es, out = tile.q.view.es, []
        for a, b in zip(i.split(PAIRS), j.split(PAIRS), strict=True):
            item = tile.k.item[b]
            others = [es.unit(m, es.first_row(m, item)) for m in self.others]
            out.append(volume(torch.stack([*others, es.unit(self.query, tile.q.index[a])], 1)))
        return torch.cat(out)
