"""Targets: which keys a query should find, and how much, as rows of weights that sum to one."""

from __future__ import annotations

import torch
from torch import Tensor


def continuous(similarity: Tensor, power: float = 1.0) -> Tensor:
    r"""Weights from the similarity in a space that is trusted, $w_{ij} = (\tfrac12\cos + \tfrac12)^p$, by row (CWCL).

    With p = 1 most weights lie between 0.4 and 1, so the target is nearly even; a higher power sharpens it.

    >>> continuous(torch.tensor([[1.0, 0.0]])).tolist()
    [[0.666..., 0.333...]]
    """
    w = ((similarity + 1) / 2).clamp_min(0).pow(power)
    return w / w.sum(1, keepdim=True)


def blended(teacher_scores: Tensor, share: float) -> Tensor:
    r"""Half knowledge, half label: $\alpha I + (1-\alpha)\,\mathrm{softmax}(\text{teacher})$, by row (HyCD, TCL).

    >>> blended(torch.zeros(2, 2), 0.5).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    eye = torch.eye(*teacher_scores.shape, dtype=teacher_scores.dtype, device=teacher_scores.device)
    return share * eye + (1 - share) * teacher_scores.softmax(1)


def same_label(labels: Tensor) -> Tensor:
    """Equal weight to every row of the query's label, itself among them: (B,) → (B, B).

    A row without a label (−1) has the label of no other.

    >>> same_label(torch.tensor([0, 0, -1])).tolist()
    [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    """
    same = ((labels[:, None] == labels[None]) & (labels >= 0)[:, None]).float()
    same = same.maximum(torch.eye(len(labels), device=labels.device))
    return same / same.sum(1, keepdim=True)
