r"""Whitening in shuffled groups of dimensions inside the head, with several positives, teaches an encoder nearer
neighbours of the same kind.

Maths
-----
$$Y_g=(X_g-\bar X_g)\Sigma_g^{-1/2},\qquad L=\sum_{k>1}\mathrm{CE}(\cos(y^{(1)},y^{(k)})/\tau)$$

Carried by
----------
recipe whitened; workbench.geometry.whitened

Code read
---------
SupstarZh/WhitenedCSE

Deviations
----------
Each copy is whitened with a shuffle of its own, as the idea asks; the released code splits an interleaved batch into
thirds, so that copies of an item share a shuffle.

Data
----
scikit-learn digits, three augmented copies each; the encoder's own output is judged

What must move
--------------
share of test digits whose five nearest neighbours have their class as the commonest

Control
-------
the baseline from another start: the same share

Positive control
----------------
the same share, untrained against trained

At this size
------------
Nearest neighbours of digits are right without training nine times in ten: there is little left to win.

Own data
--------
it needs pictures or sentences that can be encoded several times, and a set holds finished vectors
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench import geometry
from workbench.objectives import heads
from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit


@experiment(recipe="whitened", min_effect=0.01)
def whitenedcse(trial: Trial) -> Outcome:
    """Two positives without whitening against two with it; the head is used in training only."""
    views = digits.views_of_digits(trial, whole=lambda x: x)
    x = views.train.x["whole"].view(-1, 8, 8)

    def train(t: float, white: bool, steps: int, seed: int = trial.seed) -> nn.Module:
        torch.manual_seed(seed)
        encoder, head = bench.mlp(64, 96), nn.Linear(96, 96)
        g = torch.Generator().manual_seed(seed)

        def loss(index: Tensor) -> Tensor:
            copies = [encoder(digits.augmented(x[index], g).flatten(1)) for _ in range(3)]
            if white and len(index) > 12:
                copies = [geometry.whitened(c, 16, shuffle=True) for c in copies]
            first, *others = (unit(torch.tanh(head(c)), dim=1) for c in copies)
            target = torch.arange(len(index))
            return sum((heads.softmax(first @ o.T / t, target) for o in others), torch.zeros(()))

        bench.fit([encoder, head], loss, len(x), steps=steps, seed=seed)
        return encoder

    @torch.no_grad()
    def z(m: nn.Module, part: Part) -> Tensor:
        return unit(m(part.x["whole"]), dim=1)

    def judge(m: nn.Module, part: Part) -> float:
        assert views.train.y is not None
        assert part.y is not None
        return measures.knn(z(m, views.train), views.train.y, z(m, part), part.y)

    steps, grid = trial.steps(250), (0.05, 0.1, 0.3)
    plain, t0 = contest.best(trial, grid, lambda t: train(t, False, steps), lambda m: judge(m, views.validation))
    white, t1 = contest.best(trial, grid, lambda t: train(t, True, steps), lambda m: judge(m, views.validation))
    base = judge(plain, views.test)
    g = torch.Generator().manual_seed(trial.seed)
    also, rows = {"temperature of the baseline": t0, "temperature of the mechanism": t1}, {}
    for arm, m in (("baseline", plain), ("mechanism", white)):
        with torch.no_grad():
            copy = unit(m(digits.augmented(views.test.x["whole"].view(-1, 8, 8), g).flatten(1)), dim=1)
        rows[arm] = {"digit": z(m, views.test), "augmented": copy}
        also[f"distance to an augmented copy, {arm}"] = float(geometry.alignment(rows[arm]["digit"], copy))
        also[f"uniformity, {arm}"] = float(geometry.uniformity(rows[arm]["digit"]))
        also[f"effective rank, {arm}"] = measures.effective_rank(rows[arm]["digit"])
    return Outcome(
        base,
        judge(white, views.test),
        (base, judge(train(t0, False, steps, trial.seed + 500), views.test)),
        (judge(train(t0, False, 0), views.test), base),
        also,
        rows,
        views.test.y,
    )
