r"""Contrasting fragments with pieces of themselves puts reads next to where they come from, also in genes never seen.

Maths
-----
$$L=\mathrm{symCE}(\cos(f(x_{\text{fragment}}),f(x_{\text{piece}}))/\tau)$$

Carried by
----------
recipe infonce over one encoder

Code read
---------
KennethEnevoldsen/dna2vec

Deviations
----------
Two convolutions instead of a transformer over byte pairs; fragments of 240 and reads of 80 letters; both directions,
where the paper has one; no verification by local alignment after the search.

Data
----
real 16S rRNA genes of 304 genera; test genera are never trained on; reads with 3 % of letters changed

What must move
--------------
recall at 10 of a fragment that holds the read, among all fragments of the test genes

Control
-------
reads whose letters were shuffled: recall of both arms

Positive control
----------------
recall of the contrast, untrained against trained

At this size
------------
16S genes are alike along most of their length. Mind the counts beside it: words of four letters, counted and not
trained at all, find far more than this small encoder.

Own data
--------
it needs strings to cut pieces from, and a set holds vectors
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import unit


@cache
def genes() -> list[Tensor]:
    """The 16S rRNA genes of the shipped set, one a genus, as letters 0 … 3."""
    import pandas as pd

    from workbench.sets.shipped import folder

    letters = pd.read_parquet(folder() / "dna.parquet")["sequence"]
    return [torch.tensor([["ACGT".index(c) for c in s]]).long()[0] for s in letters]


class _Reader(nn.Module):
    """Letters (B, L) to (B, d): two convolutions over one-hot letters, averaged over places."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(4, 64, 9, padding=4), nn.GELU(), nn.Conv1d(64, 64, 5, padding=2), nn.GELU())
        self.head = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        z = self.body(nn.functional.one_hot(x, 4).float().transpose(1, 2))
        return self.head(z.mean(2))


FRAGMENT, STRIDE, READ, ERRORS = 240, 120, 80, 0.03


def counts(x: Tensor, k: int) -> Tensor:
    """How often each word of k letters occurs: (B, L) → (B, 4^k), unit rows."""
    powers = 4 ** torch.arange(k)
    words = (x.unfold(1, k, 1) * powers).sum(-1)
    return unit(torch.zeros(len(x), 4**k).scatter_add_(1, words, torch.ones(words.shape)), dim=1)


@experiment(recipe="infonce", min_effect=0.05, margin=0.05)
def dna_esa(trial: Trial) -> Outcome:
    """The same encoder taught 4-letter counts of fragments and reads, against their contrast; beside it, the counts
    alone.
    """
    g = torch.Generator().manual_seed(trial.seed)
    found = genes()
    order = torch.randperm(len(found), generator=g).tolist()[: trial.count(len(found), 24)]
    n = len(order)
    train, tune, test = order[: n * 6 // 10], order[n * 6 // 10 : n * 75 // 100], order[n * 75 // 100 :]

    def changed(x: Tensor) -> Tensor:
        at = torch.rand(x.shape, generator=g) < ERRORS
        return torch.where(at, (x + torch.randint(1, 4, x.shape, generator=g)) % 4, x)

    def fragments(index: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Fragments (F, 240), the gene of each and where in it each begins."""
        x, gene, start = [], [], []
        for k in index:
            for a in range(0, len(found[k]) - FRAGMENT, STRIDE):
                x.append(found[k][a : a + FRAGMENT])
                gene.append(k)
                start.append(a)
        return torch.stack(x), torch.tensor(gene), torch.tensor(start)

    def task(index: list[int], many: int) -> tuple[Tensor, Tensor, Tensor]:
        """A gallery, reads from it, and which fragments hold which read (R, F)."""
        x, gene, start = fragments(index)
        pick = torch.randint(len(x), (many,), generator=g)
        offset = torch.randint(FRAGMENT - READ, (many,), generator=g)
        reads = torch.stack([x[i, o : o + READ] for i, o in zip(pick.tolist(), offset.tolist(), strict=True)])
        at = start[pick] + offset
        holds = (gene[None] == gene[pick][:, None]) & (start[None] <= at[:, None])
        return x, changed(reads), holds & (start[None] + FRAGMENT >= at[:, None] + READ)

    gallery = fragments(train)[0]
    tuning, testing = task(tune, trial.count(300, 20)), task(test, trial.count(400, 20))

    def model(value: float, contrast: bool, steps: int) -> _Reader:
        torch.manual_seed(trial.seed)
        reader, head = _Reader(), nn.Linear(64, 256)
        objective = recipe("infonce", temperature=value if contrast else 1.0)
        draw = torch.Generator().manual_seed(trial.seed)

        def loss(index: Tensor) -> Tensor:
            x = gallery[index]
            o = torch.randint(FRAGMENT - READ, (1,), generator=draw).item()
            read = changed(x[:, int(o) : int(o) + READ])
            if not contrast:
                return sum((head(reader(y)) - 16 * counts(y, 4)).square().mean() for y in (x, read)) / 2
            return objective(Batch({"fragment": reader(x), "read": reader(read)}))["loss"]

        lr = 2e-3 if contrast else value
        size = trial.count(64, 24)
        bench.fit([reader, head, objective], loss, len(gallery), steps=steps, seed=trial.seed, size=size, lr=lr)
        return reader

    def at_ten(scores: Tensor, holds: Tensor) -> float:
        top = scores.topk(min(10, scores.shape[1]), 1).indices
        return float(holds.gather(1, top).any(1).float().mean())

    @torch.no_grad()
    def judge(m: _Reader, of: tuple[Tensor, Tensor, Tensor], shuffled: bool = False) -> float:
        x, reads, holds = of
        if shuffled:
            order = torch.rand(reads.shape, generator=torch.Generator().manual_seed(trial.seed)).argsort(1)
            reads = reads.gather(1, order)
        z = unit(m(x), dim=1)
        return at_ten(unit(m(reads), dim=1) @ z.T, holds)

    steps = trial.steps(250)
    plain, _ = contest.best(trial, (1e-3, 3e-3), lambda r: model(r, False, steps), lambda m: judge(m, tuning))
    taught, t = contest.best(trial, (0.05, 0.1), lambda t: model(t, True, steps), lambda m: judge(m, tuning))
    x, reads, holds = testing
    also = {f"counts of {k} letters, no training": at_ten(counts(reads, k) @ counts(x, k).T, holds) for k in (3, 4, 6)}
    with torch.no_grad():
        first = torch.tensor([int(h.nonzero()[0, 0]) for h in holds])
        rows = {
            arm: {"read": unit(m(reads), dim=1), "fragment": unit(m(x[first]), dim=1)}
            for arm, m in (("baseline", plain), ("mechanism", taught))
        }
    mechanism = judge(taught, testing)
    return Outcome(
        judge(plain, testing),
        mechanism,
        (judge(plain, testing, True), judge(taught, testing, True)),
        (judge(model(t, True, 0), testing), mechanism),
        also,
        rows,
    )
