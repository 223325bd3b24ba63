"""Plain measures of the experiments: retrieval, neighbours, probes, rank, gap."""

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
    """What a ridge regression from train (N, d) to target (N, t) says of test (M, d); NaN where a row is not finite."""
    from sklearn.linear_model import Ridge

    centre, mean = train.mean(0), target.mean(0)
    x, y, z = ((rows - m).double() for rows, m in ((train, centre), (target, mean), (test, centre)))
    if not bool(x.isfinite().all() and z.isfinite().all()):
        return torch.full((len(test), target.shape[1]), float("nan")).to(test)
    fitted = Ridge(ridge, fit_intercept=False, solver="cholesky").fit(x.numpy(), y.numpy())
    return torch.from_numpy(fitted.predict(z.numpy()).reshape(len(test), -1)).to(test) + mean


def r2(train: Tensor, target: Tensor, test: Tensor, truth: Tensor, ridge: float = 1.0) -> float:
    """Explained share of the variance of one number, by the same regression; below 0: worse than the mean."""
    said = linear(train, target[:, None], test, ridge)[:, 0]
    return float(1 - (said - truth).square().mean() / truth.var(unbiased=False))


def auc(scores: Tensor, positive: Tensor) -> float:
    """Chance that a positive scores above a negative, ties half; NaN where one of them is lacking or a score is NaN."""
    from sklearn.metrics import roc_auc_score

    if len(positive.unique()) < 2 or bool(scores.isnan().any()):
        return float("nan")
    return float(roc_auc_score(positive, scores))


def effective_rank(x: Tensor) -> float:
    """exp of the entropy of the singular values of the centred rows: the diagnostic of the name works from moments, and
    its last digits are others.
    """
    s = torch.linalg.svdvals((x - x.mean(0)).double())
    p = s / s.sum()
    return float(torch.exp(-torch.special.xlogy(p, p).sum()))


def gap(x: Tensor, y: Tensor) -> float:
    """Distance of the centroids of unit rows."""
    return float((x.mean(0) - y.mean(0)).norm())


def named(eye: nn.Module, words: Tensor, part: Part) -> float:
    """Share of pictures whose nearest word vector (10, d) is their name."""
    with torch.no_grad():
        return right(unit(eye(part.x["whole"]), dim=1) @ unit(words, dim=1).T, part.y)
