"""All ranks' rows in every rank's loss, with gradients that flow back to the rank that made them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributed, nn

from workbench.objectives.batch import Batch


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int]) -> Tensor:
        rank, most = distributed.get_rank(), max(sizes)
        ctx.sizes, ctx.rank = sizes, rank
        padded = x.new_zeros(most, *x.shape[1:])
        padded[: len(x)] = x
        every = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(every, padded)
        return torch.cat([e[:n] for e, n in zip(every, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None]:
        # every rank's loss holds every row: what all of them ask of mine adds up
        total = grads[0].contiguous().clone()
        distributed.all_reduce(total)
        start = sum(ctx.sizes[: ctx.rank])
        return total[start : start + ctx.sizes[ctx.rank]], None


def gather(x: Tensor, sizes: list[int]) -> Tensor:
    """Rows of all ranks in their order, (Σ sizes, …); ranks may hold different numbers of rows."""
    return _Gather.apply(x, sizes)


def counts(n: int) -> list[int]:
    """How many rows each rank holds."""
    every: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(every, n)
    return every


def gathered(batch: Batch) -> Batch:
    """The batch of all ranks together; the same on each, with gradients for each rank's own rows."""
    sizes = counts(len(batch))

    def each(x: Mapping[str, Tensor] | None) -> dict[str, Tensor] | None:
        return None if x is None else {k: gather(v, sizes) for k, v in x.items()}

    def exact(x: Mapping[str, Tensor] | None) -> dict[str, Tensor] | None:
        return None if x is None else {k: gather(v.to(torch.uint8), sizes).bool() for k, v in x.items()}

    return Batch(
        each(batch.modalities) or {},
        present=exact(batch.present),
        negatives=each(batch.negatives),
        labels=None if batch.labels is None else gather(batch.labels, sizes),
        teacher=each(batch.teacher),
        tokens=each(batch.tokens),
        tokens_present=exact(batch.tokens_present),
    )


class Gathered(nn.Module):
    """Around any objective: the loss of the whole batch that all ranks hold together.

    Every rank returns the same loss. Averaged over ranks, as DistributedDataParallel does, the gradients of the towers
    are those of one process with the whole batch.
    """

    def __init__(self, objective: nn.Module) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
            return self.objective(batch)
        return self.objective(gathered(batch))
