"""The plan of a scan: statistics in waves, each wave cut into tasks, all statistics of a tile sharing its product."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch

from workbench.scan.chunk import Chunk
from workbench.scan.contracts import Parts, gather, place
from workbench.scan.device import FITS, has_bfloat16, resolve_device
from workbench.scan.reductions import reductions_for
from workbench.scan.statistics import Earlier, PairStatistic, Prepared, RowStatistic, Sample, State, Statistic
from workbench.scan.threads import give_back, threads
from workbench.scan.tile import Rows, Screening, Tile
from workbench.scan.view import SetView
from workbench.sets.embeddings import EmbeddingSet

EXACT_ROWS = 20_000  # above this many rows in a modality, pair statistics sample their queries …
SAMPLE_ROWS = 2_000  # … down to this many, against the whole gallery: R@k depends on the gallery, never sample that
SMALLEST_TILE = 64  # a device that cannot hold even this is too small
FEW_ROWS = 256  # up to which threads would hand the interpreter on more than they work
GROUPS = 64  # tasks fold into this many groups whatever the workers, so the sums are the same bits on any number
STRIP = 8  # tiles of rows that stay at hand while the keys pass by


class Task(NamedTuple):
    """A span of items, or a tile: spans of query rows and of key rows.

    `both` lets the keys look back; `sample` says that the query span counts rows of the modality's sample.
    """

    query: str
    key: str
    rows: tuple[int, int]
    keys: tuple[int, int] = (0, 0)
    both: bool = False
    sample: bool = False


class Scan:
    """One pass over a set for many statistics: the waves, their tasks, and how a task is done.

    `labels` gives, by the name of a labelling, the class of each item (−1: none). The same scan, built anywhere from
    the same set, has the same tasks in the same groups: executors only choose who does which group.
    """

    def __init__(
        self,
        es: EmbeddingSet,
        statistics: Iterable[Statistic],
        *,
        labels: Mapping[str, np.ndarray] | None = None,
        device: str = "auto",
        exact: bool = False,
        tile: int | None = None,
    ) -> None:
        self.es = es
        self.device = resolve_device(device)
        fit = FITS.get(self.device.type, FITS["cuda"])
        self.tile, self.kept = tile or fit.tile, fit.kept
        self.view = SetView(es, labels)
        self.exact = exact
        given = list(dict.fromkeys(statistics))
        self.same_as = {s: s.canonical(self.view) for s in given}
        self.wanted = list(dict.fromkeys(self.same_as.values()))
        asked = {s.query for s in self.wanted if isinstance(s, PairStatistic) and self.sampled(s)}
        self.wanted += [Sample(m, SAMPLE_ROWS) for m in es.modalities if m in asked]
        self.waves = list(waves(self.wanted))
        self.screening = Screening(has_bfloat16(self.device))
        self.reduce = self.view.reduce = reductions_for(self.device, self._pairs())
        self._cache: OrderedDict[tuple[str, int, int], Rows] = OrderedDict()
        self._cached, self._lock = 0, threading.Lock()

    def sampled(self, s: PairStatistic) -> bool:
        """Whether this statistic sees a sample of the queries only."""
        n = len(self.es[s.query])
        if s.sampled:
            return n > SAMPLE_ROWS and not self.exact
        return not self.exact and n > EXACT_ROWS

    @property
    def worthwhile(self) -> bool:
        """Whether there is work for several threads."""
        return max(len(self.es[m]) for m in self.es.modalities) > FEW_ROWS

    def _pairs(self) -> int:
        """How many pairs of rows the largest of the statistics meets."""
        return max(
            (len(self.es[s.query]) * len(self.es[s.key]) for s in self.wanted if isinstance(s, PairStatistic)),
            default=0,
        )

    # -- the plan --------------------------------------------------------------------------------------------------

    def tasks(self, wave: list[Statistic], earlier: Earlier) -> list[Task]:
        """The spans and tiles of a wave, in the order in which their states merge."""
        out: list[Task] = []
        if any(isinstance(s, RowStatistic) for s in wave):
            out += [Task("", "", s) for s in spans(len(self.es), self.tile)]
        pairs = [s for s in wave if isinstance(s, PairStatistic)]
        for a, b in dict.fromkeys((s.query, s.key) for s in pairs if self.sampled(s)):
            n = len(earlier[Sample(a, SAMPLE_ROWS)]["row"])
            keys = spans(len(self.es[b]), self.tile)
            out += [Task(a, b, s, k, sample=True) for s in spans(n, self.tile) for k in keys]
        directions = dict.fromkeys((s.query, s.key) for s in pairs if not self.sampled(s))
        done = set()
        for a, b in directions:
            if (a, b) in done:
                continue
            back = a != b and (b, a) in directions
            rows, keys = spans(len(self.es[a]), self.tile), spans(len(self.es[b]), self.tile)
            # a strip of rows meets each tile of keys before the next: keys are read once a strip
            for strip in (rows[i : i + STRIP] for i in range(0, len(rows), STRIP)):
                for k, s in itertools.product(keys, strip):
                    if a != b or s[0] <= k[0]:
                        out.append(Task(a, b, s, k, both=back or (a == b and s != k)))
            done |= {(a, b), (b, a)} if back else {(a, b)}
        return out

    def groups(self, tasks: list[Task]) -> list[list[Task]]:
        """At most 64 runs of neighbouring tasks, as even as whole tasks allow."""
        n = min(GROUPS, len(tasks))
        edge = [len(tasks) * g // n for g in range(n + 1)] if n else [0]
        return [tasks[a:b] for a, b in itertools.pairwise(edge)]

    def prepare(self, wave: list[Statistic], earlier: Earlier) -> Earlier:
        """What the statistics of a wave make of the earlier ones before any of them looks."""
        with threads(self.device) as pool:
            made = pool.map(lambda s: s.prepare(self.view, earlier), wave)
            return {Prepared(s): state for s, state in zip(wave, made, strict=True) if state}

    def needs(self, wave: list[Statistic]) -> set[Statistic]:
        """The earlier states that a task of this wave may read."""
        samples = {Sample(s.query, SAMPLE_ROWS) for s in wave if isinstance(s, PairStatistic) and self.sampled(s)}
        return samples.union(*(s.after for s in wave), (Prepared(s) for s in wave))

    # -- doing a task ----------------------------------------------------------------------------------------------

    def run(self, tasks: Iterable[Task], wave: list[Statistic], earlier: Earlier) -> Parts:
        """Do one group of tasks and fold their states in order, those of the same rows together."""
        out: Parts = {}
        for task in tasks:
            for statistic, state in self._fitting(task, wave, earlier):
                gather(out, statistic, place(state), state)
        if len(self.es) > self.tile:  # of a small set there is nothing that would be worth the call
            give_back()
        return out

    def _fitting(self, task: Task, wave: list[Statistic], earlier: Earlier) -> Iterable[tuple[Statistic, State]]:
        """A task, or its quarters where the device runs out of memory."""
        try:
            return self._do(task, wave, earlier)
        except RuntimeError as e:
            if not ran_out(e) or task.rows[1] - task.rows[0] <= SMALLEST_TILE:
                raise
            with self._lock:
                self._cache.clear()
                self._cached = 0
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        # outside of the handler: while the exception lives, so do the tensors of its frames
        return [x for part in quarters(task) for x in self._fitting(part, wave, earlier)]

    def _do(self, task: Task, wave: list[Statistic], earlier: Earlier) -> list[tuple[Statistic, State]]:
        if not task.query:
            chunk = Chunk(self.view, *task.rows)
            return [(s, s.map(chunk, earlier)) for s in wave if isinstance(s, RowStatistic)]
        pairs = [s for s in wave if isinstance(s, PairStatistic) and self.sampled(s) == task.sample]
        front = [s for s in pairs if (s.query, s.key) == (task.query, task.key)]
        back = [s for s in pairs if (s.query, s.key) == (task.key, task.query)] if task.both else []
        q = self._sampled(task, earlier) if task.sample else self._side(task.query, task.rows)
        screen = self.screening.worthwhile and all(s.screens for s in front + back)
        tile = Tile(q, self._side(task.key, task.keys), screen, self.screening, self.reduce)
        turned = tile.back()
        seen = [*((s, tile) for s in front), *((s, turned) for s in back)]
        asked = [s.asks(t, earlier) for s, t in seen]
        answers = iter(self.reduce.answers([(t, a) for (_, t), asks in zip(seen, asked, strict=True) for a in asks]))
        return [
            (s, s.map(t, earlier, *itertools.islice(answers, len(asks))))
            for (s, t), asks in zip(seen, asked, strict=True)
        ]

    def _sampled(self, task: Task, earlier: Earlier) -> Rows:
        index = earlier[Sample(task.query, SAMPLE_ROWS)]["row"][slice(*task.rows)]
        return Rows(self.view, task.query, index, self.es.unit(task.query, index, torch.float32).to(self.device))

    def _side(self, m: str, span: tuple[int, int]) -> Rows:
        key = (m, *span)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        x = self.es.unit(m, slice(*span), torch.float32).to(self.device)
        made = Rows(self.view, m, torch.arange(*span), x)
        with self._lock:
            if key in self._cache:  # another thread was first
                return self._cache[key]
            self._cache[key] = made
            self._cached += x.nbytes
            while self._cached > self.kept and len(self._cache) > 2:
                self._cached -= self._cache.popitem(last=False)[1].x.nbytes
        return made


def ran_out(e: RuntimeError) -> bool:
    """Whether a device has no memory left; the CPU's allocator has no exception of its own."""
    return isinstance(e, torch.OutOfMemoryError) or "can't allocate memory" in str(e)


