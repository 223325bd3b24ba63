r"""Averaging the cosines of patches and word tokens aligns an adapter with frozen word embeddings better than one
cosine of averages does.

Maths
-----
$$s_{ij}=\frac1{PT}\sum_{p,t}\cos(v_{ip},e_{jt})\qquad\text{against}\qquad \cos(\bar v_i,\bar e_j)$$

Carried by
----------
workbench.papers.entries.cg_vlm.mean_token_cosine

Deviations
----------
No code was found; the caption loss is left out. Without a cosine for each token the score is the product of the
means, so the claim can only rest on that normalisation.

Data
----
scikit-learn digits as 16 patches; number words as frozen random vectors of their letter pairs; 10 labelled items a
class

What must move
--------------
accuracy of naming unseen digits

Control
-------
both taught words dealt at random: accuracy

Positive control
----------------
accuracy of the cosine of averages, untrained against trained

At this size
------------
Ten words leave little to tell apart; without the caption loss only the score is tested.

Own data
--------
its parts (patches, segments, bags) have no place in a set with one row an item
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits, measures, parts
from workbench.papers.catalogue import experiment
from workbench.papers.digits import CLASSES
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import unit

cross = nn.functional.cross_entropy


def mean_token_cosine(patches: Tensor, words: Tensor) -> Tensor:
    """Mean over all pairs of patch and token of their cosine: (Q, P, d), (R, T, d) → (Q, R).

    Of unit vectors the mean over pairs is the product of the means: it is each token's own length that is lost here.
    """
    patches, words = unit(patches, dim=-1), unit(words, dim=-1)
    return torch.einsum("qpd,rtd->qr", patches, words) / (patches.shape[1] * words.shape[1])


@experiment(min_effect=0.02, margin=0.05)
def cg_vlm(trial: Trial) -> Outcome:
    """An adapter from patches to a frozen table, scored either way, with few labels."""
    views = digits.views_of_digits(trial, whole=lambda x: x)
    table = torch.Generator().manual_seed(1)
    pairs = sorted({w[k : k + 2] for w in (f"^{c}$" for c in CLASSES) for k in range(len(w) - 1)})
    vector = dict(
        zip(
            pairs,
            torch.randn(len(pairs), 64, generator=table) * torch.rand(len(pairs), 1, generator=table),
            strict=True,
        )
    )
    tokens = [torch.stack([vector[f"^{c}$"[k : k + 2]] for k in range(len(c) + 1)]) for c in CLASSES]

    def scores(z: Tensor, kind: str) -> Tensor:
        if kind == "pooled":
            return unit(z.mean(1), dim=1) @ unit(torch.stack([t.mean(0) for t in tokens]), dim=1).T
        return torch.cat([mean_token_cosine(z, t[None]) for t in tokens], 1)

    assert views.train.y is not None
    few = torch.cat([(views.train.y == c).nonzero()[:10, 0] for c in range(10)])
    x, y = digits.patches(views.train.x["whole"][few]), views.train.y[few]

    dealt = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(trial.seed))]

    def train(t: float, kind: str, steps: int, said: Tensor = y) -> nn.Module:
        torch.manual_seed(trial.seed)
        adapter = bench.mlp(20, 64)
        bench.fit(
            [adapter],
            lambda index: cross(scores(adapter(x[index]), kind) / t, said[index]),
            len(x),
            steps=steps,
            seed=trial.seed,
            size=50,
        )
        return adapter

    @torch.no_grad()
    def judge(m: nn.Module, kind: str, part: parts.Part) -> float:
        return measures.right(scores(m(digits.patches(part.x["whole"])), kind), part.y)

    steps, found, warmth = trial.steps(250), {}, {}
    for kind in ("pooled", "tokens"):
        found[kind], warmth[kind] = contest.best(
            trial,
            (0.01, 0.03, 0.1),
            partial(train, kind=kind, steps=steps),
            partial(judge, kind=kind, part=views.validation),
        )
    chance = [judge(train(t, k, steps, dealt), k, views.test) for k, t in warmth.items()]
    base, mechanism = (judge(found[k], k, views.test) for k in ("pooled", "tokens"))
    names = torch.stack([unit(t.mean(0), dim=0) for t in tokens])[views.test.y]
    with torch.no_grad():
        rows = {
            arm: {"digit": unit(found[k](digits.patches(views.test.x["whole"])).mean(1), dim=1), "name": names}
            for arm, k in (("baseline", "pooled"), ("mechanism", "tokens"))
        }
    return Outcome(
        base,
        mechanism,
        (chance[0], chance[1]),
        (judge(train(0.03, "pooled", 0), "pooled", views.test), base),
        {f"temperature of {k}": v for k, v in warmth.items()},
        rows,
        views.test.y,
    )
