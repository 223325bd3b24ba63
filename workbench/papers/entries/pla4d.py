r"""Keeping two representations of one object alike at views that nobody gave draws unseen views better than fitting one
to the given views alone.

Maths
-----
$$L=\overline{\|A(\theta_k)-x_k\|^2}+\overline{\|B(\theta_k)-x_k\|^2}+\lambda\,E_\theta\|A(\theta)-B(\theta)\|^2$$

Carried by
----------
workbench.papers.entries.pla4d.Blobs

Deviations
----------
No code is public. A plane in place of space and time: twenty blobs of ink against a grid of pixels, both turned; no
video, no mesh, no diffusion.

Data
----
scikit-learn digits at 16 × 16, turned to twelve angles; two of them are given

What must move
--------------
PSNR of the blobs at the ten other angles, dB

Control
-------
the blobs alone, from one start and from another: PSNR

Positive control
----------------
PSNR of the blobs alone with one angle given, and with four

At this size
------------
A turned plane is known from one angle but for what the corners lose, so that there is little that a second
representation can add.

Own data
--------
a set has no views to draw; workbench.papers.entries.pla4d shows how two decoders are kept alike
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part

SIZE, BLOBS, GRID, ANGLES = 16, 20, 12, 12
PIXELS = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, SIZE)] * 2, indexing="xy"), -1).view(-1, 2)
TURNS = torch.arange(ANGLES) * (2 * math.pi / ANGLES)


def turned(x: Tensor, angle: Tensor, size: int = SIZE) -> Tensor:
    """Pictures (N, S, S) turned by angles (N,), bilinear, (N, size, size)."""
    c, s, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
    turn = torch.stack([c, -s, none, s, c, none], 1).view(-1, 2, 3)
    grid = nn.functional.affine_grid(turn, [len(x), 1, size, size], align_corners=True)
    return nn.functional.grid_sample(x[:, None], grid, align_corners=True)[:, 0]


class Blobs(nn.Module):
    """Twenty blobs of ink for each of n objects: places, widths and weights."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.place = nn.Parameter(0.4 * torch.randn(n, BLOBS, 2))
        self.width, self.weight = nn.Parameter(torch.full((n, BLOBS), -1.7)), nn.Parameter(torch.zeros(n, BLOBS))

    def forward(self, angle: Tensor) -> Tensor:
        """Pictures (n, 16, 16) at an angle each."""
        c, s = angle.cos()[:, None], angle.sin()[:, None]
        x, y = self.place[..., 0], self.place[..., 1]
        at = torch.stack([c * x + s * y, c * y - s * x], 2)
        away = (PIXELS[None, :, None] - at[:, None]).square().sum(3)
        near = torch.exp(-away / (2 * self.width.exp().square()[:, None]))
        return (near * self.weight.sigmoid()[:, None]).sum(2).view(-1, SIZE, SIZE)


class Pixels(nn.Module):
    """A grid of 12 × 12 for each of n objects."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(n, GRID, GRID))

    def forward(self, angle: Tensor) -> Tensor:
        """Pictures (n, 16, 16) at an angle each."""
        return turned(self.value, angle)


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal to noise, dB: 10 log10 of 1 over the mean squared error, ink between 0 and 1.

    >>> round(psnr(torch.zeros(1, 2, 2), torch.full((1, 2, 2), 0.1)), 3)
    20.0
    """
    return float(-10 * torch.log10((a - b).square().mean()))


@experiment(moves="answers", min_effect=0.5, bound=math.inf)
def pla4d(trial: Trial) -> Outcome:
    """Blobs alone over three rates, against blobs and grid kept alike over three weights; 24 objects, 200 steps, two of
    twelve angles given.
    """
    whole = digits.whole(trial)

    def objects(part: Part) -> Part:
        few = part.take(torch.arange(min(len(part), trial.count(24, 6))))
        large = nn.functional.interpolate(few.x["whole"].view(-1, 1, 8, 8), size=12, mode="bilinear")[:, 0]
        picture = nn.functional.pad(large, (2, 2, 2, 2))
        views = torch.stack([turned(picture, t.expand(len(few))) for t in TURNS], 1)
        return Part({"views": views}, few.y)

    tune, test = objects(whole.validation), objects(whole.test)
    order = torch.randperm(ANGLES, generator=trial.generator())

    def fitted(
        part: Part, given: int, *, rate: float = 0.02, weight: float = 0.0, other: bool = False, start: int = 0
    ) -> Blobs:
        torch.manual_seed(trial.seed + start)
        n, draw = len(part), torch.Generator().manual_seed(trial.seed)
        blobs, pixels = Blobs(n), Pixels(n)
        known = order[:given]

        def loss(_: Tensor) -> Tensor:
            k = known[torch.randint(given, (n,), generator=draw)]
            seen, angle = part.x["views"][torch.arange(n), k], TURNS[k]
            drawn = blobs(angle)
            total = (drawn - seen).square().mean() + (pixels(angle) - seen).square().mean()
            free = TURNS[torch.randint(ANGLES, (n,), generator=draw)]
            second = pixels(free)
            return total + weight * (blobs(free) - (second.roll(1, 0) if other else second)).square().mean()

        bench.fit([blobs, pixels], loss, n, steps=trial.steps(200), seed=trial.seed, lr=rate)
        return blobs

    @torch.no_grad()
    def unseen(blobs: Blobs, part: Part, given: int = 2) -> float:
        angles = order[4:] if given != 2 else order[2:]
        drawn = torch.stack([blobs(TURNS[k].expand(len(part))) for k in angles], 1)
        return psnr(drawn, part.x["views"][:, angles])

    rate = contest.best(trial, (0.01, 0.02, 0.05), lambda r: fitted(tune, 2, rate=r), lambda m: unseen(m, tune))[1]
    weight = contest.best(trial, (0.1, 0.5, 2.0), lambda w: fitted(tune, 2, weight=w), lambda m: unseen(m, tune))[1]
    plain, both = fitted(test, 2, rate=rate), fitted(test, 2, weight=weight)
    again = fitted(test, 2, rate=rate, start=500)
    one, four = fitted(test, 1, rate=rate), fitted(test, 4, rate=rate)
    with torch.no_grad():
        at = TURNS[order[-1]].expand(len(test))
        true = test.x["views"][:, order[-1]].flatten(1)
        rows = {arm: {"drawn": m(at).flatten(1), "true": true} for arm, m in (("baseline", plain), ("mechanism", both))}
    return Outcome(
        unseen(plain, test),
        unseen(both, test),
        control=(unseen(plain, test), unseen(again, test)),
        positive=(unseen(one, test, 1), unseen(four, test, 4)),
        also={"kept like the grid of another object": unseen(fitted(test, 2, weight=weight, other=True), test)},
        rows=rows,
        labels=test.y,
    )
