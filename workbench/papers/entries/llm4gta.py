r"""Keeping strangers as similar as they were stops alignment from eating what a modality knew on its own.

Maths
-----
$$L=L_{\mathrm{CLIP}}+\lambda\,[\,|N_t-N_0|-\delta\,]_+^2,\quad N=\overline{\cos}\text{ of strangers}$$

Carried by
----------
recipe gap_guard

Code read
---------
linlany/MindtheGap

Deviations
----------
The text of the paper could not be read; the rule is that of near-identical work, absolute because cosines may start
near 0, and in a differentiable form of ours. The compensating classifier is left out.

Data
----
scikit-learn digits: towers of both halves first taught their classes, then aligned on 200 pairs for long

What must move
--------------
accuracy of a linear probe for classes on the right halves

Control
-------
the baseline from another start: the quantity

Positive control
----------------
the same probe, after long alignment against before it

At this size
------------
Alignment at this size does not eat what the tower knew, so there is nothing to guard.

Own data
--------
it needs a tower with a task of its own; on your data: 'workbench train gap_guard'
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits, measures
from workbench.papers.bench import Arm
from workbench.papers.catalogue import experiment
from workbench.papers.digits import LEFT, RIGHT
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part
from workbench.training.towers import Towers

cross = nn.functional.cross_entropy


@experiment(recipe="gap_guard", min_effect=0.02, margin=0.02)
def llm4gta(trial: Trial) -> Outcome:
    """Long alignment without and with the guard, from towers with tasks of their own; three temperatures each."""
    views = digits.views_of_digits(trial, right=RIGHT, left=LEFT)
    y = views.train.y
    assert y is not None
    few = torch.randperm(len(y), generator=torch.Generator().manual_seed(trial.seed))[:200]

    def told(tower: nn.Module, head: nn.Module, x: Tensor, index: Tensor) -> Tensor:
        return cross(head(tower(x[index])), y[index])

    def pretrained(seed: int) -> Towers:
        torch.manual_seed(seed)
        model = bench.towers(views.train)
        for m in views.train.x:
            head = nn.Linear(bench.DIM, 10)
            bench.fit(
                [model.of(m), head],
                partial(told, model.of(m), head, views.train.x[m]),
                len(y),
                steps=trial.steps(200),
                seed=seed,
            )
        return model

    def aligned(name: str, t: float, seed: int = trial.seed) -> Towers:
        return bench.learn(
            Arm(name),
            views.train.take(few),
            temperature=t,
            steps=trial.steps(500),
            seed=seed,
            model=copy.deepcopy(before if seed == trial.seed else pretrained(seed)),
            size=64,
        )

    def judge(m: Towers, part: Part) -> float:
        assert part.y is not None
        return measures.probe(bench.rows(m, views.train)["right"], y, bench.rows(m, part)["right"], part.y)

    before = pretrained(trial.seed)
    # tuned for what alignment is for
    plain, t0 = contest.best(
        trial,
        bench.TEMPERATURES,
        lambda t: aligned("infonce", t),
        lambda m: measures.all_recall(bench.rows(m, views.validation), views.validation),
    )
    guarded, _ = contest.best(
        trial,
        bench.TEMPERATURES,
        lambda t: aligned("gap_guard", t),
        lambda m: measures.all_recall(bench.rows(m, views.validation), views.validation),
    )
    also = {"probe before alignment": judge(before, views.test)}
    rows = {"baseline": bench.rows(plain, views.test), "mechanism": bench.rows(guarded, views.test)}
    for arm, z in rows.items():
        also |= {
            f"recall at 10, {arm}": measures.all_recall(z, views.test),
            f"gap, {arm}": measures.gap(z["right"], z["left"]),
        }
    base = judge(plain, views.test)
    return Outcome(
        base,
        judge(guarded, views.test),
        (base, judge(aligned("infonce", t0, trial.seed + 500), views.test)),
        (base, also["probe before alignment"]),
        also,
        rows,
        views.test.y,
    )
