"""Moments of a sequence: spans that may be what a sentence means, how far each is from the one labelled frame, and the
contrast of several of them at once.
"""

from __future__ import annotations

import torch
from torch import Tensor


def spans(length: int) -> tuple[Tensor, Tensor]:
    """First and last frame of every moment, (M,) each, M = L (L + 1) / 2.

    >>> [x.tolist() for x in spans(3)]
    [[0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
    """
    first, last = torch.triu_indices(length, length)
    return first, last


def gaussian(glance: Tensor, length: int, width: float) -> Tensor:
    r"""How near each frame is to a labelled one: $e^{-(x-u)^2/2\sigma^2}$ over x in -1 … 1, at most 1. (B,) → (B, L).

    `width` σ in halves of the film; $u = 2\,g/L - 1$ as released. Li et al. 2023 (D3G).

    >>> [round(x, 3) for x in gaussian(torch.tensor([1]), 4, 0.3)[0].tolist()]
    [0.291, 1.0, 0.025, 0.0]
    """
    x = torch.linspace(-1, 1, length)
    u = 2 * glance[:, None].float() / length - 1
    near = torch.exp(-((x - u) ** 2) / (2 * width**2))
    return near / near.amax(1, keepdim=True)


def of_moments(frames: Tensor) -> Tensor:
    """The weight of each moment from those of frames, (B, L) → (B, M): the mean at its first frame, its middle, and the
    frame after its last, as released.

    >>> [round(x, 3) for x in of_moments(gaussian(torch.tensor([1]), 4, 0.3))[0, :4].tolist()]
    [0.527, 0.439, 0.43, 0.105]
    """
    length = frames.shape[1]
    first, last = spans(length)
    after = (last + 1).clamp_max(length - 1)
    return (frames[:, first] + frames[:, (first + last + 1) // 2] + frames[:, after]) / 3


def group_contrast(scores: Tensor, others: Tensor, positive: Tensor, weight: Tensor, ignored: Tensor) -> Tensor:
    r"""Several moments as positives of one query, weighted: (B, M), (B, K), (B, M) … → scalar.

    $$-\overline{\tfrac{1}{|P|}\sum_{m\in P} w_m \log\frac{e^{s_m}}{\sum_{P\cup N} e^{s}}}$$

    `scores` of the moments of the query's own film and `others` of all other films, over the temperature; -∞ where one
    may be a match. Moments that are `ignored` (B, M) and not `positive` (B, M) are neither. `weight` (B, M) ≥ 0.
    Li et al. 2023 (D3G).

    >>> s, yes = torch.tensor([[2.0, 0.0]]), torch.tensor([[True, False]])
    >>> round(group_contrast(s, torch.zeros(1, 1), yes, torch.ones(1, 2), yes).item(), 4)
    0.2395
    """
    met = torch.cat([scores.masked_fill(ignored & ~positive, -torch.inf), others], 1)
    log_p = scores - met.logsumexp(1, keepdim=True)
    each = torch.where(positive, weight * log_p, 0.0).sum(1) / positive.sum(1).clamp_min(1)
    return -each.mean()


def overlap(first: Tensor, last: Tensor, true_first: Tensor, true_last: Tensor) -> Tensor:
    """Intersection over union of spans of frames, ends included: 0 … 1.

    >>> overlap(*(torch.tensor([x]) for x in (0, 3, 2, 5))).item()
    0.333...
    """
    both = (torch.minimum(last, true_last) - torch.maximum(first, true_first) + 1).clamp_min(0).float()
    return both / ((last - first + 1) + (true_last - true_first + 1) - both)
