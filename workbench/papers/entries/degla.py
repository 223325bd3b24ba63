r"""Local contrasts with hard negatives under self-distillation teach composition and keep the rest.

Maths
-----
$$L=L_{\text{global}}+.1\,L_{\mathrm{IGC}}+.1\,L_{\mathrm{TGC}}+w\sum\|f-f_{\mathrm{EMA}}\|^2$$

Carried by
----------
recipe degla

Code read
---------
xiaoxing2001/DeGLA

Deviations
----------
Each caption meets its own negatives; the released mask lets the text-grounded contrast meet mostly those of others.
The weight of distillation is 0.05 / 16 on the sum, as the batch here is larger.

Data
----
two scikit-learn digits side by side, captions in order; tuned on digits 0 to 4 with swapped captions as hard
negatives

What must move
--------------
mean of composition (0 to 4: the caption above its swap) and retention (5 to 9: the right pair of words)

Control
-------
both tuned on captions whose order was dealt at random: composition

Positive control
----------------
composition before tuning against after it

Own data
--------
it needs captions with hard negatives; on your data: Batch(negatives=…) and recipe degla
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.distillation import follow
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, digits
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit

Model = tuple[nn.ModuleList, nn.Module, nn.ModuleList]  # the two towers, the objective, the slow towers


def _pairs(part: Part, count: int, low: int, high: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures (count, 128) of two different digits within low … high − 1, and the two classes in order."""
    pool = [part.x["whole"][part.y == c] for c in range(10)]
    said = torch.stack([low + torch.randperm(high - low, generator=g)[:2] for _ in range(count)])
    pick = torch.rand(count, 2, generator=g)
    rows = []
    for k, (a, b) in enumerate(said.tolist()):
        p, q = (pool[c][int(pick[k, j] * len(pool[c]))].view(8, 8) for j, c in enumerate((a, b)))
        rows.append(torch.cat([p, q], 1).flatten())
    return torch.stack(rows), said


def _spoken(said: Tensor, order: float = 1.0) -> Tensor:
    """A caption as the words in order; before tuning the order is hidden, `order` 0."""
    a, b = digits.names()[said[:, 0]], digits.names()[said[:, 1]]
    return torch.cat([a + b, order * (a - b)], 1) / 2**0.5


def _composition(m: nn.ModuleList, part: Part, order: float = 1.0) -> float:
    z = unit(m[0](part.x["picture"]), dim=1)
    right, wrong = (unit(m[1](_spoken(s, order)), dim=1) for s in (part.x["said"], part.x["said"].flip(1)))
    a, b = (z * right).sum(1), (z * wrong).sum(1)
    return float((a > b).float().mean() + 0.5 * (a == b).float().mean())


def _retention(m: nn.ModuleList, part: Part) -> float:
    """The right pair of words, whatever its order, among the ten pairs of digits never tuned on."""
    combos = torch.combinations(torch.arange(5, 10))
    s = unit(m[0](part.x["far"]), dim=1) @ unit(m[1](_spoken(combos, 0.0)), dim=1).T
    truth = (part.x["said of far"].sort(1).values[:, None] == combos[None]).all(2).float().argmax(1)
    return float((s.argmax(1) == truth).float().mean())


def _contrasted(pictures: Tensor, said: Tensor, steps: int, seed: int) -> nn.ModuleList:
    """The model that is there before: pictures against captions without order."""
    torch.manual_seed(seed)
    model, objective = nn.ModuleList([bench.mlp(128), bench.mlp(512)]), recipe("infonce", temperature=0.1)

    def loss(index: Tensor) -> Tensor:
        z = {"picture": model[0](pictures[index]), "caption": model[1](_spoken(said[index], 0.0))}
        return objective(Batch(z))["loss"]

    bench.fit([model, objective], loss, len(pictures), steps=steps, seed=seed)
    return model


@experiment(moves="retention", min_effect=0.02)
def degla(trial: Trial) -> Outcome:
    """Contrast with hard negatives alone against the whole recipe; three temperatures for both."""
    g, parts = trial.generator(), digits.whole(trial)
    everything, said = _pairs(parts.train, trial.count(1500, 60), 0, 10, g)
    tuning = _pairs(parts.train, trial.count(800, 60), 0, 5, g)
    held = []
    for part, count in ((parts.validation, trial.count(300, 40)), (parts.test, trial.count(400, 40))):
        near, far = _pairs(part, count, 0, 5, g), _pairs(part, count, 5, 10, g)
        held.append(Part({"picture": near[0], "said": near[1], "far": far[0], "said of far": far[1]}))
    views = Views(Part({"picture": tuning[0], "said": tuning[1]}), *held)
    dealt = torch.where(torch.rand(len(views.train), 1, generator=g) < 0.5, tuning[1], tuning[1].flip(1))

    start = _contrasted(everything, said, trial.steps(400), trial.seed)

    def loss(m: Model, batch: Part, step: Step) -> Tensor:
        model, objective, slow = m
        pixels, said = batch.x["picture"], batch.x["said"]
        caption, swapped = _spoken(said), _spoken(said.flip(1))
        with torch.no_grad():
            teacher = {"picture": slow[0](pixels), "caption": slow[1](caption)}
            teacher["caption.negatives"] = slow[1](swapped)[:, None]
            follow(slow, model, 0.004)
        z = {"picture": model[0](pixels), "caption": model[1](caption)}
        return objective(Batch(z, negatives={"caption": model[1](swapped)[:, None]}, teacher=teacher))["loss"]

    def treatment(**weights: Any) -> contest.Treatment[Model]:
        def build(t: float) -> Model:
            slow = copy.deepcopy(start).requires_grad_(False)
            return copy.deepcopy(start), recipe("degla", temperature=t, **weights), slow

        return contest.by_loss(build, loss, (0.05, 0.1, 0.3), steps=200, size=64)

    def composition(m: Model, part: Part) -> float:
        return _composition(m[0], part)

    found = contest.tuned(
        trial,
        treatment(image_grounded=0.0, text_grounded=0.0, distil=0.0),
        treatment(distil=0.05 / 16),  # a sum over the batch: 0.05 for one row of sixteen
        views,
        lambda m, part: (_composition(m[0], part) + _retention(m[0], part)) / 2,
    )
    with torch.no_grad():
        untuned = _composition(start, views.test, 0.0), _retention(start, views.test)
    return found.outcome(
        control=found.retrained(views.train.but(said=dealt), composition),
        positive=(untuned[0], found.score(found.baseline, composition)),
        also={"retention before tuning": untuned[1]}
        | found.beside(lambda m, p: {"composition": _composition(m[0], p), "retention": _retention(m[0], p)}),
        rows=found.rows(
            lambda m, p: {
                "picture": unit(m[0][0](p.x["far"]), dim=1),
                "caption": unit(m[0][1](_spoken(p.x["said of far"])), dim=1),
            }
        ),
        labels=views.test.x["said of far"][:, 0],
    )
