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

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit


@experiment(recipe="fdt", min_effect=0.1)
def fdt(trial: Trial) -> Outcome:
    """Dense weights (T = 1,000) against sparse ones (T = 10) over the same codebook."""
    views = digits.views_of_digits(trial, whole=lambda x: x)
    spell = [[digits.ngrams(f"{w[k : k + 3]}", 64) for k in range(max(len(w) - 2, 1))] for w in digits.CLASSES]
    most = max(map(len, spell))
    words = torch.stack([torch.stack([*s, *[torch.zeros(64)] * (most - len(s))]) for s in spell])
    there = torch.tensor([[k < len(s) for k in range(most)] for s in spell])

    x, y = digits.patches(views.train.x["whole"]), views.train.y
    assert y is not None

    def train(t: float, sharpness: float, labels: Tensor, steps: int) -> tuple[nn.Module, nn.Module, nn.Module]:
        torch.manual_seed(trial.seed)
        eye, ear = bench.mlp(20), bench.mlp(64)
        dims = {"picture": bench.DIM, "name": bench.DIM}
        objective = recipe("fdt", dims=dims, temperature=t, codes=64, sharpness=sharpness)

        def loss(index: Tensor) -> Tensor:
            p, n = eye(x[index]), ear(words[labels[index]])
            tokens, present = {"picture": p, "name": n}, {"name": there[labels[index]]}
            batch = Batch({"picture": p.mean(1), "name": n.mean(1)}, tokens=tokens, tokens_present=present)
            return objective(batch)["loss"]

        bench.fit([eye, ear, objective], loss, len(x), steps=steps, seed=trial.seed, size=32)
        return eye, ear, objective.parts[0]

    @torch.no_grad()
    def coded(m: tuple[nn.Module, nn.Module, nn.Module], part: Part) -> tuple[tuple[Tensor, Tensor], ...]:
        book = m[2]
        return book.mixture("picture", m[0](digits.patches(part.x["whole"]))), book.mixture("name", m[1](words), there)  # type: ignore[operator]

    def accuracy(m: tuple[nn.Module, nn.Module, nn.Module], part: Part) -> float:
        (_, p), (_, n) = coded(m, part)
        return measures.right(unit(p, dim=1) @ unit(n, dim=1).T, part.y)

    def ratio(m: tuple[nn.Module, nn.Module, nn.Module], part: Part) -> float:
        (p, _), (n, _) = coded(m, part)
        shared = torch.minimum(p[:, None], n[None]).sum(2)  # (N, 10)
        own = nn.functional.one_hot(part.y, 10).bool()  # type: ignore[arg-type]
        return float(shared[own].mean() / shared[~own].mean().clamp_min(1e-6))

    steps, grid = trial.steps(400), (0.05, 0.1, 0.3)
    dense, t0 = contest.best(trial, grid, lambda t: train(t, 1000.0, y, steps), lambda m: accuracy(m, views.validation))
    sparse, t1 = contest.best(trial, grid, lambda t: train(t, 10.0, y, steps), lambda m: accuracy(m, views.validation))
    wrong = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(trial.seed))]
    also, rows = {}, {}
    for arm, m in (("baseline", dense), ("mechanism", sparse)):
        (w, p), (_, n) = coded(m, views.test)
        also[f"codes in use by a picture, {arm}"] = float((w > 0).sum(1).float().mean())
        also[f"accuracy of naming, {arm}"] = accuracy(m, views.test)
        rows[arm] = {"picture": unit(p, dim=1), "name": unit(n, dim=1)[views.test.y]}
    return Outcome(
        ratio(dense, views.test),
        ratio(sparse, views.test),
        (ratio(train(t0, 1000.0, wrong, steps), views.test), ratio(train(t1, 10.0, wrong, steps), views.test)),
        (accuracy(train(t0, 1000.0, y, 0), views.test), accuracy(dense, views.test)),
        also,
        rows,
        views.test.y,
    )
