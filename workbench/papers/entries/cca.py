r"""One short tuning that contrasts the right with a wrong condition lets plain sampling obey the condition better than
going on with likelihood does.

Maths
-----
$$L=\tfrac1{\max(\lambda,1)}\,\overline{-\log\sigma(\beta r^+)-\lambda\log\sigma(-\beta r^-)},\quad
r=\log p_\theta(x|c)-\log p_\phi(x|c)$$

Carried by
----------
workbench.objectives.preference.cca

Code read
---------
thu-ml/CCA

Deviations
----------
Sixteen tokens of four values in place of 680 of 4,096: the published weight (50, at β = 0.02) collapses here, shown
beside, so λ = 1 and β = 0.1. The reference is in its evaluation mode.

Data
----
scikit-learn digits, averaged to 4 × 4 and four levels of grey, as token sequences; the ten classes as conditions

What must move
--------------
share of samples, drawn in one pass, that a judge taught on other digits takes for their class

Control
-------
both arms from a model that was taught with classes dealt at random, tuned on the same: the share

Positive control
----------------
the share before tuning, without and with classifier-free guidance at twice the cost

At this size
------------
Obedience costs variety in every way of getting it: the share of training digits that are some sample's nearest stands
beside.

Own data
--------
a set has no generator; workbench.objectives.preference.cca takes your own log-probabilities
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives.preference import cca as contrast
from workbench.papers import bench, contest, digits
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views
from workbench.papers.sequences import Sequence

NONE, LENGTH, LEVELS, HIDDEN = 10, 16, 4, 96


class Model(nn.Module):
    """A generator with a vector for each class, and one for none."""

    def __init__(self) -> None:
        super().__init__()
        self.condition, self.generator = nn.Embedding(11, HIDDEN), Sequence(LEVELS, LENGTH, HIDDEN)

    def log_p(self, x: Tensor, c: Tensor) -> Tensor:
        """Log-probability of sequences under classes, (B,)."""
        return self.generator.log_p(x, self.condition(c))

    def sample(self, c: Tensor, g: torch.Generator, scale: float = 0.0) -> Tensor:
        """Sequences of these classes; guided where a scale is given."""
        free = self.condition(torch.full_like(c, NONE)) if scale else None
        return self.generator.sample(self.condition(c), g, free=free, scale=scale)


def tokens(part: Part) -> Part:
    """Digits (N, 64) as sixteen levels of grey."""
    small = nn.functional.avg_pool2d(part.x["whole"].view(-1, 1, 8, 8), 2).flatten(1)
    return Part({"tokens": (small * (LEVELS - 0.001)).long().clamp(0, LEVELS - 1)}, part.y)


@experiment(moves="answers", min_effect=0.05, margin=0.03)
def cca(trial: Trial) -> Outcome:
    """150 steps more of likelihood, or of the contrast, from one pretrained model; three rates for both."""
    views = Views(*map(tokens, digits.whole(trial)))
    train, asked = views.train, torch.arange(10).repeat(trial.count(60, 1))

    def nll(m: Model, batch: Part, step: Step) -> Tensor:
        dropped = torch.rand(len(batch), generator=step.draw) < 0.1
        return -m.log_p(batch.x["tokens"], batch.truth.masked_fill(dropped, NONE)).mean() / LENGTH

    def pretrained(part: Part) -> Model:
        learnt = contest.by_loss(lambda _: Model(), nll, (bench.RATE,), rates=True, size=trial.count(64, 8))
        return learnt.learn(part, bench.RATE, trial.steps(900), trial.seed)

    others = [
        torch.cat(rows)
        for rows in zip(*((p.x["tokens"], p.truth) for p in (views.validation, views.test)), strict=True)
    ]
    torch.manual_seed(trial.seed)
    judge = nn.Sequential(nn.Embedding(LEVELS, 8), nn.Flatten(), bench.mlp(8 * LENGTH, 10))
    bench.teach([judge], judge, others[0], others[1], steps=trial.steps(400), seed=trial.seed)
    random = train.relabelled(trial.generator())
    start, dealt = pretrained(train), pretrained(random)

    def contrasted(m: Model, batch: Part, step: Step, of: Model, weight: float, beta: float) -> Tensor:
        x, y, other = batch.x["tokens"], batch.truth, batch.truth.roll(-1)
        dropped = torch.rand(len(batch), generator=step.draw) < 0.1
        right, wrong = y.masked_fill(dropped, NONE), other.masked_fill(dropped, NONE)
        with torch.no_grad():
            before = of.log_p(x, right), of.log_p(x, wrong)
        r = m.log_p(x, right) - before[0], m.log_p(x, wrong) - before[1]
        return contrast(*r, beta=beta, weight=weight, alike=right == wrong)

    def treatment(of: Model, kind: str, weight: float = 1.0, beta: float = 0.1) -> contest.Treatment[Model]:
        loss = nll if kind == "likelihood" else partial(contrasted, of=of, weight=weight, beta=beta)
        return contest.by_loss(
            lambda _: copy.deepcopy(of), loss, (3e-4, 1e-3, 3e-3), rates=True, steps=150, size=trial.count(64, 8)
        )

    def drawn(m: Model, part: Part, scale: float = 0.0) -> Tensor:
        g = torch.Generator().manual_seed(trial.seed + (9 if part is views.test else 8))
        return m.sample(asked, g, scale)

    def obeyed(m: Model, part: Part, scale: float = 0.0) -> float:
        return float((judge(drawn(m, part, scale)).argmax(1) == asked).float().mean())

    def cover(m: Model, part: Part, scale: float = 0.0) -> float:
        near = torch.cdist(drawn(m, part, scale).float(), train.x["tokens"].float(), p=1).argmin(1)
        return len(near.unique()) / len(asked)

    found = contest.tuned(trial, treatment(start, "likelihood"), treatment(start, "contrast"), views, obeyed)
    guided = [partial(f, scale=1.0) for f in (obeyed, cover)]
    released = treatment(start, "contrast", weight=50.0, beta=0.02)
    return found.outcome(
        control=found.retrained(random, by=(treatment(dealt, "likelihood"), treatment(dealt, "contrast"))),
        positive=(found.score(start), found.score(start, guided[0])),
        also={
            "before": found.score(start),
            "before, with guidance": found.score(start, guided[0]),
            "digits covered before": found.score(start, cover),
            "digits covered before, with guidance": found.score(start, guided[1]),
            "with the published weight": found.score(found.again("mechanism", by=released)),
        }
        | found.beside(lambda m, p: {"digits covered": cover(m, p)}),
        rows=found.rows(lambda m, p: {"sample": drawn(m, p).float(), "digit": train.x["tokens"][: len(asked)].float()}),
        labels=asked,
    )
