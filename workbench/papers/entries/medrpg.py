r"""Contrasting a phrase with its region, against other regions of the picture and with what both attend to, makes a
grounding transformer that was trained on few pictures find the box more often.

Maths
-----
$$w=\frac{a_t\odot a_r\odot a_g}{\sum a_t\odot a_r\odot a_g},\quad c_r=\textstyle\sum_k w_kh_k,\quad
L=-\log\frac{e^{\cos(t+c_r,r+c_r)/\tau}}{\sum_{r'}e^{\cos(t+c_{r'},r'+c_{r'})/\tau}}$$

Carried by
----------
workbench.papers.entries.medrpg.in_context

Code read
---------
eraserNut/MedRPG

Deviations
----------
No radiographs: digits in clutter, and one word as the phrase. Two layers of width 48 over 36 patches; the box lies
where its token looks, give or take a patch, or 400 pictures do not teach it.

Data
----
scenes of three scikit-learn digits, 400 of them to learn from; a number word and the box of its digit

What must move
--------------
share of test words whose box is found with half of it or more overlapping

Control
-------
both arms with the words of other scenes: the share

Positive control
----------------
the share of the baseline, untrained and trained

At this size
------------
The contrast is ramped in and weighs 0.05 at most, as published; ten times that stands beside.

Own data
--------
a set has no boxes; tokens and boxes of yours are contrasted by workbench.papers.entries.medrpg.in_context
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits, parts, scenes
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

WIDTH, HEADS, NEGATIVES, TEMPERATURE, STEPS = 48, 4, 5, 0.1, 400


class Layer(nn.Module):
    """Attention that shows its weights, and a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attend = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 96), nn.GELU(), nn.Linear(96, WIDTH))

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        q = self.first(h)
        more, weight = self.attend(q, q, q)
        h = h + more
        return h + self.mlp(self.second(h)), weight


class Grounder(nn.Module):
    """A token that finds the box, the word, and 36 patches, through two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.eye, self.word = scenes.Eye(WIDTH), bench.mlp(256, WIDTH)
        self.finder = nn.Parameter(0.1 * torch.randn(1, 1, WIDTH))
        self.layers, self.box = nn.ModuleList(Layer() for _ in range(2)), nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor, said: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Corners (B, 2) in pixels, states (B, 38, d), and the last layer's attention (B, 38, 38)."""
        word = self.word(scenes.words()[said])[:, None]
        h, weight = torch.cat([self.finder.expand(len(x), -1, -1), word, self.eye(x)], 1), torch.zeros(())
        for layer in self.layers:
            h, weight = layer(h)
        looked = weight[:, 0, 2:] / weight[:, 0, 2:].sum(1, keepdim=True)
        middle = looked @ scenes.CENTRES + scenes.PATCH * torch.tanh(self.box(h[:, 0]))
        return middle - (scenes.OBJECT - 1) / 2, h, weight


def regions(corner: Tensor) -> Tensor:
    """Which patches boxes cover, floored to the grid: (…, 2) → (…, 36) of shares that sum to one."""
    first = (corner / scenes.PATCH).long().clamp(0, 4)
    cells = torch.arange(6)
    inside = [(cells >= first[..., k, None]) & (cells <= first[..., k, None] + 1) for k in (0, 1)]
    both = (inside[0][..., :, None] & inside[1][..., None, :]).flatten(-2).float()
    return both / both.sum(-1, keepdim=True)


