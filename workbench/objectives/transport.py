"""Transport: plans between sets, in log space, as plain functions."""

from __future__ import annotations

import torch
from torch import Tensor


def sinkhorn(cost: Tensor, eps: float = 0.05, iterations: int = 50, rows: Tensor | None = None) -> Tensor:
    r"""Entropic transport plan with even marginals: cost (…, n, m) → plan (…, n, m) that sums to one.

    $$\min_\pi \langle\pi, C\rangle - \epsilon H(\pi),\quad \pi 1 = a,\ \pi^\top 1 = 1/m$$ (Cuturi 2013), in log space.
    `rows` (…, n) gives the row marginals a, 0 for rows that are not there; even if not given.

    >>> plan = sinkhorn(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    >>> [[round(x, 3) for x in r] for r in plan.tolist()]
    [[0.5, 0.0], [0.0, 0.5]]
    """
    n, m = cost.shape[-2:]
    k = -cost / eps
    if rows is None:
        rows = torch.full(cost.shape[:-1], 1 / n, dtype=cost.dtype, device=cost.device)
    log_a = rows.clamp_min(torch.finfo(cost.dtype).tiny).log()
    log_b = -torch.log(torch.tensor(float(m), dtype=cost.dtype, device=cost.device))
    u = torch.zeros_like(log_a)
    v = torch.zeros(*cost.shape[:-2], m, dtype=cost.dtype, device=cost.device)
    for _ in range(iterations):
        u = log_a - (k + v[..., None, :]).logsumexp(-1)
        v = log_b - (k + u[..., None]).logsumexp(-2)
    return (k + u[..., None] + v[..., None, :]).exp()


def assigned(scores: Tensor, eps: float = 0.05, iterations: int = 3) -> Tensor:
    """Balanced soft assignment of rows to columns: scores (B, K) → rows that sum to one, columns alike (SwAV).

    >>> [round(x, 4) for x in assigned(torch.tensor([[9.0, 0.0], [8.0, 0.0]])).sum(0).tolist()]
    [1.0, 1.0]
    """
    return sinkhorn(-scores, eps, iterations) * len(scores)


def proximal(cost: Tensor, beta: float = 0.5, iterations: int = 50) -> Tensor:
    r"""Exact transport by proximal points (IPOT, Xie et al. 2018): cost (…, n, m) → plan of even marginals.

    >>> plan = proximal(torch.tensor([[0.1, 0.9], [0.2, 0.8], [0.7, 0.1]]))
    >>> [[round(x, 4) for x in r] for r in plan.tolist()]
    [[0.3333, 0.0], [0.1667, 0.1667], [0.0, 0.3333]]
    """
    n, m = cost.shape[-2:]
    a = torch.exp(-cost / beta)
    plan = torch.ones_like(cost)
    sigma = torch.full((*cost.shape[:-2], m), 1 / m, dtype=cost.dtype, device=cost.device)
    tiny = torch.finfo(cost.dtype).tiny
    for _ in range(iterations):
        q = a * plan
        delta = 1 / (n * (q @ sigma[..., None])[..., 0]).clamp_min(tiny)
        sigma = 1 / (m * (q.mT @ delta[..., None])[..., 0]).clamp_min(tiny)
        plan = delta[..., None] * q * sigma[..., None, :]
    return plan


def moved(support: Tensor, queries: Tensor, eps: float = 0.05, iterations: int = 1000) -> Tensor:
    r"""Support points moved onto the query cloud: $\mathrm{diag}(1/\pi 1)\,\pi\,Q$ (OpTA): (n, d), (m, d) → (n, d).

    Even marginals assume that the queries are balanced over the support; where they are not, it hurts.

    >>> s, q = torch.tensor([[0.0, 0], [1, 1]]), torch.tensor([[0.2, 0], [0.4, 0.2], [1.2, 0.8], [1.4, 1.4]])
    >>> [[round(x, 2) for x in r] for r in moved(s, q).tolist()]
    [[0.3, 0.1], [1.3, 1.1]]
    """
    cost = (support[:, None] - queries[None]).square().sum(-1)
    plan = sinkhorn(cost / cost.max(), eps, iterations)
    return plan @ queries / plan.sum(1, keepdim=True)


def sparsemax(scores: Tensor) -> Tensor:
    """The nearest point of the simplex, with true zeros (Martins & Astudillo 2016): (…, K) → (…, K).

    >>> [round(x, 4) for x in sparsemax(torch.tensor([1, 0.5, -1, 0.4])).tolist()]
    [0.7, 0.2, 0.0, 0.1]
    """
    z = scores.sort(-1, descending=True).values
    k = torch.arange(1, scores.shape[-1] + 1, device=scores.device, dtype=scores.dtype)
    total = z.cumsum(-1)
    size = (1 + k * z > total).sum(-1, keepdim=True)
    theta = (total.gather(-1, size - 1) - 1) / size
    return (scores - theta).clamp_min(0)
