"""How alike rows of two modalities are once what each has in common with everything is taken off, at any size.

The likeness of x and y is their product after both were centred, over the usual size of such a product for either row:
1 is one deviation of random pairs. Double centring of all cosines, as the doctor does it, without holding them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.errors import InputError
from workbench.progress import progress
from workbench.sets.embeddings import EmbeddingSet

BLOCK = 1_024  # rows that meet all others at once
STRANGERS = 200_000  # pairs of different families, by lot


@dataclass(frozen=True)
class Likeness:
    """The items (n,) that have both modalities, their families, and rows (n, d) whose products are likenesses."""

    a: str
    b: str
    items: Tensor
    family: Tensor
    x: Tensor
    y: Tensor

    @classmethod
    def of(cls, es: EmbeddingSet, a: str, b: str) -> Likeness:
        """Of the first row of each item that has both."""
        has = es.layout.has
        items = (has[a] & has[b]).nonzero()[:, 0]
        if len(items) < 2:
            raise InputError(f"{es.source}: fewer than two items have both {a} and {b}")
        x, y = (es.unit(m, es.first_row(m, items)) for m in (a, b))
        x, y = x - x.mean(0), y - y.mean(0)
        # the mean square over all partners is a quadratic form in the others' second moment
        own = [(z @ (w.T @ w / len(w)) * z).sum(1).clamp_min(1e-300).pow(0.25) for z, w in ((x, y), (y, x))]
        family = torch.from_numpy(np.asarray(es.families))[items]
        return cls(a, b, items, family, (x / own[0][:, None]).float(), (y / own[1][:, None]).float())

    def __len__(self) -> int:
        return len(self.items)

    @property
    def own(self) -> Tensor:
        """The likeness of each pair, (n,)."""
        return (self.x.double() * self.y.double()).sum(1)

    @property
    def strangers(self) -> Tensor:
        """Likenesses of pairs of different families, ascending."""
        n = len(self)
        draw = np.random.default_rng(n)
        i, j = (torch.from_numpy(draw.integers(0, n, min(STRANGERS, 4 * n * n))) for _ in range(2))
        apart = self.family[i] != self.family[j]
        i, j = i[apart], j[apart]
        found = torch.empty(len(i), dtype=torch.float64)
        for start in range(0, len(i), 1 << 16):
            at = slice(start, start + (1 << 16))
            found[at] = (self.x[i[at]] * self.y[j[at]]).sum(1, dtype=torch.float64)
        return found.sort().values

    def percentiles(self) -> Tensor:
        """Where each pair stands among strangers, (n,), from 0 to 1."""
        strangers = self.strangers
        if not len(strangers):
            raise InputError(f"{self.a} and {self.b}: all items are of one family, so there is nothing to compare with")
        return torch.searchsorted(strangers, self.own).double() / len(strangers)

    def rivals(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of other families, the nearest row of `b` to each row of `a` and the reverse: likeness and place, twice."""
        n = len(self)
        forth, to = torch.full((n,), -torch.inf), torch.zeros(n, dtype=torch.long)
        back, fro = torch.full((n,), -torch.inf), torch.zeros(n, dtype=torch.long)
        for at, s in blocks(self.x, self.y, self.family, f"pairs of {self.a} and {self.b}"):
            forth[at], to[at] = s.max(1)
            best, which = s.max(0)
            better = best > back
            back = torch.where(better, best, back)
            fro = torch.where(better, which + at.start, fro)
        return forth, to, back, fro


def blocks(x: Tensor, y: Tensor, family: Tensor, what: str) -> Iterator[tuple[slice, Tensor]]:
    """Products of some rows with all others, −∞ within a family."""
    for start in progress(range(0, len(x), BLOCK), what, -(-len(x) // BLOCK)):
        at = slice(start, min(start + BLOCK, len(x)))
        s = x[at] @ y.T
        yield at, s.masked_fill_(family[at, None] == family[None], -torch.inf)
