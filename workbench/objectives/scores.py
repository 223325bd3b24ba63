"""Scores: how a pair, or a tuple, becomes one number; from queries and keys to a matrix (Q, K)."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.errors import InputError
from workbench.geometry import EPS, gram_volume_of


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosines of unit rows: (Q, d), (K, d) → (Q, K). Sees sign; 1 at perfect alignment."""
    if a.shape[-1] != b.shape[-1]:
        raise InputError(f"rows of {a.shape[-1]} and of {b.shape[-1]} dimensions have no cosine: give them one width")
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


def triangle_area(anchor: Tensor, a: Tensor, b: Tensor, *, squared: bool = False, eps: float = EPS) -> Tensor:
    r"""Area of the triangle of each anchor with each pair (a_j, b_j): (Q, d), (K, d), (K, d) → (Q, K).

    $\tfrac12\sqrt{|u|^2|w|^2 - \langle u,w\rangle^2}$ with u, w the sides at the anchor; from three products only.
    `squared` gives twice the squared area. Sees sign; 0 for every tuple whose a and b coincide.
    """
    with torch.autocast(anchor.device.type, enabled=False):
        x, a, b = (v.float() if v.dtype in (torch.float16, torch.bfloat16) else v for v in (anchor, a, b))
        xx, aa, bb = (v.square().sum(1) for v in (x, a, b))
        xa, xb, ab = x @ a.T, x @ b.T, (a * b).sum(1)
        u = xx[:, None] - 2 * xa + aa
        w = xx[:, None] - 2 * xb + bb
        uw = xx[:, None] - xa - xb + ab
        double = (u * w - uw.square()).clamp_min(0)
        return double / 2 if squared else (double + eps).sqrt() / 2


def best_partners(x: Tensor, y: Tensor, x_present: Tensor | None = None, y_present: Tensor | None = None) -> Tensor:
    r"""Bag against bag: the mean over members of x of their best dot product in y. (Q, S, d), (K, T, d) → (Q, K).

    $\frac{1}{|x_i|}\sum_s \max_t \langle x_{is}, y_{jt}\rangle$; masks (Q, S), (K, T) say which members are there.
    """
    s = torch.einsum("qsd,ktd->qkst", x, y)
    if y_present is not None:
        s = s.masked_fill(~y_present[None, :, None], -torch.inf)
    best = s.amax(3)
    if x_present is None:
        return best.mean(2)
    there = x_present[:, None]
    return torch.where(there, best, 0.0).sum(2) / there.sum(2).clamp_min(1)
