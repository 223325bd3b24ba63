r"""Contrast within each modality beside the contrast across makes a momentum-taught model retrieve better.

Maths
-----
$$L=\tfrac13\big[\mathrm{CE}(g^Ik^{T\top}/\tau,\tilde y)+\mathrm{CE}(g^Ik^{I\top}/\tau,\mathbb
1)+L_{\mathrm{LMI}}\big],\quad \tilde y=(1-\alpha)\mathbb 1+\alpha\,\mathrm{softmax}(\text{teacher})$$

Carried by
----------
recipe tcl

Code read
---------
uta-smile/TCL

Deviations
----------
In-batch negatives instead of queues of 65,536; parts against wholes, matching and masked words are left out, as
halves of digits have neither parts nor words.

Data
----
scikit-learn digits: left and right halves

What must move
--------------
recall at 10 over both directions

Control
-------
both recipes on pairs made at random: the quantity

Positive control
----------------
the quantity, untrained against trained towers

At this size
------------
Both views within a modality are the same picture through two models: without augmentation the term within a modality
teaches little.

Try it
------
workbench papers tcl --run --data YOUR_SET
"""

from __future__ import annotations

from torch import Tensor

from workbench import geometry
from workbench.objectives.recipes import Objective
from workbench.papers import contest, measures, own_set
from workbench.papers.bench import Arm
from workbench.papers.catalogue import experiment
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part


def only(objective: Objective, *names: str) -> Objective:
    """An objective with some of its terms."""
    objective.terms = [t for t in objective.terms if t.name in names]
    return objective


@experiment(moves="retrieval", recipe="tcl", min_effect=0.02, own=DataNeeds(2))
def tcl(trial: Trial) -> Outcome:
    """The recipe's cross-modal term alone against the whole recipe, both with the same averaged teacher."""

    def beside(z: dict[str, Tensor], part: Part) -> dict[str, float]:
        out = {"uniformity": sum(float(geometry.uniformity(x)) for x in z.values()) / len(z)}
        if part.y is not None:
            out["class of neighbours"] = measures.leave_one_out(next(iter(z.values())), part.y)
        return out

    alone = Arm("tcl", prepare=lambda o: only(o, "cross_modal"))
    return contest.recipes(trial, own_set.halves(trial), alone, Arm("tcl"), measures.all_recall, beside=beside)
