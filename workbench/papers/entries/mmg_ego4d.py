r"""With modalities aligned and dropped in training, a classifier taught in one modality serves in another.

Maths
-----
$$L=\mathrm{CE}(f(\textstyle\sum_{m\in S}z_m))+\sum_{m<m'}\mathrm{InfoNCE}(z_m,z_{m'})+\sum_{m\ne
m'}\mathrm{CE}(-\|q^{m'}-p^{m}_c\|^2)$$

Carried by
----------
recipe infonce; train.drop

Deviations
----------
No code was found: modality dropout, pairwise alignment and prototypes across modalities are put together from the
abstract, all weights 1.

Data
----
scikit-learn digits: top, bottom and left halves, 20 labelled items a class

What must move
--------------
accuracy with the classifier of one modality on another (mean over ordered pairs)

Control
-------
both on labels dealt at random: accuracy across modalities

Positive control
----------------
accuracy within a modality, against the share of the commonest class

Try it
------
workbench papers mmg_ego4d --run --data YOUR_SET --label CLASS
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, digits, measures, own_set
from workbench.papers.catalogue import experiment
from workbench.papers.digits import BOTTOM, LEFT, TOP
from workbench.papers.needs import DataNeeds
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit
from workbench.training.towers import Towers


@experiment(recipe="infonce", min_effect=0.05, margin=0.05, own=DataNeeds(2, label=True, every=True))
def mmg_ego4d(trial: Trial) -> Outcome:
    """A fused classifier alone against one with dropout, alignment and cross-modal prototypes; every cell of
    modality taught × modality tested.
    """
    own = own_set.given(trial, len(trial.data.modalities)) if trial.data is not None else None
    views = own or digits.views_of_digits(trial, top=TOP, bottom=BOTTOM, left=LEFT)
    assert views.train.y is not None
    assert views.test.y is not None
    truth, classes = views.test.y, int(max(p.y.max() for p in (views.train, views.validation, views.test))) + 1  # type: ignore[union-attr]
    g = torch.Generator().manual_seed(trial.seed)
    order = torch.randperm(len(views.train), generator=g)
    # as few labels as a few-shot task has, as many items without as the training part holds
    shots = torch.cat([order[views.train.y[order] == c][:20] for c in range(classes)])
    names = list(views.train.x)

    def trained(temperature: float, whole: bool, labels: Tensor) -> Towers:
        torch.manual_seed(trial.seed)
        model, head = bench.towers(views.train), nn.Linear(bench.DIM, classes)
        align = recipe("infonce", temperature=temperature)
        draw = torch.Generator().manual_seed(trial.seed)

        def loss(index: Tensor) -> Tensor:
            few = shots[index % len(shots)]
            z = {m: unit(x, dim=1) for m, x in model({m: v[few] for m, v in views.train.x.items()}).items()}
            keep = [m for m in names if not whole or torch.rand(1, generator=draw) < 0.5] or names[:1]
            fused = torch.stack([z[m] for m in keep]).mean(0)
            total = nn.functional.cross_entropy(head(fused) / temperature, labels[few])
            if not whole:
                return total
            total = total + align(Batch(model({m: v[index] for m, v in views.train.x.items()})))["loss"]
            onehot = nn.functional.one_hot(labels[few], classes).float()
            for a in names:
                p = onehot.T @ z[a] / onehot.sum(0).clamp_min(1)[:, None]
                for b in names:
                    if a != b:
                        total = total + nn.functional.cross_entropy(
                            -(torch.cdist(z[b], p) ** 2) / temperature, labels[few]
                        )
            return total

        bench.fit([model, head, align], loss, len(views.train), steps=trial.steps(250), seed=trial.seed)
        return model

    def cells(model: Towers, labels: Tensor, part: Part) -> tuple[float, float]:
        """Nearest prototype taught in one modality: accuracy across, and within."""
        z, s = bench.rows(model, part), bench.rows(model, views.train.take(shots))
        onehot = nn.functional.one_hot(labels[shots], classes).float()
        hit = {}
        for a in names:
            p = unit(onehot.T @ s[a], dim=1)
            for b in names:
                hit[a, b] = measures.right(z[b] @ p.T, part.y)
        across = [v for (a, b), v in hit.items() if a != b]
        return sum(across) / len(across), sum(hit[m, m] for m in names) / len(names)

    y = views.train.y
    tune = (0.1, 0.3)
    plain, t0 = contest.best(trial, tune, lambda t: trained(t, False, y), lambda m: cells(m, y, views.validation)[0])
    whole, t1 = contest.best(trial, tune, lambda t: trained(t, True, y), lambda m: cells(m, y, views.validation)[0])
    dealt = y[torch.randperm(len(y), generator=g)]
    chance = tuple(cells(trained(t, w, dealt), dealt, views.test)[0] for t, w in ((t0, False), (t1, True)))
    most = float(torch.bincount(truth).max() / len(truth))
    within = cells(plain, y, views.test)[1]
    return Outcome(
        cells(plain, y, views.test)[0],
        cells(whole, y, views.test)[0],
        (chance[0], chance[1]),
        (most, within),
        {"within a modality, baseline": within, "within a modality, mechanism": cells(whole, y, views.test)[1]},
        {"baseline": bench.rows(plain, views.test), "mechanism": bench.rows(whole, views.test)},
        truth,
    )
