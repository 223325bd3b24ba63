"""Reductions of a tile as compiled loops, behind the same functions as `plain`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from workbench.scan.asks import one_by_one
from workbench.scan.reductions import loops, plain
from workbench.scan.reductions.own import Own
from workbench.scan.reductions.plain import FAR, NONE, ByClass

answers = one_by_one
_NONE = np.empty(0, np.int64)
_ALL = np.empty(0, np.bool_)
MOST_SCALE = 40  # exp(scale (cos − 1)) stays within float32


def potentials(scores: Tensor, scale: float, same: Tensor | None) -> tuple[Tensor, Tensor]:
    """As `plain.potentials`; the sums of both sides in one pass."""
    if scale > MOST_SCALE:
        return plain.potentials(scores, scale, same)
    q, k = scores.shape
    rows, columns = torch.zeros(q, dtype=torch.float64), torch.zeros(k, dtype=torch.float64)
    loops.potentials(
        scores.numpy(), np.float32(scale), _NONE if same is None else same.numpy(), rows.numpy(), columns.numpy()
    )
    return rows, columns


def dots(x: Tensor, i: Tensor, y: Tensor, j: Tensor) -> Tensor:
    """As `plain.dots`."""
    if x.dtype != torch.float32 or y.dtype != torch.float32:
        return plain.dots(x, i, y, j)
    out = torch.empty(len(i), dtype=torch.float64)
    loops.dots(x.contiguous().numpy(), i.numpy(), y.contiguous().numpy(), j.numpy(), out.numpy())
    return out


def above(scores: Tensor, thresholds: Tensor, own: Own | None) -> Tensor:
    """As `plain.above`."""
    array, loop, first, last = _side(scores, own, loops.above_rows, loops.above_columns)
    count = torch.zeros(thresholds.shape, dtype=torch.int32)
    loop(array, thresholds.contiguous().numpy(), first, last, count.numpy())
    return count.double()


def between(scores: Tensor, low: Tensor, high: Tensor, near: Tensor, own: Own | None) -> tuple[Tensor, Tensor]:
    """As `plain.between`."""
    array, loop, first, last = _side(scores, own, loops.between_rows, loops.between_columns)
    at = torch.empty(int(near.sum()), 2, dtype=torch.int64)
    loop(array, low.numpy(), high.numpy(), near.long().numpy(), first, last, at.numpy())
    return at[:, 0], at[:, 1]


def best(
    scores: Tensor, index: Tensor, k: int, own: Own | None, allowed: Tensor | None, edge: Tensor
) -> tuple[Tensor, Tensor]:
    """As `plain.best`."""
    array, loop, first, last = _side(scores, own, loops.best_rows, loops.best_columns)
    score, found = torch.full((len(scores), k), FAR), torch.full((len(scores), k), NONE)
    keys = _ALL if allowed is None else allowed.numpy()
    loop(array, index.numpy(), keys, first, last, edge.numpy(), score.numpy(), found.numpy())
    return score, found


def histogram(scores: Tensor, bins: int, own: Own | None) -> Tensor:
    """As `plain.histogram`."""
    array, loop, first, last = _side(scores, own, loops.histogram, loops.histogram)
    count = torch.zeros(bins, dtype=torch.int64)
    loop(array, first, last, count.numpy())
    return count.double()


def shifted(
    scores: Tensor,
    keys: tuple[Tensor, Tensor],
    queries: tuple[Tensor, Tensor],
    edge: Tensor,
    temperature: float,
    own: Own | None,
) -> tuple[Tensor, Tensor]:
    """As `plain.shifted`."""
    first, last = (_NONE, _NONE) if own is None else (own.first.numpy(), own.last.numpy())
    counts, sums = torch.zeros(edge.shape, dtype=torch.int32), torch.zeros(edge.shape, dtype=torch.float64)
    s, add, times, plus, factor, limit = (x.contiguous().numpy() for x in (scores, *keys, *queries, edge))
    loops.shifted(s, add, times, plus, factor, limit, temperature, first, last, counts.numpy(), sums.numpy())
    return counts.double(), sums


def by_class(d: Tensor, a: Tensor, b: Tensor, same: Tensor, radius: Tensor, bins: int) -> ByClass:
    """As `plain.by_class`."""
    n = len(radius)
    across = n if bins else 0
    out = ByClass(
        torch.zeros(n, dtype=torch.float64),
        torch.full((n, 2), -1),
        torch.zeros(n, bins, dtype=torch.float64),
        torch.full((across, across), torch.inf, dtype=torch.float64),
        torch.full((across, across, 2), -1),
    )
    loops.by_class(*(x.numpy() for x in (d, a, b, same, radius, *out)))
    return out


def _side(scores: Tensor, own: Own | None, rows, columns):  # type: ignore[no-untyped-def]
    """The array as it lies in memory, the loop for queries that are its rows or its columns, and the ranges of its
    rows."""
    if scores.stride(1) == 1 or scores.shape[1] == 1:
        array, loop, mine = scores, rows, own
    else:
        array, loop, mine = scores.T, columns, own and own.back()
    array = array.contiguous()
    return array.numpy(), loop, *((_NONE, _NONE) if mine is None else (mine.first.numpy(), mine.last.numpy()))
