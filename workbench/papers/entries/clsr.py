r"""A temperature that softens for rows with many near-duplicates, with separation and reconstruction within the latent
space, retrieves better than a constant one.

Maths
-----
$$\tau_i=\tau_0\,(1+\gamma h_i),\quad h_i=\overline{\max(0,\cos(t_i,t_j))},\qquad L=L_{\text{inter}}+\tfrac12
L_{\text{intra}}+\tfrac1{10} L_{\text{rec}}$$

Carried by
----------
recipe clsr

Deviations
----------
Only the abstract could be read: the temperature rule and the weights are ours.

Data
----
emoji: English names with tags, and colour drawings, as frozen features

What must move
--------------
recall at 10 over both directions

Control
-------
both recipes on pairs made at random: the quantity

Positive control
----------------
the quantity, untrained against trained towers

Try it
------
workbench papers clsr --run --data YOUR_SET
"""

from __future__ import annotations

from torch import Tensor

from workbench.papers import contest, measures, own_set
from workbench.papers.bench import Arm
from workbench.papers.catalogue import experiment
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part


@experiment(moves="retrieval", recipe="clsr", min_effect=0.02, own=DataNeeds(2))
def clsr(trial: Trial) -> Outcome:
    """InfoNCE against the recipe; the anchor, in whose space duplicates count, is the text."""

    def beside(z: dict[str, Tensor], part: Part) -> dict[str, float]:
        x, n = next(iter(z.values())), len(part)
        return {"mean cosine of texts": float(((x @ x.T).sum() - n) / (n * (n - 1)))}

    views = own_set.given(trial, 2) or own_set.emoji(trial, "text", "color")
    return contest.recipes(trial, views, Arm("infonce"), Arm("clsr"), measures.all_recall, beside=beside)
