"""Families trade places: how a lot is drawn where items of one family, or rows of one item, depend on each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from workbench.diagnostics.context import Context

REMEMBERED = 1_000  # items whose draws are kept for the next who asks
ENOUGH = 8  # families of exactly one size, that they trade among themselves; else with those of about that size


def trades(family: np.ndarray, times: int, seed: int = 0) -> Iterator[np.ndarray]:
    """For each item, (n,), the item whose place it takes, so many times: families of a size trade places whole, their
    items within.

    >>> (to,) = trades(np.array([0, 0, 1, 1, 2, 2]), 1)
    >>> sorted(to.tolist()), len({int(i) // 2 for i in to[:2]})
    ([0, 1, 2, 3, 4, 5], 1)
    """
    if len(family) > REMEMBERED:
        return _drawn(family, times, seed)
    return iter(_known(np.unique(family, return_inverse=True)[1].tobytes(), times, seed))


@lru_cache(maxsize=4)
def _known(code: bytes, times: int, seed: int) -> list[np.ndarray]:
    """The draws for these families, which several nulls ask for, and every look at the same probe."""
    return list(_drawn(np.frombuffer(code, dtype=np.int64), times, seed))


def _drawn(family: np.ndarray, times: int, seed: int) -> Iterator[np.ndarray]:
    draw = np.random.default_rng(seed)
    _, code, size = np.unique(family, return_inverse=True, return_counts=True)
    if len(size) == len(code):
        yield from (draw.permutation(len(code)) for _ in range(times))
        return
    alike = np.bincount(size)[size] >= ENOUGH
    kind = np.where(alike, size, -(2 ** np.floor(np.log2(size)).astype(int)))[code]
    for _ in range(times):
        # by kind, then by family, then within it: one key, for the two last are numbers below one
        keys = [kind + (draw.permutation(len(size))[code] + draw.random(len(code))) / (len(size) + 1) for _ in "ab"]
        to = np.empty(len(code), dtype=np.int64)
        to[np.argsort(keys[0])] = np.argsort(keys[1])
        yield to


def some_families(family: np.ndarray, most: int, seed: int = 0) -> np.ndarray:
    """Positions, ascending, of the items of whole families, drawn by lot, at most `most` of them where that can be.

    >>> some_families(np.array([0, 0, 1, 1, 2, 2]), 4).tolist()
    [0, 1, 4, 5]
    """
    if len(family) <= most:
        return np.arange(len(family))
    _, code, size = np.unique(family, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(size))
    kept = order[: max(int((size[order].cumsum() <= most).sum()), 2)]
    return np.flatnonzero(np.isin(code, kept))


@dataclass(frozen=True)
class Drawn:
    """Items that have all of some modalities, of whole families drawn by lot.

    `item` (k,) ascending, their `family` (k,), and the `share` of all such items that they are.
    """

    context: Context
    item: Tensor
    family: np.ndarray
    share: float

    @classmethod
    def of(cls, context: Context, scope: tuple[str, ...], most: int) -> Drawn:
        """At most so many of the items that have these modalities, where families allow it."""
        items = context.shared(*scope)
        family = context.families(items)
        some = some_families(family, most)
        return cls(context, torch.from_numpy(items[some]), family[some], len(some) / max(len(items), 1))

    def rows(self, m: str) -> tuple[Tensor, Tensor]:
        """The unit rows of these items in a modality, (n, d), and the place of each row's item among them, (n,)."""
        owner = self.context.owner[m]
        at = torch.isin(owner, self.item).nonzero()[:, 0]
        return self.context.es.unit(m, at), torch.searchsorted(self.item, owner[at])


def effective(family: np.ndarray) -> float:
    """As many independent items as these stand for, where all of a family say the same: $(\\sum n_f)^2/\\sum n_f^2$."""
    size = np.unique(family, return_counts=True)[1].astype(float)
    return float(size.sum() ** 2 / np.square(size).sum()) if len(size) else 0.0
