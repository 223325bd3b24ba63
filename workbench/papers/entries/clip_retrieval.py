r"""Training the picture tower on classes and then re-aligning the text tower sharpens picture retrieval and keeps text
retrieval.

Maths
-----
$$\text{1: }\mathrm{CE}(s\,[\cos(\theta_y+m),\cos\theta_{c\ne y}]),\qquad \text{2: }\mathrm{InfoNCE}\text{ with the
picture tower frozen}$$

Carried by
----------
recipe infonce; train.freeze

Deviations
----------
Margin 0.3 and scale 16 are ours; the paper's values were not to be had.

Data
----
emoji: colour drawings as frozen features with their 96 subgroups, English names with tags

What must move
--------------
share of drawings whose nearest other drawing is of their subgroup

Control
-------
recall at 10 from text to drawing, after more contrast and after both stages

Positive control
----------------
recall at 10 from text to drawing, after the first stage alone against after both

At this size
------------
Subgroups with few members cannot be sharpened.

Try it
------
workbench papers clip_retrieval --run --data YOUR_SET --label CLASS   (the first modality is the picture)
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, measures, own_set
from workbench.papers.bench import Arm
from workbench.papers.catalogue import experiment
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit
from workbench.training.towers import Towers

cross = nn.functional.cross_entropy


@experiment(recipe="infonce", min_effect=0.02, margin=0.05, own=DataNeeds(2, label=True))
def clip_retrieval(trial: Trial) -> Outcome:
    """One CLIP model that goes on with its own loss against both stages, as many steps; three rates for each."""
    views = own_set.given(trial, 2) or own_set.emoji(trial, "color", "text", label="subgroup")
    picture, text = views.train.x
    y = views.train.y
    assert y is not None
    classes = int(max(int(p.y.max()) for p in (views.train, views.validation, views.test))) + 1  # type: ignore[union-attr]
    first_stage, steps = trial.steps(150), trial.steps(300)

    def sharpened(start: Towers, lr: float) -> Towers:
        torch.manual_seed(trial.seed)
        model, centres = copy.deepcopy(start), nn.Linear(bench.DIM, classes, bias=False)

        def loss(index: Tensor) -> Tensor:
            z = unit(model.of(picture)(views.train.x[picture][index]), dim=1)
            cos = z @ unit(centres.weight, dim=1).T
            own = nn.functional.one_hot(y[index], classes).bool()
            angle = (cos.clamp(-1 + 1e-6, 1 - 1e-6).acos() + 0.3).cos()
            return cross(16 * torch.where(own, angle, cos), y[index])

        bench.fit([model.of(picture), centres], loss, len(views.train), steps=first_stage, seed=trial.seed, lr=lr)
        return model

    def realigned(start: Towers, t: float) -> Towers:
        return bench.learn(
            Arm("infonce", frozen=(picture,)),
            views.train,
            temperature=t,
            steps=steps,
            seed=trial.seed,
            model=copy.deepcopy(start),
        )

    def near(m: Towers, part: Part) -> float:
        assert part.y is not None
        return measures.leave_one_out(bench.rows(m, part)[picture], part.y, 1)

    def found(m: Towers, part: Part) -> float:
        z = bench.rows(m, part)
        return measures.recall(z[text], z[picture], 10)

    def both(m: Towers) -> float:
        return near(m, views.validation) + found(m, views.validation)

    clip, t = contest.best(
        trial,
        bench.TEMPERATURES,
        lambda t: bench.learn(Arm("infonce"), views.train, temperature=t, steps=steps, seed=trial.seed),
        both,
    )

    def more(lr: float) -> Towers:
        return bench.learn(
            Arm("infonce"),
            views.train,
            temperature=t,
            steps=first_stage + steps,
            seed=trial.seed,
            model=copy.deepcopy(clip),
            lr=lr,
        )

    rates = (3e-4, 1e-3, 3e-3)
    longer, _ = contest.best(trial, rates, more, both)
    staged, lr = contest.best(trial, rates, lambda r: realigned(sharpened(clip, r), t), both)
    first = sharpened(clip, lr)
    return Outcome(
        near(longer, views.test),
        near(staged, views.test),
        (found(longer, views.test), found(staged, views.test)),
        (found(first, views.test), found(staged, views.test)),
        {
            "text to drawing after the first stage alone": found(first, views.test),
            "nearest drawing after the first stage alone": near(first, views.test),
            "nearest drawing before either": near(clip, views.test),
        },
        {"baseline": bench.rows(longer, views.test), "mechanism": bench.rows(staged, views.test)},
        views.test.y,
    )
