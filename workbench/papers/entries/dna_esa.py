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
from workbench.papers import contest
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, in_order, unit


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


Model = tuple[_Reader, nn.Module]  # and what it is trained with: a head to the counts, or an objective
FRAGMENT, STRIDE, READ, ERRORS = 240, 120, 80, 0.03


def counts(x: Tensor, k: int) -> Tensor:
    """How often each word of k letters occurs: (B, L) → (B, 4^k), unit rows."""
    powers = 4 ** torch.arange(k)
    words = (x.unfold(1, k, 1) * powers).sum(-1)
    return unit(torch.zeros(len(x), 4**k).scatter_add_(1, words, torch.ones(words.shape)), dim=1)


def _changed(x: Tensor, g: torch.Generator) -> Tensor:
    at = torch.rand(x.shape, generator=g) < ERRORS
    return torch.where(at, (x + torch.randint(1, 4, x.shape, generator=g)) % 4, x)


def _fragments(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fragments (F, 240), the gene of each and where in it each begins."""
    at = [(k, a) for k in index.tolist() for a in range(0, len(genes()[k]) - FRAGMENT, STRIDE)]
    gene, start = torch.tensor(at).T
    return torch.stack([genes()[k][a : a + FRAGMENT] for k, a in at]), gene, start


def _task(index: Tensor, many: int, g: torch.Generator) -> Part:
    """A gallery, reads from it, and which fragments hold which read (R, F)."""
    x, gene, start = _fragments(index)
    pick = torch.randint(len(x), (many,), generator=g)
    offset = torch.randint(FRAGMENT - READ, (many,), generator=g)
    reads = torch.stack([x[i, o : o + READ] for i, o in zip(pick.tolist(), offset.tolist(), strict=True)])
    at = start[pick] + offset
    holds = (gene[None] == gene[pick][:, None]) & (start[None] <= at[:, None])
    holds &= start[None] + FRAGMENT >= at[:, None] + READ
    return Part({"fragment": x, "read": _changed(reads, g), "holds": holds})


def _at_ten(scores: Tensor, holds: Tensor) -> float:
    top = scores.topk(min(10, scores.shape[1]), 1).indices
    return float(holds.gather(1, top).any(1).float().mean())


@experiment(moves="retrieval", recipe="infonce", min_effect=0.05, margin=0.05)
def dna_esa(trial: Trial) -> Outcome:
    """The same encoder taught 4-letter counts of fragments and reads, against their contrast; beside it, the counts
    alone.
    """
    g = trial.generator()
    order = torch.randperm(len(genes()), generator=g)[: trial.count(len(genes()), 24)]
    index = in_order(Part({"gene": order}))
    train, tune, test = (p.x["gene"] for p in index)
    fragments = Part({"fragment": _fragments(train)[0]})
    views = Views(fragments, _task(tune, trial.count(300, 20), g), _task(test, trial.count(400, 20), g))

    def cut(batch: Part, step: Step) -> tuple[Tensor, Tensor]:
        x, at = batch.x["fragment"], int(torch.randint(FRAGMENT - READ, (1,), generator=step.draw))
        return x, _changed(x[:, at : at + READ], g)

    def counted(m: Model, batch: Part, step: Step) -> Tensor:
        reader, head = m
        return sum((head(reader(y)) - 16 * counts(y, 4)).square().mean() for y in cut(batch, step)) / 2

    def contrasted(m: Model, batch: Part, step: Step) -> Tensor:
        reader, objective = m
        x, read = cut(batch, step)
        return objective(Batch({"fragment": reader(x), "read": reader(read)}))["loss"]

    def judge(m: Model, part: Part) -> float:
        z = unit(m[0](part.x["fragment"]), dim=1)
        return _at_ten(unit(m[0](part.x["read"]), dim=1) @ z.T, part.x["holds"])

    def shuffled(m: Model, part: Part) -> float:
        order = torch.rand(part.x["read"].shape, generator=trial.generator()).argsort(1)
        return judge(m, part.but(read=part.x["read"].gather(1, order)))

    size = trial.count(64, 24)
    plain: contest.Treatment[Model] = contest.by_loss(
        lambda _: (_Reader(), nn.Linear(64, 256)), counted, (1e-3, 3e-3), rates=True, steps=250, size=size
    )
    taught: contest.Treatment[Model] = contest.by_loss(
        lambda t: (_Reader(), recipe("infonce", temperature=t)), contrasted, (0.05, 0.1), steps=250, size=size
    )
    found = contest.tuned(trial, plain, taught, views, judge)
    x, reads, holds = views.test.x.values()
    first = torch.tensor([int(h.nonzero()[0, 0]) for h in holds])
    return found.outcome(
        control=found.scores(shuffled),
        positive=found.untrained(arm="mechanism"),
        also={
            f"counts of {k} letters, no training": _at_ten(counts(reads, k) @ counts(x, k).T, holds) for k in (3, 4, 6)
        },
        rows=found.rows(lambda m, p: {"read": unit(m[0](reads), dim=1), "fragment": unit(m[0](x[first]), dim=1)}),
    )
