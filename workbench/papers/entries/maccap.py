r"""A reader of one modality, taught with Gaussian noise of the gap's width, reads the other modality better.

Maths
-----
$$\delta_i=x_i-y_i,\quad \sigma^2=\tfrac1d\,\overline{\|\delta_i-\bar\delta\|^2},\quad \text{teach on } n(x_i+\mathcal
N(0,\sigma^2 I)),\ \text{test on } y$$

Carried by
----------
recipe noise_injection; intervention noise; curve gap_moments

Code read
---------
Artanic30/MacCap

Deviations
----------
A linear classifier stands for the caption decoder; the width is measured on the training part, where the released
code has 0.016 as a constant.

Data
----
scikit-learn digits: the classifier learns right halves and is asked about left halves, in a space trained with
InfoNCE

What must move
--------------
accuracy across modalities

Control
-------
a space trained on pairs made at random: accuracy of both

Positive control
----------------
accuracy without noise in an untrained against a trained space

At this size
------------
Tuned, the space is trained at a temperature that leaves hardly a gap, and needs no noise. At 0.02 the gap is large,
and noise gains more than subtracting it (beside). It is not zero-mean: its mean is the gap.

Try it
------
workbench papers maccap --run --data YOUR_SET --label CLASS
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits, measures, own_set
from workbench.papers.bench import Arm
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Treatment
from workbench.papers.digits import LEFT, RIGHT
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit
from workbench.training.towers import Towers

Model = tuple[Towers, float]  # and the variance of the noise that the classifier is taught with


@experiment(recipe="noise_injection", min_effect=0.02, own=DataNeeds(2, label=True))
def maccap(trial: Trial) -> Outcome:
    """The same classifier without and with noise; beside it, subtracting the mean gap, and how far from zero-mean the
    gap is.
    """
    views = own_set.given(trial, 2) or digits.views_of_digits(trial, right=RIGHT, left=LEFT)
    train, classes = views.train, views.classes
    taught, asked = train.x

    def moments(space: Towers) -> tuple[float, Tensor, float]:
        """The gap's variance a coordinate, its mean, and that mean's squared length without the bias of noise (0 on
        average if zero-mean).
        """
        z = bench.rows(space, train)
        d = z[taught] - z[asked]
        mean = d.mean(0)
        return float(d.var(0, unbiased=False).mean()), mean, float(mean.square().sum() - d.var(0).sum() / len(d))

    def learn(part: Part, t: float, steps: int, seed: int) -> Model:
        return bench.learn(Arm("infonce"), part, temperature=t, steps=steps, seed=seed), 0.0

    def noisy(part: Part, t: float, steps: int, seed: int) -> Model:
        space, _ = learn(part, t, steps, seed)
        return space, moments(space)[0]

    def classified(m: Model, part: Part, shift: bool = False, same: bool = False) -> float:
        torch.manual_seed(trial.seed)
        (space, noise), head = m, nn.Linear(bench.DIM, classes)
        x, draw = bench.rows(space, train)[taught], trial.generator()

        def loss(index: Tensor) -> Tensor:
            rows = x[index]
            rows = unit(rows + noise**0.5 * torch.randn(rows.shape, generator=draw), dim=1)
            return nn.functional.cross_entropy(head(rows) / 0.1, train.truth[index])

        bench.fit([head], loss, len(x), steps=trial.steps(150), seed=trial.seed, lr=1e-2)
        z = bench.rows(space, part)[taught if same else asked]
        return measures.right(head(unit(z + moments(space)[1], dim=1) if shift else z), part.y)

    def shifted(m: Model, part: Part) -> float:
        return classified((m[0], 0.0), part, shift=True)

    def within(m: Model, part: Part) -> float:
        return classified(m, part, same=True)

    grid = (0.03, 0.1, 0.3, 1.0, 3.0)
    found = contest.tuned(trial, Treatment(learn, grid), Treatment(noisy, grid), views, classified)
    cold, sigma = noisy(train, 0.02, trial.steps(300), trial.seed), moments(found.mechanism[0])
    return found.outcome(
        control=found.retrained(train.mispaired(trial.seed)),
        positive=found.untrained(),
        also={
            "temperature 0.02, a large gap: as it is": found.score((cold[0], 0.0)),
            "temperature 0.02: with noise": found.score(cold),
            "temperature 0.02: subtracting the mean gap": found.score(cold, shifted),
            "variance of the gap for each coordinate": sigma[0],
            "squared length of its mean, unbiased (0 if zero-mean)": sigma[2],
            "temperature 0.02: squared length of the mean, unbiased": moments(cold[0])[2],
            "subtracting the mean gap instead": found.score(found.mechanism, shifted),
            "within the taught modality, without noise": found.score(found.baseline, within),
            "within the taught modality, with noise": found.score(found.mechanism, within),
        }
        | found.temperatures,
        rows=found.rows(lambda m, part: bench.rows(m[0], part)),
    )
