r"""Keeping one proposal of each group of overlapping ones before attention finds the moment better, from pairs of film
and sentence alone, than attending to all proposals.

Maths
-----
$$S(v,q)=\langle q,\textstyle\sum_g a_g p_{k(g)}\rangle,\ k(g)=\arg\max_{k\in g}\cos(p_k,q),\quad
[m-S(v,q)+S(v,q')]_++[m-S(v,q)+S(v',q)]_+$$

Carried by
----------
workbench.objectives.heads.hinge

Deviations
----------
No code is public. Groups are cells of neighbouring centres; one round of attention in place of a cascade; the choice is
hard, and the gradient goes through what was chosen. The margin is 0.2, and is not confirmed.

Data
----
films of 12 frames in runs of two to four noisy scikit-learn digits; a sentence names two neighbouring runs in order,
and only the film is known that it belongs to

What must move
--------------
share of sentences whose best proposal overlaps their runs by half or more

Control
-------
both arms on films dealt among the sentences: the share

Positive control
----------------
the share of the baseline, untrained and trained

Own data
--------
a set has no proposals; items with several rows, one a proposal, are looked up by 'workbench diagnose'
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.objectives.moments import overlap
from workbench.papers import bench, contest, digits, films, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

FRAMES, SIZES, CELL, MARGIN, WIDTH = 12, (3, 4, 5, 6, 7, 8), 3.0, 0.2, 48
FIRST = torch.tensor([a for n in SIZES for a in range(FRAMES - n + 1)])
LAST = torch.tensor([a + n - 1 for n in SIZES for a in range(FRAMES - n + 1)])
GROUP = ((FIRST + LAST) / 2 / CELL).long()


def told(pool: list[Tensor], count: int, g: torch.Generator) -> Part:
    """Films (12, 64) with the two classes that a sentence names and the span of their runs."""
    frames, about = [], []
    for _ in range(count):
        x, runs = films.film(pool, FRAMES, 2, 4, g)
        k = int(torch.randint(len(runs) - 1, (1,), generator=g))
        frames.append(x + 0.4 * torch.randn(x.shape, generator=g))
        about.append([runs[k][0], runs[k + 1][0], runs[k][1], runs[k + 1][2]])
    told = torch.tensor(about)
    return Part({"film": torch.stack(frames), "said": told[:, :2], "first": told[:, 2], "last": told[:, 3]}, told[:, 0])


class Grounder(nn.Module):
    """Proposals of films (B, P, d), and sentences (B, d)."""

    def __init__(self) -> None:
        super().__init__()
        self.frame = nn.Sequential(nn.Conv1d(64, 64, 3, padding=1), nn.GELU(), nn.Conv1d(64, 64, 3, padding=1))
        self.span = bench.mlp(3 * 64, WIDTH)
        self.words, self.order = nn.Embedding(10, WIDTH), bench.mlp(2 * WIDTH, WIDTH)

    def proposals(self, x: Tensor) -> Tensor:
        """Unit vectors of the spans, by their mean and both halves."""
        h = self.frame(x.mT).mT
        total = nn.functional.pad(h.cumsum(1), (0, 0, 1, 0))

        def mean(a: Tensor, b: Tensor) -> Tensor:
            return (total[:, b + 1] - total[:, a]) / (b - a + 1)[None, :, None]

        middle = (FIRST + LAST) // 2
        return unit(self.span(torch.cat([mean(FIRST, LAST), mean(FIRST, middle), mean(middle + 1, LAST)], 2)), dim=2)

    def sentence(self, said: Tensor) -> Tensor:
        """Unit vectors of two words in order."""
        return unit(self.order(self.words(said).flatten(1)), dim=1)


def attended(p: Tensor, q: Tensor, surrogates: bool) -> tuple[Tensor, Tensor]:
    """Scores of each sentence with each film, (Q, B), and the weights of the proposals, (Q, B, P)."""
    alike = torch.einsum("bpd,qd->qbp", p, q)
    kept = alike
    if surrogates:
        best = torch.zeros_like(alike, dtype=torch.bool)
        for k in GROUP.unique():
            inside = alike.masked_fill(k != GROUP, -torch.inf)
            best.scatter_(2, inside.argmax(2, keepdim=True), True)
        kept = alike.masked_fill(~best, -torch.inf)
    weight = (kept / 0.1).softmax(2)
    return (weight * alike).sum(2), weight


@experiment(moves="places", min_effect=0.03)
def vlanet(trial: Trial) -> Outcome:
    """Attention over all proposals against surrogates, the same hinge; three rates for both, 400 steps of 32 films."""
    g = trial.generator()
    views = parts.composed(
        trial, digits.pools(trial), lambda pool, n: told(pool, n, g), (800, 60), (200, 20), (400, 30)
    )

    def loss(m: Grounder, batch: Part, step: Step, surrogates: bool) -> Tensor:
        scores, _ = attended(m.proposals(batch.x["film"]), m.sentence(batch.x["said"]), surrogates)
        same = (batch.x["said"][:, None] == batch.x["said"][None]).all(2)
        twin = same & ~torch.eye(len(batch), dtype=torch.bool)
        return heads.hinge(scores.masked_fill(twin, -10.0), MARGIN)

    def treatment(surrogates: bool) -> contest.Treatment[Grounder]:
        return contest.by_loss(
            lambda _: Grounder(),
            partial(loss, surrogates=surrogates),
            (5e-4, 1e-3, 3e-3),
            rates=True,
            steps=400,
            size=32,
        )

    def weights(m: Grounder, part: Part) -> Tensor:
        """Of the proposals of each sentence's own film: both arms are asked over all proposals."""
        p, q = m.proposals(part.x["film"]), m.sentence(part.x["said"])
        return ((p * q[:, None]).sum(2) / 0.1).softmax(1)

    def found_half(m: Grounder, part: Part) -> float:
        k = weights(m, part).argmax(1)
        return float((overlap(FIRST[k], LAST[k], part.x["first"], part.x["last"]) >= 0.5).float().mean())

    def spread(m: Grounder, part: Part) -> dict[str, float]:
        w = weights(m, part)
        return {"entropy of attention": float(-torch.special.xlogy(w, w).sum(1).mean())}

    def vectors(m: Grounder, part: Part) -> dict[str, Tensor]:
        k, rows = weights(m, part).argmax(1), torch.arange(len(part))
        return {"proposal": m.proposals(part.x["film"])[rows, k], "sentence": m.sentence(part.x["said"])}

    found = contest.tuned(trial, treatment(False), treatment(True), views, found_half)
    dealt = views.train.but(film=views.train.x["film"][torch.randperm(len(views.train), generator=g)])
    return found.outcome(
        control=found.retrained(dealt),
        positive=found.untrained(),
        also=found.beside(spread),
        rows=found.rows(vectors),
    )
