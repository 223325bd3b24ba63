"""Contrast of large batches in small memory: the B × B scores are made tile by tile, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

TILE, TILE_ON_CARD = 1_024, 8_192  # rows a side: a CPU's cache holds the one, a card is not kept busy by it


def _side(x: Tensor, tile: int | None) -> int:
    return tile or (TILE if x.device.type == "cpu" else TILE_ON_CARD)


def _tiles(n: int, size: int) -> Iterator[slice]:
    return (slice(a, min(a + size, n)) for a in range(0, n, size))


class _InfoNCE(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, scale: Tensor, tile: int) -> Tensor:
        n = len(x)
        rows, columns = (torch.full((n,), -torch.inf, dtype=x.dtype, device=x.device) for _ in range(2))
        for i in _tiles(n, tile):
            for j in _tiles(n, tile):
                s = (x[i] @ y[j].T).mul_(scale)
                rows[i] = torch.logaddexp(rows[i], s.logsumexp(1))
                columns[j] = torch.logaddexp(columns[j], s.logsumexp(0))
        ctx.save_for_backward(x, y, scale, rows, columns)
        ctx.tile = tile
        return (rows + columns).mean() / 2 - scale * (x * y).sum(1).mean()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, y, scale, rows, columns = ctx.saved_tensors
        (grad,) = grads
        n = len(x)
        gx, gy, gs = torch.zeros_like(x), torch.zeros_like(y), torch.zeros((), dtype=x.dtype, device=x.device)
        for i in _tiles(n, ctx.tile):
            for j in _tiles(n, ctx.tile):
                cosine = x[i] @ y[j].T
                s = cosine * scale
                p = (s - rows[i, None]).exp_().add_(s.sub_(columns[j][None]).exp_())
                gs += (p * cosine).sum()
                gx[i].addmm_(p, y[j])
                gy[j].addmm_(p.T, x[i])
        half = grad * scale / (2 * n)
        gs = grad * (gs / (2 * n) - (x * y).sum(1).mean())
        return gx.mul_(half) - grad * scale / n * y, gy.mul_(half) - grad * scale / n * x, gs, None


def infonce(x: Tensor, y: Tensor, temperature: Tensor | float, tile: int | None = None) -> Tensor:
    r"""Symmetric softmax contrast of matched unit rows (B, d), in memory O(B d + tile²).

    The same value and gradients as the plain form to rounding; each tile's product is made twice, and never kept.

    >>> x = torch.eye(4)
    >>> round(infonce(x, x, 1.0, tile=3).item(), 4)
    0.7437
    """
    scale = 1 / torch.as_tensor(temperature, dtype=x.dtype, device=x.device)
    return _InfoNCE.apply(x, y, scale, _side(x, tile))


class _Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, scale: Tensor, bias: Tensor, tile: int) -> Tensor:
        ctx.save_for_backward(x, y, scale, bias)
        ctx.tile = tile
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for i in _tiles(len(x), tile):
            for j in _tiles(len(x), tile):
                s = (x[i] @ y[j].T).mul_(scale).add_(bias)
                if i == j:
                    s.diagonal().neg_()
                total += torch.nn.functional.softplus(s).sum()
        return total / len(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, y, scale, bias = ctx.saved_tensors
        (grad,) = grads
        gx, gy = torch.zeros_like(x), torch.zeros_like(y)
        gs, gb = (torch.zeros((), dtype=x.dtype, device=x.device) for _ in range(2))
        for i in _tiles(len(x), ctx.tile):
            for j in _tiles(len(x), ctx.tile):
                cosine = x[i] @ y[j].T
                p = (cosine * scale).add_(bias).sigmoid_()
                if i == j:
                    p.diagonal().sub_(1)
                gs += (p * cosine).sum()
                gb += p.sum()
                gx[i].addmm_(p, y[j])
                gy[j].addmm_(p.T, x[i])
        share = grad / len(x)
        return gx.mul_(share * scale), gy.mul_(share * scale), gs * share, gb * share, None


def sigmoid(x: Tensor, y: Tensor, temperature: Tensor | float, bias: Tensor | float, tile: int | None = None) -> Tensor:
    """SigLIP's loss of matched unit rows (B, d), in memory O(B d + tile²).

    >>> x = torch.eye(2)
    >>> round(sigmoid(x, x, 0.1, -10.0, tile=1).item(), 4)
    0.6932
    """
    scale = 1 / torch.as_tensor(temperature, dtype=x.dtype, device=x.device)
    return _Sigmoid.apply(x, y, scale, torch.as_tensor(bias, dtype=x.dtype, device=x.device), _side(x, tile))
