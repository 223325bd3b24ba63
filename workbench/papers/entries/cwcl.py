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
from torch import nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, digits, measures, own_set
from workbench.papers.catalogue import experiment
from workbench.papers.digits import LEFT, RIGHT
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import unit


@experiment(recipe="cwcl", min_effect=0.01, own=DataNeeds(2, label=True))
def cwcl(trial: Trial) -> Outcome:
    """Locked-tower training with one-hot pairs against continuous weights; beside it, both at temperatures 0.02 and
    0.01, and the weights to the fourth power.
    """
    own = own_set.given(trial, 2)
    views = own or digits.views_of_digits(trial, right=RIGHT, left=LEFT)
    frozen, new = views.train.x
    parts = (views.train, views.validation, views.test)
    assert all(p.y is not None for p in parts)
    still = [p.x[frozen] for p in parts]
    if own is None:
        torch.manual_seed(trial.seed)
        teacher, head = bench.mlp(still[0].shape[1]), nn.Linear(bench.DIM, 10)
        bench.fit(
            [teacher, head],
            lambda i: nn.functional.cross_entropy(head(teacher(still[0][i])), views.train.y[i]),  # type: ignore[index]
            len(views.train),
            steps=trial.steps(300),
            seed=trial.seed,
        )
        with torch.no_grad():
            still = [unit(teacher(x), dim=1) for x in still]
    classes = int(max(int(p.y.max()) for p in parts)) + 1  # type: ignore[union-attr]
    means = unit(nn.functional.one_hot(views.train.y, classes).float().T @ still[0], dim=1)  # type: ignore[arg-type]

    def train(name: str, t: float, steps: int, wrong: bool = False, **settings: Any) -> nn.Module:
        torch.manual_seed(trial.seed)
        tower = bench.mlp(views.train.x[new].shape[1], still[0].shape[1])
        objective = recipe(name, temperature=t, learn_temperature=False, **settings)
        x = views.train.x[new]
        if wrong:
            x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(trial.seed))]
        bench.fit(
            [tower],
            lambda i: objective(Batch({frozen: still[0][i], new: tower(x[i])}))["loss"],
            len(x),
            steps=steps,
            seed=trial.seed,
        )
        return tower

    @torch.no_grad()
    def judge(tower: nn.Module, k: int = 2) -> float:
        return measures.right(unit(tower(parts[k].x[new]), dim=1) @ means.T, parts[k].y)

    steps, grid = trial.steps(300), (0.03, 0.1, 0.3)
    hard, t0 = contest.best(trial, grid, lambda t: train("bind", t, steps), lambda m: judge(m, 1))
    soft, t1 = contest.best(trial, grid, lambda t: train("cwcl", t, steps), lambda m: judge(m, 1))
    wrong = (judge(train("bind", t0, steps, True)), judge(train("cwcl", t1, steps, True)))
    cold = {
        f"{word} at temperature {t}": judge(train(name, t, steps))
        for t in (0.02, 0.01)
        for word, name in (("one-hot", "bind"), ("continuous", "cwcl"))
    } | {
        "weights to the fourth power": judge(train("cwcl", t1, steps, power=4.0)),
        "temperature of the baseline": t0,
        "temperature of the mechanism": t1,
    }
    with torch.no_grad():
        rows = {
            arm: {frozen: unit(still[2], dim=1), new: unit(m(views.test.x[new]), dim=1)}
            for arm, m in (("baseline", hard), ("mechanism", soft))
        }
    base = judge(hard)
    truth = views.test.y
    return Outcome(
        base,
        judge(soft),
        wrong,
        (judge(train("bind", t0, 0)), base),
        cold,
        rows,
        truth,
    )
