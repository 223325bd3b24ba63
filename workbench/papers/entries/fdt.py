r"""Sparse weights over one shared codebook make matched pairs share codes that strangers do not.

Maths
-----
$$w=\mathrm{sparsemax}\big(\max_t\langle q_t,c_k\rangle/\sqrt d/T\big),\qquad z=\sum_k w_kc_k,\qquad
L=\mathrm{symCE}(z^Iz^{T\top}/\tau)$$

Carried by
----------
recipe fdt

Code read
---------
yuxiaochen1103/FDT

Deviations
----------
64 codes instead of 16,384; T is 10, where the shipped value is 1,000; missing tokens are masked, where the released
code lets them score 0.

Data
----
scikit-learn digits as 16 patches; number words as letter triples

What must move
--------------
overlap of the codes of a picture and its name, against a name of another class (ratio)

Control
-------
both trained on pairs made at random: ratio

Positive control
----------------
accuracy of naming with dense weights, untrained against trained

Own data
--------
it needs tokens (patches, words), and a set holds one row an item
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import Objective, recipe
from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit

Model = tuple[nn.Module, nn.Module, Objective]  # the towers of patches and of letters; the objective has the codebook


def _spelt() -> tuple[Tensor, Tensor]:
    """The ten names as letter triples (10, J, 64), and which of the J are there."""
    spell = [[digits.ngrams(f"{w[k : k + 3]}", 64) for k in range(max(len(w) - 2, 1))] for w in digits.CLASSES]
    most = max(map(len, spell))
    words = torch.stack([torch.stack([*s, *[torch.zeros(64)] * (most - len(s))]) for s in spell])
    return words, torch.tensor([[k < len(s) for k in range(most)] for s in spell])


@experiment(moves="space", recipe="fdt", min_effect=0.1, bound=math.inf)
def fdt(trial: Trial) -> Outcome:
    """Dense weights (T = 1,000) against sparse ones (T = 10) over the same codebook."""
    views = digits.views_of_digits(trial, whole=lambda x: x)
    views = Views(*(Part({"patches": digits.patches(p.x["whole"])}, p.y) for p in views))
    words, there = _spelt()

    def build(t: float, sharpness: float) -> Model:
        dims = dict.fromkeys(("picture", "name"), bench.DIM)
        towers = bench.mlp(20), bench.mlp(64)
        return *towers, recipe("fdt", dims=dims, temperature=t, codes=64, sharpness=sharpness)

    def loss(m: Model, batch: Part, step: Step) -> Tensor:
        p, n = m[0](batch.x["patches"]), m[1](words[batch.truth])
        tokens, present = {"picture": p, "name": n}, {"name": there[batch.truth]}
        wholes = {"picture": p.mean(1), "name": n.mean(1)}
        return m[2](Batch(wholes, tokens=tokens, tokens_present=present))["loss"]

    def coded(m: Model, part: Part) -> tuple[tuple[Tensor, Tensor], ...]:
        """Weights and mixtures of the pictures, and of the ten names."""
        mixture = m[2].parts[0].mixture
        return mixture("picture", m[0](part.x["patches"])), mixture("name", m[1](words), there)  # type: ignore[operator]

    def accuracy(m: Model, part: Part) -> float:
        (_, p), (_, n) = coded(m, part)
        return measures.right(unit(p, dim=1) @ unit(n, dim=1).T, part.y)

    def ratio(m: Model, part: Part) -> float:
        (p, _), (n, _) = coded(m, part)
        shared = torch.minimum(p[:, None], n[None]).sum(2)  # (N, 10)
        own = nn.functional.one_hot(part.truth, 10).bool()
        return float(shared[own].mean() / shared[~own].mean().clamp_min(1e-6))

    def look(m: Model, part: Part) -> dict[str, float]:
        used = (coded(m, part)[0][0] > 0).sum(1).float().mean()
        return {"codes in use by a picture": float(used), "accuracy of naming": accuracy(m, part)}

    def vectors(m: Model, part: Part) -> dict[str, Tensor]:
        (_, p), (_, n) = coded(m, part)
        return {"picture": unit(p, dim=1), "name": unit(n, dim=1)[part.y]}

    dense, sparse = (
        contest.by_loss(partial(build, sharpness=s), loss, (0.05, 0.1, 0.3), steps=400, size=32) for s in (1000.0, 10.0)
    )
    found = contest.tuned(trial, dense, sparse, views, ratio, choose=accuracy)
    return found.outcome(
        control=found.retrained(views.train.relabelled(trial.generator())),
        positive=found.untrained(accuracy),
        also=found.beside(look),
        rows=found.rows(vectors),
    )
