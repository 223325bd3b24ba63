r"""A reader of one modality that is taught with Gaussian noise of the gap's width reads the other modality better than
one that subtracts the mean gap.

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
scikit-learn digits: the classifier learns right halves and is asked about left halves, in a frozen space with a large
gap, trained with InfoNCE at a temperature of 0.02

What must move
--------------
accuracy across modalities

Control
-------
spaces trained on pairs made at random, four in each run: accuracy of both

Positive control
----------------
accuracy with the mean gap subtracted in an untrained against a trained space

At this size
------------
The premise is a frozen space with a gap. Where the temperature may be tuned as well, a space comes out that has
hardly a gap, and there noise gains nothing (beside). The gap is not zero-mean: its mean is the gap.

Try it
------
workbench papers maccap --run --data YOUR_SET --label CLASS
"""

from __future__ import annotations

from statistics import fmean

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

Model = tuple[Towers, float, float]  # the variance of the noise it is taught with, the share of the gap taken away
COLD, OPEN, DEALT = 0.02, 0.5, 4


@experiment(moves="classes", recipe="noise_injection", min_effect=0.02, own=DataNeeds(2, label=True))
def maccap(trial: Trial) -> Outcome:
    """The same classifier in the same frozen space: a share of the mean gap subtracted, five shares from none to all,
    against noise of five widths around that of the gap.
    """
    views = own_set.given(trial, 2) or digits.views_of_digits(trial, right=RIGHT, left=LEFT)
    train, classes = views.train, views.classes
    taught, asked = train.x
    spaces: list[tuple[Part, int, Towers]] = []

    def space(part: Part, steps: int, seed: int) -> Towers:
        """Trained once on a part for all settings of both arms, which have one seed."""
        for known, count, towers in spaces:
            if known is part and count == steps:
                return towers
        spaces.append((part, steps, bench.learn(Arm("infonce"), part, temperature=COLD, steps=steps, seed=seed)))
        return spaces[-1][2]

    def moments(towers: Towers, part: Part) -> tuple[float, Tensor, float]:
        """The gap's variance a coordinate, its mean, and that mean's squared length without the bias of noise (0 on
        average if zero-mean).
        """
        z = bench.rows(towers, part)
        d = z[taught] - z[asked]
        mean = d.mean(0)
        return float(d.var(0, unbiased=False).mean()), mean, float(mean.square().sum() - d.var(0).sum() / len(d))

    def moved(part: Part, share: float, steps: int, seed: int) -> Model:
        return space(part, steps, seed), 0.0, share

    def noisy(part: Part, times: float, steps: int, seed: int) -> Model:
        towers = space(part, steps, seed)
        return towers, times * moments(towers, part)[0], 0.0

    def classified(m: Model, part: Part, same: bool = False) -> float:
        torch.manual_seed(trial.seed)
        (towers, noise, share), head = m, nn.Linear(bench.DIM, classes)
        x, draw = bench.rows(towers, train)[taught], trial.generator()

        def loss(index: Tensor) -> Tensor:
            rows = x[index]
            rows = unit(rows + noise**0.5 * torch.randn(rows.shape, generator=draw), dim=1)
            return nn.functional.cross_entropy(head(rows) / 0.1, train.truth[index])

        bench.fit([head], loss, len(x), steps=trial.steps(150), seed=trial.seed, lr=1e-2)
        z = bench.rows(towers, part)[taught if same else asked]
        return measures.right(head(unit(z + share * moments(towers, train)[1], dim=1) if share else z), part.y)

    def within(m: Model, part: Part) -> float:
        return classified((*m[:2], 0.0), part, same=True)

    shares, widths = (0.0, 0.25, 0.5, 0.75, 1.0), (1.0, 0.25, 0.5, 2.0, 4.0)
    found = contest.tuned(trial, Treatment(moved, shares), Treatment(noisy, widths), views, classified)
    towers = found.baseline[0]
    warm = bench.learn(Arm("infonce"), train, temperature=OPEN, steps=trial.steps(300), seed=trial.seed)
    sigma, at_ease = moments(towers, train), moments(warm, train)
    dealt = [found.retrained(train.mispaired(trial.seed + 1_000 * k)) for k in range(trial.count(DEALT, 1))]
    return found.outcome(
        control=(fmean(a for a, _ in dealt), fmean(b for _, b in dealt)),
        positive=found.untrained(),
        also={
            "as it is, without either": found.score((towers, 0.0, 0.0)),
            "noise of the gap's own width": found.score((towers, sigma[0], 0.0)),
            "all of the mean gap subtracted": found.score((towers, 0.0, 1.0)),
            "variance of the gap for each coordinate": sigma[0],
            "squared length of its mean, unbiased (0 if zero-mean)": sigma[2],
            f"temperature {OPEN}: as it is": found.score((warm, 0.0, 0.0)),
            f"temperature {OPEN}: with noise": found.score((warm, at_ease[0], 0.0)),
            f"temperature {OPEN}: squared length of the mean, unbiased": at_ease[2],
            "within the taught modality, without noise": found.score(found.baseline, within),
            "within the taught modality, with noise": found.score(found.mechanism, within),
            "share of the gap that is subtracted": found.settings["baseline"],
            "width of the noise, of the gap's variance": found.settings["mechanism"],
        },
        rows=found.rows(lambda m, part: bench.rows(m[0], part)),
    )
