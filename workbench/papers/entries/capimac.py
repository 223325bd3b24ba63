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
from collections.abc import Callable

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, own_set
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views
from workbench.training.towers import Towers


@experiment(moves="retrieval", min_effect=0.02, own=DataNeeds(2, label=True, gaps=True))
def capimac(trial: Trial) -> Outcome:
    """The plain margin loss against the robust one, on known pairs and random strangers; then the best assignment."""
    from scipy.optimize import linear_sum_assignment

    views = own_set.halves(trial)
    a, b = views.train.x
    order = torch.randperm(len(views.train), generator=trial.generator())
    known = views.train.take(order[: len(order) // 2])

    def treatment(pairs: Callable[[Tensor, Tensor], Tensor]) -> contest.Treatment[Towers]:
        def loss(model: Towers, batch: Part, step: Step) -> Tensor:
            z = model(batch.x)
            d = (torch.cdist(z[a], z[b]).square() + 1e-6).sqrt()
            return pairs(d, torch.eye(len(batch), dtype=torch.bool))

        return contest.by_loss(lambda _: bench.towers(known), loss, (1e-3, 3e-3), rates=True, size=64)

    def distances(model: Towers, part: Part) -> Tensor:
        z = model(part.x)
        return torch.cdist(z[a], z[b])

    def judge(model: Towers, part: Part) -> float:
        left, right = map(torch.from_numpy, linear_sum_assignment(distances(model, part).numpy()))
        return float((part.truth[left] == part.truth[right]).float().mean())

    def released(model: Towers, part: Part) -> float:
        """Every row with the partner that was found last."""
        return float((part.truth == part.truth[distances(model, part)[-1].argmin()]).float().mean())

    single = own_set.single_modality(trial, 2)
    kept = torch.randperm(len(views.test), generator=trial.generator()) % 3 > 0

    @torch.no_grad()
    def incomplete(model: Towers) -> dict[str, float]:
        """Where a third of the second view's rows is gone, or with the items of your set that lack a row."""
        found = []
        for m, part in {a: views.test, b: views.test if single else views.test.take(kept)}.items():
            both = [part, single[m]] if single else [part]
            found.append((model.of(m)(torch.cat([p.x[m] for p in both])), torch.cat([p.truth for p in both])))
        return partnered(*sorted(found, key=lambda view: len(view[1])))

    found = contest.tuned(
        trial, treatment(margin), treatment(robust), Views(known, views.validation, views.test), judge
    )
    stale = {"with the stale index, as released": found.score(found.mechanism, released)}
    return found.outcome(
        control=found.retrained(known.mispaired(trial.seed)),
        positive=found.untrained(),
        also=stale | incomplete(found.mechanism),
        rows=found.rows(bench.rows),
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
