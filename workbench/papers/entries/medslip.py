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

from workbench.papers import bench, contest, digits, measures, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
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


@experiment(moves="places", min_effect=0.05, margin=0.05)
def medslip(trial: Trial) -> Outcome:
    """Presence of shapes and places alone, against the same with the contrast between the streams."""
    g = trial.generator()

    def canvases(part: Part, count: int) -> Part:
        """Canvases (count, 256), what is where (count, 10, 4), and the first shape."""
        x, there = torch.zeros(count, 4, 8, 8), torch.zeros(count, 10, 4)
        for k in range(count):
            two, at = torch.randint(len(part), (2,), generator=g), torch.randperm(4, generator=g)[:2]
            for i, q in zip(two.tolist(), at.tolist(), strict=True):
                x[k, q] = part.x["whole"][i].view(8, 8)
                there[k, int(part.truth[i]), q] = 1
        canvas = x.view(count, 2, 2, 8, 8).permute(0, 1, 3, 2, 4).reshape(count, 256)
        return Part({"canvas": canvas, "there": there}, there.amax(2).argmax(1))

    views = parts.composed(trial, digits.whole(trial), canvases, (1500, 40), (300, 30), (400, 40))
    train = views.train
    dealt = torch.stack([t[:, torch.randperm(4, generator=g)] for t in train.x["there"]])

    def matched(p: Tensor, a: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of each shape that is there with each place that is taken, and which belong together."""
        known = (t.amax(2)[:, :, None] * t.amax(1)[:, None]) > 0
        return torch.einsum("bqd,brd->bqr", p, a)[known], t[known]

    def loss(model: Streams, batch: Part, step: Step, contrast: bool) -> Tensor:
        (p, a), t = model(batch.x["canvas"]), batch.x["there"]
        present = bce(model.is_shape(p)[..., 0], t.amax(2)) + bce(model.is_place(a)[..., 0], t.amax(1))
        return present + bce(*matched(p, a, t)) if contrast else present

    def judge(model: Streams, part: Part) -> float:
        p, a = model(part.x["canvas"])
        scores, own = matched(p, a, part.x["there"])
        return measures.auc(scores, own > 0)

    def told(model: Streams, part: Part) -> dict[str, float]:
        s, a = (model.streams(p.x["canvas"])[1] for p in (train, part))
        return {"shape told from the stream of places": measures.probe(s, train.truth, a, part.truth)}

    plain, both = (
        contest.by_loss(lambda _: Streams(), partial(loss, contrast=c), (1e-3, 3e-3), rates=True, steps=500, size=64)
        for c in (False, True)
    )
    found = contest.tuned(trial, plain, both, views, judge)
    return found.outcome(
        control=found.retrained(train.but(there=dealt)),
        positive=found.untrained(arm="mechanism"),
        also=found.beside(told),
        rows=found.rows(
            lambda model, part: {
                k: unit(s, dim=1) for k, s in zip(("shapes", "places"), model.streams(part.x["canvas"]), strict=True)
            }
        ),
    )
