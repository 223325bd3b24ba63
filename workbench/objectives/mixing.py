"""Mixing of two models' next-token distributions, and how far that moves what one cares about."""

from __future__ import annotations

from torch import Tensor

from workbench.errors import InputError


def mixed(start: Tensor, tuned: Tensor, weight: float) -> Tensor:
    r"""Log-probabilities on the line between two models: $\log p_w \propto \log p_0 + w(\log p_1 - \log p_0)$.

    `start`, `tuned` (…, V) logits or log-probabilities of the same tokens. w = 0 is the start, 1 the tuned model,
    between them a mixture, beyond 1 more of what the tuning did and below 0 its undoing. Zhou et al. 2024, eq. 3.
    Raises for unequal shapes.

    >>> import torch
    >>> p = mixed(torch.tensor([0.5, 0.3, 0.2]).log(), torch.tensor([0.2, 0.3, 0.5]).log(), 0.5).exp()
    >>> [round(x, 4) for x in p.tolist()]
    [0.3391, 0.3217, 0.3391]
    """
    if start.shape != tuned.shape:
        raise InputError(
            f"two models of the same tokens have one shape, not {tuple(start.shape)}, {tuple(tuned.shape)}"
        )
    return (start + weight * (tuned - start)).log_softmax(-1)


def sensitivity(start: Tensor, tuned: Tensor, score: Tensor, weight: float = 0.0) -> Tensor:
    r"""How fast the expectation of a score moves along that line: $\mathrm{Cov}_w(f, \log p_1 - \log p_0)$, (…).

    `score` (…, V) of each token, in any unit; the result is in that unit a step of w. Exact: the derivative of
    $E_w[f]$. Raises for unequal shapes.

    >>> import torch
    >>> start, tuned = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.2, 0.8]).log()
    >>> round(sensitivity(start, tuned, torch.tensor([0.0, 1.0])).item(), 4)
    0.3466
    """
    p, ratio = mixed(start, tuned, weight).exp(), tuned - start
    if score.shape != start.shape:
        raise InputError(f"a score of each token has the shape {tuple(start.shape)}, not {tuple(score.shape)}")
    mean = (p * score).sum(-1, keepdim=True)
    return (p * (score - mean) * ratio).sum(-1)
