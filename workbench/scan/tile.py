"""A tile of a sweep: the cosines of some query rows with some key rows, made once for all who look at them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor

from workbench.geometry import orthogonalised
from workbench.scan.asks import Ask
from workbench.scan.reductions import plain
from workbench.scan.reductions.own import Own
from workbench.scan.view import SetView

T = TypeVar("T")

FLOAT32 = 2.0**-24  # unit roundoff


class Screening:
    """Whether coarse products are worth trying; what they cannot tell apart is done again, so nothing else hangs on it.

    Where nearly every tile must be done again, as with pairs at chance, they are no longer tried.
    """

    PATIENCE = 16

    def __init__(self, worthwhile: bool = False) -> None:
        self.worthwhile, self.misses = worthwhile, 0

    def missed(self) -> None:
        """A tile had to be done again."""
        self.misses += 1
        if self.misses >= self.PATIENCE:
            self.worthwhile = False


@dataclass
class Rows:
    """Some rows of one modality, as a pair statistic sees one side of a tile."""

    view: SetView
    modality: str
    index: Tensor  # (n,) ascending positions in the modality
    x: Tensor  # (n, d) float32 unit rows, on the device
    _kept: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is the same in every tile that these rows are in, made once."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    @cached_property
    def item(self) -> Tensor:
        """The item of each row, (n,)."""
        es = self.view.es
        return self.index if es.aligned(self.modality) else es.item_of_row(self.modality)[self.index]

    @cached_property
    def coarse(self) -> Tensor:
        """The rows in bfloat16."""
        return self.x.bfloat16()

    @cached_property
    def bf16_error(self) -> Tensor:
        """How much of each row bfloat16 loses, as a length: (n,)."""
        return (self.x - self.coarse.float()).norm(dim=1).double().cpu() * (1 + 1e-5)

    @property
    def rounding(self) -> float:
        """How far a float32 cosine of these rows may be from the true one, for any order of summation."""
        return (self.x.shape[1] + 4) * FLOAT32

    def overlaps(self, k: Rows) -> bool:
        """Whether any item stands on both sides; rows ascend, so two comparisons tell."""
        a, b = self.item, k.item
        return int(a[0]) <= int(b[-1]) and int(b[0]) <= int(a[-1])

    @property
    def exact(self) -> Tensor:
        """Float64 unit rows, (n, d); made anew, as few ask and they are large."""
        return self.view.es.unit(self.modality, self.index).to(self.x.device)

    def of(self, modality: str, at: Tensor) -> Tensor:
        """Float64 unit rows of another modality: the first of the items of these rows."""
        es = self.view.es
        return es.unit(modality, torch.searchsorted(es.item_of_row(modality), self.item[at])).to(self.x.device)

    def frame(self, others: tuple[str, ...], items: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Of the first rows of those items here: their positions, the float32 directions that the other modalities of
        their tuples add to them (M−2 times (n, d)), and the squared volume that the tuples span."""
        return self.kept(("frame", others), lambda: self._frame(others, items))

    def _frame(self, others: tuple[str, ...], items: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        before = self.view.es.item_of_row(self.modality)[(self.index - 1).clamp_min(0)]
        leads = (self.index == 0) | (before != self.item)
        theirs = (among(self.item, items) & leads).nonzero()[:, 0]
        more, det = [], torch.ones(len(theirs), device=self.x.device)
        if len(others) > 1:
            directions, lengths = orthogonalised(torch.stack([self.of(m, theirs) for m in others], 1))
            more = [directions[:, m].float() for m in range(1, len(others))]
            det = lengths.prod(1).square().float()
        return theirs, more, det

    def labels(self, by: str) -> Tensor:
        """The class of each row in a labelling, −1 for none."""
        return self.view.label_of(by, self.item)

    def raw(self, at: Tensor) -> Tensor:
        """Chosen rows as stored, in float64."""
        return self.view.es[self.modality][self.index[at]].double()

    def dot(self, k: Rows, i: Tensor, j: Tensor) -> Tensor:
        """Float64 cosines of chosen pairs, (n,)."""
        return self.view.cosines(self.modality, self.index[i.cpu()], k.modality, k.index[j.cpu()])


@dataclass
class Tile:
    """Query rows against key rows. What is derived from the product is derived once, and seen from either side."""

    q: Rows
    k: Rows
    screen: bool = False  # nobody needs more than coarse products
    screening: Screening = field(default_factory=Screening)
    reduce: ModuleType = plain
    front: Tile | None = None
    _made: dict = field(default_factory=dict)

    def back(self) -> Tile:
        """The same tile seen from its keys."""
        return Tile(self.k, self.q, self.screen, self.screening, self.reduce, self)

    def cached(self, key: object, make: Callable[[Tile], Tensor]) -> Tensor:
        """A (Q, K) tensor for both sides: `make` sees the front, the back sees its transpose."""
        front = self.front or self
        if key not in front._made:
            front._made[key] = make(front)
        return front._made[key] if self.front is None else front._made[key].T

    def answer(self, ask: Ask) -> Any:
        """What is asked after the first answers were seen."""
        return self.reduce.answers([(self, ask)])[0]

    @property
    def places(self) -> Tensor:
        """Positions of the keys in their modality, (K,)."""
        return self.k.index

    @property
    def scores(self) -> Tensor:
        """Cosines in float32."""
        return self.cached("scores", lambda t: t.q.x @ t.k.x.T)

    @property
    def coarse(self) -> Tensor:
        """Cosines from bfloat16 products, in float32."""
        return self.cached("coarse", lambda t: (t.q.coarse @ t.k.coarse.T).float())

    @property
    def exact(self) -> Tensor:
        """Cosines in float64: for tiles in which float32 cannot tell most pairs apart."""
        return self.cached("exact", lambda t: t.q.exact @ t.k.exact.T)

    @cached_property
    def overlaps(self) -> bool:
        """Whether queries and keys may be rows of the same item."""
        return self.q.overlaps(self.k)

    @property
    def own(self) -> Own | None:
        """Which keys are of a query's own item; None where none can be."""
        if self.front is not None:
            return self.front.own and self.front.own.back()
        if "own" not in self._made:
            self._made["own"] = Own.of(self.q.item, self.k.item) if self.overlaps else None
        return self._made["own"]

    @property
    def same_row(self) -> Tensor:
        """(Q, K) whether query and key are one row."""
        return self.cached("same row", lambda t: (t.q.index[:, None] == t.k.index[None]).to(t.q.x.device))

    def potentials(self, t: float) -> Tensor:
        """Per query the sum of exp(−t‖x−y‖²) over all keys but the row itself, (Q,), in float64."""
        if self.front is not None:
            return self.front._both_potentials(t)[1]
        return self._both_potentials(t)[0]

    def _both_potentials(self, t: float) -> tuple[Tensor, Tensor]:
        """Of the queries and of the keys, taken in one pass."""
        key = ("potentials", t)
        if key not in self._made:
            self._made[key] = self.reduce.potentials(self.scores, 2 * t, self.same_rows())
        return self._made[key]

    def same_rows(self) -> Tensor | None:
        """For each query the place of the key that is the same row, −1 where none is, (Q,); None where none can be."""
        within = self.q.modality == self.k.modality and self.overlaps
        return same(self.q.index, self.k.index) if within else None

    @property
    def coarse_error(self) -> Tensor:
        """How far the coarse products of each query may be from the true ones, (Q,)."""
        # Cauchy-Schwarz: ⟨x, y⟩ − ⟨x̃, ỹ⟩ = ⟨x − x̃, y⟩ + ⟨x̃, y − ỹ⟩
        return self.q.bf16_error + (1 + self.q.bf16_error) * self.k.bf16_error.max() + self.q.rounding


def among(x: Tensor, values: Tensor) -> Tensor:
    """Which of x (n,) stand among ascending values, (n,): as many looks as x is long, however many values there are."""
    if not len(values):
        return torch.zeros(x.shape, dtype=torch.bool)
    return values[torch.searchsorted(values, x).clamp_max(len(values) - 1)] == x


def same(row: Tensor, key: Tensor) -> Tensor:
    """For each row (n,) the place in `key` (m,) where it stands too, −1 where it does not; both ascend."""
    place = torch.searchsorted(key, row).clamp_max(len(key) - 1)
    return place.where(key[place] == row, -1) if len(key) else torch.full_like(row, -1)


def rounded(x: Tensor, dtype: torch.dtype, *, up: bool) -> Tensor:
    """Float64 in a narrower type, never on the wrong side."""
    y = x.to(dtype)
    off = (y.double() < x) if up else (y.double() > x)
    return torch.where(off, torch.nextafter(y, torch.full_like(y, torch.inf if up else -torch.inf)), y)
