r"""Maximising a kernel joint entropy of common and salient codes keeps what only targets have out of the common space.

Maths
-----
$$J=\overline{\log\overline{k(s'_i,s'_j)\,k(c_i,c_j)}},\quad k=e^{-\|\cdot\|^2/2\tau}$$

Carried by
----------
recipe sepclr; workbench.geometry.joint_entropy

Code read
---------
neurospin-projects/2024_rlouiset_sep_clr

Deviations
----------
Dense encoders on small pictures, 400 steps.

Data
----
two scikit-learn digits side by side: the left one in every item, the right one in targets only

What must move
--------------
accuracy of telling the right digit from the common space

Control
-------
both weights with target and background dealt at random in training: the same accuracy

Positive control
----------------
telling the right digit from the salient space, against chance

At this size
------------
The common label pays as well: what separates here also erases.

Own data
--------
it needs a background and a target group and two looks at each item, and a set has neither
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit


@experiment(min_effect=0.03, better="lower")
def sepclr(trial: Trial) -> Outcome:
    """The recipe without and with its joint term; four linear probes for each, two learning rates for both."""
    g = torch.Generator().manual_seed(trial.seed)
    parts = digits.whole(trial)

    def pairs(part: Part, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pictures (count, 128), left class, right class, and whether the right digit is there."""
        a, b = (torch.randint(len(part), (count,), generator=g) for _ in range(2))
        target = torch.rand(count, generator=g) < 0.5
        left, right = (part.x["whole"][i].view(-1, 8, 8) for i in (a, b))
        assert part.y is not None
        both = torch.cat([left, right * target[:, None, None]], 2).flatten(1)
        return both, part.y[a], part.y[b], target

    sizes = (trial.count(2000, 80), trial.count(500, 60), trial.count(800, 60))
    data, tune, test = (pairs(p, n) for p, n in zip((parts.train, parts.validation, parts.test), sizes, strict=True))

    dealt = data[3][torch.randperm(len(data[3]), generator=g)]

    def train(lr: float, joint: float, targets: Tensor = data[3]) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(trial.seed)
        common, salient = bench.mlp(128), bench.mlp(128)
        objective = recipe("sepclr", joint=joint)
        draw = torch.Generator().manual_seed(trial.seed)

        def look(x: Tensor) -> Tensor:
            x = (x + 0.2 * torch.randn(x.shape, generator=draw)) * (torch.rand(x.shape, generator=draw) > 0.2)
            return torch.cat([common(x), salient(x)], 1)

        def loss(index: Tensor) -> Tensor:
            x, target = data[0][index], targets[index].long()
            return objective(Batch({"one": look(x), "two": look(x)}, labels=target))["loss"]

        bench.fit([common, salient], loss, len(data[0]), steps=trial.steps(400), seed=trial.seed, lr=lr)
        return common, salient

    def told(m: nn.Module, which: int, of: tuple[Tensor, ...]) -> float:
        """Accuracy of a linear probe, taught on the training part, among targets."""
        with torch.no_grad():
            a, b = unit(m(data[0][data[3]]), dim=1), unit(m(of[0][of[3]]), dim=1)
        return measures.probe(a, data[which][data[3]], b, of[which][of[3]])

    rates = (1e-3, 3e-3)
    # tuned for what the common space is for: the left digit
    plain, r0 = contest.best(trial, rates, lambda r: train(r, 0.0), lambda m: told(m[0], 1, tune))
    apart, r1 = contest.best(trial, rates, lambda r: train(r, 10.0), lambda m: told(m[0], 1, tune))
    also, rows = {}, {}
    for arm, m in (("baseline", plain), ("mechanism", apart)):
        also[f"left digit from the common space, {arm}"] = told(m[0], 1, test)
        also[f"left digit from the salient space, {arm}"] = told(m[1], 1, test)
        also[f"right digit from the salient space, {arm}"] = told(m[1], 2, test)
        with torch.no_grad():
            rows[arm] = {"common": unit(m[0](test[0][test[3]]), dim=1), "salient": unit(m[1](test[0][test[3]]), dim=1)}
    return Outcome(
        told(plain[0], 2, test),
        told(apart[0], 2, test),
        (told(train(r0, 0.0, dealt)[0], 2, test), told(train(r1, 10.0, dealt)[0], 2, test)),
        (0.1, also["right digit from the salient space, baseline"]),
        also,
        rows,
        test[2][test[3]],
    )