def in_context(text: Tensor, region: Tensor, context: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    r"""A phrase against regions, the first of which is its own, with what each shares with it: (B, d), (B, R, d) twice.

    $-\log$ of the softmax of $\cos(t+c_r,r+c_r)/\tau$ at the first region.

    >>> t, r = torch.tensor([[1.0, 0.2]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]]])
    >>> round(in_context(t, r, torch.zeros_like(r)).item(), 6)
    0.000392
    """
    s = nn.functional.cosine_similarity(text[:, None] + context, region + context, dim=2) / temperature
    return -s.log_softmax(1)[:, 0].mean()


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes of 8 × 8 by their corners, (…, 2)."""
    both = (scenes.OBJECT - (a - b).abs()).clamp_min(0).prod(-1)
    return both / (2 * scenes.OBJECT**2 - both)


def others(corner: Tensor, draw: torch.Generator) -> Tensor:
    """Corners of boxes that overlap the true one by a quarter or less, (B, 5, 2)."""
    tried = torch.rand(len(corner), 40, 2, generator=draw) * (scenes.SIZE - scenes.OBJECT)
    far = overlaps(tried, corner[:, None]) <= 0.25
    first = far.float().add(1e-3 * torch.rand(far.shape, generator=draw)).topk(NEGATIVES, 1).indices
    return tried.gather(1, first[..., None].expand(-1, -1, 2))


@experiment(moves="places", min_effect=0.03)
def medrpg(trial: Trial) -> Outcome:
    """The loss of boxes alone against boxes and the contrast, ramped in; two rates for both, 400 steps of 32 scenes."""
    g = trial.generator()
    views = parts.composed(
        trial, digits.pools(trial), lambda pool, n: scenes.scenes(pool, n, 3, g), (400, 40), (200, 20), (400, 30)
    )
    views = parts.Views(*(p.but(said=p.x["classes"][:, 0], box=p.x["corner"][:, 0].float()) for p in views))

    def loss(m: Grounder, batch: Part, step: Step, weight: float, context: bool) -> Tensor:
        x = batch.x
        found, h, a = m(x["scene"], x["said"])
        total = (found - x["box"]).abs().mean() / scenes.SIZE + 1 - overlaps(found, x["box"]).mean()
        if not weight:
            return total
        share = regions(torch.cat([x["box"][:, None], others(x["box"], step.draw)], 1))
        patches = h[:, 2:]
        region = share @ patches
        attended = a[:, None, 1, 2:] * (share @ a[:, 2:, 2:]) * a[:, None, 0, 2:]
        attended = attended / (attended.sum(2, keepdim=True) + 1e-5)
        shared = attended @ patches if context else torch.zeros_like(region)
        ramp = min(1.0, (step.number / STEPS) ** 0.9)
        return total + weight * ramp * in_context(h[:, 1], region, shared)

    def treatment(weight: float, context: bool = True) -> contest.Treatment[Grounder]:
        how = partial(loss, weight=weight, context=context)
        return contest.by_loss(
            lambda _: Grounder(), how, (1e-3, 3e-3), rates=True, steps=STEPS, size=trial.count(32, 8)
        )

    def found_half(m: Grounder, part: Part) -> float:
        corner = m(part.x["scene"], part.x["said"])[0]
        return float((overlaps(corner, part.x["box"]) >= 0.5).float().mean())

    def beside(m: Grounder, part: Part) -> dict[str, float]:
        corner, _, a = m(part.x["scene"], part.x["said"])
        inside = (a[:, 0, 2:] * (regions(part.x["box"]) > 0)).sum(1) / a[:, 0, 2:].sum(1)
        return {
            "mean overlap": float(overlaps(corner, part.x["box"]).mean()),
            "attention inside the box": float(inside.mean()),
        }

    def vectors(m: Grounder, part: Part) -> dict[str, Tensor]:
        _, h, _ = m(part.x["scene"], part.x["said"])
        region = (regions(part.x["box"])[:, None] @ h[:, 2:])[:, 0]
        return {"word": unit(h[:, 1], dim=1), "region": unit(region, dim=1)}

    found = contest.tuned(trial, treatment(0.0), treatment(0.05), views, found_half)
    said = views.train.x["said"]
    dealt = views.train.but(said=said[torch.randperm(len(said), generator=g)])
    return found.outcome(
        control=found.retrained(dealt),
        positive=found.untrained(),
        also={
            "at ten times the weight": found.score(found.again("mechanism", by=treatment(0.5))),
            "without the shared context": found.score(found.again("mechanism", by=treatment(0.05, context=False))),
        }
        | found.beside(beside),
        rows=found.rows(vectors),
    )