def quarters(task: Task) -> list[Task]:
    """The same work in smaller pieces."""

    def halves(span: tuple[int, int]) -> list[tuple[int, int]]:
        middle = (span[0] + span[1]) // 2
        return [s for s in ((span[0], middle), (middle, span[1])) if s[0] < s[1]]

    if not task.query:
        return [task._replace(rows=r) for r in halves(task.rows)]
    parts = [task._replace(rows=r, keys=k) for r in halves(task.rows) for k in halves(task.keys)]
    if task.query != task.key or task.sample or task.rows != task.keys:
        return parts
    # a tile on the diagonal looks at each pair once: keep the upper half of its quarters
    return [p._replace(both=p.rows != p.keys) for p in parts if p.rows[0] <= p.keys[0]]


def waves(statistics: Iterable[Statistic]) -> Iterable[list[Statistic]]:
    """Statistics in the order they can be known: each wave needs only what earlier waves gave."""
    todo: dict[Statistic, None] = {}
    stack = list(statistics)
    while stack:
        s = stack.pop(0)
        if s not in todo:
            todo[s] = None
            stack += s.after
    known: set[Statistic] = set()
    while todo:
        ready = [s for s in todo if set(s.after) <= known]
        first: list[Statistic] = [s for s in ready if isinstance(s, RowStatistic)]
        ready = first or ready  # pairs wait for all rows that can go first: one scan over the pairs, not two
        yield ready
        known |= set(ready)
        for s in ready:
            del todo[s]


def spans(n: int, size: int) -> list[tuple[int, int]]:
    """0 … n in pieces of this size."""
    return [(a, min(a + size, n)) for a in range(0, n, size)]
