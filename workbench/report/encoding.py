"""Encoding: how well responses to items (ratings, clicks, voxels) follow from their vectors, of what repeats allow."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.errors import InputError

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's r of each column, (N, V), (N, V) → (V,): -1 … 1, 0 where a column does not vary.

    >>> x = torch.tensor([[1.0], [2.0], [3.0]])
    >>> round(correlation(x, -x).item(), 4)
    -1.0
    """
    a, b = (x - x.mean(0) for x in (a, b))
    below = a.norm(dim=0) * b.norm(dim=0)
    return torch.where(below > 0, (a * b).sum(0) / below.clamp_min(1e-12), 0.0)


def noise_ceiling(repeats: Tensor) -> Tensor:
    r"""The correlation that a perfect model would have with the mean of repeats: (N, V, K) → (V,), 0 … 1.

    $\sqrt{2r/(1+r)}$, r the correlation of the means of odd and even repeats (Spearman-Brown); NaN where repeats agree
    no better than chance. Raises for fewer than two repeats.

    >>> x = torch.tensor([[1.0], [2.0], [4.0]])
    >>> round(noise_ceiling(torch.stack([x, x], 2)).item(), 4)
    1.0
    """
    if repeats.ndim != 3 or repeats.shape[2] < 2:
        raise InputError(f"a noise ceiling needs (N, V, 2 repeats or more), not {tuple(repeats.shape)}")
    r = correlation(repeats[:, :, ::2].mean(2), repeats[:, :, 1::2].mean(2))
    return torch.where(r > 0, (2 * r / (1 + r)).sqrt(), torch.nan)


def encoded(train: Tensor, responses: Tensor, test: Tensor, strength: float) -> Tensor:
    """What a ridge regression from vectors (N, d) to responses (N, V) says of others, (M, d) → (M, V), both centred.

    >>> x = torch.tensor([[0.0], [1.0], [2.0]])
    >>> encoded(x, 3 * x, torch.tensor([[4.0]]), 0.0).item()
    12.0
    """
    centre, mean = train.mean(0), responses.mean(0)
    x, y = (train - centre).double(), (responses - mean).double()
    fitted = torch.linalg.solve(x.T @ x + strength * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y)
    return ((test - centre).double() @ fitted).to(test) + mean


def encoding_score(
    vectors: tuple[Tensor, Tensor, Tensor], repeats: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, float]:
    """Share of the noise ceiling that vectors explain of each response, (V,), and the strength of ridge it took.

    `vectors` (N, d) and `repeats` (N, V, K) of items to learn from, to choose the strength on, and to be judged by, in
    this order; families must not be shared between them. 1: as well as the repeats let any model do; 0: nothing; NaN
    for responses without a ceiling. O(N d² + d³). Raises for fewer than two repeats.
    """
    (train, tune, test), means = vectors, [r.mean(2) for r in repeats]
    scores = [float(correlation(encoded(train, means[0], tune, s), means[1]).mean()) for s in STRENGTHS]
    strength = STRENGTHS[max(range(len(STRENGTHS)), key=scores.__getitem__)]
    r = correlation(encoded(train, means[0], test, strength), means[2])
    return r / noise_ceiling(repeats[2]), strength
