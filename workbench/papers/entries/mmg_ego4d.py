r"""With modalities aligned and dropped in training, a classifier taught in one modality serves in another.

Maths
-----
$$L=\mathrm{CE}(f(\textstyle\sum_{m\in S}z_m))+\sum_{m<m'}\mathrm{InfoNCE}(z_m,z_{m'})+\sum_{m\ne
m'}\mathrm{CE}(-\|q^{m'}-p^{m}_c\|^2)$$

Carried by
----------
recipe infonce; train.drop

Deviations
----------
No code was found: modality dropout, pairwise alignment and prototypes across modalities are put together from the
abstract, all weights 1.

Data
----
scikit-learn digits: top, bottom and left halves, 20 labelled items a class

What must move
--------------
accuracy with the classifier of one modality on another (mean over ordered pairs)

Control
-------
both on labels dealt at random: accuracy across modalities

Positive control
----------------
accuracy within a modality, against the share of the commonest class

Try it
------
workbench papers mmg_ego4d --run --data YOUR_SET --label CLASS
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, digits, measures, own_set
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.digits import BOTTOM, LEFT, TOP
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit
from workbench.training.towers import Towers

cross = nn.functional.cross_entropy
Model = tuple[Towers, nn.Module, nn.Module]  # with the head of the classifier and the objective of the alignment


@experiment(moves="classes", recipe="infonce", min_effect=0.05, margin=0.05, own=DataNeeds(2, label=True, every=True))
def mmg_ego4d(trial: Trial) -> Outcome:
    """A fused classifier alone against one with dropout, alignment and cross-modal prototypes; every cell of
    modality taught × modality tested.
    """
    views = own_set.given(trial) or digits.views_of_digits(trial, top=TOP, bottom=BOTTOM, left=LEFT)
    train, g = views.train, trial.generator()
    names, classes = list(train.x), views.classes
    # as few labels as a few-shot task has, as many items without as the training part holds
    order = torch.randperm(len(train), generator=g)
    shots = torch.cat([order[train.truth[order] == c][:20] for c in range(classes)])

    def build(t: float) -> Model:
        return bench.towers(train), nn.Linear(bench.DIM, classes), recipe("infonce", temperature=t)

    def loss(m: Model, batch: Part, step: Step, whole: bool) -> Tensor:
        model, head, align = m
        few = step.part.take(shots[step.index % len(shots)])
        z = {k: unit(x, dim=1) for k, x in model(few.x).items()}
        keep = [k for k in names if not whole or torch.rand(1, generator=step.draw) < 0.5] or names[:1]
        total = cross(head(torch.stack([z[k] for k in keep]).mean(0)) / step.setting, few.truth)
        if not whole:
            return total
        total = total + align(Batch(model(batch.x)))["loss"]
        onehot = nn.functional.one_hot(few.truth, classes).float()
        for a in names:
            p = onehot.T @ z[a] / onehot.sum(0).clamp_min(1)[:, None]
            for b in names:
                if a != b:
                    total = total + cross(-(torch.cdist(z[b], p) ** 2) / step.setting, few.truth)
        return total

    def cells(m: Model, part: Part, taught: Part = train) -> dict[tuple[str, str], float]:
        """Accuracy of the nearest prototype, by the modality taught and the one tested."""
        z, s = bench.rows(m[0], part), bench.rows(m[0], taught.take(shots))
        onehot = nn.functional.one_hot(taught.truth[shots], classes).float()
        p = {k: unit(onehot.T @ s[k], dim=1) for k in names}
        return {(a, b): measures.right(z[b] @ p[a].T, part.y) for a in names for b in names}

    def across(m: Model, part: Part, taught: Part = train) -> float:
        found = [v for (a, b), v in cells(m, part, taught).items() if a != b]
        return sum(found) / len(found)

    def within(m: Model, part: Part) -> float:
        return sum(v for (a, b), v in cells(m, part).items() if a == b) / len(names)

    found = contest.tuned(
        trial,
        contest.by_loss(build, partial(loss, whole=False), (0.1, 0.3), steps=250),
        contest.by_loss(build, partial(loss, whole=True), (0.1, 0.3), steps=250),
        views,
        across,
    )
    dealt, truth = train.relabelled(g), views.test.truth
    return found.outcome(
        control=found.retrained(dealt, partial(across, taught=dealt)),
        positive=(float(torch.bincount(truth).max() / len(truth)), found.score(found.baseline, within)),
        also=found.beside(lambda m, part: {"within a modality": within(m, part)}),
        rows=found.rows(lambda m, part: bench.rows(m[0], part)),
    )
