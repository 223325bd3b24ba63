r"""Matching the unpaired rows of two views in a space learned with a noise-robust loss pairs them by class.

Maths
-----
$$L=\frac1{2N}\sum\Big[P\,d^2+(1-P)\tfrac1m\max\big(\sqrt d\,(\tfrac m2-d),0\big)^2\Big],\quad \text{then the best
assignment of rows}$$

Carried by
----------
workbench.papers.entries.capimac.robust; scipy.optimize.linear_sum_assignment

Code read
---------
Autism-mm/CAPIMAC

Deviations
----------
The released matching is greedy and reuses a stale index, so every row gets the same partner; here it is the best
assignment (beside: what the released one gives). Padding stands beside, with a third of the second view's rows gone
(yours: those it lacks); a padded row has the class of most weight in it. No anchors.

Data
----
scikit-learn digits: left and right halves, half of the pairs known

What must move
--------------
share of rows of new items matched to a partner of their class

Control
-------
known pairs dealt at random: share of both losses

Positive control
----------------
share by the plain margin loss, untrained against trained

Try it
------
workbench papers capimac --run --data YOUR_SET --label CLASS
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits, own_set
from workbench.papers.catalogue import experiment
from workbench.papers.digits import LEFT, RIGHT
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part
from workbench.training.towers import Towers


@experiment(min_effect=0.02, own=DataNeeds(2, label=True, gaps=True))
def capimac(trial: Trial) -> Outcome:
    """The plain margin loss against the robust one, on known pairs and random strangers; then the best assignment."""
    from scipy.optimize import linear_sum_assignment

    views = own_set.given(trial, 2) or digits.views_of_digits(trial, left=LEFT, right=RIGHT)
    a, b = views.train.x
    order = torch.randperm(len(views.train), generator=torch.Generator().manual_seed(trial.seed))
    pool = views.train.take(order[: len(order) // 2])

    def train(lr: float, robust_form: bool, part: Part, steps: int) -> Towers:
        torch.manual_seed(trial.seed)
        model = bench.towers(part)

        def loss(index: Tensor) -> Tensor:
            z = model({m: v[index] for m, v in part.x.items()})
            d = (torch.cdist(z[a], z[b]).square() + 1e-6).sqrt()
            own = torch.eye(len(index), dtype=torch.bool)
            return robust(d, own) if robust_form else margin(d, own)

        bench.fit([model], loss, len(part), steps=steps, seed=trial.seed, size=64, lr=lr)
        return model

    @torch.no_grad()
    def released(model: Towers, part: Part) -> float:
        """Every row with the partner that was found last."""
        z = model(part.x)
        assert part.y is not None
        return float((part.y == part.y[torch.cdist(z[a], z[b])[-1].argmin()]).float().mean())

    @torch.no_grad()
    def judge(model: Towers, part: Part) -> float:
        z = model(part.x)
        left, right = linear_sum_assignment(torch.cdist(z[a], z[b]).numpy())
        assert part.y is not None
        return float((part.y[torch.from_numpy(left)] == part.y[torch.from_numpy(right)]).float().mean())

    lone = own_set.single_modality(trial, 2)
    kept = torch.randperm(len(views.test), generator=torch.Generator().manual_seed(trial.seed)) % 3 > 0

    @torch.no_grad()
    def incomplete(model: Towers) -> dict[str, float]:
        """Where a third of the second view's rows is gone, or with the items of your set that lack a row."""
        found = {}
        for m, part in {a: views.test, b: views.test if lone else views.test.take(kept)}.items():
            parts = [part, lone[m]] if lone else [part]
            y = torch.cat([p.y for p in parts if p.y is not None])
            found[m] = model.of(m)(torch.cat([p.x[m] for p in parts])), y
        return partnered(*sorted(found.values(), key=lambda view: len(view[1])))

    steps, rates = trial.steps(300), (1e-3, 3e-3)
    plain, r0 = contest.best(trial, rates, lambda r: train(r, False, pool, steps), lambda m: judge(m, views.validation))
    strong, r1 = contest.best(trial, rates, lambda r: train(r, True, pool, steps), lambda m: judge(m, views.validation))
    wrong = pool.mispaired(trial.seed)
    base = judge(plain, views.test)
    return Outcome(
        base,
        judge(strong, views.test),
        (judge(train(r0, False, wrong, steps), views.test), judge(train(r1, True, wrong, steps), views.test)),
        (judge(train(r0, False, pool, 0), views.test), base),
        {"with the stale index, as released": released(strong, views.test)} | incomplete(strong),
        {"baseline": bench.rows(plain, views.test), "mechanism": bench.rows(strong, views.test)},
        views.test.y,
    )


