r"""Two modalities that were never seen together find each other, if each was bound to the same frozen anchor.

Maths
-----
$$L=\mathrm{symCE}(\langle z_a,\mathrm{sg}\,z_t\rangle/\tau),\quad \text{then } \langle z_a,z_b\rangle \text{ without
ever training on } (a,b)$$

Carried by
----------
recipe bind; train.freeze

Code read
---------
PKU-YuanGroup/LanguageBind

Deviations
----------
Whole towers learn instead of low-rank updates of a pretrained one; batches of 128.

Data
----
scikit-learn digits: the anchor is a fixed projection of the whole digit to 16 numbers; left halves of one half of the
items, right halves of the other

What must move
--------------
recall at 10 from left to right halves

Control
-------
a frozen anchor for each modality that shares nothing with the other's, and two learned ones: recall

Positive control
----------------
recall at 10 from left halves to the anchor, untrained against trained

Try it
------
workbench papers languagebind --run --data YOUR_SET
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, digits, measures, own_set
from workbench.papers.catalogue import experiment
from workbench.papers.digits import LEFT, RIGHT
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit


@experiment(recipe="bind", min_effect=0.1, own=DataNeeds(3))
def languagebind(trial: Trial) -> Outcome:
    """Each modality against an anchor it trains with, on items of its own; against the same with one frozen anchor."""
    if (views := own_set.given(trial, 3)) is None:
        g = torch.Generator().manual_seed(0)
        turn = torch.randn(64, 16, generator=g)
        views = digits.views_of_digits(trial, anchor=lambda x: x.flatten(1) @ turn, left=LEFT, right=RIGHT)
    anchor, a, b = views.train.x
    n = len(views.train) // 2
    order = torch.randperm(2 * n, generator=torch.Generator().manual_seed(trial.seed))
    halves = {a: views.train.take(order[:n]), b: views.train.take(order[n:])}
    steps = trial.steps(300)
    width = views.train.x[anchor].shape[1]
    still = nn.Linear(width, bench.DIM, bias=False).requires_grad_(False)  # the anchor's own vectors, brought to width

    def bound(m: str, temperature: float, mine: nn.Module | None, frozen: bool, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        tower, part = bench.mlp(views.train.x[m].shape[1]), halves[m]
        held = mine or bench.mlp(width)
        objective = recipe("bind" if frozen else "infonce", temperature=temperature)

        def loss(index: Tensor) -> Tensor:
            return objective(Batch({anchor: held(part.x[anchor][index]), m: tower(part.x[m][index])}))["loss"]

        modules = [tower, objective] if frozen else [tower, objective, held]
        bench.fit(modules, loss, n, steps=steps, seed=seed)
        return tower

    @torch.no_grad()
    def found(pair: tuple[nn.Module, nn.Module], part: Part) -> float:
        return measures.recall(unit(pair[0](part.x[a]), dim=1), unit(pair[1](part.x[b]), dim=1), 10)

    def arm(frozen: bool, shared: bool = True) -> tuple[tuple[nn.Module, nn.Module], float]:
        def make(t: float) -> tuple[nn.Module, nn.Module]:
            torch.manual_seed(trial.seed + 77)
            other = still if shared else nn.Linear(width, bench.DIM, bias=False).requires_grad_(False)
            return (
                bound(a, t, still if frozen else None, frozen, trial.seed),
                bound(b, t, other if frozen else None, frozen, trial.seed + 100),
            )

        return contest.best(trial, (0.03, 0.1), make, lambda pair: found(pair, views.validation))

    apart, _ = arm(False)
    joined, _ = arm(True)
    strangers, _ = arm(True, shared=False)
    torch.manual_seed(trial.seed)
    fresh = bench.mlp(views.train.x[a].shape[1])
    with torch.no_grad():
        t = unit(still(views.test.x[anchor]), dim=1)
        before, after = (measures.recall(unit(m(views.test.x[a]), dim=1), t, 10) for m in (fresh, joined[0]))
        rows = {
            name: {m: unit(tower(views.test.x[m]), dim=1) for m, tower in zip((a, b), pair, strict=True)}
            for name, pair in (("baseline", apart), ("mechanism", joined))
        }
    base, mechanism = found(apart, views.test), found(joined, views.test)
    return Outcome(
        base,
        mechanism,
        (base, found(strangers, views.test)),
        (before, after),
        {"recall at 10 by chance": 10 / len(views.test)},
        rows,
        views.test.y,
    )
