"""Reductions of a tile as tensor operations: on any device, and what the compiled loops are tested against.

Scores are (Q, K), seen from the side of the queries; `own` says which keys are of a query's own item, None where none
can be. What comes back is on the CPU.
"""

from __future__ import annotations

import math
import threading
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.scan.asks import one_by_one
from workbench.scan.reductions.own import Own

answers = one_by_one  # what is asked of the sides of a tile
FAR = -4.0  # below any cosine
PAIRS = 1 << 11  # chosen pairs whose float64 rows are held together: they should fit the cache
NONE = torch.iinfo(torch.int64).max  # the index of no key
_here = threading.local()  # a buffer for each thread that looks at tiles


def potentials(scores: Tensor, scale: float, same: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sums of exp(scale (cos − 1)) over each row and each column, in float64; `same` (Q,) is the column that is the row
    itself and does not count, −1 where none is."""
    # float32 holds them down to 1e-38, so a narrower kernel works in float64
    s = scores if scale <= 20 else scores.double()
    e = (s * scale).sub_(scale).exp_()
    if same is not None:
        there = (same >= 0).nonzero()[:, 0]
        e[there.to(e.device), same[there].to(e.device)] = 0.0
    # of as many positive numbers as a tile has float32 keeps the sum to 1e-6 of it; float64 adds the tiles
    return e.sum(1).double().cpu(), e.sum(0).double().cpu()


def dots(x: Tensor, i: Tensor, y: Tensor, j: Tensor) -> Tensor:
    """Float64 inner products of rows `i` of x with rows `j` of y, (n,), a bounded number at a time; on the CPU."""
    parts = zip(i.split(PAIRS), j.split(PAIRS), strict=True)
    out = [torch.linalg.vecdot(x[a].double(), y[b].double()) for a, b in parts]
    return torch.cat(out) if out else torch.zeros(0, dtype=torch.float64)


def above(scores: Tensor, thresholds: Tensor, own: Own | None) -> Tensor:
    """How many keys of other items exceed each threshold of their query: (T, Q) → (T, Q), whole numbers in float64."""
    s = _hidden(scores, own)
    return torch.stack([_above(s, t.to(s.device)) for t in thresholds]).double().cpu()


def between(scores: Tensor, low: Tensor, high: Tensor, near: Tensor, own: Own | None) -> tuple[Tensor, Tensor]:
    """Queries and keys of other items with low < score ≤ high; `near` (Q,) says how many each query has."""
    rows = near.nonzero()[:, 0].to(scores.device)
    part = _hidden(scores, own)[rows]
    low, high = (x.to(scores.device)[rows, None] for x in (low, high))
    i, j = ((part > low) & ~(part > high)).nonzero(as_tuple=True)
    return rows[i].cpu(), j.cpu()


def best(
    scores: Tensor, index: Tensor, k: int, own: Own | None, allowed: Tensor | None, edge: Tensor
) -> tuple[Tensor, Tensor]:
    """Each query's k largest scores among allowed keys of other items, descending, and the `index` (K,) of these keys;
    FAR and NONE where there are fewer. `edge` (Q,) is a score that surely is not above the k-th of all tiles; it may
    rise here, and what is below it may be left out."""
    s = _hidden(scores, own)
    if allowed is not None:
        s = s.masked_fill(~allowed.to(s.device)[None], FAR)
    if s.stride(1) != 1:
        s = s.contiguous()
    score, place = (x.cpu() for x in torch.topk(s, min(k, s.shape[1]), dim=1))
    found = index[place].masked_fill(score <= FAR, NONE)
    rest = (len(score), k - score.shape[1])
    score, found = torch.cat([score, torch.full(rest, FAR)], 1), torch.cat([found, torch.full(rest, NONE)], 1)
    edge.copy_(torch.maximum(edge, score[:, -1]))
    return score, found


def histogram(scores: Tensor, bins: int, own: Own | None) -> Tensor:
    """How many scores of keys of other items fall into each bin from −1 to 1, (bins,)."""
    s = scores.clamp(-1, 1)
    if own is not None:
        s = s[~own.mask(s.shape[1], s.device)]
    return torch.histc(s, bins, -1, 1).double().cpu()


def shifted(
    scores: Tensor,
    keys: tuple[Tensor, Tensor],
    queries: tuple[Tensor, Tensor],
    edge: Tensor,
    temperature: float,
    own: Own | None,
) -> tuple[Tensor, Tensor]:
    """Scores become (cos + queryₜ + keyₜ) key'ₜ query'ₜ for each t, with (T, K) and (T, Q) of both; per t and query
    how many then exceed `edge` (T, Q), and the sum of exp((score − 1)/temperature) in float64: two times (T, Q)."""
    mask = None if own is None else own.mask(scores.shape[1], scores.device)
    counts, sums = [], []
    for add, times, plus, factor, limit in zip(*keys, *queries, edge, strict=True):
        s = scores + plus[:, None]
        s.add_(add).mul_(times).mul_(factor[:, None])
        if mask is not None:
            s.masked_fill_(mask, FAR)
        counts.append(_above(s, limit))
        e = s.double().sub_(1).div_(temperature).exp_()
        sums.append((e if mask is None else e.masked_fill_(mask, 0)).sum(1))
    return torch.stack(counts).double().cpu(), torch.stack(sums).cpu()


class ByClass(NamedTuple):
    """Of pairs of one class (C classes) the largest value, its place and how values are spread; of pairs of two
    classes the smallest and its place. Places are (row, column), −1 where there is no pair."""

    most: Tensor  # (C,), 0 without a pair
    most_at: Tensor  # (C, 2)
    spread: Tensor  # (C, bins)
    least: Tensor  # (C, C), infinite without a pair and on the diagonal
    least_at: Tensor  # (C, C, 2)


def by_class(d: Tensor, a: Tensor, b: Tensor, same: Tensor, radius: Tensor, bins: int) -> ByClass:
    """Squared distances d (Q, K) of rows of the classes a (Q,) and b (K,), `same` (Q,) as in `potentials`: distances
    within a class are counted in bins from 0 to twice its `radius` (C,), where that is not 0. Without bins neither
    these nor what lies across are looked at."""
    classes, one = len(radius), a[:, None] == b[None]
    most, most_at = _least(-d, one, a[:, None].expand_as(d), (classes,))
    if not bins:
        none = torch.zeros(0, 0, dtype=d.dtype)
        return ByClass(-most.clamp_max(0), most_at, d.new_zeros(classes, 0), none, torch.full((0, 0, 2), -1))
    other = one & (torch.arange(d.shape[1])[None] != same[:, None]) & (radius > 0)[a][:, None]
    i, j = other.nonzero(as_tuple=True)
    place = (d[i, j].sqrt() / (2 * radius[a[i]]) * bins).long().clamp_max(bins - 1)
    count = torch.bincount(a[i] * bins + place, minlength=classes * bins).double().view(classes, bins)
    least, least_at = _least(d, ~one, a[:, None] * classes + b[None], (classes, classes))
    return ByClass(-most.clamp_max(0), most_at, count, least, least_at)


def _least(d: Tensor, mask: Tensor, kind: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The smallest of each kind of those in the mask, and the first place of it."""
    i, j = mask.nonzero(as_tuple=True)
    value, kind = d[i, j], kind[i, j]
    least = torch.full((math.prod(shape),), torch.inf, dtype=d.dtype).scatter_reduce_(0, kind, value, "amin")
    there = (value == least[kind]).nonzero()[:, 0]
    first = torch.full((math.prod(shape),), len(i)).scatter_reduce_(0, kind[there], there, "amin")
    i, j = (torch.cat([x, x.new_tensor([-1])])[first] for x in (i, j))
    return least.view(shape), torch.stack([i, j], -1).view(*shape, 2)


def _hidden(scores: Tensor, own: Own | None) -> Tensor:
    return scores if own is None else scores.masked_fill(own.mask(scores.shape[1], scores.device), FAR)


def _above(scores: Tensor, threshold: Tensor) -> Tensor:
    """How many scores of each row exceed its threshold: (Q, K), (Q,) → (Q,)."""
    # fresh pages for each tile would cost more than the comparison, and so would another type than that of the scores
    if not hasattr(_here, "buffers"):
        _here.buffers = {}
    buffers, key = _here.buffers, (scores.dtype, scores.device)
    if key not in buffers or buffers[key].numel() < scores.numel():
        buffers[key] = torch.empty(scores.numel(), dtype=scores.dtype, device=scores.device)
    flat = buffers[key][: scores.numel()]
    rows_first = scores.stride(1) == 1 or scores.shape[1] == 1
    out = flat.view(scores.shape) if rows_first else flat.view(scores.shape[::-1]).T
    # ones and zeros: a sum in float32 is exact to 2²⁴ keys
    return torch.gt(scores, threshold[:, None], out=out).sum(1, dtype=torch.float32)
