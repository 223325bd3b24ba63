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
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

Model = tuple[nn.Module, nn.Module]  # the encoder and its head


@experiment(moves="classes", recipe="whitened", min_effect=0.01)
def whitenedcse(trial: Trial) -> Outcome:
    """Two positives without whitening against two with it; the head is used in training only."""
    views, g = digits.views_of_digits(trial, whole=lambda x: x), trial.generator()

    def copied(part: Part, draw: torch.Generator) -> Tensor:
        return digits.augmented(part.x["whole"].view(-1, 8, 8), draw).flatten(1)

    def treatment(white: bool) -> contest.Treatment[Model]:
        def loss(m: Model, batch: Part, step: Step) -> Tensor:
            copies = [m[0](copied(batch, step.draw)) for _ in range(3)]
            if white and len(batch) > 12:
                copies = [geometry.whitened(c, 16, shuffle=True) for c in copies]
            first, *others = (unit(torch.tanh(m[1](c)), dim=1) for c in copies)
            target = torch.arange(len(batch))
            return sum((heads.softmax(first @ o.T / step.setting, target) for o in others), torch.zeros(()))

        return contest.by_loss(lambda _: (bench.mlp(64, 96), nn.Linear(96, 96)), loss, (0.05, 0.1, 0.3), steps=250)

    def encoded(m: Model, part: Part) -> Tensor:
        return unit(m[0](part.x["whole"]), dim=1)

    def judge(m: Model, part: Part) -> float:
        return measures.knn(encoded(m, views.train), views.train.truth, encoded(m, part), part.truth)

    def look(z: dict[str, Tensor]) -> dict[str, float]:
        return {
            "distance to an augmented copy": float(geometry.alignment(z["digit"], z["augmented"])),
            "uniformity": float(geometry.uniformity(z["digit"])),
            "effective rank": measures.effective_rank(z["digit"]),
        }

    found = contest.tuned(trial, treatment(False), treatment(True), views, judge)
    rows = found.rows(lambda m, p: {"digit": encoded(m, p), "augmented": unit(m[0](copied(p, g)), dim=1)})
    return found.outcome(
        control=found.restarted(),
        positive=found.untrained(),
        also=found.temperatures | contest.by_arm(rows, look),
        rows=rows,
    )
