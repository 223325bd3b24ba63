r"""Preferring the right picture for a text, over none and over its minimal contrast, makes a captioner with a habit of
language tell look-alike pairs apart both ways better than preferring texts for a picture does.

Maths
-----
$$L=-\sum_{y}\log\sigma\beta\Delta(i_y,\varnothing|y)+\log\sigma\beta\Delta(\varnothing,i_{\bar y}|y),\quad
\Delta(a,b|y)=\log\tfrac{p(y|a)}{p(y|b)}-\log\tfrac{p_0(y|a)}{p_0(y|b)}$$

Carried by
----------
workbench.objectives.preference.svco

Code read
---------
s-vco/s-vco

Deviations
----------
A small recurrent captioner in place of a vision-language model; no picture is a picture of zeros, seen in one of ten
steps before. Direct preference is given both texts of a pair, which is more than the paper's baseline has.

Data
----
2 × 2 mosaics of scikit-learn digits, captions of four classes that mostly count on (2 3 4 5); pairs that differ in one
cell

What must move
--------------
group score: share of pairs of which both texts and both pictures are chosen rightly

Control
-------
the group score before, and after the mechanism on pairs whose two pictures are the same

Positive control
----------------
the group score before, and after likelihood on the same pairs

At this size
------------
Likelihood on the right pairs, which the paper has no need to beat, does as well or better (beside), and only it leaves
ordinary captions as likely as they were.

Own data
--------
a set has no captioner; workbench.objectives.preference.svco takes your own log-probabilities
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives.preference import dpo, svco
from workbench.papers import bench, contest, digits, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit
from workbench.papers.sequences import Sequence

CELLS, HIDDEN, HABIT, NOISE = 4, 96, 0.85, 0.35


class Captioner(nn.Module):
    """Pictures (B, 256) to the likelihood of their captions (B, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.eye, self.mouth = bench.mlp(CELLS * 64, HIDDEN, 192), Sequence(10, CELLS, HIDDEN)

    def log_p(self, x: Tensor, y: Tensor) -> Tensor:
        """Log-probability of captions given pictures, (B,)."""
        return self.mouth.log_p(y, self.eye(x))


def counted(n: int, g: torch.Generator) -> Tensor:
    """Captions (n, 4) in which a class is mostly followed by the next."""
    c = torch.randint(10, (n, CELLS), generator=g)
    for k in range(1, CELLS):
        c[:, k] = torch.where(torch.rand(n, generator=g) < HABIT, (c[:, k - 1] + 1) % 10, c[:, k])
    return c


def pictures(pool: list[Tensor], said: Tensor, g: torch.Generator) -> Tensor:
    """A picture for each caption, with noise, (n, 4, 64)."""
    x = torch.stack([digits.sample_digit(pool, int(c), g) for c in said.flatten()])
    return (x + NOISE * torch.randn(x.shape, generator=g)).view(len(said), CELLS, 64)


def pairs(pool: list[Tensor], n: int, g: torch.Generator) -> Part:
    """Two pictures with their captions that differ in one cell: {picture, other, said, other said}."""
    rows, said = torch.arange(n), counted(n, g)
    cell, other = torch.randint(CELLS, (n,), generator=g), said.clone()
    other[rows, cell] = (said[rows, cell] + torch.randint(1, 10, (n,), generator=g)) % 10
    x, y = pictures(pool, said, g), pictures(pool, other, g)
    changed = x.clone()
    changed[rows, cell] = y[rows, cell]
    return Part({"picture": x.flatten(1), "other": changed.flatten(1), "said": said, "other said": other}, said[:, 0])


def likelihoods(m: Captioner, part: Part) -> Tensor:
    """Of both captions given the one picture, the other, and none: (B, 2, 3)."""
    x = part.x
    shown = (x["picture"], x["other"], torch.zeros_like(x["picture"]))
    return torch.stack([torch.stack([m.log_p(p, x[y]) for p in shown], 1) for y in ("said", "other said")], 1)


def group(m: Captioner, part: Part) -> float:
    """Share of pairs of which both texts are likelier with their picture, and both pictures with their text."""
    p = likelihoods(m, part)
    texts = (p[:, 0, 0] > p[:, 1, 0]) & (p[:, 1, 1] > p[:, 0, 1])
    return float((texts & (p[:, 0, 0] > p[:, 0, 1]) & (p[:, 1, 1] > p[:, 1, 0])).float().mean())


def misled(m: Captioner, part: Part) -> float:
    """Share of changed pictures for which the caption of the habit is the likelier one."""
    p = likelihoods(m, part)
    return float((p[:, 0, 1] > p[:, 1, 1]).float().mean())


@experiment(moves="answers", min_effect=0.05, margin=0.03)
def s_vco(trial: Trial) -> Outcome:
    """150 steps on the same pairs from one pretrained captioner; three rates for both, chosen by the group score."""
    pools, g = digits.pools(trial), trial.generator()
    said = counted(trial.count(3000, 60), g)
    train = Part({"picture": pictures(pools[0], said, g).flatten(1), "said": said})
    views = parts.composed(trial, pools, lambda pool, n: pairs(pool, n, g), (600, 40), (400, 30), (800, 30))
    usual = counted(trial.count(800, 30), g)
    ordinary = pictures(pools[2], usual, g).flatten(1), usual

    def seen(m: Captioner, batch: Part, step: Step) -> Tensor:
        x = batch.x["picture"]
        kept = torch.rand(len(x), 1, generator=step.draw) >= 0.1
        return -m.log_p(x * kept, batch.x["said"]).mean()

    learnt = contest.by_loss(lambda _: Captioner(), seen, (bench.RATE,), rates=True, size=trial.count(64, 8))
    start = learnt.learn(train, bench.RATE, trial.steps(900), trial.seed)

    def loss(m: Captioner, batch: Part, step: Step, kind: str, alike: bool = False) -> Tensor:
        part = batch.but(other=batch.x["picture"]) if alike else batch
        policy = likelihoods(m, part)
        if kind == "likelihood":
            return -(policy[:, 0, 0] + policy[:, 1, 1]).mean() / 2
        with torch.no_grad():
            before = likelihoods(start, part)
        if kind == "pictures":
            return svco(policy, before)
        r = policy - before
        return dpo(r[:, 0, 0], r[:, 1, 0]) + dpo(r[:, 1, 1], r[:, 0, 1])

    def treatment(kind: str, alike: bool = False) -> contest.Treatment[Captioner]:
        return contest.by_loss(
            lambda _: copy.deepcopy(start),
            partial(loss, kind=kind, alike=alike),
            (3e-4, 1e-3, 3e-3),
            rates=True,
            steps=150,
            size=trial.count(64, 8),
        )

    def usually(m: Captioner, part: Part) -> float:
        return float(m.log_p(*ordinary).mean()) / CELLS

    def vectors(m: Captioner, part: Part) -> dict[str, Tensor]:
        return {k: unit(m.eye(part.x[k]), dim=1) for k in ("picture", "other")}

    found = contest.tuned(trial, treatment("texts"), treatment("pictures"), views, group)
    alike = found.again("mechanism", by=treatment("pictures", True))
    told, _ = contest.tune(trial, treatment("likelihood"), views, group)
    return found.outcome(
        control=(found.score(start), found.score(alike)),
        positive=(found.score(start), found.score(told)),
        also={
            "before": found.score(start),
            "after likelihood on the same pairs": found.score(told),
            "misled by habit, before": found.score(start, misled),
            "log-likelihood of a word of ordinary captions, before": found.score(start, usually),
        }
        | found.beside(
            lambda m, p: {
                "misled by habit": misled(m, p),
                "log-likelihood of a word of ordinary captions": usually(m, p),
            }
        ),
        rows=found.rows(vectors),
        labels=views.test.y,
    )
