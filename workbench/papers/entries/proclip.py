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
from workbench.papers.contest import Treatment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

Pair = tuple[nn.Module, nn.Module]  # a picture tower and a word tower


def _clip(trial: Trial, part: Part, words: Tensor, t: float = 0.1) -> Pair:
    """A picture tower and a word tower trained together: the model that is there before."""
    torch.manual_seed(trial.seed)
    eye, ear = bench.mlp(64), bench.mlp(256)
    bench.teach(
        [eye, ear],
        lambda x: unit(eye(x), dim=1) @ unit(ear(words), dim=1).T / t,
        part.x["whole"],
        part.truth,
        steps=trial.steps(300),
        seed=trial.seed,
    )
    return eye, ear


@experiment(moves="retention", recipe="distil", min_effect=0.05, margin=0.05)
def proclip(trial: Trial) -> Outcome:
    """Contrast of a new text tower at once, against distillation first and contrast under self-distillation, as many
    steps in all.
    """
    views = digits.views_of_digits(trial, whole=lambda x: x)
    words = {k: digits.names(k) for k in digits.NAMES}
    eye0, ear0 = _clip(trial, views.train, words["en"])
    few = views.train.take((views.train.truth <= 6).nonzero()[:60, 0])
    x, y = few.x["whole"], few.truth
    with torch.no_grad():
        taught, before = unit(ear0(words["en"]), dim=1), unit(eye0(x), dim=1)

    def distilled(ear: nn.Module) -> Tensor:
        s = unit(ear(words["en"]), dim=1)
        return kept_rows(s, taught) + structure(s, taught)

    def learn(t: float, first: int, second: int, seed: int) -> Pair:
        torch.manual_seed(seed)
        eye, ear, g = copy.deepcopy(eye0), bench.mlp(256), torch.Generator().manual_seed(seed)
        captions = list(words.values())[:3]  # in three of the languages

        def loss(index: Tensor) -> Tensor:
            said = captions[int(torch.randint(3, (1,), generator=g))][y[index]]
            z = unit(eye(x[index]), dim=1)
            found = heads.symmetric(z @ unit(ear(said), dim=1).T / t)
            return found + 0.1 * (kept_rows(z, before[index]) + structure(z, before[index])) if first else found

        if first:
            bench.fit([ear], lambda _: distilled(ear), 10, steps=first, seed=seed)
        bench.fit([eye, ear], loss, len(x), steps=second, seed=seed, size=32)
        return eye, ear

    def at_once(part: Part, t: float, steps: int, seed: int) -> Pair:
        return learn(t, 0, trial.steps(350), seed)

    def staged(part: Part, t: float, steps: int, seed: int) -> Pair:
        return learn(t, trial.steps(150), trial.steps(200), seed)

    def judge(m: Pair, part: Part, language: str = "en") -> float:
        return measures.named(m[0], m[1](words[language]), part)

    def look(m: Pair, part: Part) -> dict[str, float]:
        return {
            "new pictures with the old text tower": measures.named(m[0], taught, part),
            "in German": judge(m, part, "de"),
            "in Italian, never seen with pictures": judge(m, part, "it"),
        }

    def vectors(m: Pair, part: Part) -> dict[str, Tensor]:
        return {"picture": unit(m[0](part.x["whole"]), dim=1), "name": unit(m[1](words["en"]), dim=1)[part.y]}

    grid = (0.05, 0.1, 0.3)
    found = contest.tuned(trial, Treatment(at_once, grid), Treatment(staged, grid), views, judge)
    return found.outcome(
        control=found.restarted(),
        positive=(0.1, found.score(found.baseline)),
        also={"accuracy of the old model": measures.named(eye0, taught, views.test)} | found.beside(look),
        rows=found.rows(vectors),
    )
