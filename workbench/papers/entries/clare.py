r"""Contrasting every expression with all instances of the batch by a sigmoid makes an instance findable across
pictures, where contrasting it within its own picture does not.

Maths
-----
$$L=-\tfrac1{|T|}\sum_{t}\sum_{o}\log\sigma\big(y_{to}(e^{\tau'}\langle t,o\rangle+b)\big),\quad y_{to}=\pm1$$

Carried by
----------
workbench.objectives.heads.sigmoid

Code read
---------
haoxiangzhao12138/REIR

Deviations
----------
The detector is left out: instances are given. The bias begins at -10; as released it begins at 0, shown beside.
Instances are not normalised, as released; another picture's copy of the same emoji is no negative.

Data
----
pictures of four emoji: drawings as instances, English names with tags as expressions, as frozen features

What must move
--------------
recall at 1 of the instance among all instances of the test pictures

Control
-------
accuracy of the instance within its own picture, of both

Positive control
----------------
the recall of the baseline, untrained and trained

Own data
--------
an instance needs its picture: give items with several rows, one a region, and 'workbench diagnose' looks each up
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.papers import bench, contest, own_set, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit
from workbench.training.towers import Towers

REGIONS = 4


class Scored(nn.Module):
    """Towers, and the scale and bias of the sigmoid."""

    def __init__(self, towers: Towers, scale: float, bias: float) -> None:
        super().__init__()
        self.towers = towers
        self.scale, self.bias = nn.Parameter(torch.tensor(math.log(scale))), nn.Parameter(torch.tensor(bias))

    def forward(self, batch: Part) -> tuple[Tensor, Tensor]:
        """Instances (B, 4, d) and unit expressions (B, 4, d)."""
        return self.towers.of("color")(batch.x["color"]), unit(self.towers.of("text")(batch.x["text"]), dim=2)


@experiment(moves="retrieval", min_effect=0.03, margin=0.03)
def clare(trial: Trial) -> Outcome:
    """A softmax over the picture's four instances against the sigmoid over all of the batch; three scales for both, 300
    steps of 32 pictures.
    """
    items, g = own_set.emoji(trial, "text", "color"), trial.generator()

    def pictures(part: Part, count: int) -> Part:
        at = torch.stack([torch.randperm(len(part), generator=g)[:REGIONS] for _ in range(count)])
        return Part({m: x[at] for m, x in part.x.items()} | {"which": at}, None if part.y is None else part.y[at])

    views = parts.composed(trial, items, pictures, (1200, 40), (200, 20), (400, 30))

    def within(m: Scored, batch: Part, step: Step) -> Tensor:
        z, t = m(batch)
        scores = m.scale.exp() * torch.einsum("btd,bod->bto", t, unit(z, dim=2))
        return heads.softmax(scores.flatten(0, 1), torch.arange(REGIONS).repeat(len(batch)))

    def whole(m: Scored, batch: Part, step: Step) -> Tensor:
        z, t = m(batch)
        logits = m.scale.exp() * t.flatten(0, 1) @ z.flatten(0, 1).T + m.bias
        which = batch.x["which"].flatten()
        own = torch.eye(len(which), dtype=torch.bool)
        copy = (which[:, None] == which[None]) & ~own
        signed = torch.where(own, logits, -logits)
        return -nn.functional.logsigmoid(signed).masked_fill(copy, 0.0).sum() / len(which)

    def treatment(kind: str, bias: float = -10.0) -> contest.Treatment[Scored]:
        def build(scale: float) -> Scored:
            return Scored(bench.towers(items.train), scale, bias)

        loss = within if kind == "within" else whole
        return contest.by_loss(build, loss, (3.0, 10.0, 30.0), steps=300, size=32)

    def scores(m: Scored, part: Part) -> Tensor:
        z, t = m(part)
        return t.flatten(0, 1) @ unit(z, dim=2).flatten(0, 1).T

    def across(m: Scored, part: Part) -> float:
        """A copy in another picture is a hit."""
        which = part.x["which"].flatten()
        return float((which[scores(m, part).argmax(1)] == which).float().mean())

    def inside(m: Scored, part: Part) -> float:
        z, t = m(part)
        best = torch.einsum("btd,bod->bto", t, unit(z, dim=2)).argmax(2)
        return float((best == torch.arange(REGIONS)).float().mean())

    def vectors(m: Scored, part: Part) -> dict[str, Tensor]:
        z, t = m(part)
        return {"instance": unit(z, dim=2).flatten(0, 1), "expression": t.flatten(0, 1)}

    found = contest.tuned(trial, treatment("within"), treatment("whole"), views, across)
    return found.outcome(
        control=found.scores(inside),
        positive=found.untrained(),
        also={"bias of 0, as released": found.score(found.again("mechanism", by=treatment("whole", 0.0)))}
        | found.beside(lambda m, p: {"within its picture": inside(m, p)}),
        rows=found.rows(vectors),
        labels=views.test.truth.flatten(),
    )
