r"""Pushing a caption's nearest captions away makes a model choose the right one among look-alikes.

Maths
-----
$$L=L_{\mathrm{SigLIP}}+0.1\cdot\overline{\log\sum_{k\in\text{top }10}e^{\cos(t_i,t_k)}},\quad \cos>0.95 \text{ left
alone}$$

Carried by
----------
recipe fgclip2

Code read
---------
360CVGroup/FG-CLIP

Deviations
----------
Only the textual intra-modal term; regions, written hard negatives and the adaptive rank margin are left out.

Data
----
emoji: English names with tags, and colour drawings, as frozen features

What must move
--------------
accuracy of choosing a picture's text among it and its ten most similar texts

Control
-------
both recipes on pairs made at random: the quantity

Positive control
----------------
the quantity, untrained against trained towers

At this size
------------
A few hundred test items; names of emoji are seldom as alike as captions of regions.

Try it
------
workbench papers fg_clip2 --run --data YOUR_SET
"""

from __future__ import annotations

from torch import Tensor

from workbench.papers import bench, contest, measures, own_set
from workbench.papers.bench import Arm
from workbench.papers.catalogue import experiment
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit


@experiment(moves="retrieval", recipe="fgclip2", min_effect=0.02, own=DataNeeds(2))
def fg_clip2(trial: Trial) -> Outcome:
    """SigLIP against SigLIP with the term; the look-alikes are those of the frozen text features."""
    views = own_set.given(trial, 2) or own_set.emoji(trial, "text", "color")
    text, picture = views.train.x

    def choice(z: dict[str, Tensor], part: Part) -> float:
        t = unit(part.x[text], dim=1)
        near = (t @ t.T).fill_diagonal_(-2).topk(min(10, len(part) - 1), 1).indices
        own = (z[picture] * z[text]).sum(1, keepdim=True)
        others = (z[text][near] @ z[picture][:, :, None])[..., 0]
        return float((own > others).all(1).float().mean())

    def beside(z: dict[str, Tensor], part: Part) -> dict[str, float]:
        near = (z[text] @ z[text].T).fill_diagonal_(-2).topk(min(10, len(part) - 1), 1).values
        return {
            "cosine of the ten nearest texts": float(near.mean()),
            "recall at 10": measures.all_recall(z, part),
        }

    cold = (0.01, *bench.TEMPERATURES)  # both arms would sit at the cold end of the usual ones
    return contest.recipes(trial, views, Arm("siglip"), Arm("fgclip2"), choice, beside=beside, temperatures=cold)
