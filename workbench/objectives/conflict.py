"""Conflict: whether the terms of a loss pull the same way, and weights under which none of them loses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import torch
from torch import Tensor

from workbench.errors import InputError

RIDGE = 1e-6  # of the mean squared length: parallel gradients make the system singular


def gradients(losses: Sequence[Tensor], parameters: Iterable[Tensor]) -> Tensor:
    """The gradient of each loss over all parameters, flattened: (T, P). The graph stays; what has none counts as 0.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> gradients([w.sum(), w.square().sum()], [w]).tolist()
    [[1.0, 1.0], [2.0, 4.0]]
    """
    params = list(parameters)
    rows = []
    for loss in losses:
        found = torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True)
        rows.append(
            torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(params, found, strict=True)])
        )
    return torch.stack(rows)


def agreement(g: Tensor) -> Tensor:
    """Cosines of the gradients of terms, (T, P) → (T, T): 1 the same way, -1 against each other, NaN for one of zero.

    >>> agreement(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))[0, 1].item()
    -0.7071...
    """
    length = g.norm(dim=1)
    return (g @ g.T) / (length[:, None] * length[None])


def min_norm(g: Tensor) -> Tensor:
    r"""Weights of the shortest convex combination of gradients: (T, P) → (T,), at least 0 and 1 in sum.

    $\arg\min_\alpha\|\sum_t\alpha_t g_t\|^2$: a step along it lowers every term, or none can be lowered
    without raising another (Désidéri 2012). Exact over all supports: 2^T solves. Raises above eight terms.

    >>> [round(w, 3) for w in min_norm(torch.tensor([[2.0, 0.0], [0.0, 1.0]])).tolist()]
    [0.2, 0.8]
    """
    if not 1 <= len(g) <= 8:
        raise InputError(f"min_norm weighs one to eight terms, not {len(g)}")
    product = (g.double() @ g.double().T).cpu()
    ridge = RIDGE * product.diagonal().mean().clamp_min(torch.finfo(torch.float64).tiny)
    best, shortest = torch.full((len(g),), 1 / len(g), dtype=torch.float64), torch.inf
    for size in range(1, len(g) + 1):
        for support in map(list, combinations(range(len(g)), size)):
            block = product[support][:, support] + ridge * torch.eye(size, dtype=torch.float64)
            a = torch.linalg.solve(block, torch.ones(size, dtype=torch.float64))
            a = a / a.sum()
            weights = torch.zeros(len(g), dtype=torch.float64)
            weights[support] = a
            length = float(weights @ product @ weights)
            if bool((a >= -1e-9).all()) and length < shortest * (1 - 1e-12):
                best, shortest = weights.clamp_min(0), length
    return (best / best.sum()).to(g)
