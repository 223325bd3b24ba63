r"""A contrast taken from the middle of a caption generator gives it retrieval that its states do not have by
themselves, at no cost in the likelihood of captions.

Maths
-----
$$L=-\overline{\log p(y_t|y_{<t},x)}+\mathrm{symCE}\big(e^{s}\langle t_i,v_j\rangle\big),\quad t=\text{a latent's
reading of the middle layer}$$

Carried by
----------
workbench.papers.entries.cosmo.Generator

Code read
---------
showlab/cosmo

Deviations
----------
Letters and two blocks each side of the middle. The released scale e^0.2 stands beside a fitted one; the released guard
against like captions compares tokens of the batch, here equal captions are no negatives.

Data
----
emoji: colour drawings as frozen features, English names as letters

What must move
--------------
recall at 10 between names and drawings, both ways, from the middle layer

Control
-------
log-likelihood of a letter of the test names, of both arms

Positive control
----------------
log-likelihood of a letter with the drawings of other names, and with its own

At this size
------------
Read out by likelihood, the generator alone retrieves as well as the contrast does, at a pass for every pair.

Own data
--------
a set has no generator; 'workbench diagnose STATES --layer all' asks every layer of yours for its retrieval
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.papers import contest, measures, own_set, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit
from workbench.sets import columns

WIDTH, LETTERS, PICTURE = 64, 28, 4


class Block(nn.Module):
    """Causal attention and a perceptron; with tokens of a picture, attention to those between the two."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.own, self.other = (nn.MultiheadAttention(WIDTH, 4, batch_first=True) for _ in range(2))
        self.gate = nn.Parameter(torch.tensor(0.5))
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, h: Tensor, picture: Tensor | None = None) -> Tensor:
        later = torch.triu(torch.ones(h.shape[1], h.shape[1], dtype=torch.bool), 1)
        q = self.first(h)
        h = h + self.own(q, q, q, attn_mask=later, need_weights=False)[0]
        if picture is not None:
            h = h + self.gate.tanh() * self.other(self.second(h), picture, picture, need_weights=False)[0]
        return h + self.mlp(self.third(h))


