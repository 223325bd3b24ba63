r"""Local contrasts with hard negatives under self-distillation teach composition and keep the rest.

Maths
-----
$$L=L_{\text{global}}+.1\,L_{\mathrm{IGC}}+.1\,L_{\mathrm{TGC}}+w\sum\|f-f_{\mathrm{EMA}}\|^2$$

Carried by
----------
recipe degla

Code read
---------
xiaoxing2001/DeGLA

Deviations
----------
Each caption meets its own negatives; the released mask lets the text-grounded contrast meet mostly those of others.
The weight of distillation is 0.05 / 16 on the sum, as the batch here is larger.

Data
----
two scikit-learn digits side by side, captions in order; tuned on digits 0 to 4 with swapped captions as hard
negatives

What must move
--------------
mean of composition (0 to 4: the caption above its swap) and retention (5 to 9: the right pair of words)

Control
-------
both tuned on captions whose order was dealt at random: composition

Positive control
----------------
composition before tuning against after it

Own data
--------
it needs captions with hard negatives; on your data: Batch(negatives=…) and recipe degla
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, digits
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit


@experiment(min_effect=0.02)
def degla(trial: Trial) -> Outcome:
    """Contrast with hard negatives alone against the whole recipe; three temperatures for both."""
    g = torch.Generator().manual_seed(trial.seed)
    parts = digits.whole(trial)
    words = digits.names()

    def pairs(part: Part, count: int, low: int, high: int) -> tuple[Tensor, Tensor]:
        """Pictures (count, 128) of two different digits within low … high − 1, and the two classes in order."""
        assert part.y is not None
        pool = [part.x["whole"][part.y == c] for c in range(10)]
        said = torch.stack([low + torch.randperm(high - low, generator=g)[:2] for _ in range(count)])
        pick = torch.rand(count, 2, generator=g)
        rows = []
        for k, (a, b) in enumerate(said.tolist()):
            p, q = (pool[c][int(pick[k, j] * len(pool[c]))].view(8, 8) for j, c in enumerate((a, b)))
            rows.append(torch.cat([p, q], 1).flatten())
        return torch.stack(rows), said

    def spoken(said: Tensor, order: float) -> Tensor:
        """A caption as the words in order; before tuning the order is hidden, `order` 0."""
        a, b = words[said[:, 0]], words[said[:, 1]]
        return torch.cat([a + b, order * (a - b)], 1) / 2**0.5

    sizes = (trial.count(1500, 60), trial.count(800, 60), trial.count(300, 40), trial.count(400, 40))
    everything, tuning = pairs(parts.train, sizes[0], 0, 10), pairs(parts.train, sizes[1], 0, 5)
    held, far_held = pairs(parts.validation, sizes[2], 0, 5), pairs(parts.validation, sizes[2], 5, 10)
    test, far = pairs(parts.test, sizes[3], 0, 5), pairs(parts.test, sizes[3], 5, 10)
    torch.manual_seed(trial.seed)
    start = nn.ModuleList([bench.mlp(128), bench.mlp(512)])
    before = recipe("infonce", temperature=0.1)
    bench.fit(
        [start, before],
        lambda i: before(
            Batch({"picture": start[0](everything[0][i]), "caption": start[1](spoken(everything[1][i], 0.0))})
        )["loss"],
        len(everything[0]),
        steps=trial.steps(400),
        seed=trial.seed,
    )

    dealt = torch.where(torch.rand(len(tuning[1]), 1, generator=g) < 0.5, tuning[1], tuning[1].flip(1))

    def train(t: float, whole: bool, order: Tensor = tuning[1]) -> nn.ModuleList:
        model = copy.deepcopy(start)
        slow = copy.deepcopy(start).requires_grad_(False)
        weights: dict[str, Any] = {"image_grounded": 0.0, "text_grounded": 0.0, "distil": 0.0}
        if whole:  # a sum over the batch: 0.05 for one row of sixteen
            weights = {"distil": 0.05 / 16}
        objective = recipe("degla", temperature=t, **weights)

        def loss(index: Tensor) -> Tensor:
            pixels, said = tuning[0][index], order[index]
            caption, swapped = spoken(said, 1.0), spoken(said.flip(1), 1.0)
            with torch.no_grad():
                teacher = {"picture": slow[0](pixels), "caption": slow[1](caption)}
                teacher["caption.negatives"] = slow[1](swapped)[:, None]
                for a, b in zip(slow.parameters(), model.parameters(), strict=True):
                    a.lerp_(b, 0.004)
            batch = Batch(
                {"picture": model[0](pixels), "caption": model[1](caption)},
                negatives={"caption": model[1](swapped)[:, None]},
                teacher=teacher,
            )
            return objective(batch)["loss"]

        bench.fit([model, objective], loss, len(tuning[0]), steps=trial.steps(200), seed=trial.seed, size=64)
        return model

    @torch.no_grad()
    def composition(m: nn.ModuleList, of: tuple[Tensor, Tensor], order: float = 1.0) -> float:
        z = unit(m[0](of[0]), dim=1)
        right, wrong = (unit(m[1](spoken(s, order)), dim=1) for s in (of[1], of[1].flip(1)))
        a, b = (z * right).sum(1), (z * wrong).sum(1)
        return float((a > b).float().mean() + 0.5 * (a == b).float().mean())

    combos = torch.tensor([(a, b) for a in range(5, 10) for b in range(5, 10) if a < b])

    @torch.no_grad()
    def retention(m: nn.ModuleList, of: tuple[Tensor, Tensor]) -> float:
        """The right pair of words, whatever its order, among the ten pairs of digits never tuned on."""
        s = unit(m[0](of[0]), dim=1) @ unit(m[1](spoken(combos, 0.0)), dim=1).T
        truth = (of[1].sort(1).values[:, None] == combos[None]).all(2).float().argmax(1)
        return float((s.argmax(1) == truth).float().mean())

    def judge(m: nn.ModuleList, near: tuple[Tensor, Tensor] = held, other: tuple[Tensor, Tensor] = far_held) -> float:
        return (composition(m, near) + retention(m, other)) / 2

    grid = (0.05, 0.1, 0.3)
    plain, t0 = contest.best(trial, grid, lambda t: train(t, False), judge)
    whole, t1 = contest.best(trial, grid, lambda t: train(t, True), judge)
    chance = (composition(train(t0, False, dealt), test), composition(train(t1, True, dealt), test))
    also, rows = {"retention before tuning": retention(start, far)}, {}
    for arm, m in (("baseline", plain), ("mechanism", whole)):
        also |= {f"composition, {arm}": composition(m, test), f"retention, {arm}": retention(m, far)}
        with torch.no_grad():
            rows[arm] = {"picture": unit(m[0](far[0]), dim=1), "caption": unit(m[1](spoken(far[1], 1.0)), dim=1)}
    return Outcome(
        judge(plain, test, far),
        judge(whole, test, far),
        chance,
        (composition(start, test, 0.0), composition(plain, test)),
        also,
        rows,
        far[1][:, 0],
    )
