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
from workbench.papers.contest import Treatment
from workbench.papers.digits import LEFT, RIGHT
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit

Pair = tuple[nn.Module, nn.Module]


def _views(trial: Trial) -> Views:
    turn = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    return digits.views_of_digits(trial, anchor=lambda x: x.flatten(1) @ turn, left=LEFT, right=RIGHT)


@experiment(moves="retrieval", recipe="bind", min_effect=0.1, own=DataNeeds(3))
def languagebind(trial: Trial) -> Outcome:
    """Each modality against an anchor it trains with, on items of its own; against the same with one frozen anchor."""
    views = own_set.given(trial, 3) or _views(trial)
    anchor, a, b = views.train.x
    n, width = len(views.train) // 2, views.train.x[anchor].shape[1]
    order = torch.randperm(2 * n, generator=trial.generator())
    halves = {a: views.train.take(order[:n]), b: views.train.take(order[n:])}

    def still() -> nn.Module:
        return nn.Linear(width, bench.DIM, bias=False).requires_grad_(False)

    one = still()  # the anchor's own vectors, brought to width

    def bound(m: str, t: float, steps: int, seed: int, held: nn.Module | None = None) -> nn.Module:
        torch.manual_seed(seed)
        tower, part = bench.mlp(halves[m].x[m].shape[1]), halves[m]
        objective = recipe("bind" if held else "infonce", temperature=t)
        end = held or bench.mlp(width)

        def loss(index: Tensor) -> Tensor:
            return objective(Batch({anchor: end(part.x[anchor][index]), m: tower(part.x[m][index])}))["loss"]

        bench.fit([tower, objective, end], loss, n, steps=steps, seed=seed)
        return tower

    def apart(part: Part, t: float, steps: int, seed: int) -> Pair:
        return bound(a, t, steps, seed), bound(b, t, steps, seed + 100)

    def joined(part: Part, t: float, steps: int, seed: int) -> Pair:
        return bound(a, t, steps, seed, one), bound(b, t, steps, seed + 100, one)

    def strange(part: Part, t: float, steps: int, seed: int) -> Pair:
        torch.manual_seed(seed + 77)
        other = still()
        return bound(a, t, steps, seed, one), bound(b, t, steps, seed + 100, other)

    def vectors(m: Pair, part: Part) -> dict[str, Tensor]:
        return {k: unit(tower(part.x[k]), dim=1) for k, tower in zip((a, b), m, strict=True)}

    def across(m: Pair, part: Part) -> float:
        z = vectors(m, part)
        return measures.recall(z[a], z[b], 10)

    def anchored(m: Pair, part: Part) -> float:
        return measures.recall(vectors(m, part)[a], unit(one(part.x[anchor]), dim=1), 10)

    grid = (0.03, 0.1)
    found = contest.tuned(trial, Treatment(apart, grid), Treatment(joined, grid), views, across)
    strangers, _ = contest.tune(trial, Treatment(strange, grid), views, across)
    return found.outcome(
        control=(found.score(found.baseline), found.score(strangers)),
        positive=found.untrained(anchored, arm="mechanism"),
        also={"recall at 10 by chance": 10 / len(views.test)},
        rows=found.rows(vectors),
    )
