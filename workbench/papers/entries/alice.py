r"""Positives mined as the same place of different individuals teach features that know place and kind better than two
augmentations of one individual do.

Maths
-----
$$L=\mathrm{CE}\big(\mathrm{softmax}\tfrac{t'-c}{T_t},\,\tfrac{s}{T_s}\big)+L_{\text{patch}}+10\,\overline{\|x-\hat
x\|^2}$$

Carried by
----------
workbench.objectives.distillation.told_apart; workbench.papers.entries.alice.mined

Code read
---------
alibaba-damo-academy/alice

Deviations
----------
Planes in place of volumes; the matcher is the correlation of blurred pixels in place of a frozen network; the teacher's
temperature is 0.08, for the published 0.01 collapses at this size. As released, what is rebuilt is the whole crop.

Data
----
scikit-learn digits at 12 × 12 as individuals, crops of 8 × 8 near their four corners

What must move
--------------
accuracy of class and corner by the five nearest crops of training

Control
-------
both arms with partners dealt among the crops: the accuracy

Positive control
----------------
the accuracy of the baseline, untrained and trained

At this size
------------
Pixels of digits are matched well by their own correlation: what the mined pairs teach is in them already.

Own data
--------
a set has no crops; recipe siglip or infonce trains on pairs that you mined yourself ('--set pairs=pairs.csv')
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives.distillation import answer_entropy, follow, told_apart
from workbench.papers import contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit

SIDE, PATCHES, WIDTH, ANSWERS, ALIKE, HIDDEN, SHARP = 8, 16, 48, 64, 0.7, 12, 0.08


def crops(part: Part, g: torch.Generator, each: int = 2) -> Part:
    """{crop (N, 64), individual (N,)}: crops of 8 × 8 near a corner of digits; class times four and corner as class."""
    large = nn.functional.interpolate(part.x["whole"].view(-1, 1, 8, 8), size=12, mode="bilinear")[:, 0]
    rows, who, what = [], [], []
    for _ in range(each):
        corner = torch.randint(0, 2, (len(large), 2), generator=g)
        at = (4 * corner + torch.randint(-1, 2, corner.shape, generator=g)).clamp(0, 4)
        rows += [x[a : a + SIDE, b : b + SIDE].flatten() for x, (a, b) in zip(large, at.tolist(), strict=True)]
        who.append(torch.arange(len(large)))
        what.append(4 * part.truth + 2 * corner[:, 0] + corner[:, 1])
    crop = torch.stack(rows)
    noisy = crop + 0.1 * torch.randn(crop.shape, generator=g)
    return Part({"crop": noisy, "individual": torch.cat(who)}, torch.cat(what))


def mined(crop: Tensor, individual: Tensor, least: float = ALIKE) -> tuple[Tensor, Tensor]:
    """The crop of another individual that each correlates most with, blurred, and whether by enough: (N,), (N,).

    >>> x = torch.eye(64)[[0, 0, 9, 9]] + 0.0
    >>> [t.tolist() for t in mined(x, torch.tensor([0, 1, 2, 3]))]
    [[1, 0, 3, 2], [True, True, True, True]]
    """
    blurred = nn.functional.avg_pool2d(crop.view(-1, 1, SIDE, SIDE), 3, 1, 1).flatten(1)
    z = unit(blurred - blurred.mean(1, keepdim=True), dim=1)
    s = (z @ z.T).masked_fill(individual[:, None] == individual[None], -1)
    best = s.max(1)
    return best.indices, best.values > least


def patches(x: Tensor) -> Tensor:
    """Crops (N, 64) as sixteen patches of four pixels, (N, 16, 4)."""
    return x.view(-1, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(-1, PATCHES, 4)


class Student(nn.Module):
    """Crops as sixteen patches, some hidden: answers of the whole and of each patch, and the crop rebuilt."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.place = nn.Linear(4, WIDTH), nn.Parameter(0.1 * torch.randn(PATCHES, WIDTH))
        self.blank = nn.Parameter(torch.zeros(WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 96, 0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.cross, self.out = nn.MultiheadAttention(WIDTH, 4, batch_first=True), nn.Linear(WIDTH, 4)
        self.whole, self.part = nn.Linear(WIDTH, ANSWERS), nn.Linear(WIDTH, ANSWERS)

    def tokens(self, x: Tensor, gone: Tensor | None = None) -> Tensor:
        """Patches of crops (N, 64) as vectors (N, 16, d)."""
        z = self.patch(patches(x))
        z = z if gone is None else torch.where(gone[..., None], self.blank, z)
        return self.encoder(z + self.place)

    def seen(self, x: Tensor) -> Tensor:
        """The mean of a crop's patches, of length one."""
        return unit(self.tokens(x).mean(1), dim=1)


Model = tuple[Student, Student, nn.ParameterList]  # the teacher, and the two centres


@experiment(moves="classes", min_effect=0.02)
def alice(trial: Trial) -> Outcome:
    """Two augmentations of a crop as positives against mined crops, where one is alike enough; two rates for both, 400
    steps of 64 crops.
    """
    g, whole = trial.generator(), digits.whole(trial)
    if trial.quick:
        whole = Views(*(p.take(torch.arange(80)) for p in whole))
    train, *others = (crops(p, g) for p in whole)
    partner, alike = mined(train.x["crop"], train.x["individual"])
    mixed = torch.randperm(len(train), generator=g)
    views = Views(train.but(partner=partner, alike=alike), *others)

    def augmented(x: Tensor, draw: torch.Generator) -> Tensor:
        row, column = torch.randint(-1, 2, (2,), generator=draw).tolist()
        moved = x.view(-1, SIDE, SIDE).roll((row, column), (1, 2)).flatten(1)
        return moved * (0.8 + 0.4 * torch.rand(len(x), 1, generator=draw)) + 0.1 * torch.randn(x.shape, generator=draw)

    def loss(m: Model, batch: Part, step: Step, other: bool) -> Tensor:
        student, teacher, centres = m
        x, every = batch.x["crop"], step.part.x["crop"]
        second = augmented(x, step.draw)
        if other:
            second = torch.where(batch.x["alike"][:, None], every[batch.x["partner"]], second)
        total = torch.zeros(())
        pair = (augmented(x, step.draw), second)
        with torch.no_grad():
            told = [teacher.tokens(v) for v in pair]
            answers = [teacher.whole(t.mean(1)) for t in told]
        for k, view in enumerate(pair):
            gone = torch.rand(len(x), PATCHES, generator=step.draw).argsort(1) < HIDDEN
            h = student.tokens(view, gone)
            total = total + told_apart(student.whole(h.mean(1)), answers[1 - k], centres[0], sharp=SHARP)
            own, aim = student.cross(h, h, h)[0], student.cross(h, told[k], told[k])[0]
            total = total + told_apart(student.part(own), student.part(aim), centres[1], sharp=SHARP)
            total = total + 10 * (student.out(own) - patches(view)).square().mean() / 2
            with torch.no_grad():
                centres[1].lerp_(student.part(aim).mean((0, 1)), 0.1)
        centres[0].data.lerp_(torch.cat(answers).mean(0), 0.1)
        follow(teacher, student, 0.02)
        return total / 2

    def treatment(other: bool) -> contest.Treatment[Model]:
        def build(_: float) -> Model:
            student = Student()
            centres = nn.ParameterList(nn.Parameter(torch.zeros(ANSWERS), requires_grad=False) for _ in range(2))
            return student, copy.deepcopy(student).requires_grad_(False), centres

        return contest.by_loss(
            build, partial(loss, other=other), (1e-3, 2e-3), rates=True, steps=400, size=trial.count(64, 8)
        )

    def known(m: Model, part: Part) -> float:
        told = views.train
        return measures.knn(m[0].seen(told.x["crop"]), told.truth, m[0].seen(part.x["crop"]), part.truth)

    def entropy(m: Model, part: Part) -> dict[str, float]:
        return {"entropy of the teacher's answers": answer_entropy(m[1].whole(m[1].tokens(part.x["crop"]).mean(1)))}

    def vectors(m: Model, part: Part) -> dict[str, Tensor]:
        return {"crop": m[0].seen(part.x["crop"])}

    found = contest.tuned(trial, treatment(False), treatment(True), views, known)
    right = train.truth == train.truth[partner]
    return found.outcome(
        control=found.retrained(views.train.but(partner=mixed, alike=torch.ones_like(alike))),
        positive=found.untrained(),
        also={
            "share of crops with a partner": float(alike.float().mean()),
            "partners of the same class and corner": float(right[alike].float().mean()),
        }
        | found.beside(entropy),
        rows=found.rows(vectors),
    )
