"""The plan of a sweep: statistics in waves, each wave cut into tasks, all statistics of a tile sharing its product."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from workbench.embeddings import EmbeddingSet
from workbench.statistics import Earlier, PairStatistic, RowStatistic, Sample, State, Statistic

EXACT_ROWS = 20_000  # above this many rows in a modality, pair statistics sample their queries …
SAMPLE_ROWS = 2_000  # … down to this many, against the whole gallery: R@k depends on the gallery, never sample that
TILE = 2_048  # rows a side: the product of a tile is then far dearer than everything read off it
GROUPS = 64  # tasks fold into this many groups whatever the workers, so the sums are the same bits on any number
CACHE_BYTES = 256 << 20  # unit rows kept between tiles


class Tuples(NamedTuple):
    """Every combination of rows of the same item, one row from each modality: positions inside the chunk."""

    item: Tensor  # (n,)
    rows: tuple[Tensor, ...]  # M × (n,)


@dataclass
class Chunk:
    """A span of items with the rows that belong to them, as row statistics see it."""

    sweep: Sweep
    start: int
    stop: int
    _unit: dict[str, Tensor] = field(default_factory=dict)

    @property
    def items(self) -> Tensor:
        return torch.arange(self.start, self.stop)

    def unit(self, m: str) -> Tensor:
        if m not in self._unit:
            es = self.sweep.es
            self._unit[m] = es.unit(m, es.span(m, self.start, self.stop))
        return self._unit[m]

    def row_index(self, m: str) -> Tensor:
        s = self.sweep.es.span(m, self.start, self.stop)
        return torch.arange(s.start, s.stop)

    def tuples(self, modalities: tuple[str, ...]) -> Tuples:
        es = self.sweep.es
        if all(es.aligned(m) for m in modalities):
            i = torch.arange(self.stop - self.start)
            return Tuples(i + self.start, (i,) * len(modalities))
        item = self.items
        rows: tuple[Tensor, ...] = ()
        for m in modalities:
            owner = es.rows(m)[es.span(m, self.start, self.stop)].contiguous()
            first = torch.searchsorted(owner, item)
            count = torch.searchsorted(owner, item, right=True) - first
            offset = torch.arange(int(count.sum())) - (count.cumsum(0) - count).repeat_interleave(count)
            rows = (*(r.repeat_interleave(count) for r in rows), first.repeat_interleave(count) + offset)
            item = item.repeat_interleave(count)
        return Tuples(item, rows)

    def item_sums(self, modalities: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """Unit rows summed by item (N, M, d), and how many there were (N, M)."""
        es, n = self.sweep.es, self.stop - self.start
        sums, counts = [], []
        for m in modalities:
            x = self.unit(m)
            owner = es.rows(m)[es.span(m, self.start, self.stop)] - self.start
            sums.append(torch.zeros(n, x.shape[1], dtype=x.dtype).index_add(0, owner, x))
            counts.append(torch.bincount(owner, minlength=n).double())
        return torch.stack(sums, 1), torch.stack(counts, 1)

    def family_sums(self, modalities: tuple[str, ...]) -> Tensor:
        """As `item_sums`, but over all items of the item's family, wherever they stand in the set: (N, M, d)."""
        mine = self.item_sums(modalities)[0].clone()
        es, members = self.sweep.es, self.sweep.members
        for k, i in enumerate(range(self.start, self.stop)):
            for j in members.get(int(self.sweep.family[i]), ()):
                if j != i:
                    for m, name in enumerate(modalities):
                        mine[k, m] += es.unit(name, es.span(name, j, j + 1)).sum(0)
        return mine

    def kin(self, query: str, key: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pairs of a query row here and a key row of its family anywhere, without the row itself.

        The position of the query row in the chunk, that of the key row in the set, and their unit rows.
        """
        es, family, members = self.sweep.es, self.sweep.family, self.sweep.members
        own = es.span(query, self.start, self.stop)
        left: list[int] = []
        right: list[int] = []
        # an item alone in its family has kin only among its own rows: none where the modality is the same and aligned
        lonely = query == key and es.aligned(query)
        for i in range(self.start, self.stop):
            group = members.get(int(family[i]), (i,))
            if lonely and len(group) == 1:
                continue
            keys = [r for j in group for r in _range(es.span(key, j, j + 1))]
            for q in _range(es.span(query, i, i + 1)):
                others = [r for r in keys if not (query == key and r == q)]
                left += [q - own.start] * len(others)
                right += others
        at, other = torch.tensor(left, dtype=torch.long), torch.tensor(right, dtype=torch.long)
        return at, other, self.unit(query)[at], es.unit(key, other)

    def labelled(self, m: str) -> tuple[Tensor, Tensor]:
        """Raw rows that carry a label, and their class."""
        es = self.sweep.es
        s = es.span(m, self.start, self.stop)
        label = self.sweep.label_of(es.rows(m)[s])
        return es[m][s][label >= 0].double(), label[label >= 0]


def _range(s: slice) -> range:
    return range(s.start, s.stop)


@dataclass
class Rows:
    """Some rows of one modality, as a pair statistic sees one side of a tile."""

    sweep: Sweep
    modality: str
    index: Tensor  # (n,) ascending positions in the modality
    x: Tensor  # (n, d) float32 unit rows, on the device

    @property
    def item(self) -> Tensor:
        es = self.sweep.es
        return self.index if es.aligned(self.modality) else es.rows(self.modality)[self.index]

    @property
    def rounding(self) -> float:
        """How far a float32 cosine of these rows may be from the true one, for any order of summation."""
        return (self.x.shape[1] + 4) * 2.0**-24

    def overlaps(self, k: Rows) -> bool:
        """Whether any item stands on both sides; rows ascend, so two comparisons tell."""
        a, b = self.item, k.item
        return int(a[0]) <= int(b[-1]) and int(b[0]) <= int(a[-1])

    def same_item(self, k: Rows) -> Tensor:
        return (self.item[:, None] == k.item[None]).to(self.x.device)

    def same_row(self, k: Rows) -> Tensor:
        return (self.index[:, None] == k.index[None]).to(self.x.device)

    def unit(self, modality: str | None = None) -> Tensor:
        """Float64 unit rows, of this modality or of another one's rows for the same items."""
        es = self.sweep.es
        if modality in (None, self.modality):
            return es.unit(self.modality, self.index).to(self.x.device)
        return es.unit(modality, torch.searchsorted(es.rows(modality), self.item)).to(self.x.device)

    def first_of(self, items: Tensor) -> Tensor:
        """The positions of the rows that are the first of their item, and whose item is among these."""
        before = self.sweep.es.rows(self.modality)[(self.index - 1).clamp_min(0)]
        leads = (self.index == 0) | (before != self.item)
        return (torch.isin(self.item, items) & leads).nonzero()[:, 0]

    def raw(self, label: int) -> Tensor:
        es = self.sweep.es
        return es[self.modality][self.index[self.sweep.label_of(self.item) == label]].double()

    def dot(self, k: Rows, i: Tensor, j: Tensor) -> Tensor:
        """Float64 cosines of chosen pairs, (n,), a bounded number at a time."""
        es, step = self.sweep.es, 1 << 16
        i, j = i.cpu(), j.cpu()
        out = [
            (es.unit(self.modality, self.index[a]) * es.unit(k.modality, k.index[b])).sum(1)
            for a, b in zip(i.split(step), j.split(step), strict=True)
        ]
        return torch.cat(out) if out else torch.zeros(0, dtype=torch.float64)


class Task(NamedTuple):
    """A span of items, or a tile: spans of query rows and of key rows; `both` lets the keys look back."""

    query: str
    key: str
    rows: tuple[int, int]
    keys: tuple[int, int] = (0, 0)
    both: bool = False


class Sweep:
    """One pass over a set for many statistics: the waves, their tasks, and how a task is done.

    `label` gives the class of each item (−1: none). The same sweep, built anywhere from the same set, has the same
    tasks in the same groups: executors only choose who does which group.
    """

    def __init__(
        self,
        es: EmbeddingSet,
        statistics: Iterable[Statistic],
        *,
        label: np.ndarray | None = None,
        device: str = "auto",
        exact: bool = False,
        tile: int = TILE,
    ) -> None:
        self.es, self.tile = es, tile
        self.device = resolve_device(device)
        self.family = es.families
        order = np.argsort(self.family, kind="stable")
        codes, first, count = np.unique(self.family[order], return_index=True, return_counts=True)
        # families of one are left out: nearly all are, and nothing needs to look them up
        self.members = {
            int(c): tuple(order[f : f + n].tolist())
            for c, f, n in zip(codes[count > 1], first[count > 1], count[count > 1], strict=True)
        }
        self._label = None if label is None else torch.as_tensor(label, dtype=torch.long)
        self.sampled = {m: not exact and len(es[m]) > EXACT_ROWS for m in es.modalities}
        wanted = list(dict.fromkeys(statistics))
        asked = {s.query for s in wanted if isinstance(s, PairStatistic)}
        wanted += [Sample(m, SAMPLE_ROWS) for m in es.modalities if m in asked and self.sampled[m]]
        self.waves = list(waves(wanted))
        self._cache: OrderedDict[tuple[str, int, int], Tensor] = OrderedDict()
        self._cached = 0

    def label_of(self, item: Tensor) -> Tensor:
        if self._label is None:
            return torch.full((len(item),), -1)
        return self._label[item]

    def tasks(self, wave: list[Statistic], earlier: Earlier) -> list[Task]:
        out: list[Task] = []
        if any(isinstance(s, RowStatistic) for s in wave):
            out += [Task("", "", s) for s in spans(len(self.es), self.tile)]
        directions = {(s.query, s.key): None for s in wave if isinstance(s, PairStatistic)}
        done = set()
        for a, b in directions:
            if (a, b) in done:
                continue
            na, nb = len(self.es[a]), len(self.es[b])
            if self.sampled[a] or self.sampled[b]:
                n = len(earlier[Sample(a, SAMPLE_ROWS)]["row"]) if self.sampled[a] else na
                out += [Task(a, b, s, k) for s in spans(n, self.tile) for k in spans(nb, self.tile)]
                done.add((a, b))
                continue
            back = a != b and (b, a) in directions
            for s, k in itertools.product(spans(na, self.tile), spans(nb, self.tile)):
                if a != b or s[0] <= k[0]:
                    out.append(Task(a, b, s, k, both=back or (a == b and s != k)))
            done |= {(a, b), (b, a)} if back else {(a, b)}
        return out

    def groups(self, tasks: list[Task]) -> list[list[Task]]:
        """At most 64 runs of neighbouring tasks, as even as whole tasks allow."""
        n = min(GROUPS, len(tasks))
        edge = [len(tasks) * g // n for g in range(n + 1)] if n else [0]
        return [tasks[a:b] for a, b in itertools.pairwise(edge)]

    def run(self, tasks: list[Task], wave: list[Statistic], earlier: Earlier) -> dict[Statistic, State]:
        """Do one group of tasks and fold their states in order."""
        out: dict[Statistic, State] = {}
        for task in tasks:
            for statistic, state in self._do(task, wave, earlier):
                out[statistic] = statistic.merge(out[statistic], state) if statistic in out else state
        return out

    def _do(self, task: Task, wave: list[Statistic], earlier: Earlier) -> Iterable[tuple[Statistic, State]]:
        if not task.query:
            chunk = Chunk(self, *task.rows)
            return [(s, s.look(chunk, earlier)) for s in wave if isinstance(s, RowStatistic)]
        pairs = [s for s in wave if isinstance(s, PairStatistic)]
        q, k = self._side(task.query, task.rows, earlier), self._side(task.key, task.keys, None)
        scores = q.x @ k.x.T
        out = [(s, s.look(scores, q, k, earlier)) for s in pairs if (s.query, s.key) == (task.query, task.key)]
        if task.both:
            back = scores.T
            out += [(s, s.look(back, k, q, earlier)) for s in pairs if (s.query, s.key) == (task.key, task.query)]
        return out

    def _side(self, m: str, span: tuple[int, int], earlier: Earlier | None) -> Rows:
        if earlier is not None and self.sampled[m]:
            index = earlier[Sample(m, SAMPLE_ROWS)]["row"][slice(*span)]
            return Rows(self, m, index, self.es.unit(m, index, torch.float32).to(self.device))
        key = (m, *span)
        if key in self._cache:
            self._cache.move_to_end(key)
        else:
            x = self.es.unit(m, slice(*span), torch.float32).to(self.device)
            self._cache[key] = x
            self._cached += x.nbytes
            while self._cached > CACHE_BYTES and len(self._cache) > 2:
                self._cached -= self._cache.popitem(last=False)[1].nbytes
        return Rows(self, m, torch.arange(*span), self._cache[key])


def waves(statistics: Iterable[Statistic]) -> Iterable[list[Statistic]]:
    """Statistics in the order they can be known: each wave needs only what earlier waves gave."""
    todo: dict[Statistic, None] = {}
    stack = list(statistics)
    while stack:
        s = stack.pop(0)
        if s not in todo:
            todo[s] = None
            stack += s.after
    # a sample is wanted by every pair statistic, so it comes with the first wave
    known: set[Statistic] = set()
    while todo:
        ready = [s for s in todo if set(s.after) <= known]
        first: list[Statistic] = [s for s in ready if isinstance(s, RowStatistic)]
        ready = first or ready  # pairs wait for all rows that can go first: one sweep over the pairs, not two
        yield ready
        known |= set(ready)
        for s in ready:
            del todo[s]


def spans(n: int, size: int) -> list[tuple[int, int]]:
    return [(a, min(a + size, n)) for a in range(0, n, size)]


def resolve_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)
