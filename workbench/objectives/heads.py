"""Heads: from a matrix of scores and a target to one number."""

from __future__ import annotations

import torch
from torch import Tensor


def softmax(
    scores: Tensor,
    target: Tensor,
    *,
    smoothing: float = 0.0,
    queries: Tensor | None = None,
    keys: Tensor | None = None,
) -> Tensor:
    r"""Mean cross-entropy of each query's row of scores (already divided by the temperature): (Q, K), (Q,) → scalar.

    $$-\frac1Q\sum_q\Big[(1-\epsilon)\log p_{q,t_q} + \frac{\epsilon}{K}\sum_k \log p_{qk}\Big]$$

    `queries` (Q,) and `keys` (K,) mask rows that do not exist: they neither ask nor answer. A batch without any query
    costs 0, with a gradient of 0.

    >>> softmax(torch.zeros(4, 4), torch.arange(4)).item()
    1.386294...
    """
    if keys is not None:
        scores = scores.masked_fill(~keys, -torch.inf)
    log_p = scores.log_softmax(1)
    nll = -log_p.gather(1, target[:, None])[:, 0]
    if smoothing:
        valid = log_p if keys is None else log_p.masked_fill(~keys, 0.0)
        count = scores.shape[1] if keys is None else keys.sum()
        nll = (1 - smoothing) * nll - smoothing * valid.sum(1) / count
    if queries is None:
        return nll.mean()
    return torch.where(queries, nll, 0.0).sum() / queries.sum().clamp_min(1)


def symmetric(scores: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Softmax over rows and over columns, averaged; matches on the diagonal: (B, B) → scalar."""
    target = torch.arange(len(scores), device=scores.device)
    return (softmax(scores, target, smoothing=smoothing) + softmax(scores.T, target, smoothing=smoothing)) / 2


def soft(scores: Tensor, weights: Tensor) -> Tensor:
    r"""Cross-entropy against rows of weights that sum to one, $-\frac1Q\sum_q\sum_k w_{qk}\log p_{qk}$.

    >>> soft(torch.zeros(2, 4), torch.full((2, 4), 0.25)).item()
    1.386294...
    """
    return -(weights * scores.log_softmax(1)).sum(1).mean()


def decoupled(scores: Tensor) -> Tensor:
    r"""Softmax whose denominator leaves the match out: $-s_{ii} + \log\sum_{j\ne i} e^{s_{ij}}$; matches on the
    diagonal, (B, B) → scalar. Has no lower bound, and its gradient does not vanish as a pair is told apart.

    >>> round(decoupled(torch.eye(3)).item(), 6)
    -0.306853
    """
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    return (scores.masked_fill(own, -torch.inf).logsumexp(1) - scores.diagonal()).mean()


def sigmoid(scores: Tensor, positive: Tensor) -> Tensor:
    r"""Each pair on its own: $-\frac1Q\sum_{qk}\log\sigma(\pm s_{qk})$, + where positive (Q, K).

    >>> round(sigmoid(torch.zeros(2, 2), torch.eye(2, dtype=torch.bool)).item(), 6)
    1.386294
    """
    signed = torch.where(positive, scores, -scores)
    return -torch.nn.functional.logsigmoid(signed).sum() / len(scores)


def hinge(scores: Tensor, margin: float, *, hardest: bool = False) -> Tensor:
    r"""Margin ranking, both ways: $\frac1B\sum_{i\ne j}[m-s_{ii}+s_{ij}]_+ + [m-s_{ii}+s_{ji}]_+$, or of each row and
    column only the hardest.

    >>> round(hinge(torch.eye(2), 1.5).item(), 6)
    1.0
    """
    match = scores.diagonal()
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    rows = (margin - match[:, None] + scores).clamp_min(0).masked_fill(own, 0.0)
    columns = (margin - match[None] + scores).clamp_min(0).masked_fill(own, 0.0)
    if hardest:
        return (rows.amax(1) + columns.amax(0)).mean()
    return (rows.sum() + columns.sum()) / len(scores)


def paired(positive: Tensor, negative: Tensor, *, positives: Tensor | None = None) -> Tensor:
    r"""Each positive of an anchor against all negatives of the anchor, and no other positive: (A, P), (A, N) → scalar.

    $$-\overline{\log\frac{e^{s^+_{ap}}}{e^{s^+_{ap}}+\sum_n e^{s^-_{an}}}}$$

    Scores over the temperature, -∞ for a negative that is none; `positives` (A, P) says which positives are there. 0
    where there are none.

    >>> round(paired(torch.tensor([[2.0]]), torch.tensor([[0.0, 0.0]])).item(), 4)
    0.2395
    """
    met = torch.logaddexp(positive, negative.logsumexp(1, keepdim=True))
    each = met - positive
    if positives is None:
        return each.mean()
    return torch.where(positives, each, 0.0).sum() / positives.sum().clamp_min(1)
