"""Measures of two spaces over the same items: row i of one is row i of the other. Pure functions of float64 tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from workbench.diagnostics.nulls.bands import spread
from workbench.geometry import decided
from workbench.scan.threads import threads

PERMUTATIONS = 100
WORK = 1e9  # of multiplications that a null may cost: fewer draws for wider spaces
ROTATION = 20  # times d³, what the singular vectors of a matrix take
FEW = 40  # draws, of which percentiles say little
RSA_ROWS = 400  # rows whose cosines with each other are compared: 80,000 pairs


def cka(x: Tensor, y: Tensor) -> float:
    r"""Debiased linear CKA: are the similarities within one space those within the other? x (n, d), y (n, d').

    $$\frac{\mathrm{HSIC}_1(K, L)}{\sqrt{\mathrm{HSIC}_1(K,K)\,\mathrm{HSIC}_1(L,L)}}, \quad K = XX^\top,\ L = YY^\top$$

    1: the same up to rotation and scale; about 0 for independent spaces, where the plain form is biased (0.62 at n =
    309, d = 512). Invariant to rotation and scale. Cost: n d². Source: Song et al. 2012, eq. 5; Nguyen et al. 2021.

    >>> x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> round(cka(x, -2 * x), 6)
    1.0
    """
    return dealt_cka(x, y)(torch.arange(len(x)))


def hsic(x: Tensor, y: Tensor) -> float:
    """Unbiased HSIC of linear kernels without their diagonals, never holding n × n."""
    n = len(x)
    if n < 4:
        return math.nan
    kx, ky = x.square().sum(1), y.square().sum(1)  # the diagonals
    sx, sy = x @ x.sum(0) - kx, y @ y.sum(0) - ky  # row sums without them
    trace = float((x.T @ y).square().sum() - (kx * ky).sum())
    both = float(sx.sum() * sy.sum()) / ((n - 1) * (n - 2))
    return (trace + both - 2 * float(sx @ sy) / (n - 2)) / (n * (n - 3))


def procrustes_r2(x: Tensor, y: Tensor, half: Tensor) -> float:
    r"""How much of one space a rotation of the other explains, fitted on half of the families and judged on the rest.

    $$1 - \frac{\|Y - sXR\|^2}{\|Y\|^2}$$ on rows centred by the fitted half; both halves are judged.

    1: the same space, turned; at most 0 where there is nothing in common. The narrower space is padded with zeros.
    A half of fewer rows than dimensions leaves directions open: the mean over all rotations that fit it is given.
    Cost: d³. Source: Schönemann 1966, held out as trust asks for.

    >>> x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> q, _ = torch.linalg.qr(x[:3])
    >>> round(procrustes_r2(x, x @ q, torch.arange(40) % 2), 6)
    1.0
    """
    return dealt_procrustes(x - x.mean(0), y - y.mean(0), half)(torch.arange(len(x)))


def rsa(x: Tensor, y: Tensor) -> float:
    r"""Spearman correlation between the pairwise cosines in one space and those in the other.

    1: the same order of similarities; 0: none in common. Above 400 rows the first 400 of a hashed order.
    Source: representational similarity analysis (Kriegeskorte et al. 2008), with cosines.

    >>> x = torch.eye(4, dtype=torch.float64) + torch.rand(4, 4, generator=torch.Generator().manual_seed(0)).double()
    >>> round(rsa(x, x), 6)
    1.0
    """
    return dealt_rsa(x, y)(torch.arange(len(x)))


# -- the same with the items of one space dealt anew: what no deal changes is worked out once --------------------------

Dealt = Callable[[Tensor], float]  # a measure, given the order of the rows of y


def light(x: Tensor) -> Tensor:
    """Rows around their mean in float32, half the work of float64; a null scatters by far more than what is lost."""
    return (x - x.mean(0)).float()


def dealt_cka(x: Tensor, y: Tensor) -> Dealt:
    """`cka` of x and of y in any order."""
    xx, yy = hsic(x, x), hsic(y, y)
    length = math.sqrt(xx * yy) if xx > 0 and yy > 0 else math.nan
    return lambda order: hsic(x, y[order]) / length


def dealt_procrustes(x: Tensor, y: Tensor, half: Tensor) -> Dealt:
    """`procrustes_r2` of x and of y in any order, from sums and products of the two halves: two products a deal."""
    d = max(x.shape[1], y.shape[1])
    x, y = (torch.nn.functional.pad(z, (0, d - z.shape[1])) for z in (x, y))
    at = [(half == k).nonzero()[:, 0] for k in (0, 1)]
    parts = [x[i] for i in at]
    n, sums = [len(p) for p in parts], [p.sum(0) for p in parts]
    if min(n) < 2:
        return lambda order: math.nan
    square = y.square().sum(1)

    def spread(of: int, by: int) -> float:
        return float((parts[of] - sums[by] / n[by]).square().sum())

    own, held = [max(spread(k, k), 1e-300) for k in (0, 1)], [spread(1 - k, k) for k in (0, 1)]

    def dealt(order: Tensor) -> float:
        dealt_parts = [y[order[i]] for i in at]
        dots = [p.T @ q for p, q in zip(parts, dealt_parts, strict=True)]
        totals = [q.sum(0) for q in dealt_parts]
        wrong = total = 0.0
        for fit, other in ((0, 1), (1, 0)):
            mx, my = sums[fit] / n[fit], totals[fit] / n[fit]
            turned, sigmas = decided(dots[fit] - n[fit] * torch.outer(mx, my), n[fit])
            scale = float(sigmas) / own[fit]
            cross = dots[other] - torch.outer(sums[other], my) - torch.outer(mx, totals[other] - n[other] * my)
            length = float(square[order[at[other]]].sum() - 2 * (totals[other] @ my) + n[other] * (my @ my))
            wrong += length - 2 * scale * float((cross * turned).sum()) + scale**2 * held[fit]
            total += length
        return 1 - wrong / total if total else math.nan

    return dealt


def dealt_rsa(x: Tensor, y: Tensor) -> Dealt:
    """`rsa` of x and of y in any order: who trades places takes the ranks of its pairs along."""
    from scipy.stats import rankdata

    from workbench.scan.statistics.rows import sample_hash

    at = sample_hash(torch.arange(len(x))).argsort()[:RSA_ROWS]
    n = len(at)
    upper = torch.triu_indices(n, n, 1)
    ranks = []
    for z in (x, y):
        u = torch.nn.functional.normalize(z[at], dim=1)
        rank = torch.from_numpy(rankdata((u @ u.T)[upper[0], upper[1]].numpy()))
        deviation = rank.std(correction=0)
        if float(deviation) == 0:
            return lambda order: math.nan
        square = torch.zeros(n, n, dtype=torch.float64)
        square[upper[0], upper[1]] = (rank - rank.mean()) / deviation
        ranks.append(square + square.T)

    stands = at.argsort()

    def dealt(order: Tensor) -> float:
        # of many rows only those that are looked at trade places, in the order that the deal gives them
        mine = stands[order[at].argsort().argsort()]
        return float((ranks[0] * ranks[1][mine][:, mine]).sum() / (n * (n - 1)))

    return dealt


def shuffled(measure: Dealt, n: int, draws: int = PERMUTATIONS) -> tuple[float, float, float]:
    """The 2.5, 50 and 97.5 % points of a measure when the items of one space are dealt anew; of few draws, where one
    more would fall by Student's law."""
    rng = np.random.default_rng(0)
    orders = [torch.from_numpy(rng.permutation(n)) for _ in range(draws)]
    with threads(torch.device("cpu")) as pool:
        out = np.array(list(pool.map(measure, orders)))
    if draws >= FEW:
        low, mid, high = np.nanpercentile(out, [2.5, 50, 97.5])
        return float(low), float(mid), float(high)
    return spread(out)


class Similarity(NamedTuple):
    """A measure of x and y, given the half that each row belongs to, and the same where y is dealt anew."""

    value: Callable[[Tensor, Tensor, Tensor], float]
    dealt: Callable[[Tensor, Tensor, Tensor], Dealt]


MEASURES = {
    "cka": Similarity(lambda x, y, half: cka(x, y), lambda x, y, half: dealt_cka(light(x), light(y))),
    "rsa": Similarity(lambda x, y, half: rsa(x, y), lambda x, y, half: dealt_rsa(x, y)),
    "procrustes_r2": Similarity(procrustes_r2, lambda x, y, half: dealt_procrustes(light(x), light(y), half)),
}
