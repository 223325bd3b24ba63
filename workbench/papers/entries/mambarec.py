r"""A discrepancy of the two modalities' distributions beside the contrast makes items easier to find.

Maths
-----
$$L=L_{\mathrm{NCE}}+\lambda\,\mathrm{MMD}^2,\quad
\mathrm{MMD}^2=\overline{k(x,x')}+\overline{k(y,y')}-2\overline{k(x,y)}$$

Carried by
----------
recipe mmd; diagnostic mmd_squared

Code read
---------
rkl71/MambaRec

Deviations
----------
Only the discrepancy: the attention, which in the released code sees maps of one pixel, and the ranking loss of a
recommender are left out.

Data
----
scikit-learn digits: left and right halves

What must move
--------------
recall at 10 over both directions

Control
-------
both recipes on pairs made at random: recall

Positive control
----------------
recall at 10, untrained against trained towers

At this size
------------
The gap of small towers is small, so there is little for the discrepancy to close.

Try it
------
workbench papers mambarec --run --data YOUR_SET
"""

from __future__ import annotations

from torch import Tensor

from workbench import geometry
from workbench.papers import contest, measures, own_set
from workbench.papers.bench import Arm
from workbench.papers.catalogue import experiment
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part


@experiment(moves="retrieval", recipe="mmd", min_effect=0.02, own=DataNeeds(2))
def mambarec(trial: Trial) -> Outcome:
    """InfoNCE against InfoNCE with the discrepancy at the recipe's weight; beside it gap and discrepancy of both."""

    def beside(z: dict[str, Tensor], part: Part) -> dict[str, float]:
        a, b, *_ = z.values()
        return {"gap": measures.gap(a, b), "squared discrepancy": float(geometry.mmd(a, b))}

    views = own_set.halves(trial)
    return contest.recipes(trial, views, Arm("infonce"), Arm("mmd"), measures.all_recall, beside=beside)
