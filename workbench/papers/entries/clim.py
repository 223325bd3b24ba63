r"""Training on mosaics whose tiles keep their captions teaches a model to name regions, at no cost to whole pictures.

Maths
-----
$$L=\mathrm{symCE}\big(\tau^{-1}[\text{regions};\text{wholes}]\;\text{captions}^\top\big)$$

Carried by
----------
workbench.papers.entries.clim.mosaic

Code read
---------
wusize/CLIM

Deviations
----------
2 × 2 mosaics only; no mixing of the final weights with the first ones.

Data
----
scikit-learn digits with number words, whole and in 2 × 2 mosaics

What must move
--------------
accuracy of naming a tile within a mosaic

Control
-------
accuracy of naming whole pictures, without and with mosaics

Positive control
----------------
accuracy on tiles of whole-picture training, untrained against trained

Own data
--------
it needs pictures to tile, and a set holds vectors
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit


class _Regions(nn.Module):
    """Pictures (B, S, S) to a map of features; a region is the mean of its cells, (B, R, d)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(64, bench.DIM, 3, stride=2, padding=1),
        )

    def forward(self, x: Tensor, grid: int) -> Tensor:
        z = nn.functional.adaptive_avg_pool2d(self.body(x[:, None]), grid)
        return unit(z.flatten(2).transpose(1, 2), dim=2)


def mosaic(tiles: Tensor) -> Tensor:
    """Four pictures as one: (B, 4, S, S) → (B, 2S, 2S), row by row."""
    return torch.cat([torch.cat([tiles[:, 0], tiles[:, 1]], 2), torch.cat([tiles[:, 2], tiles[:, 3]], 2)], 1)


@experiment(min_effect=0.005, margin=0.01)
def clim(trial: Trial) -> Outcome:
    """Whole pictures only against wholes and mosaics, as many pictures each; three temperatures for both."""
    views = digits.views_of_digits(trial, whole=lambda x: x)
    words = digits.names()
    pixels, y = views.train.x["whole"].view(-1, 8, 8), views.train.y
    assert y is not None

    def train(t: float, tiled: bool, steps: int) -> tuple[_Regions, nn.Module]:
        torch.manual_seed(trial.seed)
        eye, ear = _Regions(), bench.mlp(256)

        def loss(index: Tensor) -> Tensor:
            index = index[: len(index) // 4 * 4]
            n = len(index) // 2 // 4 * 4
            caption = unit(ear(words), dim=1)
            if tiled:
                regions = eye(mosaic(pixels[index[:n]].view(-1, 4, 8, 8)), 2).flatten(0, 1)
                z = torch.cat([regions, eye(pixels[index[n:]], 1)[:, 0]])
            else:
                z = eye(pixels[index], 1)[:, 0]
            return heads.softmax(z @ caption.T / t, y[index])

        bench.fit([eye, ear], loss, len(pixels), steps=steps, seed=trial.seed, size=96)
        return eye, ear

    @torch.no_grad()
    def region(m: tuple[_Regions, nn.Module], part: Part) -> tuple[float, Tensor, Tensor]:
        assert part.y is not None
        order = torch.randperm(len(part), generator=torch.Generator().manual_seed(trial.seed))
        order = order[: len(order) // 4 * 4]
        z = m[0](mosaic(part.x["whole"].view(-1, 8, 8)[order].view(-1, 4, 8, 8)), 2).flatten(0, 1)
        caption = unit(m[1](words), dim=1)
        return measures.right(z @ caption.T, part.y[order]), z, part.y[order]

    @torch.no_grad()
    def whole(m: tuple[_Regions, nn.Module], part: Part) -> float:
        z = m[0](part.x["whole"].view(-1, 8, 8), 1)[:, 0]
        return float(((z @ unit(m[1](words), dim=1).T).argmax(1) == part.y).float().mean())

    steps, grid = trial.steps(250), (0.05, 0.1, 0.3)
    plain, t0 = contest.best(trial, grid, lambda t: train(t, False, steps), lambda m: region(m, views.validation)[0])
    tiled, _ = contest.best(trial, grid, lambda t: train(t, True, steps), lambda m: region(m, views.validation)[0])
    base, before, truth = region(plain, views.test)
    mechanism, after, _ = region(tiled, views.test)
    rows = {}
    for arm, m, z in (("baseline", plain, before), ("mechanism", tiled, after)):
        with torch.no_grad():
            rows[arm] = {"region": z, "caption": unit(m[1](words), dim=1)[truth]}
    return Outcome(
        base,
        mechanism,
        (whole(plain, views.test), whole(tiled, views.test)),
        (region(train(t0, False, 0), views.test)[0], base),
        {"whole pictures, baseline": whole(plain, views.test), "whole pictures, mechanism": whole(tiled, views.test)},
        rows,
        truth,
    )
