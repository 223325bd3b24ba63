r"""Contrasting features at a body's points with those of other points and of the background, beside finding the points,
makes the features tell the points apart where an occluder hides them.

Maths
-----
$$L=L_{\text{map}}+w\,\Big[-\overline{\log\frac{e^{\hat f_j\cdot f_j/\tau}}{e^{\hat f_j\cdot f_j/\tau}
+\sum_{k\neq j}e^{\hat f_j\cdot\hat f_k/\tau}}}-\overline{\log\frac{e^{\hat f_j\cdot\hat f_k/\tau}}{e^{\hat
f_j\cdot\hat f_k/\tau}+\sum_b e^{\hat f_j\cdot f_b/\tau}}}\Big]$$

Carried by
----------
workbench.objectives.heads.paired; workbench.objectives.conflict.agreement

Code read
---------
xljh0520/JOTR

Deviations
----------
A plane in place of a volume. As released, the second term draws all points to each other; with the same point only,
the repaired form stands beside.

Data
----
scikit-learn digits at twice their size on noisy canvases of 24 × 24, partly hidden; five points: top, bottom, left and
right of the ink, and its centre

What must move
--------------
cosine of features at the same hidden point less that at other points, of other canvases

Control
-------
both arms with points of other canvases as targets: the cosine

Positive control
----------------
share of points found within three pixels, untrained against trained

At this size
------------
Points are found no better (beside): the heat maps alone find them nearly as well as can be.

Own data
--------
a set has no maps; workbench.objectives.conflict tells whether the terms of your own loss fight each other
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.objectives.conflict import agreement
from workbench.papers import contest, digits
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit

SIZE, CELLS, POINTS, TEMPERATURE, NEAR = 24, 12, 5, 0.07, 3.0
GRID = torch.stack(torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij"), -1).view(-1, 2) * 2 + 0.5


def canvases(x: Tensor, g: torch.Generator) -> dict[str, Tensor]:
    """Digits (N, 64) on noisy canvases with an occluder: {canvas, points (N, 5, 2) as row, column, hidden (N, 5)}."""
    n = len(x)
    large = nn.functional.interpolate(x.view(-1, 1, 8, 8), scale_factor=2, mode="bilinear")[:, 0]
    canvas, hidden = 0.25 * torch.randn(n, SIZE, SIZE, generator=g).abs(), torch.zeros(n, POINTS, dtype=torch.bool)
    points, corner = torch.zeros(n, POINTS, 2), torch.randint(0, 9, (n, 2), generator=g)
    for k in range(n):
        a, b = corner[k].tolist()
        canvas[k, a : a + 16, b : b + 16] = torch.maximum(canvas[k, a : a + 16, b : b + 16], large[k])
        ink = (large[k] > 0.4).nonzero().float()
        ends = [ink[:, 0] == ink[:, 0].min(), ink[:, 0] == ink[:, 0].max()]
        ends += [ink[:, 1] == ink[:, 1].min(), ink[:, 1] == ink[:, 1].max()]
        points[k] = torch.stack([*(ink[e].mean(0) for e in ends), ink.mean(0)]) + corner[k]
        size = torch.randint(6, 11, (2,), generator=g)
        at = corner[k] + (torch.rand(2, generator=g) * (17 - size)).long()
        (h, w), (u, v) = size.tolist(), at.tolist()
        canvas[k, u : u + h, v : v + w] = 0.6 * torch.rand(h, w, generator=g)
        hidden[k] = ((points[k] >= at) & (points[k] < at + size)).all(1)
    return {"canvas": canvas, "points": points, "hidden": hidden}


class Finder(nn.Module):
    """A map of features (B, 32, 12, 12) and a heat map for each point (B, 5, 144)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b, stride, apart in ((1, 24, 1, 1), (24, 32, 2, 1), (32, 32, 1, 1), (32, 32, 1, 2)):
            layers += [nn.Conv2d(a, b, 3, stride=stride, padding=apart, dilation=apart), nn.GELU()]
        self.body, self.head = nn.Sequential(*layers, nn.Conv2d(32, 32, 1)), nn.Conv2d(32, POINTS, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.body(x[:, None])
        return z, self.head(z.relu()).flatten(2)


def sampled(z: Tensor, points: Tensor) -> Tensor:
    """Unit features at points given as row and column, bilinear: (B, 5, d); sampling wants column and row."""
    at = ((points + 0.5) / SIZE * 2 - 1).flip(-1)[:, :, None]
    return unit(nn.functional.grid_sample(z, at, align_corners=False)[..., 0].mT, dim=2)


def terms(z: Tensor, heat: Tensor, points: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Same point against other points; any other point against the background, as released; the same point against the
    background, repaired. Anchors are features at predicted points.
    """
    with torch.no_grad():
        guess = heat.softmax(2) @ GRID
    own, true = sampled(z, guess).flatten(0, 1), sampled(z, points).flatten(0, 1)
    kind = torch.arange(POINTS).repeat(len(z))
    at = torch.randperm(len(own), generator=draw)[:100]
    same = kind[at][:, None] == kind[None]
    alike, met = own[at] @ own.T / TEMPERATURE, own[at] @ true.T / TEMPERATURE
    first = heads.paired(met, alike.masked_fill(same, -torch.inf), positives=same)
    every = unit(z.flatten(2).mT, dim=2)
    far = torch.cdist(GRID.expand(len(z), -1, -1), guess).amin(2) > 2.5
    back = every[far]
    back = back[torch.randperm(len(back), generator=draw)[:2048]]
    against = own[at] @ back.T / TEMPERATURE
    others = same & (torch.arange(len(own))[None] != at[:, None])
    return first, heads.paired(alike, against, positives=~same), heads.paired(alike, against, positives=others)


def apart(z: Tensor, points: Tensor, hidden: Tensor) -> float:
    """Cosine of features at the same point less at other points, over hidden points of unlike canvases."""
    f, total = sampled(z, points), []
    for j in range(POINTS):
        rows = f[:, j][hidden[:, j]]
        n = len(rows)
        if n < 2:
            continue
        same = (rows @ rows.T).sum() - n
        others = torch.stack([(rows @ f[:, k][hidden[:, k]].T).mean() for k in range(POINTS) if k != j])
        total.append(float(same / (n * (n - 1)) - others.nanmean()))
    return sum(total) / len(total) if total else float("nan")


@experiment(moves="places", min_effect=0.05, bound=2.0)
def jotr(trial: Trial) -> Outcome:
    """Heat maps alone over three rates, against heat maps with both contrasts over three weights; 100 canvases to learn
    from, 220 steps.
    """
    g, whole = trial.generator(), digits.whole(trial)
    parts = [
        p.take(torch.randperm(len(p), generator=g)[: trial.count(most, 16)])
        for p, most in zip(whole, (100, 200, 450), strict=True)
    ]
    views = Views(*(Part(canvases(p.x["whole"], g), p.y) for p in parts))
    seen: list[float] = []

    def mapped(heat: Tensor, points: Tensor) -> Tensor:
        near = torch.exp(-((GRID - points[:, :, None]) ** 2).sum(3) / (2 * 1.5**2))
        return -(near / near.sum(2, keepdim=True) * heat.log_softmax(2)).sum(2).mean()

    def loss(m: Finder, batch: Part, step: Step, kind: str) -> Tensor:
        z, heat = m(batch.x["canvas"])
        total = mapped(heat, batch.x["points"])
        if kind == "maps":
            return total
        first, released, repaired = terms(z, heat, batch.x["points"], step.draw)
        if kind == "both" and len(seen) < 200:
            each = [torch.autograd.grad(t, z, retain_graph=True)[0].flatten() for t in (first, released)]
            seen.append(float(agreement(torch.stack(each))[0, 1]))
        return total + step.setting * (first + (released if kind == "both" else repaired))

    def treatment(kind: str) -> contest.Treatment[Finder]:
        grid, rates = ((1e-3, 3e-3, 6e-3), True) if kind == "maps" else ((0.03, 0.1, 0.3), False)
        return contest.by_loss(
            lambda _: Finder(), partial(loss, kind=kind), grid, rates=rates, steps=220, size=trial.count(32, 8)
        )

    def told_apart(m: Finder, part: Part) -> float:
        return apart(m(part.x["canvas"])[0], part.x["points"], part.x["hidden"])

    def found_near(m: Finder, part: Part) -> float:
        away = (GRID[m(part.x["canvas"])[1].argmax(2)] - part.x["points"]).norm(dim=2)
        return float((away < NEAR).float().mean())

    def vectors(m: Finder, part: Part) -> dict[str, Tensor]:
        f = sampled(m(part.x["canvas"])[0], part.x["points"])
        return {"top": f[:, 0], "centre": f[:, 4]}

    found = contest.tuned(trial, treatment("maps"), treatment("both"), views, told_apart)
    points = views.train.x["points"]
    dealt = views.train.but(points=points[torch.randperm(len(points), generator=g)])
    repaired = found.again("mechanism", by=treatment("repaired"))
    return found.outcome(
        control=found.retrained(dealt),
        positive=found.untrained(found_near),
        also={
            "cosine of the gradients of the two terms": sum(seen) / len(seen),
            "repaired: the same point only": found.score(repaired),
        }
        | found.beside(lambda m, p: {"found within 3 pixels": found_near(m, p)}),
        rows=found.rows(vectors),
    )
