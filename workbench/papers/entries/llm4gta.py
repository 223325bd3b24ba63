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

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits, measures
from workbench.papers.bench import Arm
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Treatment
from workbench.papers.digits import LEFT, RIGHT
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part
from workbench.training.towers import Towers


def _taught(part: Part, steps: int, seed: int) -> Towers:
    """Towers that were each taught the classes."""
    torch.manual_seed(seed)
    model = bench.towers(part)
    for m, x in part.x.items():
        classifier = nn.Sequential(model.of(m), nn.Linear(bench.DIM, 10))
        bench.teach([classifier], classifier, x, part.truth, steps=steps, seed=seed)
    return model


@experiment(moves="retention", recipe="gap_guard", min_effect=0.02, margin=0.02)
def llm4gta(trial: Trial) -> Outcome:
    """Long alignment without and with the guard, from towers with tasks of their own; three temperatures each."""
    views = digits.views_of_digits(trial, right=RIGHT, left=LEFT)
    train = views.train
    few = train.take(torch.randperm(len(train), generator=trial.generator())[:200])
    before = _taught(train, trial.steps(200), trial.seed)

    def aligned(name: str) -> Treatment[Towers]:
        def learn(part: Part, t: float, steps: int, seed: int) -> Towers:
            start = copy.deepcopy(before) if seed == trial.seed else _taught(train, trial.steps(200), seed)
            return bench.learn(Arm(name), few, temperature=t, steps=steps, seed=seed, model=start, size=64)

        return Treatment(learn, bench.TEMPERATURES, steps=500)

    def kept(m: Towers, part: Part) -> float:
        return measures.probe(bench.rows(m, train)["right"], train.truth, bench.rows(m, part)["right"], part.truth)

    def retrieved(m: Towers, part: Part) -> float:
        return measures.all_recall(bench.rows(m, part), part)

    def look(z: dict[str, Tensor]) -> dict[str, float]:
        return {"recall at 10": measures.all_recall(z, views.test), "gap": measures.gap(z["right"], z["left"])}

    # tuned for what alignment is for
    found = contest.tuned(trial, aligned("infonce"), aligned("gap_guard"), views, kept, choose=retrieved)
    rows, unaligned = found.rows(bench.rows), found.score(before)
    return found.outcome(
        control=found.restarted(),
        positive=(found.score(found.baseline), unaligned),
        also={"probe before alignment": unaligned} | contest.by_arm(rows, look),
        rows=rows,
    )
