r"""A contrast between the queries of two streams, by what occurs where, teaches a model which finding sits in which
place.

Maths
-----
$$L=L_{\text{presence}}+\mathrm{BCE}(\langle p_q,a_r\rangle,\ q\text{ occurs at }r)$$

Carried by
----------
workbench.papers.entries.medslip.Streams with a binary contrast

Code read
---------
Shef-AIRE/MeDSLIP

Deviations
----------
Presence and co-occurrence only: the prototypes of text vectors are left out, as there are no reports.

Data
----
16 × 16 canvases with two scikit-learn digits in two of four quadrants: shape for pathology, quadrant for anatomy

What must move
--------------
AUROC of which present shape is at which occupied place

Control
-------
places dealt at random in training: both arms

Positive control
----------------
AUROC of the contrast, untrained against trained

Own data
--------
it needs findings and places, which a set of vectors does not tell
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

bce = nn.functional.binary_cross_entropy_with_logits


class Streams(nn.Module):
    """A canvas (B, 256) as queries of two vocabularies: ten shapes and four places, (B, 10, d) and (B, 4, d)."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mask = bench.mlp(256, 64), nn.Linear(64, 64)
        self.shapes, self.places = nn.Parameter(torch.randn(10, 64) / 8), nn.Parameter(torch.randn(4, 64) / 8)
        self.shape, self.place = (
            nn.Sequential(nn.Linear(128, 64), nn.GELU(), nn.Linear(64, bench.DIM)) for _ in range(2)
        )
        self.is_shape, self.is_place = nn.Linear(bench.DIM, 1), nn.Linear(bench.DIM, 1)

    def streams(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The queries of both streams over the patches of pictures."""
        h = self.body(x)
        m = self.mask(h)
        return m * h, (1 - m) * h

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        def asked(stream: Tensor, queries: Tensor, head: nn.Module) -> Tensor:
            pair = [t.expand(len(x), len(queries), 64) for t in (stream[:, None], queries[None])]
            return head(torch.cat(pair, 2))

        shape, place = self.streams(x)
        return asked(shape, self.shapes, self.shape), asked(place, self.places, self.place)


@experiment(min_effect=0.05, margin=0.05)
def medslip(trial: Trial) -> Outcome:
    """Presence of shapes and places alone, against the same with the contrast between the streams."""
    g = torch.Generator().manual_seed(trial.seed)
    parts = digits.whole(trial)

    def canvases(part: Part, count: int) -> tuple[Tensor, Tensor]:
        """Canvases (count, 256), and what is where (count, 10, 4)."""
        x, there = torch.zeros(count, 4, 8, 8), torch.zeros(count, 10, 4)
        assert part.y is not None
        for k in range(count):
            two, at = torch.randint(len(part), (2,), generator=g), torch.randperm(4, generator=g)[:2]
            for i, q in zip(two.tolist(), at.tolist(), strict=True):
                x[k, q] = part.x["whole"][i].view(8, 8)
                there[k, int(part.y[i]), q] = 1
        return x.view(count, 2, 2, 8, 8).permute(0, 1, 3, 2, 4).reshape(count, 256), there

    sizes = (trial.count(1500, 40), trial.count(300, 30), trial.count(400, 40))
    data, tune, test = (canvases(p, n) for p, n in zip((parts.train, parts.validation, parts.test), sizes, strict=True))
    dealt = torch.stack([t[:, torch.randperm(4, generator=g)] for t in data[1]])

    def train(lr: float, contrast: bool, where: Tensor, steps: int) -> Streams:
        torch.manual_seed(trial.seed)
        model = Streams()

        def loss(index: Tensor) -> Tensor:
            p, a = model(data[0][index])
            t = where[index]
            shape, place = t.amax(2), t.amax(1)
            total = bce(model.is_shape(p)[..., 0], shape) + bce(model.is_place(a)[..., 0], place)
            if contrast:
                known = (shape[:, :, None] * place[:, None]) > 0
                total = total + bce(torch.einsum("bqd,brd->bqr", p, a)[known], t[known])
            return total

        bench.fit([model], loss, len(data[0]), steps=steps, seed=trial.seed, size=64, lr=lr)
        return model

    @torch.no_grad()
    def judge(model: Streams, of: tuple[Tensor, Tensor]) -> float:
        p, a = model(of[0])
        known = (of[1].amax(2)[:, :, None] * of[1].amax(1)[:, None]) > 0
        return measures.auc(torch.einsum("bqd,brd->bqr", p, a)[known], of[1][known] > 0)

    steps, rates = trial.steps(500), (1e-3, 3e-3)
    plain, r0 = contest.best(trial, rates, lambda r: train(r, False, data[1], steps), partial(judge, of=tune))
    both, r1 = contest.best(trial, rates, lambda r: train(r, True, data[1], steps), partial(judge, of=tune))
    chance = (judge(train(r0, False, dealt, steps), test), judge(train(r1, True, dealt, steps), test))
    also, rows = {}, {}
    first = test[1].amax(2).argmax(1)
    with torch.no_grad():
        for arm, m in (("baseline", plain), ("mechanism", both)):
            s, a = m.streams(data[0]), m.streams(test[0])
            known = data[1].amax(2).argmax(1)
            also[f"shape told from the stream of places, {arm}"] = measures.probe(s[1], known, a[1], first)
            rows[arm] = {"shapes": unit(a[0], dim=1), "places": unit(a[1], dim=1)}
    return Outcome(
        judge(plain, test),
        judge(both, test),
        chance,
        (judge(train(r1, True, data[1], 0), test), judge(both, test)),
        also,
        rows,
        first,
    )
