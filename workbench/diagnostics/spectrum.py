"""In how many directions?

Spectrum: along how many directions the vectors really vary.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from workbench.diagnostics.leave_one_out import Centroids
from workbench.diagnostics.nulls import sphere
from workbench.diagnostics.registry import SUBSAMPLING, NotApplicable, curve, diagnostic
from workbench.diagnostics.states import CentroidGramState, MomentsState, NeighboursState, WidthState
from workbench.scan.statistics import Moments, Neighbours, State, Width

ORDER = 6  # among the questions
VIEW = "PCA"  # the map that shows it

DUPLICATE = 1e-6  # distances of unit rows below this are the same point: their ratio is rounding
NARROW, BEYOND = 3, 8  # dimensions a row from which the range of a scatter is looked for, with so many directions more
TAIL = 0.1  # share of the largest ratios that TwoNN's authors drop


@lru_cache(maxsize=8)  # five diagnostics and a curve read the same scatter, of rows as they are and of unit ones
def eigenvalues(scatter: Tensor, rows: int) -> Tensor:
    """`spectrum_of` a scatter that others ask for too."""
    return spectrum_of(scatter, rows)


def spectrum_of(scatter: Tensor, rows: int) -> Tensor:
    """Eigenvalues of the scatter (d, d) of so many rows, ascending; of few rows in many dimensions those of its range.

    S times more random directions than it has rank spans its range Q, to rounding; QᵀSQ has the eigenvalues that are
    not 0 (Halko et al. 2011): d² n in place of d³.
    """
    d, rank = len(scatter), rows + BEYOND
    if NARROW * rank >= d:
        return torch.linalg.eigvalsh(scatter)
    lot = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(scatter @ torch.randn(d, rank, generator=lot, dtype=scatter.dtype))
    return torch.nn.functional.pad(torch.linalg.eigvalsh(q.T @ scatter @ q), (d - rank, 0))


def singular_values(moments: MomentsState) -> Tensor:
    """Singular values of the centred rows, descending; what rounding made of a zero is a zero."""
    eigen = eigenvalues(moments["scatter"], int(moments["n"])).flip(0).clamp_min(0)
    eps = torch.finfo(eigen.dtype).eps
    # relative to the largest, and, where all rows coincide, to what rounding unit rows leaves behind
    floor = max(len(eigen) * eps * float(eigen[0]), float(moments["n"]) * (8 * eps) ** 2)
    # a centred matrix of n rows has at most n − 1 directions
    eigen = torch.where((eigen > floor) & (torch.arange(len(eigen)) < float(moments["n"]) - 1), eigen, 0.0)
    return eigen.sqrt()


def entropy_rank(sigma: Tensor) -> Tensor:
    """exp of the entropy of σ/Σσ."""
    p = sigma / sigma.sum()
    return torch.exp(-torch.special.xlogy(p, p).sum())


def participation(sigma: Tensor) -> Tensor:
    """(Σλ)²/Σλ² with λ = σ²."""
    variance = sigma.square()
    return variance.sum().square() / variance.square().sum()


def explained(sigma: Tensor, share: float = 0.9) -> Tensor:
    """How many singular values hold a share of the variance."""
    part = sigma.square().cumsum(0) / sigma.square().sum()
    return (part < share - 1e-12).sum().double() + 1


def rank_me(sigma: Tensor) -> Tensor:
    """exp of the entropy of σ/Σσ + 1e-7, as released (RankMe)."""
    p = sigma / sigma.sum() + 1e-7
    return torch.exp(-(p * p.log()).sum())


def iso(sigma: Tensor) -> Tensor:
    """IsoScore of the principal variances σ²; those of missing directions are zeros."""
    variance = sigma.square()
    return evenness(variance.sum(), variance.norm(), len(variance))


def evenness(total: Tensor, norm: Tensor, d: float) -> Tensor:
    """IsoScore from the sum of d principal variances and the root of the sum of their squares: trace and norm of the
    scatter say both, as $\\|\\hat\\lambda - 1\\|^2 = 2d - 2\\sqrt d\\,\\sum\\lambda/\\|\\lambda\\|$."""
    defect = (d - d**0.5 * total / norm) / (d - d**0.5)  # squared
    return ((d - defect * (d - d**0.5)).square() / d - 1) / (d - 1)


@diagnostic(
    on="modality",
    reads=lambda m: (Moments(m),),
    null=sphere.isotropic(entropy_rank),
    interval=SUBSAMPLING,
    unit="dimensions",
    bound=(1.0, float("inf")),
    headline=7,
    see="Directions in use, against as many random vectors; there is no interval for a spectrum.",
    probed=True,
    layered=True,
)
def effective_rank(moments: MomentsState) -> Tensor:
    r"""Number of directions that the centred unit rows really use: exp of the entropy of their singular values.

    $$\exp\Big(-\sum_k p_k \log p_k\Big), \quad p_k = \sigma_k / \sum_l \sigma_l$$

    1: all on one line; at most min(n − 1, d). Centred, unlike RankMe. Invariant to rotation and row order. NaN where
    all rows coincide. Cost: one pass over rows, d³. Source: Roy & Vetterli 2007, eq. 1, on the centred matrix.

    >>> import torch, workbench as wb
    >>> float(wb.diagnose({"a": torch.eye(3)}, only=["effective_rank"]).value("effective_rank", "a"))
    2.0
    """
    return entropy_rank(singular_values(moments))


@diagnostic(
    on="modality",
    reads=lambda m: (Moments(m, raw=True),),
    null=sphere.isotropic(rank_me, centred=False, raw=True),
    interval=SUBSAMPLING,
    unit="dimensions",
    bound=(1.0, float("inf")),
)
def rankme(moments: MomentsState) -> Tensor:
    r"""RankMe: exp of the entropy of the singular values of the rows as stored, neither centred nor scaled.

    $$\exp\Big(-\sum_k p_k \log p_k\Big), \quad p_k = \sigma_k / \sum_l \sigma_l + 10^{-7}$$

    A large common direction (a cone) lowers it although nothing collapsed: read it beside `effective_rank`, which is
    centred. No direction is better within one run. Cost: one pass over rows, d³.
    Source: Garrido et al. 2023, eq. 1; singular values below 10⁻⁸ of the largest are lost to rounding.

    >>> import torch, workbench as wb
    >>> x = torch.diag(torch.tensor([4.0, 2, 1, 1]))
    >>> float(wb.diagnose({"a": x}, only=["rankme"]).value("rankme", "a"))
    3.36358...
    """
    n, mean = moments["n"], moments["mean"]
    eigen = spectrum_of(moments["scatter"] + n * torch.outer(mean, mean), int(n)).flip(0).clamp_min(0)
    return rank_me(eigen[: int(n)].sqrt())


@diagnostic(
    on="modality",
    reads=lambda m: (Moments(m),),
    null=sphere.isotropic(participation),
    interval=SUBSAMPLING,
    unit="dimensions",
    bound=(1.0, float("inf")),
)
def participation_ratio(moments: MomentsState) -> Tensor:
    r"""Number of directions weighted by their variance, on centred unit rows: $(\sum\lambda)^2 / \sum\lambda^2$.

    1: one direction holds all variance; at most min(n − 1, d). Smaller than `effective_rank` where few directions
    dominate. No direction is better. Invariant to rotation and scale. Cost: one pass over rows, d³.
    Source: as used for neural recordings (Gao et al. 2017).

    >>> import torch, workbench as wb
    >>> report = wb.diagnose({"a": torch.eye(3)}, only=["participation_ratio"])
    >>> round(float(report.value("participation_ratio", "a")), 6)
    2.0
    """
    return participation(singular_values(moments))


@diagnostic(
    on="modality",
    reads=lambda m, share: (Moments(m),),
    null=sphere.isotropic(explained),
    interval="none: a whole number of directions, which parts of a set of a few dimensions share",
    unit="dimensions",
    bound=(1.0, float("inf")),
)
def explained_dimensions(moments: MomentsState, *, share: float = 0.9) -> Tensor:
    r"""Fewest principal directions of the centred unit rows that hold a share of their variance.

    $$\min\{k : \textstyle\sum_{j\le k}\sigma_j^2 \ge s\sum_j\sigma_j^2\}$$

    What a projection onto fewer dimensions would have to keep. No direction is better. Invariant to rotation. Cost: one
    pass over rows, d³. Source: principal components, as usual.

    >>> import torch, workbench as wb
    >>> float(wb.diagnose({"a": torch.eye(4)}, only=["explained_dimensions"]).value("explained_dimensions", "a"))
    3.0
    """
    return explained(singular_values(moments), share)


@diagnostic(
    on="modality",
    reads=lambda m: (Moments(m, raw=True), Width(m)),
    null=sphere.isotropic(iso, raw=True),
    interval=SUBSAMPLING,
    unit="score",
    bound=(0.0, 1.0),
)
def isoscore(moments: MomentsState, width: WidthState) -> Tensor:
    r"""IsoScore: how evenly the variance of the rows as stored spreads over all d directions.

    With $\hat\lambda = \lambda\sqrt d/\|\lambda\|$ and $\delta = \|\hat\lambda-1\|/\sqrt{2(d-\sqrt d)}$:
    $$\frac{(d-\delta^2(d-\sqrt d))^2/d - 1}{d-1}$$

    1: isotropic; 0: one direction. Blind to the mean, so it cannot see a cone: read `mean_cosine` beside it. Needs
    n > d, else it measures n. No direction is better. Cost: one pass over rows. Source: Rudman et al. 2022, alg. 1.

    >>> import torch, workbench as wb
    >>> x = torch.tensor([[0.0, 0], [1, 0], [0, 1], [3, 1]]) + 10
    >>> round(float(wb.diagnose({"a": x}, only=["isoscore"]).value("isoscore", "a")), 5)
    0.25641
    """
    if float(width["d"]) < 2:
        raise NotApplicable("needs at least two dimensions")
    total, norm = moments["scatter"].trace(), moments["scatter"].norm()
    # what rounding leaves of a constant is nothing: far below the square of what the rows measure
    if float(norm) <= 1e-24 * float(moments["n"]) * float(moments["mean"].square().sum()):
        raise NotApplicable("all rows coincide")
    return evenness(total, norm, float(width["d"]))


@diagnostic(
    on="modality",
    reads=lambda m: (Centroids((m,)),),
    null=sphere.RESULTANT,
    interval="jackknife of the square",
    unit="unit length",
    bound=(0.0, 1.0),
)
def resultant_length(centroids: CentroidGramState) -> Tensor:
    r"""Length of the mean unit vector, $\|\frac1n\sum_i x_i\|$: how narrow the cone is.

    0: directions cancel; 1: all vectors are one. Its square is about `mean_cosine`. No direction is better: trained
    encoders live in cones. Invariant to rotation. Cost: two passes over rows. Source: directional statistics (Mardia).

    >>> import torch, workbench as wb
    >>> float(wb.diagnose({"a": torch.eye(4)}, only=["resultant_length"]).value("resultant_length", "a"))
    0.5
    """
    return (centroids["gram"][..., 0, 0].clamp_min(0)).sqrt() / centroids["n"][..., 0]


@diagnostic(
    on="modality",
    reads=lambda m: (Neighbours(m, m),),
    null=sphere.two_nn(lambda r: two_nn(r)),
    interval=SUBSAMPLING,
    unit="dimensions",
    bound=(0.0, float("inf")),
    gallery=True,
)
def twonn_dimension(neighbours: NeighboursState) -> Tensor:
    r"""Intrinsic dimension of the unit rows from the ratio of the distances to their two nearest neighbours.

    $$-\log(1 - F(\mu)) = \hat d \log\mu, \quad \mu_i = r_{i2}/r_{i1},\ F = i/n$$

    The slope of a line through the origin, without the largest tenth of the ratios. Low beside `effective_rank`: the
    rows lie on a curved surface. Rows that coincide are one point. Neighbours belong to other items. Grows with n
    in high dimensions. Cost: all pairs, neighbours exact. Source: Facco et al. 2017.

    >>> import torch, workbench as wb
    >>> angle = torch.rand(400, generator=torch.Generator().manual_seed(0)) * 6.28
    >>> circle = torch.stack([angle.cos(), angle.sin()], 1)
    >>> 0.8 < wb.diagnose({"a": circle}, only=["twonn_dimension"]).value("twonn_dimension", "a") < 1.2
    True
    """
    if neighbours["score"].shape[1] < 2:
        raise NotApplicable("needs at least three items")
    return two_nn(distinct_distances(neighbours))


def distinct_distances(neighbours: NeighboursState) -> Tensor:
    """Distances to the two nearest other points, (n, 2), of each point once: rows that coincide are one point."""
    row, index = neighbours["row"], neighbours["index"]
    r = (2 - 2 * neighbours["score"]).clamp_min(0).sqrt().masked_fill(index < 0, torch.inf)
    twin = (index >= 0) & (r <= DUPLICATE)
    first = torch.minimum(row, torch.where(twin, index, row[:, None]).min(1).values)
    point = torch.arange(int(neighbours["keys"]))
    point[row] = first
    there = (index >= 0) & ~twin
    points = torch.where(there, point[index.clamp_min(0)], -1)
    again = (points[:, :, None] == points[:, None]).tril(-1).any(2)
    nearest = r.masked_fill(~there | again, torch.inf).sort(1).values[:, :2]
    return nearest[(first == row) & nearest.isfinite().all(1)]


def two_nn(r: Tensor, tail: float = TAIL) -> Tensor:
    """The fit from the two smallest distances of each point, (n, 2)."""
    mu = (r[:, 1] / r[:, 0]).sort().values
    n = len(mu)
    keep = int(n * (1 - tail))
    if keep < 3:
        raise NotApplicable("needs at least three distinct rows with two neighbours each")
    x = mu[:keep].log()
    y = -torch.log1p(-torch.arange(1, keep + 1, dtype=torch.float64) / n)
    if float(x.square().sum()) == 0:
        raise NotApplicable("every row is as far from its second neighbour as from its first")
    return (x * y).sum() / x.square().sum()


@curve(
    on="modality",
    reads=lambda m: (Moments(m),),
    see="A line that falls off a cliff leaves the directions after it unused.",
)
def singular_spectrum(moments: MomentsState) -> State:
    """Singular values of the centred unit rows, descending."""
    return {"sigma": singular_values(moments)}
