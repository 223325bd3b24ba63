"""One process on one device in float32, as most runs are: what a loop asks of Fabric, which imports for seconds."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn


class Alone:
    """The part of `lightning_fabric.Fabric` that a loop uses, where nobody has to be waited for."""

    world_size, global_rank, is_global_zero = 1, 0, True

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def setup(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Both, on the device."""
        return model.to(self.device), optimizer

    def backward(self, loss: Tensor) -> None:
        """The gradients of a loss."""
        loss.backward()

    def clip_gradients(self, model: nn.Module, optimizer: torch.optim.Optimizer, **how: Any) -> None:
        """Scale the gradients down to a norm; `how` as Fabric takes it."""
        torch.nn.utils.clip_grad_norm_(
            (p for group in optimizer.param_groups for p in group["params"]),
            how["max_norm"],
            error_if_nonfinite=how["error_if_nonfinite"],
        )

    def no_backward_sync(self, model: nn.Module, *, enabled: bool) -> nullcontext[None]:
        """There is nobody to synchronise with."""
        return nullcontext()

    def barrier(self) -> None:
        """Nobody is waited for."""
