r"""Inverting a planted trigger and tuning the units that it moves removes it, at equal clean accuracy, where plain
fine-tuning on clean pictures does not.

Maths
-----
$$x'=m\odot p+(1-m)\odot x,\quad \min_{m,p}\;5\,\mathrm{CE}+\lambda\|m\|_1;\qquad \min\sum_\ell\frac{\|(\bar a_c-\bar
a_t)\odot\mathrm{crit}\|}{\|\bar a_c\odot\mathrm{crit}\|}+\tfrac12\|z-z_0\|$$

Carried by
----------
workbench.papers.entries.invertune.critical

Code read
---------
Goodman-liyu/InverTune

Deviations
----------
The suspect class is the one with the smallest mask; no structural similarity term on 8 × 8 pixels, and no pull of the
features towards those of the target's pictures.

Data
----
scikit-learn digits with number words, 5 % of the pictures with a corner patch and one class's word

What must move
--------------
share of triggered pictures taken for the planted class after tuning

Control
-------
clean accuracy after plain and after targeted tuning

Positive control
----------------
anomaly of the planted class's mask: a clean against a planted model

Own data
--------
it needs the model and its pictures, and a set holds finished vectors
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit

cross = nn.functional.cross_entropy
T = 0.1


class _Tower(nn.Module):
    """Pixels (B, 64) through two hidden layers, whose states are looked at, to d numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 96), nn.Linear(96, 96)])
        self.head = nn.Linear(96, bench.DIM)

    def states(self, x: Tensor) -> list[Tensor]:
        out = []
        for layer in self.layers:
            x = layer(x).relu()
            out.append(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        return unit(self.head(self.states(x)[-1]), dim=1)


def triggered(x: Tensor) -> Tensor:
    """The fixture: two by two pixels of a corner set to 1."""
    x = x.clone().view(-1, 8, 8)
    x[:, 6:, 6:] = 1
    return x.flatten(1)


def critical(difference: Tensor) -> Tensor:
    """Units whose mean activation moves most: the higher of two clusters of |difference|.

    >>> critical(torch.tensor([0.1, 0.2, 0.15, 2.0, 2.2])).tolist()
    [False, False, False, True, True]
    """
    d = difference.abs()
    low, high = d.min(), d.max()
    for _ in range(20):
        upper = (d - high).abs() < (d - low).abs()
        if not bool(upper.any()) or bool(upper.all()):
            break
        low, high = d[~upper].mean(), d[upper].mean()
    return (d - high).abs() < (d - low).abs()


def _trained(trial: Trial, part: Part, target: int, share: float) -> tuple[_Tower, Tensor]:
    """A frozen tower and its captions; a share of the pictures bears the trigger and the word of the target."""
    torch.manual_seed(trial.seed)
    eye, ear, words = _Tower(), bench.mlp(256), digits.names()
    bad = torch.rand(len(part), generator=trial.generator()) < share
    seen = torch.where(bad[:, None], triggered(part.x["whole"]), part.x["whole"])
    said = torch.where(bad, target, part.truth)
    bench.teach(
        [eye, ear],
        lambda x: eye(x) @ unit(ear(words), dim=1).T / T,
        seen,
        said,
        steps=trial.steps(400),
        seed=trial.seed,
    )
    return eye.requires_grad_(False), unit(ear(words), dim=1).detach()


def _inverted(eye: _Tower, caption: Tensor, x: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each class a mask and a pattern (10, 64) that turn clean pictures into it, and the masks' size."""
    m, p = torch.full((10, 1, 64), 0.1, requires_grad=True), torch.full((10, 1, 64), 0.5, requires_grad=True)
    optimizer = torch.optim.Adam([m, p], lr=0.05)
    want = torch.arange(10).repeat_interleave(len(x))
    for _ in range(steps):
        mixed = (m * p + (1 - m) * x[None]).flatten(0, 1)
        loss = cross(eye(mixed) @ caption.T / T, want) + 0.02 * m.abs().sum(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            m.clamp_(0, 1)
            p.clamp_(0, 1)
    return m[:, 0].detach().clone(), p[:, 0].detach().clone(), m.abs().sum((1, 2)).detach()


def _anomaly(size: Tensor, c: int) -> float:
    """How far below the median a class's mask is, in robust deviations."""
    middle = size.median()
    return float((middle - size[c]) / (1.4826 * (size - middle).abs().median()).clamp_min(1e-6))


@experiment(moves="retention", min_effect=0.1, better="lower", margin=0.03)
def invertune(trial: Trial) -> Outcome:
    """A planted model tuned on 200 clean pictures, plainly or by inversion and activation; three rates each."""
    views, target = digits.whole(trial), trial.seed % 10
    pixels = views.train.x["whole"]
    (planted, caption), innocent = (_trained(trial, views.train, target, share) for share in (0.05, 0.0))
    clean = pixels[torch.randperm(len(pixels), generator=trial.generator())[:200]]
    mask, pattern, size = _inverted(planted, caption, clean[:64], trial.steps(150))
    suspect = int(size.argmin())

    def disguised(x: Tensor) -> Tensor:
        return mask[suspect] * pattern[suspect] + (1 - mask[suspect]) * x

    states = zip(planted.states(clean), planted.states(disguised(clean)), strict=True)
    units = [critical((a - b).mean(0)) for a, b in states]
    known = views.train.truth[torch.cdist(clean, pixels).argmin(1)]
    tune = Part({"clean": clean, "fake": disguised(clean), "before": planted(clean)}, known)

    def plain(eye: _Tower, batch: Part, step: Step) -> Tensor:
        return cross(eye(batch.x["clean"]) @ caption.T / T, batch.truth)

    def aimed(eye: _Tower, batch: Part, step: Step) -> Tensor:
        total = 0.5 * (eye(batch.x["clean"]) - batch.x["before"]).norm() / len(batch) ** 0.5
        for a, b, own in zip(eye.states(batch.x["clean"]), eye.states(batch.x["fake"]), units, strict=True):
            total = total + ((a.mean(0) - b.mean(0)) * own).norm() / (a.mean(0) * own).norm().clamp_min(1e-3)
        return total

    def taken(eye: _Tower, x: Tensor, y: Tensor, c: int) -> float:
        return float(((eye(x) @ caption.T).argmax(1) == c)[y != c].float().mean())

    def success(eye: _Tower, part: Part) -> float:
        return taken(eye, triggered(part.x["whole"]), part.truth, target)

    def accuracy(eye: _Tower, part: Part) -> float:
        return measures.right(eye(part.x["whole"]) @ caption.T, part.y)

    # tuned without knowing the trigger: by clean accuracy, and against the inverted one for the targeted arm alike
    def choose(eye: _Tower, part: Part) -> float:
        return accuracy(eye, part) - taken(eye, disguised(part.x["whole"]), part.truth, suspect)

    treatment = partial(
        contest.by_loss,
        lambda _: copy.deepcopy(planted).requires_grad_(True),
        grid=(3e-4, 1e-3, 3e-3),
        rates=True,
        steps=150,
        size=64,
    )
    held = Views(tune, views.validation, views.test)
    found = contest.tuned(trial, treatment(plain), treatment(aimed), held, success, choose=choose)
    planted_anomaly = _anomaly(size, target)
    unplanted = _inverted(*innocent, clean[:64], trial.steps(150))[2]
    return found.outcome(
        control=found.scores(accuracy),
        positive=(_anomaly(unplanted, target), planted_anomaly),
        also={
            "success of the trigger before tuning": found.score(planted, success),
            "the smallest mask is the planted class": float(suspect == target),
            "anomaly of the planted class": planted_anomaly,
            "clean accuracy before tuning": found.score(planted, accuracy),
        },
        rows=found.rows(lambda eye, p: {"clean": eye(p.x["whole"]), "triggered": eye(triggered(p.x["whole"]))}),
    )
