r"""Aligning the frames of a pair by one predicted point each lets a classifier recognise motion better than pooling the
frames as they are.

Maths
-----
$$m(x)=\prod_a \min\big(1,\max(0,1-\tfrac32(|x_a-p_a|-\tfrac14))\big),\qquad \text{message}=\overline{m\cdot h}$$

Carried by
----------
workbench.papers.entries.ila.point_mask

Code read
---------
Francis-Rings/ILA

Deviations
----------
Four frames, one block; the nine shifted masks of training are left out. Both arms have all parameters: the baseline's
mask is one everywhere.

Data
----
clips of four frames, 24 × 24 with clutter, of a scikit-learn digit that moves one of four ways at one of two speeds;
names of the eight motions

What must move
--------------
accuracy of naming the motion

Control
-------
clips whose frames are in random order: accuracy of both

Positive control
----------------
accuracy of the baseline, untrained and trained

At this size
------------
Four frames and one digit are few enough that the pooled frames tell the motion by themselves.

Own data
--------
a set has no frames; items with several rows in order are looked up by 'workbench diagnose'
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits, measures, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

FRAMES, SIZE, CELLS, WIDTH, REACH = 4, 24, 6, 32, 0.75
WAYS = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])
NAMES = tuple(f"{way} {speed}" for way in ("right", "left", "down", "up") for speed in ("slow", "fast"))


def point_mask(point: Tensor, cells: int) -> Tensor:
    """How near each of `cells` places in -1 … 1 is to a point, one axis: (B,) → (B, cells), 1 within a quarter.

    >>> [round(x, 3) for x in point_mask(torch.tensor([0.0]), 7)[0].tolist()]
    [0.0, 0.375, 0.875, 1.0, 0.875, 0.375, 0.0]
    """
    away = (torch.linspace(-1, 1, cells) - point[:, None]).abs()
    return torch.where(away <= 0.25, 1.0, (1 - 1.5 * (away - 0.25)).clamp_min(0))


def clips(pool: list[Tensor], count: int, g: torch.Generator) -> Part:
    """{clip (N, 4, 24, 24), middle (N, 4, 2)}; the motion is the class."""
    motion = torch.randint(len(NAMES), (count,), generator=g)
    frames, middles = 0.8 * torch.rand(count, FRAMES, SIZE, SIZE, generator=g), torch.zeros(count, FRAMES, 2)
    frames *= torch.rand(count, FRAMES, SIZE, SIZE, generator=g) < 0.3
    for k, m in enumerate(motion.tolist()):
        step = WAYS[m // 2] * (1 + 2 * (m % 2))
        room = SIZE - 8 - (FRAMES - 1) * step.abs()
        start = (torch.rand(2, generator=g) * (room + 1)).long() - (FRAMES - 1) * step.clamp_max(0)
        digit = digits.sample_digit(pool, int(torch.randint(10, (1,), generator=g)), g).view(8, 8)
        for t in range(FRAMES):
            a, b = (start + t * step).tolist()
            frames[k, t, a : a + 8, b : b + 8] = torch.maximum(frames[k, t, a : a + 8, b : b + 8], digit)
            middles[k, t] = torch.tensor([a + 3.5, b + 3.5])
    return Part({"clip": frames, "middle": middles}, motion)


class Watcher(nn.Module):
    """Frames that hear of each other: each is a map, and pairs of them send a message through two points."""

    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.masked = masked
        self.eye = nn.Sequential(
            nn.Conv2d(3, 16, 4, stride=2, padding=1),
            nn.BatchNorm2d(16, track_running_stats=False),
            nn.GELU(),
            nn.Conv2d(16, WIDTH, 4, stride=2, padding=1),
            nn.BatchNorm2d(WIDTH, track_running_stats=False),
            nn.GELU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.BatchNorm2d(WIDTH, track_running_stats=False),
            nn.GELU(),
        )
        self.pair = nn.Sequential(nn.Conv2d(2 * WIDTH, WIDTH, 3, padding=1), nn.GELU(), nn.AvgPool2d(2), nn.Flatten())
        self.point = nn.Linear(WIDTH * 9, 4)
        self.message, self.joined = bench.mlp(2 * WIDTH, WIDTH, 64), bench.mlp(2 * WIDTH, WIDTH, 64)
        self.text = bench.mlp(256, WIDTH)
        nn.init.zeros_(self.point.weight)
        nn.init.zeros_(self.point.bias)

    def points(self, h: Tensor) -> Tensor:
        """Two points of each pair of neighbouring frames, (B, 3, 2, 2) within ±0.75."""
        both = torch.cat([h[:, :-1], h[:, 1:]], 2).flatten(0, 1)
        return REACH * torch.tanh(self.point(self.pair(both))).view(len(h), FRAMES - 1, 2, 2)

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors of clips, (B, d), and the points."""
        line = torch.linspace(-1, 1, SIZE).expand(
            len(clip) * FRAMES, SIZE, SIZE
        )  # where each pixel is, as two channels
        seen = self.eye(torch.stack([clip.flatten(0, 1), line, line.mT], 1))
        h = seen.view(len(clip), FRAMES, WIDTH, CELLS, CELLS)
        p = self.points(h)
        rows, columns = (point_mask(p[..., k].flatten(), CELLS).view(*p.shape[:3], CELLS) for k in (0, 1))
        mask = rows[..., :, None] * columns[..., None, :]
        mask = mask if self.masked else torch.ones_like(mask)
        pairs = torch.stack([h[:, :-1], h[:, 1:]], 2)
        told = (pairs * mask[:, :, :, None]).mean((4, 5)).flatten(2)
        z = torch.cat([h.mean((1, 3, 4)), self.message(told).mean(1)], 1)
        return unit(self.joined(z), dim=1), p

    def names(self) -> Tensor:
        """Unit vectors of the eight motions."""
        return unit(self.text(torch.stack([digits.ngrams(n) for n in NAMES])), dim=1)


