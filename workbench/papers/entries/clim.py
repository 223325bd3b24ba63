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
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit


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


Pair = tuple[_Regions, nn.Module]


def mosaic(tiles: Tensor) -> Tensor:
    """Four pictures as one: (B, 4, S, S) → (B, 2S, 2S), row by row."""
    return torch.cat([torch.cat([tiles[:, 0], tiles[:, 1]], 2), torch.cat([tiles[:, 2], tiles[:, 3]], 2)], 1)


@experiment(moves="classes", min_effect=0.005, margin=0.01)
def clim(trial: Trial) -> Outcome:
    """Whole pictures only against wholes and mosaics, as many pictures each; three temperatures for both."""
    views = digits.views_of_digits(trial, whole=lambda x: x)
    views = Views(*(Part({"pixels": p.x["whole"].view(-1, 8, 8)}, p.y) for p in views))

    def captions(m: Pair) -> Tensor:
        return unit(m[1](digits.names()), dim=1)

    def tiles(m: Pair, x: Tensor) -> Tensor:
        return m[0](mosaic(x.view(-1, 4, 8, 8)), 2).flatten(0, 1)

    def plain(m: Pair, batch: Part, step: Step) -> Tensor:
        n = len(batch) // 4 * 4
        z, caption = m[0](batch.x["pixels"][:n], 1)[:, 0], captions(m)
        return heads.softmax(z @ caption.T / step.setting, batch.truth[:n])

    def tiled(m: Pair, batch: Part, step: Step) -> Tensor:
        n, x = len(batch) // 4 * 4, batch.x["pixels"]
        half, caption = n // 2 // 4 * 4, captions(m)
        z = torch.cat([tiles(m, x[:half]), m[0](x[half:n], 1)[:, 0]])
        return heads.softmax(z @ caption.T / step.setting, batch.truth[:n])

    def fours(part: Part) -> Part:
        """The items in an order of chance, as many as fill mosaics."""
        return part.take(torch.randperm(len(part), generator=trial.generator())[: len(part) // 4 * 4])

    def region(m: Pair, part: Part) -> float:
        part = fours(part)
        return measures.right(tiles(m, part.x["pixels"]) @ captions(m).T, part.y)

    def whole(m: Pair, part: Part) -> float:
        return measures.right(m[0](part.x["pixels"], 1)[:, 0] @ captions(m).T, part.y)

    def vectors(m: Pair, part: Part) -> dict[str, Tensor]:
        part = fours(part)
        return {"region": tiles(m, part.x["pixels"]), "caption": captions(m)[part.y]}

    without, with_tiles = (
        contest.by_loss(lambda _: (_Regions(), bench.mlp(256)), loss, (0.05, 0.1, 0.3), steps=250, size=96)
        for loss in (plain, tiled)
    )
    found = contest.tuned(trial, without, with_tiles, views, region)
    return found.outcome(
        control=found.scores(whole),
        positive=found.untrained(),
        also=found.beside(lambda m, part: {"whole pictures": whole(m, part)}),
        rows=found.rows(vectors),
        labels=fours(views.test).truth,
    )
