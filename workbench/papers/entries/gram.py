r"""Contrasting whole tuples by the volume they span finds the right tuple for an anchor better than pairwise
cosines do.

Maths
-----
$$\mathrm{vol}(x_1,\dots,x_M)=\sqrt{\det XX^\top},\qquad
L=\tfrac12\big[\mathrm{CE}(-\mathrm{vol}/\tau)+\mathrm{CE}((-\mathrm{vol}/\tau)^\top)\big]$$

Carried by
----------
recipe gram; diagnostic gramian_volume

Code read
---------
ispamm/GRAM

Deviations
----------
The matching head and its re-ranking are left out. Released code takes √|det| without a guard, whose gradient at
collapse is NaN; here ε stands inside the root.

Data
----
scikit-learn digits in three views: top half (anchor), left half, right half

What must move
--------------
recall at 1 of the anchor among whole tuples, each arm by its own score

Control
-------
both recipes on tuples paired at random: recall of the arms

Positive control
----------------
recall by cosines, untrained against trained towers

At this size
------------
Perfect alignment costs log B exactly under this loss, for every wrong tuple is flat as well: the optimum pushes the
two other modalities apart, and cosine retrieval between them is lost.

Try it
------
workbench papers gram --run --data YOUR_SET
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from workbench import geometry
from workbench.objectives import heads, scores
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import Objective, Term, recipe
from workbench.papers import bench, contest, digits, measures, own_set
from workbench.papers.bench import Arm
from workbench.papers.catalogue import experiment
from workbench.papers.digits import LEFT, RIGHT, TOP
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit


def _by_volume(z: dict[str, Tensor], part: Part) -> float:
    """Recall at 1 of the anchor among whole tuples, by their volume."""
    anchor, *others = z.values()
    return measures.hits(-scores.gram_volume(anchor, *others))


def _by_cosines(z: dict[str, Tensor], part: Part) -> float:
    """Recall at 1 of the anchor among whole tuples, by the sum of cosines."""
    anchor, *others = z.values()
    return measures.hits(torch.stack([anchor @ o.T for o in others]).sum(0))


def _loss(objective: Objective, x: dict[str, Tensor]) -> float:
    return float(objective(Batch(x))["loss"].detach())


def _anchored(objective: Objective) -> Objective:
    """The contrast of the anchor with each other modality, all towers learning."""

    def contrast(batch: Batch, temperature: Tensor) -> Tensor:
        anchor, *others = (batch.unit(m) for m in batch.names)
        return torch.stack([heads.symmetric(anchor @ x.T / temperature) for x in others]).mean()

    objective.terms = [Term("contrast", 1.0, contrast)]
    return objective


@experiment(moves="retrieval", recipe="gram", min_effect=0.02, own=DataNeeds(3))
def gram(trial: Trial) -> Outcome:
    """InfoNCE of the anchor with each modality against the volume of the tuple; then retrieval among all tuples.

    Beside the quantity: what happens between the two modalities that no term names, and the loss at perfect alignment.
    """
    views = own_set.given(trial, 3) or digits.views_of_digits(trial, top=TOP, left=LEFT, right=RIGHT)
    _, a, b = views.train.x

    def beside(z: dict[str, Tensor], part: Part) -> dict[str, float]:
        return {
            f"{a}→{b} recall at 10": measures.recall(z[a], z[b], 10),
            f"cosine of {a} and {b}": float((z[a] * z[b]).sum(1).mean()),
            "volume of matched tuples": float(geometry.volume(torch.stack(list(z.values()), 1)).mean()),
        }

    pairwise = Arm("infonce", prepare=_anchored)
    cold = (0.01, *bench.TEMPERATURES)  # the pairwise arm would sit at the cold end of the usual ones
    whole = Arm("gram", judge=_by_volume)
    found = contest.recipes(trial, views, pairwise, whole, _by_cosines, beside=beside, temperatures=cold)
    anchor, *rest = found.rows["mechanism"].values()
    turned = geometry.volume(torch.stack([anchor, *(-x for x in rest)], 1))
    same = dict.fromkeys(views.train.x, unit(torch.randn(16, 8), dim=1))
    return found.with_also(
        {
            # as triangles do; and neither sees a sign
            "loss at perfect alignment minus log B": _loss(recipe("gram", smoothing=0.0), same) - math.log(16),
            "the same of triangles": _loss(recipe("triangle"), same) - math.log(16),
            "volume with all but the anchor negated, less the volume": float(
                (turned - geometry.volume(torch.stack([anchor, *rest], 1))).abs().mean()
            ),
        }
    )
