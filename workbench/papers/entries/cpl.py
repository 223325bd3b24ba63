r"""Partners voted by whole and parts, with soft pseudo-labels weighted by confidence, find classes that nobody labelled
better than labels and a balance of classes alone do.

Maths
-----
$$L=\mathrm{CE}_{-m}+\tfrac12\,\overline{-\log\langle p_i,p_{j(i)}\rangle}+\tfrac12\,\overline{c_i\,\mathrm{CE}(p_i,
\tilde y_i)}-H(\bar p)$$

Carried by
----------
workbench.objectives.discovery.agreement; workbench.objectives.discovery.balance

Code read
---------
TencentYoutuResearch/OpenWorld-DeepFakeAttribution

Deviations
----------
Neutral classes and no faces; four parts of an 8 × 8 picture, three layers. All arms start from the same contrast of
augmentations, without labels.

Data
----
scikit-learn digits: 0 to 4 with half of their labels, 5 to 9 with none

What must move
--------------
accuracy on 5 to 9, each matched to one of the outputs

Control
-------
accuracy on 0 to 4, of both

Positive control
----------------
accuracy on 5 to 9 by the whole objective, without the balance of classes (it collapses) and with it

At this size
------------
The neighbour in the whole space alone does as well (beside): the vote of the parts lifts the share of right partners
and leaves half of the items without one.

Own data
--------
the comparison trains a classifier on pictures; 'workbench diagnose SET --label CLASS' tells how well neighbours know
your classes
"""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.objectives.discovery import agreement, balance, partners
from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit

KNOWN, MARGIN, TEMPERATURE = 5, 0.2, 0.1
LABELLED, UNLABELLED = 48, 96  # rows of a batch


class Network(nn.Module):
    """A picture (B, 64) as one vector, as four of its parts, and ten logits by cosine."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
        )
        self.whole, self.classes = nn.Linear(256, 64), nn.Linear(64, 10, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.body(x.view(-1, 1, 8, 8)).flatten(2).transpose(1, 2)
        z = unit(self.whole(parts.flatten(1)), dim=1)
        return z, parts, z @ unit(self.classes.weight, dim=1).T / TEMPERATURE


def matched(guess: Tensor, truth: Tensor) -> float:
    """Accuracy of outputs on classes, each class matched to the output that serves it best."""
    table = np.zeros((10, 10))
    np.add.at(table, (guess.numpy(), truth.numpy()), 1)
    return float(table[linear_sum_assignment(-table)].sum() / max(len(truth), 1))


def _started(part: Part, steps: int, seed: int) -> Network:
    """The contrast of two augmentations of a picture, without labels."""
    torch.manual_seed(seed)
    m, g = Network(), torch.Generator().manual_seed(seed)

    def loss(index: Tensor) -> Tensor:
        x = part.x["whole"][index].view(-1, 8, 8)
        a, b = (m(digits.augmented(x, g))[0] for _ in range(2))
        return heads.symmetric(a @ b.T / 0.2)

    bench.fit([m], loss, len(part), steps=steps, seed=seed)
    return m


@experiment(moves="classes", min_effect=0.03, margin=0.03)
def cpl(trial: Trial) -> Outcome:
    """Labels and balance against the whole objective from the same start; three rates for both, chosen by the mean of
    both accuracies.
    """
    views = digits.whole(trial)
    told = torch.rand(len(views.train), generator=trial.generator()) < 0.5
    views = Views(views.train.but(told=told & (views.train.truth < KNOWN)), views.validation, views.test)
    start = _started(views.train, trial.steps(200), trial.seed)

    def loss(m: Network, _: Part, step: Step, kind: str, balanced: bool = True) -> Tensor:
        part, told = step.part, step.part.x["told"]
        rows = []
        for side, size in ((told, LABELLED), (~told, UNLABELLED)):
            pool = side.nonzero()[:, 0]
            rows.append(pool[torch.randint(len(pool), (size,), generator=step.draw)])
        at = torch.cat(rows)
        z, parts, logits = m(digits.augmented(part.x["whole"][at].view(-1, 8, 8), step.draw))
        y, p = part.truth[rows[0]], logits.softmax(1)
        raised = logits[:LABELLED] + MARGIN * nn.functional.one_hot(y, 10)
        total = nn.functional.cross_entropy(raised, y) - balanced * balance(p)
        if kind == "labels":
            return total
        partner, kept = partners(z.detach(), parts.detach(), y, step.draw, vote=kind == "whole")
        total = total + 0.5 * agreement(p, torch.where(kept[:, None], p[partner], p))
        guess = logits[LABELLED:]
        soft = nn.functional.gumbel_softmax(guess.detach(), tau=1.0)
        sure = guess.detach().softmax(1).gather(1, soft.argmax(1)[:, None])[:, 0] * kept[LABELLED:]
        return total + 0.5 * (-(soft * guess.log_softmax(1)).sum(1) * sure).mean()

    def treatment(kind: str, balanced: bool = True) -> contest.Treatment[Network]:
        return contest.by_loss(
            lambda _: copy.deepcopy(start),
            partial(loss, kind=kind, balanced=balanced),
            (1e-3, 2e-3, 4e-3),
            rates=True,
            steps=400,
        )

    def novel(m: Network, part: Part) -> float:
        new = part.truth >= KNOWN
        return matched(m(part.x["whole"][new])[2].argmax(1), part.truth[new])

    def known(m: Network, part: Part) -> float:
        old = part.truth < KNOWN
        return measures.right(m(part.x["whole"][old])[2], part.truth[old])

    def both(m: Network, part: Part) -> float:
        return (novel(m, part) + known(m, part)) / 2

    found = contest.tuned(trial, treatment("labels"), treatment("whole"), views, novel, choose=both)
    collapsed = found.score(found.again("mechanism", by=treatment("whole", balanced=False)))
    neighbour, _ = contest.tune(trial, treatment("neighbour"), views, both)
    return found.outcome(
        control=found.scores(known),
        positive=(collapsed, found.score(found.mechanism)),
        also={
            "with the whole space's neighbour, no vote": found.score(neighbour),
            "without the balance of classes": collapsed,
        }
        | _voted(start, views.train, trial)
        | found.beside(lambda m, p: {"known classes": known(m, p)}),
        rows=found.rows(lambda m, p: {"picture": m(p.x["whole"])[0]}),
    )


@torch.no_grad()
def _voted(m: Network, part: Part, trial: Trial) -> dict[str, float]:
    """How many partners are of the same class before training, all and those that the parts vote for."""
    at = (~part.x["told"]).nonzero()[:, 0][: trial.count(400, 60)]
    z, parts, _ = m(part.x["whole"][at])
    partner, kept = partners(z, parts, torch.zeros(0, dtype=torch.long), trial.generator())
    right = (part.truth[at] == part.truth[at][partner]).float()
    return {
        "share of right partners at the start": float(right.mean()),
        "share of right partners at the start, voted for": float(right[kept].mean()) if kept.any() else 0.0,
        "share that is voted for": float(kept.float().mean()),
    }
