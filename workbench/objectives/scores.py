"""Scores: how a pair, or a tuple, becomes one number; from queries and keys to a matrix (Q, K)."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.objectives.geometry import EPS, gram_volume_of


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosines of unit rows: (Q, d), (K, d) → (Q, K). Sees sign; 1 at perfect alignment."""
    return a @ b.T


def gram_volume(anchor: Tensor, *others: Tensor, eps: float = EPS) -> Tensor:
    r"""Volume of each anchor with each whole tuple of the others: (Q, d), (K, d) … → (Q, K).

    Blind to sign. 0 at perfect alignment, and for *every* tuple whose others coincide: a softmax over negative volumes
    is then log K, and cannot fall. `eps` inside the root gives collapse a finite gradient. Runs in float32 or wider.

    >>> t, v = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8]])
    >>> round(gram_volume(t, v).item(), 4)
    0.8
    """
    with torch.autocast(anchor.device.type, enabled=False):
        wide = [x.float() if x.dtype in (torch.float16, torch.bfloat16) else x for x in (anchor, *others)]
        return gram_volume_of(wide[0], torch.stack(wide[1:], 1), eps=eps)