@experiment(moves="classes", min_effect=0.03)
def ila(trial: Trial) -> Outcome:
    """The message pooled over whole frames against that through points, as many parameters; three rates for both, 300
    steps of 32 clips.
    """
    g = trial.generator()
    views = parts.composed(
        trial, digits.pools(trial), lambda pool, n: clips(pool, n, g), (250, 60), (200, 30), (500, 40)
    )

    def loss(m: Watcher, batch: Part, step: Step) -> Tensor:
        return nn.functional.cross_entropy(m(batch.x["clip"])[0] @ m.names().T / 0.1, batch.truth)

    def treatment(masked: bool) -> contest.Treatment[Watcher]:
        return contest.by_loss(
            lambda _: Watcher(masked), loss, (1e-3, 3e-3, 6e-3), rates=True, steps=300, size=trial.count(32, 8)
        )

    def named(m: Watcher, part: Part) -> float:
        return measures.right(m(part.x["clip"])[0] @ m.names().T, part.y)

    def aimed(m: Watcher, part: Part) -> dict[str, float]:
        """How far the first point of each pair is from the middle of the digit, in pixels."""
        at = (m(part.x["clip"])[1][:, :, 0] + 1) / 2 * (SIZE - 1)
        return {"pixels from the point to the digit": float((at - part.x["middle"][:, :-1]).norm(dim=2).mean())}

    def shuffled(part: Part) -> Part:
        order = torch.rand(len(part), FRAMES, generator=g).argsort(1)[..., None, None]
        return part.but(clip=part.x["clip"].gather(1, order.expand_as(part.x["clip"])))

    def vectors(m: Watcher, part: Part) -> dict[str, Tensor]:
        return {"clip": m(part.x["clip"])[0], "name": m.names()[part.y]}

    found = contest.tuned(trial, treatment(False), treatment(True), views, named)
    mixed, asked = shuffled(views.train), shuffled(views.test)
    control = [named(found.again(arm, mixed), asked) for arm in ("baseline", "mechanism")]
    return found.outcome(
        control=(control[0], control[1]),
        positive=found.untrained(),
        also=found.beside(aimed),
        rows=found.rows(vectors),
    )
