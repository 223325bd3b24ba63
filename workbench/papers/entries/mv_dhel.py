r"""One term an item over all pairs of views, with negatives of the same view only, uses more of the space than the
average of pairwise losses.

Maths
-----
$$L=-\frac1M\sum_i\log\frac{\tfrac12\sum_{l\ne l'}e^{\langle u_{il},u_{il'}\rangle/\tau}}{\prod_l\sum_{j\ne
i}e^{\langle u_{il},u_{jl}\rangle/\tau}}$$

Carried by
----------
recipes mv_dhel, mv_infonce; diagnostic effective_rank

Code read
---------
pakoromilas/Multi-View-CL

Deviations
----------
Computed in log space: the released code multiplies raw sums and overflows. Its README leaves the minus sign out and
lets j = i into the inner sum; the code, followed here, does not.

Data
----
scikit-learn digits in four views: the quadrants

What must move
--------------
effective rank of a modality's test vectors (mean over modalities)

Control
-------
the baseline from another start: effective rank

Positive control
----------------
effective rank of towers with half the dimensions, against the baseline

At this size
------------
Views here are quadrants with towers of their own, not augmentations through one encoder, and towers of 32 dimensions
leave little space to win. Effective rank is free of scale, so a space that fell into one point counts as full
(beside): read it with alignment and uniformity.

Try it
------
workbench papers mv_dhel --run --data YOUR_SET
"""

from __future__ import annotations

from torch import Tensor

from workbench import geometry
from workbench.papers import bench, contest, digits, measures, own_set
from workbench.papers.bench import Arm
from workbench.papers.catalogue import experiment
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part
from workbench.training.towers import Towers


@experiment(moves="space", recipe="mv_dhel", min_effect=1.0, bound=32.0, own=DataNeeds(2, every=True))
def mv_dhel(trial: Trial) -> Outcome:
    """The average of all pairwise InfoNCE losses against MV-DHEL, temperature chosen by retrieval for both."""
    quadrants = {
        f"{v}_{h}": lambda x, i=i, j=j: x[:, i : i + 4, j : j + 4]
        for v, i in (("top", 0), ("bottom", 4))
        for h, j in (("left", 0), ("right", 4))
    }
    views = own_set.given(trial) or digits.views_of_digits(trial, **quadrants)

    def judge(z: dict[str, Tensor], part: Part) -> float:
        return sum(measures.effective_rank(x) for x in z.values()) / len(z)

    def beside(z: dict[str, Tensor], part: Part) -> dict[str, float]:
        first, second, *_ = z.values()
        return {
            "recall at 10": measures.all_recall(z, part),
            "uniformity": sum(float(geometry.uniformity(x)) for x in z.values()) / len(z),
            "matched distance": float(geometry.alignment(first, second)),
        }

    def learned(arm: Arm, t: float, model: Towers | None = None) -> Towers:
        return bench.learn(arm, views.train, temperature=t, steps=trial.steps(400), seed=trial.seed, model=model)

    found = contest.recipes(
        trial,
        views,
        Arm("infonce"),
        Arm("mv_dhel"),
        judge,
        choose=measures.all_recall,
        beside=beside,
        control="restart",
        temperatures=(0.03, 0.1, 0.3, 0.5, 1.0),
        poor=lambda t: learned(Arm("infonce"), t, bench.towers(views.train, bench.DIM // 2)),
    )
    # without negatives the space collapses, and a measure free of scale takes what is left for a full one
    flat = bench.rows(learned(Arm("align_uniform", {"weight": 0.0}), 1.0), views.test)
    return found.with_also({"a collapsed space: matches are only pulled together": judge(flat, views.test)})
