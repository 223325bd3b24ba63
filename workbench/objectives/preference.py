"""Preferences: losses of log-probabilities, where one answer, condition or picture is liked more than another."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from workbench.errors import InputError


def cca(
    right: Tensor, wrong: Tensor, *, beta: float = 0.02, weight: float = 50.0, alike: Tensor | None = None
) -> Tensor:
    r"""Condition contrastive alignment: a sample is raised under its condition, lowered under a wrong one. (B,).

    $$L=\frac{1}{\max(\lambda,1)}\,\overline{-\log\sigma(\beta r^+)-\lambda\log\sigma(-\beta r^-)}$$

    $r = \log p_\theta(x|c) - \log p_\phi(x|c)$, φ frozen, nats. Where both conditions are `alike` (B,), dropped
    or equal by chance, the second term becomes $-\log\sigma(\beta r^-)$, so that the model without a condition stays.
    Released defaults; λβ has to shrink with the length of x. Chen et al. 2024, eq. 9 (thu-ml/CCA). Raises for shapes.

    >>> round(cca(torch.tensor([2.0, -1.0]), torch.tensor([1.0, -3.0]), weight=1.0).item(), 4)
    1.3717
    """
    _same_shape(right, wrong)
    lowered = -weight * logsigmoid(-beta * wrong)
    if alike is not None:
        lowered = torch.where(alike, -logsigmoid(beta * wrong), lowered)
    return (lowered - logsigmoid(beta * right)).mean() / max(weight, 1.0)


def dpo(chosen: Tensor, rejected: Tensor, *, beta: float = 0.1) -> Tensor:
    r"""Direct preference: the log-ratio of the chosen above that of the rejected, $-\log\sigma(\beta(r^+-r^-))$, mean.

    $r = \log p_\theta - \log p_\phi$ in nats, (B,) each. Rafailov et al. 2023, eq. 7. Raises for unequal shapes.

    >>> round(dpo(torch.tensor([2.0, -1.0]), torch.tensor([1.0, -3.0]), beta=0.02).item(), 4)
    0.6783
    """
    _same_shape(chosen, rejected)
    return -logsigmoid(beta * (chosen - rejected)).mean()


def svco(policy: Tensor, reference: Tensor, *, beta: float = 0.1) -> Tensor:
    r"""Symmetrical visual contrast: for each of two texts its own picture above none, and none above the other's.

    `policy`, `reference` (B, 2, 3): log-probability in nats of text 1 and 2 given picture 1, 2, and no picture. With
    $\Delta(a,b|y)$ the log-ratio of y given a over b, less the reference's:
    $$L=-\sum_{y}\log\sigma\beta\Delta(i_y,\varnothing|y)+\log\sigma\beta\Delta(\varnothing,i_{\bar y}|y)$$
    4 log 2 where the policy is the reference. Wu et al. 2025 (s-vco/s-vco). Raises for other shapes.

    >>> svco(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)).item()
    2.772588...
    """
    _same_shape(policy, reference)
    if policy.shape[1:] != (2, 3):
        raise InputError(f"svco takes (B, 2 texts, 3 conditions), not {tuple(policy.shape)}")
    r = policy - reference
    own, other, none = r[:, [0, 1], [0, 1]], r[:, [0, 1], [1, 0]], r[:, :, 2]
    return -(logsigmoid(beta * (own - none)) + logsigmoid(beta * (none - other))).sum(1).mean()


def copg(log_ratio: Tensor, reward: Tensor, *, beta: float = 1.0) -> Tensor:
    r"""Contrastive policy gradient: differences of rewards become differences of log-ratios. (P, K), (P, K) → scalar.

    $$\frac{1}{K-1}\sum_{i>j}\big(R_\beta(y_i)-R_\beta(y_j)\big)^2,\quad R_\beta=R-\beta\log\tfrac{\pi}{\pi_0}$$
    over K answers of each of P prompts, from any policy with full support; 0 at $\pi_0 e^{R/\beta}$. Flet-Berliac et
    al. 2024, eq. 8. Raises for fewer than two answers or unequal shapes.

    >>> copg(torch.zeros(1, 2), torch.tensor([[0.0, 2.0]])).item()
    4.0
    """
    _same_shape(log_ratio, reward)
    if log_ratio.ndim != 2 or log_ratio.shape[1] < 2:
        raise InputError(f"copg takes two answers a prompt or more, (P, K), not {tuple(log_ratio.shape)}")
    r = reward - beta * log_ratio
    return (r[:, :, None] - r[:, None, :]).square().sum((1, 2)).mean() / 2 / (r.shape[1] - 1)


def optimum(reference: Tensor, reward: Tensor, *, beta: float = 1.0) -> Tensor:
    r"""The policy that gains most reward less β times its divergence from the reference: log of $\pi_0e^{R/\beta}/Z$.

    `reference` (P, K) log-probabilities of all K answers, nats; `reward` (P, K). Exact. Raises for unequal shapes.

    >>> uniform = torch.full((1, 3), 1 / 3).log()
    >>> [round(p, 4) for p in optimum(uniform, torch.tensor([[0.0, 1.0, 2.0]])).exp()[0].tolist()]
    [0.09, 0.2447, 0.6652]
    """
    _same_shape(reference, reward)
    return (reference + reward / beta).log_softmax(1)


def ranked(scores: Tensor) -> Tensor:
    r"""Every better answer above every worse one: (B, K) with the best first → scalar.

    $\overline{-\log\sigma(s_i-s_j)}$ over i < j. Dong et al. 2024 (DPA-RAG). Raises for fewer than two columns.

    >>> round(ranked(torch.tensor([[3.0, 2.0, 1.0, 0.0]])).item(), 4)
    0.207
    """
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise InputError(f"ranked takes two answers or more, (B, K), not {tuple(scores.shape)}")
    i, j = torch.triu_indices(scores.shape[1], scores.shape[1], 1)
    return -logsigmoid(scores[:, i] - scores[:, j]).mean()


def _same_shape(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise InputError(f"the two sides of a preference need one shape, not {tuple(a.shape)} and {tuple(b.shape)}")
