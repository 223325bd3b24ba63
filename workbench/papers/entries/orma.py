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
records with the names of other records: share of both

Positive control
----------------
share by wholes alone, untrained against trained

Try it
------
workbench papers orma --run --data YOUR_SET
"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.objectives import transport
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, own_set
from workbench.papers.catalogue import experiment
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit
from workbench.training.towers import Towers


@experiment(min_effect=0.02, own=DataNeeds(2))
def orma(trial: Trial) -> Outcome:
    """Means of bags contrasted, against the recipe; parts are found by the cosine of tokens in both."""
    views = own_set.given(trial, 2) or own_set.emoji(trial, "text", "color")
    text, picture = views.train.x
    g = torch.Generator().manual_seed(trial.seed)

    def records(part: Part, count: int) -> Tensor:
        return torch.stack([torch.randperm(len(part), generator=g)[:4] for _ in range(count)])

    sizes = (trial.count(1200, 40), trial.count(200, 20), trial.count(400, 30))
    drawn = [records(p, n) for p, n in zip((views.train, views.validation, views.test), sizes, strict=True)]

    def train(t: float, name: str, wrong: bool, steps: int) -> Towers:
        torch.manual_seed(trial.seed)
        model = bench.towers(views.train)
        objective = recipe(name, temperature=t)

        def loss(index: Tensor) -> Tensor:
            at = drawn[0][index]
            other = at.roll(1, 0) if wrong else at
            z = {
                text: model.of(text)(views.train.x[text][other]),
                picture: model.of(picture)(views.train.x[picture][at]),
            }
            wholes = {m: unit(v, dim=-1).mean(1) for m, v in z.items()}
            return objective(Batch(wholes, tokens=z))["loss"]

        bench.fit([model, objective], loss, len(drawn[0]), steps=steps, seed=trial.seed, size=32)
        return model

    def similar(model: Towers, part: Part, index: Tensor) -> Tensor:
        with torch.no_grad():
            z = bench.rows(model, part)
        return z[text][index] @ z[picture][index].mT  # (records, tokens, parts)

    def judge(model: Towers, k: int = 2) -> float:
        s = similar(model, (views.train, views.validation, views.test)[k], drawn[k])
        return float((s.argmax(2) == torch.arange(4)).float().mean())

    steps, grid = trial.steps(150), (0.03, 0.1)
    whole, t0 = contest.best(trial, grid, lambda t: train(t, "infonce", False, steps), lambda m: judge(m, 1))
    parts, t1 = contest.best(trial, grid, lambda t: train(t, "orma", False, steps), lambda m: judge(m, 1))
    plan = transport.proximal(1 - similar(parts, views.test, drawn[2]))
    own = torch.arange(4)
    return Outcome(
        judge(whole),
        judge(parts),
        (judge(train(t0, "infonce", True, steps)), judge(train(t1, "orma", True, steps))),
        (judge(train(t0, "infonce", False, 0)), judge(whole)),
        {
            "by the most of the transport plan": float((plan.argmax(2) == own).float().mean()),
            "by the least of it, as released": float((plan.argmin(2) == own).float().mean()),
        },
        {"baseline": bench.rows(whole, views.test), "mechanism": bench.rows(parts, views.test)},
        views.test.y,
    )
