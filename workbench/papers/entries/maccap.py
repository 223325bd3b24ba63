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
from workbench.papers.digits import LEFT, RIGHT
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit
from workbench.training.towers import Towers

cross = nn.functional.cross_entropy


@experiment(recipe="noise_injection", min_effect=0.02, own=DataNeeds(2, label=True))
def maccap(trial: Trial) -> Outcome:
    """The same classifier without and with noise; beside it, subtracting the mean gap, and how far from zero-mean the
    gap is.
    """
    views = own_set.given(trial, 2) or digits.views_of_digits(trial, right=RIGHT, left=LEFT)
    taught, asked = views.train.x
    y = views.train.y
    assert y is not None
    classes = int(max(int(p.y.max()) for p in (views.train, views.validation, views.test))) + 1  # type: ignore[union-attr]
    steps = trial.steps(300)

    def space(t: float, part: Part, count: int = steps) -> Towers:
        return bench.learn(Arm("infonce"), part, temperature=t, steps=count, seed=trial.seed)

    def moments(model: Towers) -> tuple[float, Tensor, float]:
        """The gap's variance a coordinate, its mean, and that mean's squared length without the bias of noise (0 on
        average if zero-mean).
        """
        z = bench.rows(model, views.train)
        d = z[taught] - z[asked]
        mean = d.mean(0)
        return float(d.var(0, unbiased=False).mean()), mean, float(mean.square().sum() - d.var(0).sum() / len(d))

    def accuracy(model: Towers, noise: float, part: Part, shift: bool = False, same: bool = False) -> float:
        torch.manual_seed(trial.seed)
        x, head = bench.rows(model, views.train)[taught], nn.Linear(bench.DIM, classes)
        draw = torch.Generator().manual_seed(trial.seed)

        def loss(index: Tensor) -> Tensor:
            rows = x[index]
            rows = unit(rows + noise**0.5 * torch.randn(rows.shape, generator=draw), dim=1)
            return cross(head(rows) / 0.1, y[index])

        bench.fit([head], loss, len(x), steps=trial.steps(150), seed=trial.seed, lr=1e-2)
        z = bench.rows(model, part)[taught if same else asked]
        if shift:
            z = unit(z + moments(model)[1], dim=1)
        with torch.no_grad():
            return measures.right(head(z), part.y)

    grid = (0.03, 0.1, 0.3, 1.0, 3.0)
    plain, t0 = contest.best(trial, grid, lambda t: space(t, views.train), lambda m: accuracy(m, 0.0, views.validation))
    noised, t1 = contest.best(
        trial, grid, lambda t: space(t, views.train), lambda m: accuracy(m, moments(m)[0], views.validation)
    )
    wrong = views.train.mispaired(trial.seed)
    lost = [space(t, wrong) for t in (t0, t1)]
    base, cold = accuracy(plain, 0.0, views.test), space(0.02, views.train)
    sigma, wide = moments(noised), moments(cold)
    also = {
        "temperature 0.02, a large gap: as it is": accuracy(cold, 0.0, views.test),
        "temperature 0.02: with noise": accuracy(cold, wide[0], views.test),
        "temperature 0.02: subtracting the mean gap": accuracy(cold, 0.0, views.test, shift=True),
        "variance of the gap for each coordinate": sigma[0],
        "squared length of its mean, unbiased (0 if zero-mean)": sigma[2],
        "temperature 0.02: squared length of the mean, unbiased": wide[2],
        "subtracting the mean gap instead": accuracy(noised, 0.0, views.test, shift=True),
        "within the taught modality, without noise": accuracy(plain, 0.0, views.test, same=True),
        "within the taught modality, with noise": accuracy(noised, sigma[0], views.test, same=True),
        "temperature of the baseline": t0,
        "temperature of the mechanism": t1,
    }
    return Outcome(
        base,
        accuracy(noised, sigma[0], views.test),
        (accuracy(lost[0], 0.0, views.test), accuracy(lost[1], moments(lost[1])[0], views.test)),
        (accuracy(space(t0, views.train, 0), 0.0, views.test), base),
        also,
        {"baseline": bench.rows(plain, views.test), "mechanism": bench.rows(noised, views.test)},
        views.test.y,
    )
