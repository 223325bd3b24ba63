r"""With every item positive by its similarity in the frozen modality, a new tower transfers better to classes than with
one-hot pairs.

Maths
-----
$$w_{ij}=\tfrac12\cos(q_i,q_j)+\tfrac12,\qquad L=-\frac1N\sum_i\frac1{\sum_j w_{ij}}\sum_j w_{ij}\log
p_{ij}+L_{\mathrm{CL}}$$

Carried by
----------
recipe cwcl

Code read
---------
hwjustin/CellCLIP

Deviations
----------
No code of the authors was found; the formula is confirmed in a follow-up's code.

Data
----
scikit-learn digits: right halves through a tower taught with classes and frozen, left halves to learn from pairs only

What must move
--------------
accuracy of new left halves with the class means of the frozen side

Control
-------
both recipes on pairs made at random: the quantity

Positive control
----------------
the one-hot arm, untrained against trained: accuracy

At this size
------------
With a batch of 128 and weights mostly in .4 to 1 the targets are nearly even; at a temperature of 0.01 that loses
(beside).

Try it
------
workbench papers cwcl --run --data YOUR_SET --label CLASS   (the first modality is the frozen one)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, digits, measures, own_set
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.digits import LEFT, RIGHT
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit

Model = tuple[nn.Module, nn.Module]  # the new tower and the objective


def _taught(trial: Trial, views: Views, m: str) -> Views:
    """The same with one modality seen through a frozen tower that was taught the classes."""
    torch.manual_seed(trial.seed)
    x, y = views.train.x[m], views.train.truth
    teacher = bench.mlp(x.shape[1])
    classifier = nn.Sequential(teacher, nn.Linear(bench.DIM, 10))
    bench.teach([classifier], classifier, x, y, steps=trial.steps(300), seed=trial.seed)
    with torch.no_grad():
        return Views(*(part.but(**{m: unit(teacher(part.x[m]), dim=1)}) for part in views))


@experiment(moves="classes", recipe="cwcl", min_effect=0.01, own=DataNeeds(2, label=True))
def cwcl(trial: Trial) -> Outcome:
    """Locked-tower training with one-hot pairs against continuous weights; beside it, both at temperatures 0.02 and
    0.01, and the weights to the fourth power.
    """
    views = own_set.given(trial, 2)
    if views is None:
        views = _taught(trial, digits.views_of_digits(trial, right=RIGHT, left=LEFT), "right")
    train = views.train
    frozen, new = train.x
    means = unit(nn.functional.one_hot(train.truth, views.classes).float().T @ train.x[frozen], dim=1)

    def loss(m: Model, batch: Part, step: Step) -> Tensor:
        return m[1](Batch({frozen: batch.x[frozen], new: m[0](batch.x[new])}))["loss"]

    def treatment(name: str, *grid: float, **settings: Any) -> contest.Treatment[Model]:
        def build(t: float) -> Model:
            tower = bench.mlp(train.x[new].shape[1], train.x[frozen].shape[1])
            return tower, recipe(name, temperature=t, learn_temperature=False, **settings)

        return contest.by_loss(build, loss, grid or bench.TEMPERATURES)

    def judge(m: Model, part: Part) -> float:
        return measures.right(unit(m[0](part.x[new]), dim=1) @ means.T, part.y)

    one_hot, continuous = treatment("bind"), treatment("cwcl")
    found = contest.tuned(trial, one_hot, continuous, views, judge)
    order = torch.randperm(len(train), generator=trial.generator())
    cold = {
        f"{word} at temperature {t}": found.score(t_.learn(train, t, trial.steps(t_.steps), trial.seed))
        for t in (0.02, 0.01)
        for word, t_ in (("one-hot", one_hot), ("continuous", continuous))
    }
    fourth = found.again("mechanism", by=treatment("cwcl", power=4.0))
    return found.outcome(
        control=found.retrained(train.but(**{new: train.x[new][order]})),
        positive=found.untrained(),
        also=cold | {"weights to the fourth power": found.score(fourth)} | found.temperatures,
        rows=found.rows(lambda m, p: {frozen: unit(p.x[frozen], dim=1), new: unit(m[0](p.x[new]), dim=1)}),
    )
