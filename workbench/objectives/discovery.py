"""Discovery of classes that nobody labelled: who is whose partner, that partners agree, that no class is left empty."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.errors import InputError


def agreement(p: Tensor, partner: Tensor) -> Tensor:
    r"""That an item and its partner have one class: $\overline{-\log\langle p_i,p_{j(i)}\rangle}$, (B, C) twice.

    Probabilities of classes; 0 where both are sure of the same one. Sun et al. 2023 (CPL). Raises for unequal shapes.

    >>> round(agreement(torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.6, 0.3, 0.1]])).item(), 4)
    0.7133
    """
    if p.shape != partner.shape:
        raise InputError(f"items and partners need one shape, not {tuple(p.shape)} and {tuple(partner.shape)}")
    return -(p * partner).sum(1).clamp_min(1e-6).log().mean()


def balance(p: Tensor) -> Tensor:
    r"""Entropy of the mean prediction, nats, 0 … log C: to be raised, or all items end in one class. (B, C) → scalar.

    >>> round(balance(torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1]])).item(), 4)
    0.8568
    """
    mean = p.mean(0)
    return -(mean * (mean + 1e-8).log()).sum()


def partners(
    z: Tensor, parts: Tensor, labels: Tensor, draw: torch.Generator, *, vote: bool = True
) -> tuple[Tensor, Tensor]:
    """The partner of each row, (B,), and whether it is kept, (B,): the first rows are labelled, the others not.

    A labelled row's partner is one of its class by chance; another's is its nearest row in `z` (B, d), kept if by
    `parts` (B, P, d), weighted by their share of its length, it is at least the second most similar row to that
    partner. Never itself. Sun et al. 2023 (CPL), as released. B² P d. Raises for fewer than three rows.

    >>> z = torch.eye(4)[[0, 0, 1, 1]] + 0.01
    >>> partners(z, z[:, None], torch.tensor([0, 0]), torch.Generator())[0].tolist()
    [1, 0, 3, 2]
    """
    if len(z) < 3:
        raise InputError(f"partners are sought among three rows or more, not {len(z)}")
    own, unit = torch.eye(len(z), dtype=torch.bool), torch.nn.functional.normalize
    whole = (unit(z, dim=1) @ unit(z, dim=1).T).masked_fill(own, -2)
    partner, kept = whole.argmax(1), torch.ones(len(z), dtype=torch.bool)
    if vote:
        weight = parts.norm(dim=2)
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1e-12)
        q = unit(parts, dim=2)
        alike = torch.einsum("ikd,jkd,ik->ij", q, q, weight).masked_fill(own, -2)
        kept = alike[torch.arange(len(z)), partner] >= alike.topk(2, 0).values[1][partner]
    if n := len(labels):
        same = ((labels[:, None] == labels[None]) & ~own[:n, :n]).float()
        alone = same.sum(1) == 0
        same[alone, alone.nonzero()[:, 0]] = 1  # the only one of its class is its own partner
        partner[:n] = torch.multinomial(same, 1, generator=draw)[:, 0]
        kept[:n] = True
    return partner, kept
