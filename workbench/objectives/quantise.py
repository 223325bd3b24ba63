"""Residual quantisation: a vector as a string of codes, each level coding what the levels before left over."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.errors import InputError

COMMITMENT = 0.25


class ResidualQuantiser(nn.Module):
    r"""Vectors (B, d) as `levels` codes of `size` each, and back.

    $k_l=\arg\min_k\|e_l-C_{lk}\|,\ e_{l+1}=e_l-C_{lk_l},\ q=\sum_l C_{lk_l}$; the gradient goes straight through q.
    The loss $\sum_l\|\bar e_l-C_{lk_l}\|^2+\tfrac14\|e_l-\bar C_{lk_l}\|^2$ (bars: held still) moves codes to vectors
    and vectors to their codes. O(B L K d). Zeghidour et al. 2021; Lee et al. 2022. Raises for no level or one code.

    >>> rq = ResidualQuantiser(2, 2, 2)
    >>> rq.codes.data = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.25], [0.0, -0.25]]])
    >>> ids, q, _ = rq(torch.tensor([[1.0, 0.3]]))
    >>> ids.tolist(), q.tolist()
    ([[0, 0]], [[1.0, 0.25]])
    """

    def __init__(self, levels: int, size: int, dim: int) -> None:
        super().__init__()
        if levels < 1 or size < 2:
            raise InputError(f"a quantiser needs a level and two codes, not {levels} levels of {size}")
        self.codes = nn.Parameter(torch.randn(levels, size, dim) / dim**0.5)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes (B, L), the vectors they stand for (B, d) with a straight-through gradient, and the loss."""
        left, total, ids, loss = z, torch.zeros_like(z), [], z.new_zeros(())
        for table in self.codes:
            k = torch.cdist(left.detach(), table.detach()).argmin(1)
            code = table[k]
            loss = loss + (left.detach() - code).square().sum(1).mean()
            loss = loss + COMMITMENT * (left - code.detach()).square().sum(1).mean()
            ids.append(k)
            total, left = total + code, left - code.detach()
        return torch.stack(ids, 1), z + (total - z).detach(), loss

    @torch.no_grad()
    def revive(self, z: Tensor, draw: torch.Generator) -> int:
        """Give codes that under a quarter of their share of rows z (B, d) use the residual of a row; how many."""
        left, moved = z, 0
        for table in self.codes:
            k = torch.cdist(left, table).argmin(1)
            used = torch.bincount(k, minlength=len(table)) / len(z)
            dead = (used < 1 / (4 * len(table))).nonzero()[:, 0]
            table[dead] = left[torch.randint(len(z), (len(dead),), generator=draw)]
            moved += len(dead)
            left = left - table[torch.cdist(left, table).argmin(1)]
        return moved


def perplexity(ids: Tensor, size: int) -> Tensor:
    """How many codes of each level are in use, exp of the entropy of their shares: (N, L) → (L,), 1 … size.

    >>> perplexity(torch.tensor([[0], [1]]), 4).tolist()
    [2.0]
    """
    shares = torch.stack([torch.bincount(level, minlength=size) for level in ids.T]).float() / len(ids)
    return torch.exp(-torch.special.xlogy(shares, shares).sum(1))


def collisions(ids: Tensor) -> float:
    """Share of rows whose whole string of codes another row has too, (N, L): 0 … 1.

    >>> collisions(torch.tensor([[0, 1], [0, 1], [1, 1], [2, 0]]))
    0.5
    """
    _, inverse, count = ids.unique(dim=0, return_inverse=True, return_counts=True)
    return float((count[inverse] > 1).float().mean())
