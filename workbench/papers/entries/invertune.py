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

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

cross = nn.functional.cross_entropy


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


@experiment(min_effect=0.1, better="lower", margin=0.03)
def invertune(trial: Trial) -> Outcome:
    """A planted model tuned on 200 clean pictures, plainly or by inversion and activation; three rates each."""
    views = digits.whole(trial)
    pixels, truth = views.train.x["whole"], views.train.y
    assert truth is not None
    assert views.test.y is not None
    assert views.validation.y is not None
    target, g = trial.seed % 10, torch.Generator().manual_seed(trial.seed)
    words, t = digits.names(), 0.1

    def trained(planted: bool) -> tuple[_Tower, nn.Module]:
        torch.manual_seed(trial.seed)
        eye, ear = _Tower(), bench.mlp(256)
        bad = torch.rand(len(pixels), generator=torch.Generator().manual_seed(trial.seed)) < (0.05 if planted else 0.0)
        seen = torch.where(bad[:, None], triggered(pixels), pixels)
        said = torch.where(bad, target, truth)
        bench.fit(
            [eye, ear],
            lambda i: cross(eye(seen[i]) @ unit(ear(words), dim=1).T / t, said[i]),
            len(pixels),
            steps=trial.steps(400),
            seed=trial.seed,
        )
        return eye.requires_grad_(False), ear.requires_grad_(False)

    clean = pixels[torch.randperm(len(pixels), generator=g)[:200]]

    def inverted(model: tuple[_Tower, nn.Module]) -> tuple[Tensor, Tensor, Tensor]:
        """For each class a mask and a pattern (10, 64) that turn clean pictures into it, and the masks' size."""
        with torch.no_grad():
            caption = unit(model[1](words), dim=1)
        m, p = torch.full((10, 1, 64), 0.1, requires_grad=True), torch.full((10, 1, 64), 0.5, requires_grad=True)
        optimizer = torch.optim.Adam([m, p], lr=0.05)
        some = clean[:64]
        want = torch.arange(10).repeat_interleave(len(some))
        for _ in range(trial.steps(150)):
            mixed = (m * p + (1 - m) * some[None]).flatten(0, 1)
            loss = cross(model[0](mixed) @ caption.T / t, want) + 0.02 * m.abs().sum(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                m.clamp_(0, 1)
                p.clamp_(0, 1)
        with torch.no_grad():
            return m[:, 0].detach().clone(), p[:, 0].detach().clone(), m.abs().sum((1, 2)).detach()

    def anomaly(size: Tensor, c: int) -> float:
        """How far below the median a class's mask is, in robust deviations."""
        middle = size.median()
        return float((middle - size[c]) / (1.4826 * (size - middle).abs().median()).clamp_min(1e-6))

    planted, innocent = trained(True), trained(False)
    mask, pattern, size = inverted(planted)
    suspect = int(size.argmin())
    fake = mask[suspect] * pattern[suspect] + (1 - mask[suspect]) * clean
    known = truth[torch.cdist(clean, pixels).argmin(1)]

    def tuned(lr: float, targeted: bool) -> _Tower:
        eye = copy.deepcopy(planted[0]).requires_grad_(True)
        with torch.no_grad():
            before, caption = eye(clean), unit(planted[1](words), dim=1)
            units = [critical((a - b).mean(0)) for a, b in zip(eye.states(clean), eye.states(fake), strict=True)]

        def loss(index: Tensor) -> Tensor:
            if not targeted:
                return cross(eye(clean[index]) @ caption.T / t, known[index])
            total = 0.5 * (eye(clean[index]) - before[index]).norm() / len(index) ** 0.5
            pairs = zip(eye.states(clean[index]), eye.states(fake[index]), units, strict=True)
            for a, b, unit_ in pairs:
                total = total + ((a.mean(0) - b.mean(0)) * unit_).norm() / (a.mean(0) * unit_).norm().clamp_min(1e-3)
            return total

        bench.fit([eye], loss, len(clean), steps=trial.steps(150), seed=trial.seed, size=64, lr=lr)
        return eye

    @torch.no_grad()
    def accuracy(eye: _Tower, part: Part) -> float:
        return measures.right(eye(part.x["whole"]) @ unit(planted[1](words), dim=1).T, part.y)

    @torch.no_grad()
    def success(eye: _Tower, part: Part) -> float:
        others = part.x["whole"][part.y != target]
        return float(((eye(triggered(others)) @ unit(planted[1](words), dim=1).T).argmax(1) == target).float().mean())

    # tuned without knowing the trigger: by clean accuracy, and against the inverted one for the targeted arm alike
    def judge(eye: _Tower) -> float:
        with torch.no_grad():
            v = views.validation.x["whole"]
            seen = mask[suspect] * pattern[suspect] + (1 - mask[suspect]) * v
            fooled = (eye(seen) @ unit(planted[1](words), dim=1).T).argmax(1) == suspect
            others = views.validation.y != suspect
        return accuracy(eye, views.validation) - float(fooled[others].float().mean())

    rates = (3e-4, 1e-3, 3e-3)
    plain, _ = contest.best(trial, rates, lambda r: tuned(r, False), judge)
    aimed, _ = contest.best(trial, rates, lambda r: tuned(r, True), judge)
    rows = {}
    with torch.no_grad():
        for arm, eye in (("baseline", plain), ("mechanism", aimed)):
            rows[arm] = {"clean": eye(views.test.x["whole"]), "triggered": eye(triggered(views.test.x["whole"]))}
    return Outcome(
        success(plain, views.test),
        success(aimed, views.test),
        (accuracy(plain, views.test), accuracy(aimed, views.test)),
        (anomaly(inverted(innocent)[2], target), anomaly(size, target)),
        {
            "success of the trigger before tuning": success(planted[0], views.test),
            "the smallest mask is the planted class": float(suspect == target),
            "anomaly of the planted class": anomaly(size, target),
            "clean accuracy before tuning": accuracy(planted[0], views.test),
        },
        rows,
        views.test.y,
    )
