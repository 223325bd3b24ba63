"""What if: the space after a shift along the gap, whitening, noise, at another temperature; quick enough for sliders.

The changes are fitted on one half of the families and judged on the other. A temperature divides all logits alike: it
can change no rank, only the loss, how well its probabilities are calibrated, and which negatives its gradient sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.diagnostics import intervals
from workbench.diagnostics.gap import modality_gap
from workbench.diagnostics.retrieval import mixed_recall_at_1, recall_at_1
from workbench.errors import InputError, unknown
from workbench.explorer.inspection import Inspection, first_rows
from workbench.explorer.map_state import MapState
from workbench.interventions import shift, whiten
from workbench.sets import columns
from workbench.sets.projection import LinearView, Projection
from workbench.treatments.portable import Treatment

PREVIEW = 2_000  # pairs in a preview
EXACT = 10_000  # pairs at most once the slider rests
MORPHED = 50_000  # items up to which the map moves along
HARDEST = 0.01  # of the negatives: whose share of the gradient is shown
BLOCK = 1_000  # rows of the similarity matrix at once
COINS = 200  # tosses for the gap that chance gives
BINS = 10  # of the calibration error
RIDGE = 1e-2
COLD = 0.03  # temperature below which weights are summed in float64


@dataclass(frozen=True)
class Knobs:
    """Where the sliders stand: share of the gap taken away, temperature, share of whitening, length of the noise."""

    shift: float = 0.0
    temperature: float = 0.07
    whiten: float = 0.0
    noise: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether any row moves, so that ranks can change."""
        return bool(self.shift or self.whiten or self.noise)


@dataclass
class _Judged:
    """What each pair (n,) shows, what only all together do, and the gap that chance alone would give."""

    items: dict[tuple[str, str], Tensor]
    whole: dict[tuple[str, str], float]
    gap_by_chance: float


