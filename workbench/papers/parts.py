"""Rows of one split of an experiment, and how a split is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from workbench.papers.paper import Trial
from workbench.sets.shipped import split_of

A = TypeVar("A")
unit = nn.functional.normalize
SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}


@dataclass(frozen=True)
class Part:
    """Rows of one split: {name: (N, …)} and classes (N,) where there are any."""

    x: Mapping[str, Tensor]
    y: Tensor | None = None

    def __len__(self) -> int:
        return len(next(iter(self.x.values())))

    @property
    def truth(self) -> Tensor:
        """The classes, where it is known that there are some."""
        assert self.y is not None
        return self.y

    def but(self, **x: Tensor) -> Part:
        """The same with other rows under some names."""
        return replace(self, x={**self.x, **x})

    def take(self, index: Tensor) -> Part:
        """Some of the rows."""
        return Part({m: v[index] for m, v in self.x.items()}, None if self.y is None else self.y[index])

    def relabelled(self, g: torch.Generator) -> Part:
        """The classes dealt at random."""
        return replace(self, y=self.truth[torch.randperm(len(self), generator=g)])

    def mispaired(self, seed: int) -> Part:
        """Every modality but the first in an order of its own: what matched no longer does."""
        g = torch.Generator().manual_seed(9_176 + seed)
        first, *others = self.x
        return replace(
            self, x={first: self.x[first]} | {m: self.x[m][torch.randperm(len(self), generator=g)] for m in others}
        )


@dataclass(frozen=True)
class Views:
    """The three parts of an experiment's data: to train, to tune and to judge once."""

    train: Part
    validation: Part
    test: Part

    def __iter__(self) -> Iterator[Part]:
        return iter((self.train, self.validation, self.test))

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return max(int(p.truth.max()) for p in self) + 1


def composed(trial: Trial, pools: Iterable[A], make: Callable[[A, int], Part], *sizes: tuple[int, int]) -> Views:
    """The three parts put together of pools of their own, `make(pool, count)`; sizes as (many, few in a quick look)."""
    return Views(*(make(pool, trial.count(*size)) for pool, size in zip(pools, sizes, strict=True)))


def in_order(part: Part) -> Views:
    """60 / 15 / 25 % of rows that lie in an order of chance already."""
    n = len(part)
    return Views(*(part.take(i) for i in torch.arange(n).tensor_split((n * 6 // 10, n * 75 // 100))))


def split(trial: Trial, part: Part, family: Sequence[Any] | None = None) -> Views:
    """60 / 15 / 25 % for training, tuning and the one test, by family, anew with every seed."""
    side = sides(trial, range(len(part)) if family is None else family)
    return Views(**{name: part.take(torch.from_numpy(side == name)) for name in SHARES})


def sides(trial: Trial, keys: Iterable[Any]) -> np.ndarray:
    """Train, validation or test for each key, by its hash with the seed."""
    return np.array([split_of(f"{trial.seed}/{k}", SHARES) for k in keys])
