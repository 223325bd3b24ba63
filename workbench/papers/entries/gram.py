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
from workbench.papers.parts import Part, Views, unit


def _three(trial: Trial) -> Views:
    return own_set.given(trial, 3) or digits.views_of_digits(trial, top=TOP, left=LEFT, right=RIGHT)


def _tuple_recall(z: dict[str, Tensor], by: str) -> float:
    """Recall at 1 of the anchor among whole tuples, by their volume or by the sum of cosines."""
    anchor, *others = z.values()
    if by == "volume":
        return measures.hits(-scores.gram_volume(anchor, *others))
    return measures.hits(torch.stack([anchor @ o.T for o in others]).sum(0))


def _anchored(objective: Objective) -> Objective:
    """The contrast of the anchor with each other modality, all towers learning."""

    def contrast(batch: Batch, temperature: Tensor) -> Tensor:
        anchor, *others = (batch.unit(m) for m in batch.names)
        return torch.stack([heads.symmetric(anchor @ x.T / temperature) for x in others]).mean()

    objective.terms = [Term("contrast", 1.0, contrast)]
    return objective


@experiment(recipe="gram", min_effect=0.02, own=DataNeeds(3))
def gram(trial: Trial) -> Outcome:
    """InfoNCE of the anchor with each modality against the volume of the tuple; then retrieval among all tuples.

    Beside the quantity: what happens between the two modalities that no term names, and the loss at perfect alignment.
    """
    views = _three(trial)
    anchor, a, b = views.train.x

    def cosines(z: dict[str, Tensor], part: Part) -> float:
        return _tuple_recall(z, "cosine")

    def volumes(z: dict[str, Tensor], part: Part) -> float:
        return _tuple_recall(z, "volume")

    def also(z: dict[str, dict[str, Tensor]], part: Part) -> dict[str, float]:
        same = unit(torch.randn(16, 8), dim=1)
        flat = recipe("gram", smoothing=0.0)(Batch(dict.fromkeys((anchor, a, b), same)))["loss"]
        out = {"loss at perfect alignment minus log B": float(flat.detach()) - math.log(16)}
        # as triangles do; and neither sees a sign
        area = recipe("triangle")(Batch(dict.fromkeys((anchor, a, b), same)))["loss"]
        out["the same of triangles"] = float(area.detach()) - math.log(16)
        z_, *rest = z["mechanism"].values()
        turned = geometry.volume(torch.stack([z_, *(-x for x in rest)], 1))
        out["volume with all but the anchor negated, less the volume"] = float(
            (turned - geometry.volume(torch.stack([z_, *rest], 1))).abs().mean()
        )
        for arm, rows in z.items():
            out[f"{a}→{b} recall at 10, {arm}"] = measures.recall(rows[a], rows[b], 10)
            out[f"cosine of {a} and {b}, {arm}"] = float((rows[a] * rows[b]).sum(1).mean())
            out[f"volume of matched tuples, {arm}"] = float(geometry.volume(torch.stack(list(rows.values()), 1)).mean())
        return out

    pairwise = Arm("infonce", prepare=_anchored)
    cold = (0.01, *bench.TEMPERATURES)  # the pairwise arm would sit at the cold end of the usual ones
    return contest.recipes(trial, views, pairwise, Arm("gram", judge=volumes), cosines, also=also, temperatures=cold)
