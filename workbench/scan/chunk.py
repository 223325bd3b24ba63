"""A chunk of a sweep: a span of items with the rows that belong to them, as row statistics see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.geometry import centred, products, segment_sum
from workbench.scan.view import SetView


class Tuples(NamedTuple):
    """Every combination of rows of the same item, one row from each modality: positions inside the chunk."""

    item: Tensor  # (n,)
    rows: tuple[Tensor, ...]  # M × (n,)


@dataclass
class Chunk:
    """The rows that belong to a span of items, in every modality; what is made of them is made once."""

    view: SetView
    start: int
    stop: int
    _vectors: dict[tuple[str, bool], Tensor] = field(default_factory=dict)
    _moments: dict[tuple, Any] = field(default_factory=dict)

    @property
    def items(self) -> Tensor:
        """The items of the span."""
        return torch.arange(self.start, self.stop)

    def _span(self, m: str) -> slice:
        return self.view.es.span(m, self.start, self.stop)

    def _owner(self, m: str) -> Tensor:
        return self.view.es.item_of_row(m)[self._span(m)].contiguous()

    def vectors(self, m: str, raw: bool = False) -> Tensor:
        """Rows in float64, of length one or as stored, made once a chunk."""
        if (m, raw) not in self._vectors:
            es, at = self.view.es, self._span(m)
            self._vectors[m, raw] = es[m][at].double() if raw else es.unit(m, at)
        return self._vectors[m, raw]

    def unit(self, m: str) -> Tensor:
        """Rows of length one, (n, d), in float64."""
        return self.vectors(m)

    def centred(self, m: str, raw: bool = False) -> tuple[Tensor, Tensor]:
        """The mean of the rows here, (d,), and the rows around it."""
        if (m, raw) not in self._moments:
            self._moments[m, raw] = centred(self.vectors(m, raw))
        return self._moments[m, raw]

    def fold(self, m: str, half: int) -> tuple[int, Tensor, Tensor]:
        """Of the unit rows of one half around the mean of all here: how many, their sum (d,), their products (d, d)."""
        if ("fold", m, half) not in self._moments:
            y = self.centred(m)[1][self.view.half[self._owner(m)] == half]
            self._moments["fold", m, half] = (len(y), y.sum(0), products(y))
        return self._moments["fold", m, half]

    def scatter(self, m: str, raw: bool = False) -> Tensor:
        """Σ (x − x̄)(x − x̄)ᵀ of the rows here, (d, d)."""
        return products(self.centred(m, raw)[1]) if raw else self.fold(m, 0)[2] + self.fold(m, 1)[2]

    def row_index(self, m: str) -> Tensor:
        """Positions of the rows in their modality."""
        s = self._span(m)
        return torch.arange(s.start, s.stop)

    def tuples(self, modalities: tuple[str, ...]) -> Tuples:
        """Every combination of rows of the same item, one from each modality."""
        es = self.view.es
        if all(es.aligned(m) for m in modalities):
            i = torch.arange(self.stop - self.start)
            return Tuples(i + self.start, (i,) * len(modalities))
        item = self.items
        rows: tuple[Tensor, ...] = ()
        for m in modalities:
            at, match = joined(item, self._owner(m))
            rows = (*(r[at] for r in rows), match)
            item = item[at]
        return Tuples(item, rows)

    def stacked(self, modalities: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """Items and unit vectors of all tuples: (n,), (n, M, d)."""
        t = self.tuples(modalities)
        return t.item, torch.stack([self.unit(m)[i] for m, i in zip(modalities, t.rows, strict=True)], 1)

    # -- rows that are in step: row i of one modality belongs to the item of row i of the other -----------------------

    def in_step(self, modalities: tuple[str, ...]) -> bool:
        """Whether every item has one row in each of these modalities."""
        return all(self.view.es.aligned(m) for m in modalities)

    def inner(self, a: str, b: str, raw: bool = False) -> Tensor:
        """Inner products of rows in step, (n,)."""
        key = ("inner", *sorted((a, b)), raw)
        if key not in self._moments:
            self._moments[key] = torch.linalg.vecdot(self.vectors(a, raw), self.vectors(b, raw))
        return self._moments[key]

    def difference(self, a: str, b: str) -> Tensor:
        """Unit rows of one modality less those of the other, (n, d)."""
        if ("difference", a, b) not in self._moments:
            other = self._moments.get(("difference", b, a))
            self._moments["difference", a, b] = self.unit(a) - self.unit(b) if other is None else -other
        return self._moments["difference", a, b]

    def apart(self, a: str, b: str) -> Tensor:
        """Squared distances of unit rows in step, (n,)."""
        key = ("apart", *sorted((a, b)))
        if key not in self._moments:
            r = self.difference(*key[1:])
            self._moments[key] = torch.linalg.vecdot(r, r)
        return self._moments[key]

    # -- sums by item and by family ------------------------------------------------------------------------------------

    def item_sums(self, modalities: tuple[str, ...], raw: bool = False) -> tuple[Tensor, Tensor]:
        """Rows summed by item (N, M, d), and how many there were (N, M)."""
        n = self.stop - self.start
        owners = [self._owner(m) - self.start for m in modalities]
        sums = [segment_sum(self.vectors(m, raw), o, n) for m, o in zip(modalities, owners, strict=True)]
        return torch.stack(sums, 1), torch.stack([torch.bincount(o, minlength=n).double() for o in owners], 1)

    def item_means(self, modalities: tuple[str, ...], raw: bool = False) -> list[Tensor]:
        """Of items that have all of these modalities, the mean of their rows in each: M times (n, d)."""
        sums, count = self.item_sums(modalities, raw)
        there = (count > 0).all(1)
        return list((sums[there] / count[there][..., None]).unbind(1))

    def item_squares(self, modalities: tuple[str, ...], raw: bool = False) -> Tensor:
        """Squared lengths summed by item: (N, M)."""
        n = self.stop - self.start
        squares = [
            segment_sum(self.vectors(m, raw).square().sum(1), self._owner(m) - self.start, n) for m in modalities
        ]
        return torch.stack(squares, 1)

    def family_sums(self, modalities: tuple[str, ...], raw: bool = False) -> Tensor:
        """As `item_sums`, but over all items of the item's family, wherever they stand in the set: (N, M, d)."""
        if self.view.families_are_items:
            return self.item_sums(modalities, raw)[0]
        es, family = self.view.es, torch.as_tensor(self.view.family[self.start : self.stop])
        sums = []
        for m in modalities:
            at, other = joined(family, *self.view.by_family(m))
            x = es[m][other].double() if raw else es.unit(m, other)
            sums.append(segment_sum(x, at, len(family)))
        return torch.stack(sums, 1)

    def within_family_pairs(self, query: str, key: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pairs of a query row here and a key row of its family anywhere, without the row itself.

        The position of the query row in the chunk, whether the key row belongs to its very item, and their unit rows.
        """
        es = self.view.es
        owner = self._owner(query)
        at, other = joined(torch.as_tensor(self.view.family)[owner], *self.view.by_family(key))
        if query == key:
            apart = self.row_index(query)[at] != other
            at, other = at[apart], other[apart]
        return at, owner[at] == es.item_of_row(key)[other], self.unit(query)[at], es.unit(key, other)

    def labelled_rows(self, m: str, by: str) -> tuple[Tensor, Tensor]:
        """Positions in the set of the rows that carry a label, and their items."""
        owner = self._owner(m)
        has = self.view.label_of(by, owner) >= 0
        return self.row_index(m)[has], owner[has]

    def labelled(self, m: str, by: str, raw: bool) -> tuple[Tensor, Tensor]:
        """Rows that carry a label, and their class."""
        label = self.view.label_of(by, self._owner(m))
        return self.vectors(m, raw)[label >= 0], label[label >= 0]

    def halves(self, m: str, by: str) -> tuple[Tensor, Tensor, Tensor]:
        """Unit rows (those with a label, if asked), their class, and the half that their family fell into."""
        owner = self._owner(m)
        label = self.view.label_of(by, owner) if by else torch.zeros(len(owner), dtype=torch.long)
        has = label >= 0
        return self.unit(m)[has], label[has], self.view.half[owner][has]


def joined(left: Tensor, right: Tensor, position: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """All pairs of equal values: positions in `left`, in its order, and in the ascending `right`.

    `position` translates the places in `right`.
    """
    first = torch.searchsorted(right, left)
    count = torch.searchsorted(right, left, right=True) - first
    at = torch.arange(len(left)).repeat_interleave(count)
    offset = torch.arange(len(at)) - (count.cumsum(0) - count)[at]
    other = first[at] + offset
    return at, other if position is None else position[other]