class WhatIf:
    """The pairs of two modalities under changes."""

    def __init__(self, inspection: Inspection, a: str, b: str, *, label: str = "", temperature: float = 0.07) -> None:
        es = inspection.es
        for m in (a, b):
            if m not in es:
                raise unknown("modality", m, es.modalities)
        if es[a].shape[-1] != es[b].shape[-1]:
            raise InputError(f"{a} and {b} have different widths: there is no gap between them to shift along")
        self.inspection, self.a, self.b, self.label = inspection, a, b, label
        self.base = Knobs(temperature=temperature)
        half = es.halves
        self.learn = np.flatnonzero(half == 0)
        judged = np.flatnonzero(half == 1)
        if min(len(self.learn), len(judged)) < 4:
            raise InputError(f"{inspection.name}: too few families to fit on one half and judge on the other")
        first = {m: first_rows(es.item_of_row(m).numpy(), judged) for m in (a, b)}
        there = np.flatnonzero((first[a] >= 0) & (first[b] >= 0))
        drawn = there[np.random.default_rng(7).permutation(len(there))[:EXACT]]
        self.judged = judged[drawn]
        self.rows = {m: torch.from_numpy(first[m][drawn]) for m in (a, b)}
        train = es.take(self.learn).only([a, b])
        self._shift, self._whiten = shift(1.0).fit(train, a, b).maps, whiten().fit(train, a, b).maps
        codes = pd.factorize(pd.Series(es.families)[self.judged])[0]
        self.families = torch.from_numpy(codes)
        self.classes = None
        if label:
            self.classes = torch.from_numpy(columns.codes(inspection.items[label])[0])
        self._before: dict[int, _Judged] = {}

    def change(self, m: str, x: Tensor, knobs: Knobs, rows: Tensor) -> Tensor:
        """Rows of a modality (n, d), unit and float64, after the changes, not scaled back to length one."""
        y = x
        if knobs.shift:
            y = y + knobs.shift * (self._shift[m](x) - x)
        if knobs.whiten:
            y = (1 - knobs.whiten) * y + knobs.whiten * self._whiten[m](x) / x.shape[1] ** 0.5
        if knobs.noise:
            seed = torch.Generator().manual_seed(11 + (m == self.b))
            draw = torch.randn(len(self.inspection.es[m]), x.shape[1], generator=seed, dtype=torch.float32)[rows]
            y = y + knobs.noise * draw.to(y) / x.shape[1] ** 0.5
        return y

    def _unit(self, m: str, knobs: Knobs, count: int) -> Tensor:
        rows = self.rows[m][:count]
        x = self.inspection.es.unit(m, rows)
        return torch.nn.functional.normalize(self.change(m, x, knobs, rows), dim=1).float()

    # -- the numbers -----------------------------------------------------------------------------------------------

    def table(self, knobs: Knobs, count: int = PREVIEW) -> pd.DataFrame:
        """Before, now and the change with its interval over families, for `count` pairs; why where none can be."""
        count = min(count, len(self.judged))
        if count not in self._before:
            self._before[count] = self._judge(self.base, count)
        before = self._before[count]
        now = self._judge(knobs, count) if knobs != self.base else before
        codes = self.families[:count]
        rows = []
        for key, x in before.items.items():
            d = now.items[key] - x
            still = knobs == self.base or not knobs.moves and key[0] not in ("loss",)
            low, high = (math.nan, math.nan) if still else intervals.jackknife_of_a_mean(d, torch.ones_like(d), codes)
            rows.append((*key, float(x.mean()), float(now.items[key].mean()), float(d.mean()), low, high))
        for key, value in before.whole.items():
            rows.append((*key, value, now.whole[key], now.whole[key] - value, math.nan, math.nan))
        frame = pd.DataFrame(rows, columns=["name", "of", "before", "now", "change", "low", "high"])
        frame.attrs["pairs"] = count
        frame.attrs["gap_by_chance"] = now.gap_by_chance
        return frame

    def _judge(self, knobs: Knobs, count: int) -> _Judged:
        a, b = self.a, self.b
        x, y = self._unit(a, knobs, count), self._unit(b, knobs, count)
        n, tau = len(x), knobs.temperature
        own = (x * y).sum(1)
        row_max, col_max = torch.full((n,), -2.0), torch.full((n,), -2.0)
        wide = torch.float64
        row_sum, col_sum = torch.zeros(n, dtype=wide), torch.zeros(n, dtype=wide)
        hard, mass = torch.zeros(n, dtype=wide), torch.zeros(n, dtype=wide)
        hardest = max(1, round(HARDEST * (n - 1)))
        within = {a: torch.full((n,), -2.0), b: torch.full((n,), -2.0)}
        for start in range(0, n, BLOCK):
            at = slice(start, start + BLOCK)
            s = x[at] @ y.T
            index = torch.arange(len(s))
            s[index, index + start] = -2.0
            row_max[at] = s.amax(1)
            col_max = torch.maximum(col_max, s.amax(0))
            # the hardest negatives of this block's queries, before the matrix is turned into weights
            # cosines are at most one, so nothing overflows; what is cold would vanish in float32
            p = (s.double() if tau < COLD else s).sub_(1.0).div_(tau).exp_()
            p[index, index + start] = 0.0
            row_sum[at] = mass[at] = p.sum(1, dtype=wide)
            col_sum += p.sum(0, dtype=wide)
            hard[at] = p.topk(hardest, dim=1, sorted=False).values.sum(1, dtype=wide)
            for m, z in ((a, x), (b, y)):
                t = z[at] @ z.T
                t[index, index + start] = -2.0
                within[m][at] = t.amax(1)
        positive = ((own.double() - 1.0) / tau).exp()
        p_row, p_col = positive / (positive + row_sum), positive / (positive + col_sum)
        forth, back = f"{a} → {b}", f"{b} → {a}"
        hit = {forth: _hit(own, row_max), back: _hit(own, col_max)}
        items = {
            (recall_at_1.__name__, forth): hit[forth],
            (recall_at_1.__name__, back): hit[back],
            (mixed_recall_at_1.__name__, forth): _hit(own, torch.maximum(row_max, within[a])),
            (mixed_recall_at_1.__name__, back): _hit(own, torch.maximum(col_max, within[b])),
            ("loss", f"{a} · {b}"): -(p_row.clamp_min(1e-300).log() + p_col.clamp_min(1e-300).log()) / 2,
        }
        gap = float((x.mean(0) - y.mean(0)).norm())
        top = torch.maximum(positive, ((row_max.double() - 1.0) / tau).exp()) / (positive + row_sum)
        whole = {
            (modality_gap.__name__, f"{a} · {b}"): gap,
            ("calibration_error", forth): _calibration(top, hit[forth]),
            ("hardest_negatives_weight", forth): float((hard / mass.clamp_min(1e-300)).mean()),
        }
        if self.classes is not None:
            whole |= self._transfer(x, y, count)
        return _Judged(items, whole, self._gap_by_chance(x - y))

    @staticmethod
    def _gap_by_chance(d: Tensor) -> float:
        """The upper end of the gap of these pairs, if each traded its sides by a coin, from differences (n, d)."""
        coin = torch.randint(0, 2, (COINS, len(d)), generator=torch.Generator().manual_seed(5)).float() * 2 - 1
        return float((coin @ d / len(d)).norm(dim=1).quantile(0.975))

    def _transfer(self, x: Tensor, y: Tensor, count: int) -> dict[tuple[str, str], float]:
        """A ridge classifier fitted on one modality, asked about the other; two halves of the judged pairs."""
        assert self.classes is not None
        c = self.classes[torch.from_numpy(self.judged[:count])]
        known = c >= 0
        x, y, c = x[known], y[known], c[known]
        count = len(c)
        half = count // 2
        name = ("classifier_transfer", f"{self.a} → {self.b}")
        if not half:  # too few of the pairs have a class to fit on some and ask about others
            return {name: math.nan}
        one_hot = torch.nn.functional.one_hot(c[:half], int(self.classes.max()) + 1).float()
        ones = torch.ones(half, 1)
        z = torch.cat([x[:half], ones], 1)
        w = torch.linalg.solve(z.T @ z + RIDGE * half * torch.eye(z.shape[1]), z.T @ one_hot)
        found = (torch.cat([y[half:], torch.ones(count - half, 1)], 1) @ w).argmax(1)
        return {name: float((found == c[half:]).float().mean())}

    def says(self, knobs: Knobs, pairs: int, gap_by_chance: float = math.nan) -> str:
        """What the table stands on, what cannot change, and which gap is none."""
        kind = "exact" if pairs == len(self.judged) else "preview"
        luck = ""
        if math.isfinite(gap_by_chance):
            luck = f" A gap of up to {gap_by_chance:.3f} is what chance alone gives to {pairs:,} pairs."
        still = "" if knobs.moves else " A temperature divides all logits alike: it changes no rank and no gap."
        return (
            f"{self.a} · {self.b}, {kind}: {pairs:,} pairs of the half that nothing was fitted on, so a gallery of "
            f"{pairs:,}, not the {len(self.inspection.es):,} of the run's own numbers: compare before with now, not "
            f"with the run's page. The gap and the whitening are fitted on the other half.{luck}{still}"
        )

    # -- the map ---------------------------------------------------------------------------------------------------

    def carry(self, map_state: MapState, knobs: Knobs, treatment: Treatment | None = None) -> None:
        """Move the points to where the changes take them, where the view is linear; back where it is not."""
        place = self.inspection.view(map_state.view)
        moves = knobs.moves or treatment is not None
        moved = place if place.frame is None or not moves else self.moved(knobs, place.frame, place, treatment)
        if moved is not None and moved is not map_state.projection:
            map_state.place(moved)

    def moved(
        self, knobs: Knobs, frame: LinearView, like: Projection, treatment: Treatment | None = None
    ) -> Projection | None:
        """The map of the changed space in a linear view's frame; nothing where there are too many items to move.

        A treatment takes the place of the knobs; one that leaves another width has no place in the frame.
        """
        es = self.inspection.es
        if len(es) > MORPHED:
            return None
        parts = []
        for m in es.modalities:
            x = es.unit(m)
            if m in (self.a, self.b) and treatment is not None:
                y = torch.from_numpy(treatment.moved(x.numpy(), m)).double()
                x = y if y.shape == x.shape else x
            elif m in (self.a, self.b):
                x = torch.nn.functional.normalize(self.change(m, x, knobs, torch.arange(len(x))), dim=1)
            parts.append((x - frame.offset[m]) @ frame.basis)
        return Projection(
            like.method,
            torch.cat(parts).numpy(),
            like.modality,
            like.item,
            like.axes,
            like.faithfulness,
            like.trustworthiness,
            frame,
        )


def _hit(own: Tensor, best: Tensor) -> Tensor:
    """1 where the match beats every non-match, one half on a tie with the best of them."""
    return (own > best).double() + 0.5 * (own == best).double()


def _calibration(confidence: Tensor, hit: Tensor) -> float:
    """Expected calibration error of the first answer: ten bins of equal width, weighted by their queries."""
    at = (confidence.double() * BINS).long().clamp(0, BINS - 1)
    n = torch.zeros(BINS, dtype=torch.float64).index_add_(0, at, torch.ones_like(hit))
    said = torch.zeros_like(n).index_add_(0, at, confidence.double())
    true = torch.zeros_like(n).index_add_(0, at, hit)
    return float((said - true).abs().sum() / n.sum())
