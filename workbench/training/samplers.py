"""Samplers: which items make up the batch of a step, known from seed and step alone, so that resuming is exact."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Sampler = Callable[[int], Tensor]


def generator(seed: int, turn: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + turn)


def shuffle(count: int, batch: int, seed: int) -> Sampler:
    """A fresh order every epoch; what does not fill a batch waits for the next epoch."""

    def index(step: int) -> Tensor:
        epoch, within = divmod(max(step - 1, 0), count // batch)
        order = torch.randperm(count, generator=generator(seed, epoch))
        return order[within * batch : (within + 1) * batch]

    return index


def balanced(label: Tensor, batch: int, seed: int) -> Sampler:
    """Classes equally often, items of a class at random; items without a label (−1) are left out."""
    has = (label >= 0).nonzero()[:, 0]
    weight = 1 / torch.bincount(label[has]).double()[label[has]]

    def index(step: int) -> Tensor:
        drawn = torch.multinomial(weight, min(batch, len(has)), generator=generator(seed, step))
        return has[drawn]

    return index


def hard(features: Callable[[], Tensor], count: int, batch: int, seed: int) -> Sampler:
    """Batches of neighbours: a random item, its nearest, the next random item, its nearest …

    `features()` (N, d) are the anchor's rows as frozen features; they are looked at once. Neighbours in a batch are the
    hardest strangers that a contrast can meet - and, where they are the same thing, false negatives.
    """
    unit = torch.nn.functional.normalize(features().double(), dim=1)
    group = 8

    def index(step: int) -> Tensor:
        starts = torch.randperm(count, generator=generator(seed, step))
        taken = torch.zeros(count, dtype=torch.bool)
        out: list[Tensor] = []
        held = 0
        for start in starts.tolist():
            if held >= batch:
                break
            if taken[start]:
                continue
            near = (unit @ unit[start]).masked_fill(taken, -2.0).topk(min(group, count)).indices
            near = near[~taken[near]][: batch - held]
            taken[near] = True
            out.append(near)
            held += len(near)
        return torch.cat(out)

    return index


def dropped(index: Tensor, modalities: tuple[str, ...], share: float, seed: int, step: int) -> dict[str, Tensor]:
    """Which rows of a batch are there, {name: (B,) bool}: every modality but the first is left out now and then."""
    g = generator(seed + 17, step)
    return {m: torch.rand(len(index), generator=g) >= share for m in modalities[1:]}
