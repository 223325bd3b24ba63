r"""Contrasting bags of tokens by the transport between them carries each token to its part better than contrasting
wholes alone.

Maths
-----
$$s_{ij}=\langle\pi_{ij}, \cos(x_i,y_j)\rangle,\qquad L=.3\,L_{\text{whole}}+.7\,\mathrm{symCE}(s/\tau)$$

Carried by
----------
recipe orma; workbench.objectives.transport.proximal

Code read
---------
DeepLearnXMU/Orma

Deviations
----------
Two levels instead of three. The released code sends each token to its worst part (the least of the plan, beside) and
scores the true pair with features made from its own text; neither is done here.

Data
----
records of four emoji: drawings as parts, English names as tokens, as frozen features

What must move
--------------
share of tokens whose nearest part of the record is theirs

Control
-------
records with the names of other records, dealt anew at every step: share of both arms

Positive control
----------------
share by wholes alone, untrained against trained

Try it
------
workbench papers orma --run --data YOUR_SET
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives import transport
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, own_set, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit
from workbench.training.towers import Towers

Model = tuple[Towers, nn.Module]  # the objective learns as well
ARMS = {"baseline": "infonce", "mechanism": "orma"}


@experiment(moves="places", min_effect=0.02, own=DataNeeds(2))
def orma(trial: Trial) -> Outcome:
    """Means of bags contrasted, against the recipe; parts are found by the cosine of tokens in both."""
    items = own_set.given(trial, 2) or own_set.emoji(trial, "text", "color")
    text, picture = items.train.x
    g = trial.generator()

    def records(part: Part, count: int) -> Part:
        """Records of four items, both modalities (count, 4, d)."""
        at = torch.stack([torch.randperm(len(part), generator=g)[:4] for _ in range(count)])
        return Part({m: x[at] for m, x in part.x.items()})

    views = parts.composed(trial, items, records, (1200, 40), (200, 20), (400, 30))

    def loss(m: Model, batch: Part, step: Step, dealt: bool) -> Tensor:
        x = dict(batch.x)
        if dealt:  # a fixed wrong partner would be learnt, and the right one pushed away as a negative
            x[text] = step.part.x[text][torch.randint(len(step.part), (len(batch),), generator=step.draw)]
        z = {k: m[0].of(k)(v) for k, v in x.items()}
        wholes = {k: unit(v, dim=-1).mean(1) for k, v in z.items()}
        return m[1](Batch(wholes, tokens=z))["loss"]

    def treatment(name: str, dealt: bool = False) -> contest.Treatment[Model]:
        def build(t: float) -> Model:
            return bench.towers(items.train), recipe(name, temperature=t)

        return contest.by_loss(build, partial(loss, dealt=dealt), (0.03, 0.1), steps=150, size=32)

    def similar(m: Model, part: Part) -> Tensor:
        z = {k: unit(m[0].of(k)(x), dim=-1) for k, x in part.x.items()}
        return z[text] @ z[picture].mT  # (records, tokens, parts)

    own = torch.arange(4)

    def judge(m: Model, part: Part) -> float:
        return float((similar(m, part).argmax(2) == own).float().mean())

    def most(m: Model, part: Part) -> float:
        return float((transport.proximal(1 - similar(m, part)).argmax(2) == own).float().mean())

    def least(m: Model, part: Part) -> float:
        return float((transport.proximal(1 - similar(m, part)).argmin(2) == own).float().mean())

    found = contest.tuned(trial, treatment(ARMS["baseline"]), treatment(ARMS["mechanism"]), views, judge)
    return found.outcome(
        control=found.retrained(by=(treatment(ARMS["baseline"], dealt=True), treatment(ARMS["mechanism"], dealt=True))),
        positive=found.untrained(),
        also={
            "by the most of the transport plan": found.score(found.mechanism, most),
            "by the least of it, as released": found.score(found.mechanism, least),
        },
        rows=found.rows(lambda m, _: bench.rows(m[0], items.test)),
        labels=items.test.y,
    )
