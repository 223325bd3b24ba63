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

from workbench import geometry
from workbench.papers import bench, contest, measures, own_set
from workbench.papers.bench import TEMPERATURES, Arm
from workbench.papers.catalogue import experiment
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part
from workbench.training.towers import Towers

NINE = (0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3, 0.5)
SETTINGS = tuple((t, w) for w in (0.02, 0.2, 2.0) for t in TEMPERATURES)  # temperature, weight


@experiment(moves="retrieval", recipe="mmd", min_effect=0.02, own=DataNeeds(2))
def mambarec(trial: Trial) -> Outcome:
    """InfoNCE over nine temperatures, against InfoNCE with the discrepancy over three temperatures and three weights;
    beside it gap and discrepancy of both.
    """
    views = own_set.halves(trial)

    def learn(part: Part, number: float, steps: int, seed: int) -> Towers:
        t, weight = SETTINGS[int(number)]
        return bench.learn(Arm("mmd", {"weight": weight}), part, temperature=t, steps=steps, seed=seed)

    def found_within(m: Towers, part: Part) -> float:
        return measures.all_recall(bench.rows(m, part), part)

    def beside(m: Towers, part: Part) -> dict[str, float]:
        a, b, *_ = bench.rows(m, part).values()
        return {"gap": measures.gap(a, b), "squared discrepancy": float(geometry.mmd(a, b))}

    found = contest.tuned(
        trial,
        contest.by_recipe(Arm("infonce"), NINE),
        contest.Treatment(learn, range(len(SETTINGS)), 400),
        views,
        found_within,
    )
    t, weight = SETTINGS[int(found.settings["mechanism"])]
    chosen = {"temperature, baseline": found.settings["baseline"], "temperature, mechanism": t, "weight": weight}
    return found.outcome(
        control=found.retrained(views.train.mispaired(trial.seed)),
        positive=found.untrained(),
        also=found.beside(beside) | chosen,
        rows=found.rows(bench.rows),
    )
