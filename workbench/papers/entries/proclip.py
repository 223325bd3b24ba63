r"""Distilling the old text tower before contrasting, and holding the picture tower meanwhile, keeps what the model knew
while a new text tower takes over.

Maths
-----
$$\text{1: }\sum\|s-t\|^2+\mathrm{smoothL1}(\mathrm{pdist}),\qquad \text{2:
}\mathrm{symCE}+w\,[\textstyle\sum\|I-I^0\|^2+\mathrm{smoothL1}(\mathrm{pdist})]$$

Carried by
----------
recipes distil, proclip

Code read
---------
VisionXLab/ProCLIP

Deviations
----------
The weight of the second stage has no published default: 0.1, on sums. The teacher is frozen; the release does not
show whether it moves.

Data
----
scikit-learn digits with English words; then number words of English, German and Spanish, and 60 pictures of 0 to 6
only

What must move
--------------
accuracy of naming all ten digits in English with the new text tower

Control
-------
the baseline from another start: the quantity

Positive control
----------------
the same accuracy, chance against the baseline

Own data
--------
it needs towers to replace; train two runs and compare them: 'workbench train proclip --set train.start=RUN'
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.objectives.recipes.distil import rows as kept_rows
from workbench.objectives.recipes.distil import structure
from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

cross = nn.functional.cross_entropy


def _clip(trial: Trial, part: Part, words: Tensor, t: float = 0.1) -> tuple[nn.Module, nn.Module]:
    """A picture tower and a word tower trained together: the model that is there before."""
    torch.manual_seed(trial.seed)
    eye, ear = bench.mlp(64), bench.mlp(256)
    assert part.y is not None
    y = part.y
    bench.fit(
        [eye, ear],
        lambda i: cross(unit(eye(part.x["whole"][i]), dim=1) @ unit(ear(words), dim=1).T / t, y[i]),
        len(part),
        steps=trial.steps(300),
        seed=trial.seed,
    )
    return eye, ear


@experiment(recipe="distil", min_effect=0.05, margin=0.05)
def proclip(trial: Trial) -> Outcome:
    """Contrast of a new text tower at once, against distillation first and contrast under self-distillation, as many
    steps in all.
    """
    views = digits.views_of_digits(trial, whole=lambda x: x)
    assert views.train.y is not None
    eye0, ear0 = _clip(trial, views.train, digits.names())
    languages = list(digits.NAMES)
    words = torch.stack([digits.names(k) for k in languages])  # (languages, 10, 256)
    with torch.no_grad():
        taught = unit(ear0(words[0]), dim=1)
    few = (views.train.y <= 6).nonzero()[:60, 0]
    x, y = views.train.x["whole"][few], views.train.y[few]
    with torch.no_grad():
        before = unit(eye0(x), dim=1)

    def train(t: float, staged: bool, seed: int = trial.seed) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(seed)
        eye, ear = copy.deepcopy(eye0), bench.mlp(256)

        def first(index: Tensor) -> Tensor:
            s = unit(ear(words[0]), dim=1)
            return kept_rows(s, taught) + structure(s, taught)

        def second(index: Tensor) -> Tensor:
            which = torch.randint(3, (1,), generator=g).item()  # captions in three of the languages
            z = unit(eye(x[index]), dim=1)
            loss = heads.symmetric(z @ unit(ear(words[int(which)][y[index]]), dim=1).T / t)
            if staged:
                loss = loss + 0.1 * (kept_rows(z, before[index]) + structure(z, before[index]))
            return loss

        g = torch.Generator().manual_seed(seed)
        if staged:
            bench.fit([ear], first, 10, steps=trial.steps(150), seed=seed)
        bench.fit([eye, ear], second, len(x), steps=trial.steps(200 if staged else 350), seed=seed, size=32)
        return eye, ear

    def judge(m: tuple[nn.Module, nn.Module], part: Part, language: int = 0) -> float:
        with torch.no_grad():
            return measures.named(m[0], m[1](words[language]), part)

    grid = (0.05, 0.1, 0.3)
    plain, t0 = contest.best(trial, grid, lambda t: train(t, False), lambda m: judge(m, views.validation))
    staged, _ = contest.best(trial, grid, lambda t: train(t, True), lambda m: judge(m, views.validation))
    base = judge(plain, views.test)
    also, rows = {"accuracy of the old model": measures.named(eye0, taught, views.test)}, {}
    for arm, m in (("baseline", plain), ("mechanism", staged)):
        also[f"new pictures with the old text tower, {arm}"] = measures.named(m[0], taught, views.test)
        also[f"in German, {arm}"] = judge(m, views.test, languages.index("de"))
        also[f"in Italian, never seen with pictures, {arm}"] = judge(m, views.test, languages.index("it"))
        with torch.no_grad():
            name = unit(m[1](words[0]), dim=1)[views.test.y]
            rows[arm] = {"picture": unit(m[0](views.test.x["whole"]), dim=1), "name": name}
    return Outcome(
        base,
        judge(staged, views.test),
        (base, judge(train(t0, False, trial.seed + 500), views.test)),
        (0.1, base),
        also,
        rows,
        views.test.y,
    )
