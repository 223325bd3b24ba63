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

from collections.abc import Callable

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.digits import CLASSES
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit

Model = tuple[nn.Module, Callable[[Tensor], Tensor]]  # the adapter, and the score of its patches with the ten words


def mean_token_cosine(patches: Tensor, words: Tensor) -> Tensor:
    """Mean over all pairs of patch and token of their cosine: (Q, P, d), (R, T, d) → (Q, R).

    Of unit vectors the mean over pairs is the product of the means: it is each token's own length that is lost here.
    """
    patches, words = unit(patches, dim=-1), unit(words, dim=-1)
    return torch.einsum("qpd,rtd->qr", patches, words) / (patches.shape[1] * words.shape[1])


def _spelt() -> list[Tensor]:
    """The ten names as frozen random vectors of their letter pairs, of lengths of their own."""
    g = torch.Generator().manual_seed(1)
    spelt = [[f"^{c}$"[k : k + 2] for k in range(len(c) + 1)] for c in CLASSES]
    pairs = sorted({p for word in spelt for p in word})
    table = torch.randn(len(pairs), 64, generator=g) * torch.rand(len(pairs), 1, generator=g)
    return [torch.stack([table[pairs.index(p)] for p in word]) for word in spelt]


@experiment(moves="classes", min_effect=0.02, margin=0.05)
def cg_vlm(trial: Trial) -> Outcome:
    """An adapter from patches to a frozen table, scored either way, with few labels."""
    views = digits.views_of_digits(trial, whole=lambda x: x)
    views = Views(*(Part({"patches": digits.patches(p.x["whole"])}, p.y) for p in views))
    few = views.train.take(torch.cat([(views.train.truth == c).nonzero()[:10, 0] for c in range(10)]))
    words = _spelt()

    def pooled(z: Tensor) -> Tensor:
        return unit(z.mean(1), dim=1) @ unit(torch.stack([w.mean(0) for w in words]), dim=1).T

    def tokens(z: Tensor) -> Tensor:
        return torch.cat([mean_token_cosine(z, w[None]) for w in words], 1)

    def loss(m: Model, batch: Part, step: Step) -> Tensor:
        return nn.functional.cross_entropy(m[1](m[0](batch.x["patches"])) / step.setting, batch.truth)

    def treatment(score: Callable[[Tensor], Tensor]) -> contest.Treatment[Model]:
        return contest.by_loss(lambda _: (bench.mlp(20, 64), score), loss, (0.01, 0.03, 0.1), steps=250, size=50)

    def judge(m: Model, part: Part) -> float:
        return measures.right(m[1](m[0](part.x["patches"])), part.y)

    def vectors(m: Model, part: Part) -> dict[str, Tensor]:
        name = torch.stack([unit(w.mean(0), dim=0) for w in words])[part.truth]
        return {"digit": unit(m[0](part.x["patches"]).mean(1), dim=1), "name": name}

    few_views = Views(few, views.validation, views.test)
    found = contest.tuned(trial, treatment(pooled), treatment(tokens), few_views, judge)
    temperatures = zip(("pooled", "tokens"), found.settings.values(), strict=True)
    return found.outcome(
        control=found.retrained(few.relabelled(trial.generator())),
        positive=found.untrained(),
        also={f"temperature of {k}": t for k, t in temperatures},
        rows=found.rows(vectors),
    )
