"""Films made of digits: runs of one class each, for the papers that look for a moment."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.objectives.moments import spans
from workbench.papers import digits
from workbench.papers.parts import Part, unit

LENGTH, WIDTH = 16, 48


def film(
    pool: list[Tensor], length: int, shortest: int, longest: int, g: torch.Generator
) -> tuple[Tensor, list[list[int]]]:
    """Frames (L, 64) in runs of one class each, no class twice, and the runs as [class, first, last]."""
    frames: list[Tensor] = []
    runs, order = [], torch.randperm(10, generator=g).tolist()
    while len(frames) < length:
        c = order.pop()
        many = min(int(torch.randint(shortest, longest + 1, (1,), generator=g)), length - len(frames))
        runs.append([c, len(frames), len(frames) + many - 1])
        frames += [digits.sample_digit(pool, c, g) for _ in range(many)]
    return torch.stack(frames), runs


def glanced(pool: list[Tensor], count: int, g: torch.Generator, noise: float = 0.6) -> Part:
    """Films with one of their runs asked for, and one frame of it: {film, class, first, last, glance}."""
    made = [film(pool, LENGTH, 2, 6, g) for _ in range(count)]
    asked = [runs[int(torch.randint(len(runs), (1,), generator=g))] for _, runs in made]
    frames = torch.stack([x for x, _ in made])
    about = torch.tensor(asked)
    within = (about[:, 2] - about[:, 1] + 1).float()
    glance = about[:, 1] + (torch.rand(count, generator=g) * within).long()
    x = {"film": frames + noise * torch.randn(frames.shape, generator=g), "class": about[:, 0]}
    return Part(x | {"first": about[:, 1], "last": about[:, 2], "glance": glance}, about[:, 0])


class Moments(nn.Module):
    """Every moment of a film as a unit vector (B, M, d), and a vector for each word (10, d)."""

    def __init__(self, length: int = LENGTH, hidden: int = 96) -> None:
        super().__init__()
        self.first, self.last = spans(length)
        self.frames = nn.Sequential(
            nn.Conv1d(64, hidden, 3, padding=1), nn.GELU(), nn.Conv1d(hidden, hidden, 3, padding=1), nn.GELU()
        )
        self.moment = nn.Sequential(nn.Linear(4 * hidden, hidden), nn.GELU(), nn.Linear(hidden, WIDTH))
        self.words = nn.Embedding(10, WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Moments (B, M, d) and frames (B, L, h) of films (B, L, 64)."""
        h = self.frames(x.mT).mT
        total = nn.functional.pad(h.cumsum(1), (0, 0, 1, 0))
        many = (self.last - self.first + 1)[None, :, None]
        mean = (total[:, self.last + 1] - total[:, self.first]) / many
        before, after = h[:, (self.first - 1).clamp_min(0)], h[:, (self.last + 1).clamp_max(h.shape[1] - 1)]
        return unit(self.moment(torch.cat([mean, h[:, self.first], before, after], 2)), dim=2), h

    def asked(self, c: Tensor) -> Tensor:
        """Unit vectors of words, (B, d)."""
        return unit(self.words(c), dim=1)
