"""Plain measures of the experiments: retrieval, neighbours, probes, rank, gap, agreement of partitions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from workbench.papers.parts import Part, unit


def hits(scores: Tensor, k: int = 1) -> float:
    """Recall at k of a square matrix of scores, matches on the diagonal, ties at their expected rank; NaN for NaN."""
    if bool(scores.isnan().any()):
        return float("nan")
    own = scores.diagonal()[:, None]
    above, tied = (scores > own).sum(1), (scores == own).sum(1)
    return float(((k - above) / tied).clamp(0, 1).mean())


def right(scores: Tensor, y: Tensor | None) -> float:
    """Share of rows whose best column is their class: scores (N, C), classes (N,)."""
    assert y is not None
    return float((scores.argmax(1) == y).float().mean())


def recall(x: Tensor, y: Tensor, k: int = 1) -> float:
    """Recall at k of rows x (N, d) for rows y (N, d), matches in the same order."""
    return hits(x @ y.T, k)


def all_recall(z: Mapping[str, Tensor], part: Part, k: int = 10) -> float:
    """Recall at k, averaged over every ordered pair of modalities."""
    found = [recall(z[a], z[b], k) for a in z for b in z if a != b]
    return float(np.mean(found))


def knn(train: Tensor, y: Tensor, test: Tensor, truth: Tensor, k: int = 5) -> float:
    """Share of test rows whose k nearest training rows have their class as the commonest."""
    near = (test @ train.T).topk(min(k, len(train)), 1).indices
    return float((y[near].mode(1).values == truth).float().mean())


def leave_one_out(x: Tensor, y: Tensor, k: int = 5) -> float:
    """The same within one part, each row against all others."""
    s = (x @ x.T).fill_diagonal_(-2)
    return float((y[s.topk(min(k, len(x) - 1), 1).indices].mode(1).values == y).float().mean())


def probe(train: Tensor, y: Tensor, test: Tensor, truth: Tensor, ridge: float = 1.0) -> float:
    """Accuracy of a linear map to one-hot classes, by ridge regression in closed form."""
    classes = int(max(y.max(), truth.max())) + 1
    return float(
        (linear(train, nn.functional.one_hot(y, classes).float(), test, ridge).argmax(1) == truth).float().mean()
    )


def linear(train: Tensor, target: Tensor, test: Tensor, ridge: float = 1.0) -> Tensor:
    """What a ridge regression from train (N, d) to target (N, t) says of test (M, d)."""
    centre, mean = train.mean(0), target.mean(0)
    x = (train - centre).double()
    w = torch.linalg.solve(x.T @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype), x.T @ (target - mean).double())
    return ((test - centre).double() @ w).to(test) + mean


def r2(train: Tensor, target: Tensor, test: Tensor, truth: Tensor, ridge: float = 1.0) -> float:
    """Explained share of the variance of one number, by the same regression; below 0: worse than the mean."""
    said = linear(train, target[:, None], test, ridge)[:, 0]
    return float(1 - (said - truth).square().mean() / truth.var(unbiased=False))


def auc(scores: Tensor, positive: Tensor) -> float:
    """Chance that a positive scores above a negative, ties half."""
    a, b = scores[positive], scores[~positive]
    if not len(a) or not len(b):
        return float("nan")
    return float(((a[:, None] > b[None]).double() + 0.5 * (a[:, None] == b[None]).double()).mean())


def effective_rank(x: Tensor) -> float:
    """exp of the entropy of the singular values of the centred rows, as the diagnostic of the name."""
    s = torch.linalg.svdvals((x - x.mean(0)).double())
    p = s / s.sum()
    return float(torch.exp(-torch.special.xlogy(p, p).sum()))


def gap(x: Tensor, y: Tensor) -> float:
    """Distance of the centroids of unit rows."""
    return float((x.mean(0) - y.mean(0)).norm())


def adjusted_rand(a: Tensor, b: Tensor) -> float:
    """Agreement of two partitions of the same rows, 0 by chance, 1 alike."""
    table = torch.zeros(int(a.max()) + 1, int(b.max()) + 1, dtype=torch.float64)
    table.index_put_((a, b), torch.ones(len(a), dtype=torch.float64), accumulate=True)

    def pairs(x: Tensor) -> Tensor:
        return (x * (x - 1) / 2).sum()

    both, one, two = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    chance = one * two / pairs(torch.tensor([float(len(a))], dtype=torch.float64))
    top = (one + two) / 2 - chance
    return float((both - chance) / top) if top else 0.0


def named(eye: nn.Module, words: Tensor, part: Part) -> float:
    """Share of pictures whose nearest word vector (10, d) is their name."""
    with torch.no_grad():
        return right(unit(eye(part.x["whole"]), dim=1) @ unit(words, dim=1).T, part.y)
