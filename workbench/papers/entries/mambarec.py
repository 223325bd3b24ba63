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
from workbench.papers import contest, digits, measures, own_set
from workbench.papers.bench import Arm
from workbench.papers.catalogue import experiment
from workbench.papers.digits import LEFT, RIGHT
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part


@experiment(recipe="mmd", min_effect=0.02, own=DataNeeds(2))
def mambarec(trial: Trial) -> Outcome:
    """InfoNCE against InfoNCE with the discrepancy at the recipe's weight; beside it gap and discrepancy of both."""

    def also(z: dict[str, dict[str, Tensor]], part: Part) -> dict[str, float]:
        out: dict[str, float] = {}
        for arm, rows in z.items():
            a, b, *_ = rows.values()
            out |= {f"gap, {arm}": measures.gap(a, b), f"squared discrepancy, {arm}": float(geometry.mmd(a, b))}
        return out

    views = own_set.given(trial, 2) or digits.views_of_digits(trial, left=LEFT, right=RIGHT)
    return contest.recipes(trial, views, Arm("infonce"), Arm("mmd"), lambda z, p: measures.all_recall(z, p), also=also)
