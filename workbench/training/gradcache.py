"""Large batches in small memory: embed in chunks, take the loss's gradient at the embeddings, embed again with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Embed = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


def cached_backward(
    embed: Embed,
    inputs: Mapping[str, Tensor],
    loss: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    chunk: int,
    backward: Callable[[Tensor], None] = Tensor.backward,
    share: float = 1.0,
) -> dict[str, Tensor]:
    """Backward of `loss(embed(inputs))["loss"]` with activations of one chunk at a time; returns the loss's parts.

    `embed` sees each chunk twice, the second time with the same random numbers, so dropout repeats itself. The
    gradients are those of the whole batch at once, to rounding (GradCache, Gao et al. 2021). Batch statistics, as in
    BatchNorm, would be those of a chunk: use towers without. `share` scales the gradients.
    """
    n = len(next(iter(inputs.values())))
    device = next(iter(inputs.values())).device
    spans = [slice(a, min(a + chunk, n)) for a in range(0, n, chunk)]
    states, found = [], []
    with torch.no_grad():
        for at in spans:
            states.append(_random(device))
            found.append(embed({m: x[at] for m, x in inputs.items()}))
    leaves = {m: torch.cat([f[m] for f in found]).requires_grad_() for m in found[0]}
    parts = loss(leaves)
    backward(parts["loss"] * share)
    after = _random(device)
    for at, state in zip(spans, states, strict=True):
        _again(state, device)
        out = embed({m: x[at] for m, x in inputs.items()})
        # its gradient is the one that the loss asked of these rows
        pulled = [(out[m] * x.grad[at]).sum() for m, x in leaves.items() if x.grad is not None]
        if pulled:
            backward(torch.stack(pulled).sum())
    _again(after, device)
    return {k: x.detach() for k, x in parts.items()}


def _random(device: torch.device) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _again(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
