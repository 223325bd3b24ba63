"""Geometry as plain functions of tensors: the losses and the diagnostics of the same name both call these."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from workbench.errors import InputError

EPS = 1e-8  # inside roots of squared volumes: a zero volume is an ordinary case and must have a gradient
NEAR = 1e-4  # of squared distances to squared lengths, below which products lose digits that count
COLUMNS = 128  # whose products are taken together: wide enough to be fast
BESIDE, POWERS = 8, 6  # directions looked at for the longest, and how often they are multiplied


def orthogonalised(x: Tensor) -> tuple[Tensor, Tensor]:
    """Gram-Schmidt over the tuple axis of x (..., M, d): the orthonormal directions and the residual lengths (..., M).

    A vector inside the span of the earlier ones has length 0 and the zero direction.
    """
    directions: list[Tensor] = []
    lengths: list[Tensor] = []
    for m in range(x.shape[-2]):
        r = x[..., m, :]
        for q in directions:
            r = r - (r * q).sum(-1, keepdim=True) * q
        length = r.norm(dim=-1, keepdim=True)
        # below rounding the residual's direction is noise, and the length is zero
        real = length > 8 * torch.finfo(x.dtype).eps
        directions.append(torch.where(real, r / torch.where(real, length, 1.0), 0.0))
        lengths.append(torch.where(real, length, 0.0)[..., 0])
    return torch.stack(directions, -2), torch.stack(lengths, -1)


def volume(x: Tensor) -> Tensor:
    r"""Gramian volume of each tuple, $\sqrt{\det XX^\top}$, by Gram-Schmidt lengths: x (..., M, d) → (...).

    0 where any vector lies in the span of the others, at most 1 for unit vectors; blind to sign (GRAM, eq. 3).

    >>> volume(torch.tensor([[1.0, 0, 0], [0.5, 0.75**0.5, 0], [0, 0.6, 0.8]])).item()
    0.692820...
    """
    return orthogonalised(x)[1].prod(-1)


def volume_of_pair(squared_distance: Tensor) -> Tensor:
    r"""Volume of two unit vectors from their distance, $\|x-y\|\,\|x+y\|/2$: the sine of their angle.

    >>> volume_of_pair(torch.tensor([0.0, 1.0, 2.0])).tolist()
    [0.0, 0.866025..., 1.0]
    """
    return (squared_distance * (4 - squared_distance)).clamp_min(0).sqrt() / 2


def gram_volume_of(anchor: Tensor, others: Tensor, *, eps: float = EPS) -> Tensor:
    r"""Volumes of every anchor with every tuple: anchor (Q, d) unit rows, others (K, M−1, d) → (Q, K).

    With an orthonormal basis of tuple j, $\mathrm{vol}^2_{ij} = (1 - \|Q_j a_i\|^2)\,\det G_j$: one matrix product
    instead of Q·K determinants.
    """
    basis, lengths = orthogonalised(others)
    k, m, d = basis.shape
    inside = (anchor @ basis.reshape(k * m, d).T).square().view(len(anchor), k, m).sum(-1)
    squared = (1 - inside).clamp_min(0) * lengths.prod(-1).square()
    return (squared + eps).sqrt() if eps else squared.sqrt()


def alignment(x: Tensor, y: Tensor, *, alpha: float = 2.0) -> Tensor:
    r"""Mean distance of matched unit rows, $\mathbb{E}\,\|x_i-y_i\|^\alpha$ (Wang & Isola 2020, eq. 4): x, y (B, d).

    >>> alignment(torch.eye(2), torch.eye(2)).item()
    0.0
    """
    squared = (x - y).square().sum(-1)
    return (squared if alpha == 2 else (squared + EPS).pow(alpha / 2)).mean()


def uniformity(x: Tensor, *, t: float = 2.0) -> Tensor:
    r"""Log mean Gaussian potential of pairs, $\log\mathbb{E}_{i<j}\,e^{-t\|x_i-x_j\|^2}$ (Wang & Isola, eq. 5).

    >>> round(uniformity(torch.eye(2)).item(), 6)
    -4.0
    """
    i, j = torch.triu_indices(len(x), len(x), 1, device=x.device)
    squared = 2 - 2 * (x @ x.T)[i, j]
    return (-t * squared).logsumexp(0) - torch.tensor(float(len(i)), device=x.device).log()


def triangle_area(x: Tensor) -> Tensor:
    r"""Area of the triangle of three vectors, $\tfrac12\sqrt{|u|^2|w|^2-(u\cdot w)^2}$ with $u = x_1-x_2$,
    $w = x_1-x_3$: x (..., 3, d) → (...). Sees sign; 0 where the three lie on a line.

    >>> triangle_area(torch.eye(3)).item()
    0.866025...
    """
    u, w = x[..., 0, :] - x[..., 1, :], x[..., 0, :] - x[..., 2, :]
    length = u.norm(dim=-1, keepdim=True)
    direction = u / length.clamp_min(torch.finfo(x.dtype).tiny)
    # base times height: the difference of squares would lose half of the digits
    height = (w - (w * direction).sum(-1, keepdim=True) * direction).norm(dim=-1)
    return length[..., 0] * height / 2


def leading_share(x: Tensor) -> Tensor:
    r"""Largest share of a tuple's squared singular values, $\sigma_1^2/\sum_k\sigma_k^2$: x (..., M, d) → (...).

    1: all vectors parallel, whatever their signs; 1/M: all orthogonal.

    >>> round(leading_share(torch.eye(3)).item(), 6)
    0.333333
    """
    eigen = torch.linalg.eigvalsh(x @ x.mT)
    return eigen[..., -1] / eigen.sum(-1)


def _squared(x: Tensor, y: Tensor) -> Tensor:
    return x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T


def mmd(x: Tensor, y: Tensor, *, sigma: float = 1.0) -> Tensor:
    r"""Squared maximum mean discrepancy with $e^{-\|a-b\|^2/2\sigma^2}$ over all pairs, the diagonal too: at least 0.

    The biased form that losses use; the diagnostic `mmd_squared` is the unbiased one. x (n, d), y (m, d) unit rows.

    >>> mmd(torch.eye(2), torch.eye(2)).item()
    0.0
    """

    def k(a: Tensor, b: Tensor) -> Tensor:
        return (-_squared(a, b) / (2 * sigma**2)).exp().mean()

    return k(x, x) + k(y, y) - 2 * k(x, y)


def whitened(x: Tensor, groups: int, eps: float = 1e-4, shuffle: bool = False) -> Tensor:
    r"""Rows whitened over the batch in groups of dimensions, $Y_g = (X_g - \bar X_g)\Sigma_g^{-1/2}$ (ZCA): (B, d).

    With `shuffle` the dimensions are dealt into groups at random. Σ is the biased covariance plus eps.

    >>> x = torch.tensor([[1.0, 2], [3, 1], [2, 5]])
    >>> y = whitened(x, 1, 0.0)
    >>> [[round(v, 3) for v in r] for r in (y.T @ y / 3).abs().tolist()]
    [[1.0, 0.0], [0.0, 1.0]]
    """
    b, d = x.shape
    if d % groups:
        raise InputError(f"whitening: {groups} groups do not divide {d} dimensions")
    order = torch.randperm(d, device=x.device) if shuffle else torch.arange(d, device=x.device)
    parts = x[:, order].view(b, groups, d // groups).transpose(0, 1)  # (G, B, d/G)
    parts = parts - parts.mean(1, keepdim=True)
    eye = torch.eye(d // groups, dtype=x.dtype, device=x.device)
    # a trace of difference keeps the gradient of equal eigenvalues finite
    tilt = torch.linspace(0, eps * 1e-2, d // groups, dtype=x.dtype, device=x.device).diag()
    eigen, vectors = torch.linalg.eigh(parts.mT @ parts / b + eps * eye + tilt)
    white = parts @ (vectors * eigen.clamp_min(1e-12).rsqrt()[:, None]) @ vectors.mT
    return white.transpose(0, 1).reshape(b, d)[:, order.argsort()]


def between(x: Tensor, y: Tensor) -> Tensor:
    r"""Squared distances of all rows, $\|x_i-y_j\|^2$, by products about the mean of x: (n, d), (m, d) → (n, m).

    Memory n m, and not n m d; the centre keeps the rounding small where rows lie close together and far from 0.

    >>> between(torch.tensor([[1.0, 0], [0, 2]]), torch.tensor([[1.0, 0]])).tolist()
    [[0.0], [5.0]]
    """
    centre = x.mean(0).detach()
    return _squared(x - centre, y - centre).clamp_min(0)


def distances(x: Tensor) -> Tensor:
    r"""Distances of all rows, $\|x_i-x_j\|$: (n, d) → (n, n), in memory n² and not n² d.

    By products about the mean, and again from the rows where these are so near that products lose digits.

    >>> distances(torch.tensor([[0.0, 0], [3, 4], [3, 4]])).tolist()
    [[0.0, 5.0, 5.0], [5.0, 0.0, 0.0], [5.0, 0.0, 0.0]]
    """
    y = x - x.mean(0)
    squared = _squared(y, y)
    length = y.square().sum(1)
    i, j = (squared < NEAR * (length[:, None] + length[None])).nonzero(as_tuple=True)
    for a, b in zip(i.split(COLUMNS**2), j.split(COLUMNS**2), strict=True):
        squared[a, b] = (x[a] - x[b]).square().sum(1)
    return squared.sqrt()


def joint_entropy(a: Tensor, b: Tensor, width: Tensor | float) -> Tensor:
    r"""Minus a kernel estimate of joint entropy, $\mathbb{E}_i\log\mathbb{E}_j\,k(a_i,a_j)\,k(b_i,b_j)$, self included.

    log(1/B): spread out; 0: collapsed. $k = e^{-\|\cdot\|^2/\text{width}}$ (SepCLR's k-JEM; width 2τ).

    >>> round(joint_entropy(torch.zeros(3, 2), torch.zeros(3, 2), 1.0).item(), 6)
    0.0
    """
    d = between(a, a) + between(b, b)
    return ((-d / width).logsumexp(1) - math.log(len(a))).mean()


def segment_sum(values: Tensor, place: Tensor, size: int) -> Tensor:
    """Values summed by place: (n, …) → (size, …), in float64."""
    return torch.zeros(size, *values.shape[1:], dtype=torch.float64).index_add(0, place, values.double())


def centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of rows, (d,), noughts where there are none; and the rows around it."""
    mean = x.mean(0) if len(x) else x.new_zeros(x.shape[1])
    return mean, x - mean


def products(x: Tensor) -> Tensor:
    r"""All columns times each other, $X^\top X$: (n, d) → (d, d); by symmetry only half of them are computed."""
    d = x.shape[1]
    out = x.new_zeros(d, d)
    for start in range(0, d, COLUMNS):
        stop = min(start + COLUMNS, d)
        out[:stop, start:stop] = x[:, :stop].T @ x[:, start:stop]
        out[start:stop, :start] = out[:start, start:stop].T
    return out


def main_axis(x: Tensor) -> Tensor:
    r"""The direction (d,) along which the rows of X are longest, as they are: the first eigenvector of $X^\top X$.

    By powers of a few random directions (Halko et al. 2011): exact to rounding where it stands out, and one of the
    longest where it does not; n d in place of d³.
    """
    lot = torch.Generator().manual_seed(0)
    q = torch.randn(x.shape[1], min(BESIDE, x.shape[1]), generator=lot, dtype=x.dtype)
    for _ in range(POWERS):
        q, _ = torch.linalg.qr(x.T @ (x @ q))
    y = x @ q
    return q @ torch.linalg.eigh(y.T @ y).eigenvectors[:, -1]


def decided(dots: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    r"""Of centred products $X^\top Y$ of so many rows: the part of the rotation of X onto Y that they decide, (d, d'),
    and the sum of their singular values.

    $\sum_{r \le \mathrm{rank}} u_r v_r^\top$ (Schönemann 1966); all of it where there are more rows than dimensions.
    """
    u, sigma, v = torch.linalg.svd(dots, full_matrices=False)
    tiny = max(dots.shape) * torch.finfo(dots.dtype).eps * sigma[:1]
    rank = min(int((sigma > tiny).sum()), rows - 1)
    return u[:, :rank] @ v[:rank], sigma.sum()


def rotation(dots: Tensor, rows: int) -> Tensor:
    r"""The rotation (d, d) that brings X onto Y, from centred products $X^\top Y$ of so many rows.

    Directions that the rows do not decide are turned as little as they can be, whatever a library chooses for them.
    """
    known, _ = decided(dots, rows)
    open_ = len(dots) - round(float(known.square().sum()))
    if not open_:
        return known
    identity = torch.eye(len(dots), dtype=dots.dtype)
    left, right = identity - known @ known.T, identity - known.T @ known  # projections on what is open
    u, _, v = torch.linalg.svd(left @ right)
    return known + u[:, :open_] @ v[:open_]


def root(scatter: Tensor) -> Tensor:
    """The symmetric square root of a positive matrix."""
    values, vectors = torch.linalg.eigh(scatter)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def factor(scatter: Tensor) -> Tensor:
    """A matrix with $LL^\\top$ = a positive matrix: its Cholesky factor, or where it is singular its root."""
    lower, failed = torch.linalg.cholesky_ex(scatter)
    return root(scatter) if int(failed) else lower


def frechet(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    """The squared Fréchet distance of two Gaussians, from means (d,) and covariances (d, d)."""
    half = factor(cov_a)
    # the eigenvalues of AB are those of LᵀBL
    shared = torch.linalg.eigvalsh(half.T @ cov_b @ half).clamp_min(0).sqrt().sum()
    squared = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * shared
    return squared.clamp_min(0)
