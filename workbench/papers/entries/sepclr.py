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
both weights with target and background dealt anew at every step of training: the same accuracy

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
from workbench.papers import bench, contest, digits, measures, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

Codes = tuple[nn.Module, nn.Module]  # the towers of the common and of the salient code
COMMON, SALIENT = 0, 1


@experiment(moves="space", min_effect=0.03, better="lower")
def sepclr(trial: Trial) -> Outcome:
    """The recipe without and with its joint term; four linear probes for each, two learning rates for both."""
    g = trial.generator()

    def pairs(part: Part, count: int) -> Part:
        """Pictures (count, 128), left class, right class, and whether the right digit is there."""
        a, b = (torch.randint(len(part), (count,), generator=g) for _ in range(2))
        target = torch.rand(count, generator=g) < 0.5
        left, right = (part.x["whole"][i].view(-1, 8, 8) for i in (a, b))
        picture = torch.cat([left, right * target[:, None, None]], 2).flatten(1)
        return Part({"picture": picture, "left": part.truth[a], "right": part.truth[b], "target": target})

    views = parts.composed(trial, digits.whole(trial), pairs, (2000, 80), (500, 60), (800, 60))
    train = views.train

    def treatment(joint: float, dealt: bool = False) -> contest.Treatment[Codes]:
        objective = recipe("sepclr", joint=joint)

        def loss(m: Codes, batch: Part, step: Step) -> Tensor:
            def look() -> Tensor:
                x = batch.x["picture"]
                x = x + 0.2 * torch.randn(x.shape, generator=step.draw)
                x = x * (torch.rand(x.shape, generator=step.draw) > 0.2)
                return torch.cat([m[COMMON](x), m[SALIENT](x)], 1)

            target = batch.x["target"]
            if dealt:
                target = torch.rand(len(batch), generator=step.draw) < 0.5
            return objective(Batch({"one": look(), "two": look()}, labels=target.long()))["loss"]

        return contest.by_loss(lambda _: (bench.mlp(128), bench.mlp(128)), loss, (1e-3, 3e-3), rates=True, steps=400)

    def told(m: Codes, part: Part, digit: str = "right", code: int = COMMON) -> float:
        """Accuracy of a linear probe, taught on the training part, among targets."""
        of, to = (p.take(p.x["target"]) for p in (train, part))
        x, y = (unit(m[code](p.x["picture"]), dim=1) for p in (of, to))
        return measures.probe(x, of.x[digit], y, to.x[digit])

    def look(m: Codes, part: Part) -> dict[str, float]:
        return {
            "left digit from the common space": told(m, part, "left"),
            "left digit from the salient space": told(m, part, "left", SALIENT),
            "right digit from the salient space": told(m, part, "right", SALIENT),
        }

    # tuned for what the common space is for: the left digit
    found = contest.tuned(
        trial, treatment(0.0), treatment(10.0), views, told, choose=lambda m, part: told(m, part, "left")
    )
    also, targets = found.beside(look), views.test.take(views.test.x["target"])
    return found.outcome(
        control=found.retrained(by=(treatment(0.0, dealt=True), treatment(10.0, dealt=True))),
        positive=(0.1, also["right digit from the salient space, baseline"]),
        also=also,
        rows=found.rows(
            lambda m, _: {
                k: unit(tower(targets.x["picture"]), dim=1) for k, tower in zip(("common", "salient"), m, strict=True)
            }
        ),
        labels=targets.x["right"],
    )
