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
