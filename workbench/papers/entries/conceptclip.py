r"""Matching each concept with its best patch makes a model point at the concept.

Maths
-----
$$M_{bc}=\max_p\,(s_c\langle v_{bp},k_c\rangle+b_c),\qquad
L=L_{\mathrm{SigLIP}}-\tfrac12\cdot\tfrac1{|c|}\sum\log\sigma(\pm M_{bc})$$

Carried by
----------
recipe siglip; workbench.papers.entries.conceptclip.best_patch

Code read
---------
JerrryNie/ConceptCLIP

Deviations
----------
Both losses from the start instead of in two stages.

Data
----
16 × 16 canvases with two scikit-learn digits and two patches of noise in the four quadrants; captions of two number
words

What must move
--------------
share of concepts whose best patch is the right quadrant (chance .25)

Control
-------
both losses with captions of other canvases: pointing between the two occupied quadrants

Positive control
----------------
pointing of the whole-pair loss, untrained against trained

At this size
------------
Four patches of one digit each: the whole-pair loss alone points rightly 98 times in a hundred. That whole pairs keep
their retrieval is the paper's as well; it stands beside, and is not judged.

Own data
--------
its parts (patches, segments, bags) have no place in a set with one row an item
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, digits, measures, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

Model = tuple[nn.Module, nn.Module, nn.Module, nn.ParameterList]  # both towers, the objective, the bias of a match


def best_patch(patches: Tensor, concepts: Tensor) -> Tensor:
    """The best cosine of a concept among the patches of each picture: (B, P, d), (C, d) → (B, C) (ConceptCLIP)."""
    return (patches @ concepts.T).amax(1)


@experiment(moves="places", recipe="siglip", min_effect=0.05)
def conceptclip(trial: Trial) -> Outcome:
    """SigLIP of whole canvases and captions, with and without the best-patch term."""
    g, words = trial.generator(), digits.names()

    def canvases(pool: list[Tensor], count: int) -> Part:
        """Patches (count, 4, 64), the two classes and their quadrants, (count, 2) each."""
        x, concepts, quadrants = torch.rand(count, 4, 64, generator=g), [], []
        for k in range(count):
            concepts.append(torch.randperm(10, generator=g)[:2])
            quadrants.append(torch.randperm(4, generator=g)[:2])
            for place, c in zip(quadrants[-1].tolist(), concepts[-1].tolist(), strict=True):
                x[k, place] = digits.sample_digit(pool, c, g)
        return Part({"patches": x, "concepts": torch.stack(concepts), "quadrants": torch.stack(quadrants)})

    views = parts.composed(trial, digits.pools(trial), canvases, (800, 40), (300, 30), (300, 30))

    def build(t: float) -> Model:
        towers = bench.mlp(64), bench.mlp(256)
        return *towers, recipe("siglip", temperature=t), nn.ParameterList([torch.tensor(-10.0)])

    def loss(m: Model, batch: Part, step: Step, weight: float) -> Tensor:
        eye, ear, whole, bias = m
        patch, word, c = eye(batch.x["patches"]), ear(words), batch.x["concepts"]
        out = whole(Batch({"picture": patch.mean(1), "caption": word[c].mean(1)}))["loss"]
        if not weight:
            return out
        match = best_patch(unit(patch, dim=-1), unit(word, dim=1)) / step.setting + bias[0]  # (B, 10)
        there = torch.zeros(len(batch), 10, dtype=torch.bool).scatter(1, c, True)
        return out + weight * heads.sigmoid(match, there) * len(batch) / match.shape[1]

    def pointing(m: Model, part: Part, occupied: bool = False) -> float:
        x, c, q = part.x.values()
        s = torch.einsum("bpd,bcd->bcp", unit(m[0](x), dim=-1), unit(m[1](words), dim=1)[c])
        if occupied:  # that a word is no noise can be learned from any caption
            there = torch.zeros(len(q), 4, dtype=torch.bool).scatter(1, q, True)
            s = s.masked_fill(~there[:, None], -2)
        return float((s.argmax(2) == q).float().mean())

    def vectors(m: Model, part: Part) -> dict[str, Tensor]:
        caption = m[1](words)[part.x["concepts"]].mean(1)
        return {"picture": unit(m[0](part.x["patches"]).mean(1), dim=1), "caption": unit(caption, dim=1)}

    def retrieved(z: dict[str, Tensor]) -> dict[str, float]:
        return {"caption → picture recall at 10": measures.recall(z["caption"], z["picture"], 10)}

    plain, both = (
        contest.by_loss(build, partial(loss, weight=w), (0.05, 0.1, 0.3), steps=350, size=64) for w in (0.0, 0.5)
    )
    found = contest.tuned(trial, plain, both, views, pointing)
    rows = found.rows(vectors)
    others = views.train.but(concepts=views.train.x["concepts"].roll(1, 0))
    return found.outcome(
        control=found.retrained(others, partial(pointing, occupied=True)),
        positive=found.untrained(),
        also=contest.by_arm(rows, retrieved),
        rows=rows,
        labels=views.test.x["concepts"][:, 0],
    )
