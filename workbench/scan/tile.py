"""A tile of a sweep: the cosines of some query rows with some key rows, made once for all who look at them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from workbench.geometry import orthogonalised
from workbench.scan.view import SetView

_here = threading.local()  # a buffer for each thread that looks at tiles

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
    _frames: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

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
        if others not in self._frames:
            before = self.view.es.item_of_row(self.modality)[(self.index - 1).clamp_min(0)]
            leads = (self.index == 0) | (before != self.item)
            theirs = (torch.isin(self.item, items) & leads).nonzero()[:, 0]
            more, det = [], torch.ones(len(theirs), device=self.x.device)
            if len(others) > 1:
                directions, lengths = orthogonalised(torch.stack([self.of(m, theirs) for m in others], 1))
                more = [directions[:, m].float() for m in range(1, len(others))]
                det = lengths.prod(1).square().float()
            self._frames[others] = (theirs, more, det)
        return self._frames[others]

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
    front: Tile | None = None
    _made: dict[object, Tensor] = field(default_factory=dict)

    def back(self) -> Tile:
        """The same tile seen from its keys."""
        return Tile(self.k, self.q, self.screen, self.screening, self)

    def cached(self, key: object, make: Callable[[Tile], Tensor]) -> Tensor:
        """A (Q, K) tensor for both sides: `make` sees the front, the back sees its transpose."""
        front = self.front or self
        if key not in front._made:
            front._made[key] = make(front)
        return front._made[key] if self.front is None else front._made[key].T

    @property
    def scores(self) -> Tensor:
        """Cosines in float32."""
        return self.cached("scores", lambda t: t.q.x @ t.k.x.T)

    @property
    def coarse(self) -> Tensor:
        """Cosines from bfloat16 products."""
        return self.cached("coarse", lambda t: t.q.coarse @ t.k.coarse.T)

    @property
    def exact(self) -> Tensor:
        """Cosines in float64: for tiles in which float32 cannot tell most pairs apart."""
        return self.cached("exact", lambda t: t.q.exact @ t.k.exact.T)

    @cached_property
    def overlaps(self) -> bool:
        """Whether queries and keys may be rows of the same item."""
        return self.q.overlaps(self.k)

    @property
    def same_item(self) -> Tensor:
        """(Q, K) whether query and key belong to one item."""
        return self.cached("same item", lambda t: (t.q.item[:, None] == t.k.item[None]).to(t.q.x.device))

    @property
    def same_row(self) -> Tensor:
        """(Q, K) whether query and key are one row."""
        return self.cached("same row", lambda t: (t.q.index[:, None] == t.k.index[None]).to(t.q.x.device))

    def non_matches(self, scores: Tensor) -> Tensor:
        """Scores with those of a row's own item out of reach."""
        return scores.masked_fill(self.same_item, -3.0) if self.overlaps else scores

    def potential(self, t: float) -> Tensor:
        """exp(−t‖x−y‖²) of all pairs but a row with itself."""

        def make(tile: Tile) -> Tensor:
            # exp(2t(cos − 1)): float32 holds it down to 1e-38, so a wider kernel works in float64
            s = tile.scores if t <= 10 else tile.scores.double()
            e = (s * (2 * t)).sub_(2 * t).exp_()
            if tile.q.modality == tile.k.modality and tile.overlaps:
                e.masked_fill_(tile.same_row, 0.0)
            return e

        return self.cached(("potential", t), make)

    def screened(self) -> tuple[Tensor, Tensor | float]:
        """The cheapest cosines that will do, and how far the product of each query may be from the true one."""
        if self.screen:
            # Cauchy-Schwarz: ⟨x, y⟩ − ⟨x̃, ỹ⟩ = ⟨x − x̃, y⟩ + ⟨x̃, y − ỹ⟩
            return self.coarse, self.q.bf16_error + (1 + self.q.bf16_error) * self.k.bf16_error.max() + self.q.rounding
        return self.scores, self.q.rounding


def above(scores: Tensor, threshold: Tensor) -> Tensor:
    """How many scores of each row exceed its threshold: (Q, K), (Q,) → (Q,)."""
    # fresh pages for each tile would cost more than the comparison, and so would another type than that of the scores
    key = (scores.dtype, scores.device)
    buffers = _buffers()
    if key not in buffers or buffers[key].numel() < scores.numel():
        buffers[key] = torch.empty(scores.numel(), dtype=scores.dtype, device=scores.device)
    flat = buffers[key][: scores.numel()]
    rows_first = scores.stride(1) == 1 or scores.shape[1] == 1
    out = flat.view(scores.shape) if rows_first else flat.view(scores.shape[::-1]).T
    # ones and zeros: a sum in float32 is exact to 2²⁴ keys
    return torch.gt(scores, threshold[:, None], out=out).sum(1, dtype=torch.float32)


def _buffers() -> dict:
    if not hasattr(_here, "buffers"):
        _here.buffers = {}
    return _here.buffers


def rounded(x: Tensor, dtype: torch.dtype, *, up: bool) -> Tensor:
    """Float64 in a narrower type, never on the wrong side."""
    y = x.to(dtype)
    off = (y.double() < x) if up else (y.double() > x)
    return torch.where(off, torch.nextafter(y, torch.full_like(y, torch.inf if up else -torch.inf)), y)