def robust(d: Tensor, own: Tensor, m: float = 5.0) -> Tensor:
    """Noise-robust pair loss: near strangers, who may be false ones, are pushed the less the nearer they are.

    >>> round(float(robust(torch.tensor([1.0, 1.0]), torch.tensor([True, False]))), 4)
    0.3625
    """
    push = (d.clamp_min(1e-12).sqrt() * (m / 2 - d)).clamp_min(0).square() / m
    return torch.where(own, d.square(), push).mean() / 2


def margin(d: Tensor, own: Tensor, m: float = 5.0) -> Tensor:
    """The plain margin loss: matches near, strangers half of m away or farther."""
    return torch.where(own, d.square(), (m / 2 - d).clamp_min(0).square()).mean() / 2


def padding(distance: Tensor, count: int, width: float = 1.0) -> Tensor:
    """Weights (count, n) that make fewer than n rows to put between n: Gaussian kernel regression over their order.

    The rows are sorted by the distance of their match (n,); a new one comes into each of the largest jumps.

    >>> weights = padding(torch.tensor([0.0, 0.1, 1.0, 1.1]), 1)
    >>> round(float(weights[0] @ torch.tensor([0.0, 1.0, 4.0, 9.0])), 6)
    3.037883
    """
    order = distance.argsort(stable=True)
    jump = distance[order].diff()
    place = jump.argsort(descending=True, stable=True)[:count].sort().values + 0.5
    weights = (-0.5 * ((place[:, None] - torch.arange(len(order))) / width).square()).exp()
    out = torch.zeros_like(weights)
    out[:, order] = weights / weights.sum(1, keepdim=True)
    return out


def partnered(shorter: tuple[Tensor, Tensor], longer: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Share of the longer view's rows with a partner of their class, three ways: the best assignment alone, the nearest
    row for those that it leaves out, the best assignment to the shorter view after padding, NaN where that has half of
    the rows or fewer. A view is its vectors (n, d) and classes (n,).
    """
    from scipy.optimize import linear_sum_assignment

    (short, own), (long, other) = shorter, longer
    lacking = len(long) - len(short)
    d = torch.cdist(long, short)
    left, right = linear_sum_assignment(d.numpy())
    same = torch.zeros(len(long), dtype=torch.bool)
    same[left] = other[left] == own[right]
    near = other == own[d.argmin(1)]
    near[left] = same[left]
    padded = math.nan
    if lacking < len(short):
        weights = padding(d[left, right][right.argsort()], lacking)
        kinds, code = own.unique(return_inverse=True)
        made = kinds[(weights @ nn.functional.one_hot(code).to(weights)).argmax(1)]
        left, right = linear_sum_assignment(torch.cdist(long, torch.cat([short, weights @ short])).numpy())
        padded = float((other[left] == torch.cat([own, made])[right]).float().mean())
    return {
        "rows that the shorter view lacks, share": lacking / len(long),
        "the same share then, by the best assignment": float(same.float().mean()),
        "and the nearest row for the rest": float(near.float().mean()),
        "and after padding instead": padded,
    }
