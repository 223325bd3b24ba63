"""Scenes: canvases with several digits among clutter, each with its box, for the papers that look for an object."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.papers import digits
from workbench.papers.parts import Part, unit

SIZE, OBJECT, PATCH = 24, 8, 4
TOKENS = (SIZE // PATCH) ** 2
CENTRES = torch.stack(torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij"), -1).view(-1, 2) * PATCH + 1.5


def scenes(pool: list[Tensor], count: int, many: int, g: torch.Generator) -> Part:
    """{scene (N, 24, 24), classes (N, many), corner (N, many, 2) as row and column, object (N, many, 64)}.

    No class comes twice in a scene. Digits lie anywhere, may touch, and overlap by less than a third; a tenth of the
    ground is clutter.
    """
    ground = torch.rand(count, SIZE, SIZE, generator=g)
    canvas = 0.7 * ground * (torch.rand(count, SIZE, SIZE, generator=g) < 0.1)
    classes = torch.stack([torch.randperm(10, generator=g)[:many] for _ in range(count)])
    corner, objects = torch.zeros(count, many, 2, dtype=torch.long), torch.zeros(count, many, OBJECT * OBJECT)
    for k in range(count):
        placed: list[list[int]] = []
        while len(placed) < many:
            a, b = torch.randint(SIZE - OBJECT + 1, (2,), generator=g).tolist()
            if all(abs(a - c) + abs(b - d) >= 7 for c, d in placed):
                placed.append([a, b])
        corner[k] = torch.tensor(placed)
        for j, (a, b) in enumerate(placed):
            objects[k, j] = x = digits.sample_digit(pool, int(classes[k, j]), g)
            here = canvas[k, a : a + OBJECT, b : b + OBJECT]
            here.copy_(torch.maximum(here, x.view(OBJECT, OBJECT)))
    return Part({"scene": canvas, "classes": classes, "corner": corner, "object": objects}, classes[:, 0])


class Eye(nn.Module):
    """A scene as 36 tokens (B, 36, d), with their places."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 4, stride=2, padding=1),
            nn.BatchNorm2d(32, track_running_stats=False),
            nn.GELU(),
            nn.Conv2d(32, width, 4, stride=2, padding=1),
            nn.BatchNorm2d(width, track_running_stats=False),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width, track_running_stats=False),
        )
        self.place = nn.Parameter(0.1 * torch.randn(TOKENS, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x[:, None]).flatten(2).mT + self.place


def nearest_token(corner: Tensor) -> Tensor:
    """The token at the middle of an object, by its corner (…, 2)."""
    middle = ((corner.float() + OBJECT / 2) / PATCH).long().clamp_max(SIZE // PATCH - 1)
    return middle[..., 0] * (SIZE // PATCH) + middle[..., 1]


def words() -> Tensor:
    """The names of the ten digits as unit n-grams, (10, 256)."""
    return unit(digits.names(), dim=1)