class Generator(nn.Module):
    """Names by letters given a drawing: two blocks that read text only, and two that look at the drawing."""

    def __init__(self, letters: int, width: int, scale: float) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(letters, WIDTH), nn.Embedding(LETTERS, WIDTH)
        self.lower, self.upper = (nn.ModuleList(Block() for _ in range(2)) for _ in range(2))
        self.out, self.look = nn.Linear(WIDTH, letters), nn.Linear(width, PICTURE * WIDTH)
        self.latent = nn.Parameter(0.1 * torch.randn(1, 1, WIDTH))
        self.pool = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.text = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 32))
        self.image = nn.Sequential(nn.LayerNorm(PICTURE * WIDTH), nn.Linear(PICTURE * WIDTH, 32))
        self.scale = nn.Parameter(torch.tensor(math.log(scale)))

    def middle(self, x: Tensor) -> Tensor:
        """States of the last layer that reads text only, (B, L, d)."""
        h = self.token(x) + self.place(torch.arange(x.shape[1]))
        for block in self.lower:
            h = block(h)
        return h

    def mean(self, x: Tensor) -> Tensor:
        """The mean of those states over the letters that are there, (B, d)."""
        there = (x != 0).float()[..., None]
        return (self.middle(x) * there).sum(1) / there.sum(1).clamp_min(1)

    def pair(self, x: Tensor, drawing: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors of names and drawings, (B, 32) each."""
        h = self.middle(x)
        read = self.pool(self.latent.expand(len(x), -1, -1), h, h, key_padding_mask=x == 0)[0][:, 0]
        return unit(self.text(read), dim=1), unit(self.image(self.look(drawing)), dim=1)

    def log_p(self, x: Tensor, drawing: Tensor) -> Tensor:
        """Log-likelihood of each letter that there is, flat."""
        h, picture = self.middle(x[:, :-1]), self.look(drawing).view(len(x), PICTURE, WIDTH)
        for block in self.upper:
            h = block(h, picture)
        target = x[:, 1:]
        return self.out(h).log_softmax(2).gather(2, target[..., None])[..., 0][target != 0]


def spelt(names: list[str]) -> tuple[Tensor, int]:
    """Names as letters with 1 at both ends and 0 for nothing, (N, 28), and how many kinds there are."""
    known = {c: k + 2 for k, c in enumerate(sorted(set("".join(names))))}
    x = torch.zeros(len(names), LETTERS, dtype=torch.long)
    for k, name in enumerate(names):
        row = [1, *(known[c] for c in name[: LETTERS - 2]), 1]
        x[k, : len(row)] = torch.tensor(row)
    return x, len(known) + 2


@experiment(moves="retrieval", min_effect=0.03, margin=0.03)
def cosmo(trial: Trial) -> Outcome:
    """The generator, whose middle is read out by a ridge map taught on the same pairs, against generator and contrast
    together; two rates for both, chosen by the likelihood of captions; 200 steps of 64 names.
    """
    es = own_set.shipped("emoji")
    index = torch.arange(0, len(es), trial.count(1, 16))
    names = [str(n).lower() for n in es.items["name_en"].iloc[index.numpy()]]
    x, kinds = spelt(names)
    drawing = unit(es["color"][index].float(), dim=1)
    classes = torch.from_numpy(columns.codes(es.items["group"].iloc[index.numpy()])[0])
    family = own_set.family_names(es)[index.numpy()].tolist()
    views = parts.split(trial, Part({"name": x, "drawing": drawing}, classes), family)

    def loss(m: Generator, batch: Part, step: Step, language: bool, contrast: bool) -> Tensor:
        name, picture = batch.x["name"], batch.x["drawing"]
        total = -m.log_p(name, picture).mean() if language else torch.zeros(())
        if contrast:
            t, v = m.pair(name, picture)
            twin = (name[:, None] == name[None]).all(2) & ~torch.eye(len(name), dtype=torch.bool)
            scores = (m.scale.exp().clamp_max(100.0) * t @ v.T).masked_fill(twin, -1e9)
            total = total + heads.symmetric(scores)
        return total

    def treatment(language: bool, contrast: bool, scale: float = 1 / 0.07) -> contest.Treatment[Generator]:
        return contest.by_loss(
            lambda _: Generator(kinds, drawing.shape[1], scale),
            lambda m, batch, step: loss(m, batch, step, language, contrast),
            (1e-3, 2e-3),
            rates=True,
            steps=200,
            size=trial.count(64, 8),
        )

    def both_ways(t: Tensor, v: Tensor) -> float:
        return (measures.recall(t, v, 10) + measures.recall(v, t, 10)) / 2

    def read_out(m: Generator, part: Part) -> float:
        """By the ridge map from the middle's mean to the drawings, taught on the training part."""
        told = views.train
        said = measures.linear(m.mean(told.x["name"]), told.x["drawing"], m.mean(part.x["name"]))
        centre = told.x["drawing"].mean(0)
        return both_ways(unit(said - centre, dim=1), unit(part.x["drawing"] - centre, dim=1))

    def contrasted(m: Generator, part: Part) -> float:
        return both_ways(*m.pair(part.x["name"], part.x["drawing"]))

    def likely(m: Generator, part: Part) -> float:
        return float(m.log_p(part.x["name"], part.x["drawing"]).mean())

    def strangers(m: Generator, part: Part) -> float:
        return float(m.log_p(part.x["name"], part.x["drawing"].roll(7, 0)).mean())

    plain, _ = contest.tune(trial, treatment(True, False), views, likely)
    with torch.no_grad():
        trial.seek_room(read_out(plain, views.validation))
    joint, _ = contest.tune(trial, treatment(True, True), views, likely)
    alone = treatment(False, True).learn(views.train, 2e-3, trial.steps(200), trial.seed)
    released = treatment(True, True, math.exp(0.2)).learn(views.train, 2e-3, trial.steps(200), trial.seed)
    with torch.no_grad():
        test = views.test
        rows = {
            arm: dict(zip(("name", "drawing"), m.pair(test.x["name"], test.x["drawing"]), strict=True))
            for arm, m in (("baseline", plain), ("mechanism", joint))
        }
        return Outcome(
            read_out(plain, test),
            contrasted(joint, test),
            control=(likely(plain, test), likely(joint, test)),
            positive=(strangers(plain, test), likely(plain, test)),
            also={
                "contrast alone": contrasted(alone, test),
                "with the released scale": contrasted(released, test),
                "the joint model read out by a ridge map": read_out(joint, test),
            },
            rows=rows,
            labels=test.y,
        )
