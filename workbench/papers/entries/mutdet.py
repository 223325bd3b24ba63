r"""Contrasting a detector's queries with the embeddings of the objects that they matched teaches features that serve
few labels better than regressing the embeddings does.

Maths
-----
$$L=2\tau\,[\mathrm{CE}(QK^\top/\tau)+\mathrm{CE}(KQ^\top/\tau)]\qquad\text{against}\qquad \|q-k\|_1$$

Carried by
----------
workbench.papers.entries.mutdet.matched

Code read
---------
floatingstarZ/MutDet

Deviations
----------
One attention layer and six queries; a matched object is the one whose middle the query's attention is nearest to. The
enhancement of the embeddings by the encoder and the second head are not built.

Data
----
scenes of three scikit-learn digits; the objects' embeddings are histograms of their gradients and principal components,
which no label made

What must move
--------------
accuracy of a linear classifier on matched queries of the test scenes, taught with five labels a class

Control
-------
both arms with embeddings dealt among the objects: the accuracy

Positive control
----------------
the accuracy without alignment, where boxes alone are learnt, and with regression

At this size
------------
The factor 2τ makes gradients alike over temperatures (a test shows it); it cannot change the loss's own minimum.

Own data
--------
a set has no detector; recipe infonce trains the same contrast on pairs of yours
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.papers import contest, digits, measures, parts, scenes
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit

QUERIES, WIDTH, SHOTS = 6, 48, 5


def matched(q: Tensor, k: Tensor, temperature: float = 0.2, scaled: bool = True) -> Tensor:
    r"""Symmetric contrast of matched unit rows (N, d), times 2τ so that its gradient hardly depends on τ.

    >>> round(matched(torch.eye(2), torch.eye(2), 1.0).item(), 4)
    1.253
    """
    s = q @ k.T / temperature
    return (2 * temperature if scaled else 1.0) * 2 * heads.symmetric(s)


class Detector(nn.Module):
    """Queries that attend to a scene: where they look (B, 6, 2) and what they see (B, 6, d)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.eye, self.queries = scenes.Eye(WIDTH), nn.Parameter(torch.randn(QUERIES, WIDTH))
        self.attend = nn.MultiheadAttention(WIDTH, 1, batch_first=True)
        self.box, self.seen = nn.Linear(WIDTH, 2), nn.Linear(WIDTH, width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tokens = self.eye(x)
        asked = self.queries.expand(len(x), -1, -1)
        h, weight = self.attend(asked, tokens, tokens)
        return weight @ scenes.CENTRES + 4 * torch.tanh(self.box(h)), h, unit(self.seen(h), dim=2)


def assigned(where: Tensor, middle: Tensor) -> Tensor:
    """The query of each object, (B, objects): all objects at once, with the least sum of distances."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(where.detach(), middle)  # (B, queries, objects)
    return torch.stack([torch.from_numpy(linear_sum_assignment(c.T.numpy())[1]) for c in cost])


def gradients_of(x: Tensor) -> Tensor:
    """Histograms of eight directions of gradient in four quarters, (N, 32), of objects (N, 64)."""
    p = nn.functional.pad(x.view(-1, 1, 8, 8), (1, 1, 1, 1), mode="replicate")[:, 0]
    down, right = p[:, 2:, 1:-1] - p[:, :-2, 1:-1], p[:, 1:-1, 2:] - p[:, 1:-1, :-2]
    way = ((torch.atan2(down, right) / torch.pi + 1) * 4).long().clamp(0, 7)
    strength = (down.square() + right.square()).sqrt()[:, None] * nn.functional.one_hot(way, 8).permute(0, 3, 1, 2)
    return nn.functional.adaptive_avg_pool2d(strength, 2).flatten(1)


@experiment(moves="classes", min_effect=0.03)
def mutdet(trial: Trial) -> Outcome:
    """Regression against contrast, beside the same loss of places; three weights for both, 250 steps of 32 scenes."""
    g, pools = trial.generator(), digits.pools(trial)
    views = parts.composed(trial, pools, lambda pool, n: scenes.scenes(pool, n, 3, g), (1200, 60), (500, 60), (800, 60))
    flat = views.train.x["object"].flatten(0, 1)
    axes = torch.linalg.svd(flat - flat.mean(0), full_matrices=False).Vh[:32]

    def taught(part: Part) -> Part:
        x = part.x["object"].flatten(0, 1)
        both = torch.cat([unit((x - flat.mean(0)) @ axes.T, dim=1), unit(gradients_of(x), dim=1)], 1)
        return part.but(teacher=unit(both, dim=1).view(len(part), 3, -1))

    views = Views(*map(taught, views))
    width = views.train.x["teacher"].shape[2]

    def own(m: Detector, part: Part) -> tuple[Tensor, Tensor, Tensor]:
        """Of each object: how far its query looks from it, the query's state, and its unit vector."""
        where, h, z = m(part.x["scene"])
        middle = part.x["corner"].float() + (scenes.OBJECT - 1) / 2
        k, rows = assigned(where, middle), torch.arange(len(part))[:, None]
        return (where[rows, k] - middle).abs().mean(2), h[rows, k], z[rows, k]

    def loss(m: Detector, batch: Part, step: Step, kind: str) -> Tensor:
        away, _, z = own(m, batch)
        total, teacher = away.mean() / scenes.OBJECT, batch.x["teacher"]
        if kind == "boxes":
            return total
        if kind == "contrast":
            return total + step.setting * matched(z.flatten(0, 1), teacher.flatten(0, 1))
        return total + step.setting * (z - teacher).abs().sum(2).mean()

    def treatment(kind: str) -> contest.Treatment[Detector]:
        return contest.by_loss(
            lambda _: Detector(width), partial(loss, kind=kind), (0.3, 1.0, 3.0), steps=250, size=trial.count(32, 8)
        )

    def few(m: Detector, part: Part) -> float:
        """A ridge classifier of five states a class, taken from the training scenes, on the states of others."""
        told = views.train.take(torch.arange(min(300, len(views.train))))
        x, y = own(m, told)[1].flatten(0, 1), told.x["classes"].flatten()
        at = torch.cat([(y == c).nonzero()[:SHOTS, 0] for c in range(10)])
        z, truth = own(m, part)[1].flatten(0, 1), part.x["classes"].flatten()
        return measures.probe(x[at], y[at], z, truth)

    def alike(m: Detector, part: Part) -> dict[str, float]:
        z, t = own(m, part)[2].flatten(0, 1), part.x["teacher"].flatten(0, 1)
        s, n = z @ t.T, len(z)
        other = (s.sum() - s.trace()) / (n * (n - 1))
        return {"cosine with its own object": float(s.trace() / n), "cosine with others": float(other)}

    def vectors(m: Detector, part: Part) -> dict[str, Tensor]:
        return {"query": own(m, part)[2].flatten(0, 1), "object": part.x["teacher"].flatten(0, 1)}

    found = contest.tuned(trial, treatment("regression"), treatment("contrast"), views, few)
    t = views.train.x["teacher"]
    dealt = t.flatten(0, 1)[torch.randperm(3 * len(t), generator=g)].view_as(t)
    boxes = found.again("baseline", by=treatment("boxes"))
    return found.outcome(
        control=found.retrained(views.train.but(teacher=dealt)),
        positive=(found.score(boxes), found.score(found.baseline)),
        also={"boxes alone": found.score(boxes)} | found.beside(alike),
        rows=found.rows(vectors),
        labels=views.test.x["classes"].flatten(),
    )
