r"""Classifying each modality into the other's clusters groups the space by meaning more than pairs alone do.

Maths
-----
$$L=L_{\mathrm{CLIP}}+\tfrac12\big[\mathrm{CE}(s\,xB^{I\top},\mathrm{softmax}(C^T_{l}C^{T\top}/.01))+\dots\big],\quad
B^I_k=\overline{x_i : l^T_i=k}$$

Carried by
----------
recipe protoclip

Code read
---------
megvii-research/protoclip

Deviations
----------
Clusters of a rolling memory instead of episodes of 200,000 samples; no heads of their own, no external teacher.

Data
----
scikit-learn digits: left and right halves

What must move
--------------
agreement of k-means with the classes (adjusted Rand index, mean over modalities)

Control
-------
both recipes on pairs made at random: the quantity

Positive control
----------------
the quantity, untrained against trained towers

Try it
------
workbench papers protoclip --run --data YOUR_SET --label CLASS
"""

from __future__ import annotations

from torch import Tensor

from workbench.objectives.recipes.softened import kmeans
from workbench.papers import contest, measures, own_set
from workbench.papers.bench import Arm
from workbench.papers.catalogue import experiment
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part


@experiment(moves="classes", recipe="protoclip", min_effect=0.02, own=DataNeeds(2, label=True))
def protoclip(trial: Trial) -> Outcome:
    """InfoNCE against the recipe, temperature chosen by retrieval for both; k-means with a cluster a class."""

    def judge(z: dict[str, Tensor], part: Part) -> float:
        from sklearn.metrics import adjusted_rand_score

        classes = int(part.truth.max()) + 1
        return sum(float(adjusted_rand_score(part.truth, kmeans(x, classes)[1])) for x in z.values()) / len(z)

    def beside(z: dict[str, Tensor], part: Part) -> dict[str, float]:
        a, b, *_ = z.values()
        return {"gap": measures.gap(a, b), "recall at 10": measures.all_recall(z, part)}

    settings = {"clusters": 40, "memory": trial.count(768, 64)}
    return contest.recipes(
        trial,
        own_set.halves(trial),
        Arm("infonce"),
        Arm("protoclip", settings),
        judge,
        choose=measures.all_recall,
        beside=beside,
    )
