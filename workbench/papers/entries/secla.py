r"""Contrasting bags of faces and names in both directions, which must agree, assigns faces to names better than one
direction alone.

Maths
-----
$$F_{ij}=\tfrac1{|n_i|}\sum_l\max_k\langle g_{il},f_{jk}\rangle,\quad
L=\mathrm{CE}(F)+\mathrm{CE}(N)+\alpha\,\overline{(F_{ii}-N_{ii})^2}$$

Carried by
----------
recipe secla

Code read
---------
tingyu215/SECLA

Deviations
----------
Padding is masked; released code lets it take part in the maximum and divides both directions by the padded number of
names. The easy-to-hard stages are left out.

Data
----
bags of one to three scikit-learn digits and perhaps a stranger, with number words, up to two of them wrong, and
NONAME

What must move
--------------
share of faces given the right name

Control
-------
bags with the names of other bags: share of both, strangers and NONAME left out

Positive control
----------------
one direction, untrained against trained

Own data
--------
its parts (patches, segments, bags) have no place in a set with one row an item
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.objectives.scores import best_partners
from workbench.papers import bench, contest, digits
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import unit


@dataclass(frozen=True)
class _Bags:
    """Faces (N, 4, 64) and names (N, 6, 256) with their masks; which name each face has (N, 4), −1: no face."""

    faces: Tensor
    has_face: Tensor
    names: Tensor
    has_name: Tensor
    truth: Tensor


def _bags(pool: list[Tensor], count: int, g: torch.Generator) -> _Bags:
    """One to three digits and perhaps a stranger, with their names, up to two others, and NONAME."""
    words, nobody = digits.names(), digits.ngrams("noname")
    faces, has = torch.zeros(count, 4, 64), torch.zeros(count, 4, dtype=torch.bool)
    names, said = torch.zeros(count, 6, 256), torch.zeros(count, 6, dtype=torch.bool)
    truth = torch.full((count, 4), -1)
    for k in range(count):
        n, more, stranger = (int(torch.randint(a, b, (1,), generator=g)) for a, b in ((1, 4), (0, 3), (0, 2)))
        classes = torch.randperm(10, generator=g)[: n + more].tolist()
        for j, c in enumerate(classes):
            names[k, j], said[k, j] = words[c], True
        names[k, n + more], said[k, n + more] = nobody, True
        for j in range(n):
            faces[k, j], has[k, j], truth[k, j] = digits.sample_digit(pool, classes[j], g), True, j
        if stranger:
            faces[k, n], has[k, n], truth[k, n] = torch.rand(64, generator=g), True, n + more
    return _Bags(faces, has, names, said, truth)


@experiment(min_effect=0.05)
def secla(trial: Trial) -> Outcome:
    """Face to name only, against the recipe with both directions and agreement; three learning rates for each."""
    pools = digits.pools(trial)
    g = torch.Generator().manual_seed(trial.seed)
    data, tune, test = (
        _bags(p, n, g)
        for p, n in zip(pools, (trial.count(300, 30), trial.count(150, 20), trial.count(300, 30)), strict=True)
    )
    objective = recipe("secla")

    def train(lr: float, both: bool, wrong: bool, steps: int) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(trial.seed)
        eye, ear = bench.mlp(64), bench.mlp(256)
        turn = 1 if wrong else 0
        names, said = data.names.roll(turn, 0), data.has_name.roll(turn, 0)

        def loss(index: Tensor) -> Tensor:
            f, n = eye(data.faces[index]), ear(names[index])
            if not both:  # each face's best name
                s = best_partners(f, n, data.has_face[index], said[index])
                return heads.softmax(s, torch.arange(len(index)))
            tokens, there = {"face": f, "name": n}, {"face": data.has_face[index], "name": said[index]}
            batch = Batch({"face": f.mean(1), "name": n.mean(1)}, tokens=tokens, tokens_present=there)
            return objective(batch)["loss"]

        bench.fit([eye, ear], loss, len(data.faces), steps=steps, seed=trial.seed, size=24, lr=lr)
        return eye, ear

    @torch.no_grad()
    def judge(pair: tuple[nn.Module, nn.Module], b: _Bags, known: bool = False) -> float:
        nobody = (b.names == digits.ngrams("noname")).all(2)
        said = b.has_name & ~nobody if known else b.has_name
        s = torch.einsum("nkd,nld->nkl", pair[0](b.faces), pair[1](b.names)).masked_fill(~said[:, None], -1e9)
        there = b.truth >= 0
        if known:  # that noise is nobody can be learned from any bag
            there &= ~nobody.gather(1, b.truth.clamp_min(0))
        return float((s.argmax(2) == b.truth)[there].float().mean())

    @torch.no_grad()
    def vectors(pair: tuple[nn.Module, nn.Module]) -> dict[str, Tensor]:
        known = test.truth[:, 0] == 0  # the first face and its name
        return {"face": unit(pair[0](test.faces[known, 0]), dim=1), "name": unit(pair[1](test.names[known, 0]), dim=1)}

    steps, rates = trial.steps(300), (5e-4, 1e-3, 2e-3)
    one, r0 = contest.best(trial, rates, lambda r: train(r, False, False, steps), lambda m: judge(m, tune))
    two, r1 = contest.best(trial, rates, lambda r: train(r, True, False, steps), lambda m: judge(m, tune))
    wrong = (judge(train(r0, False, True, steps), test, True), judge(train(r1, True, True, steps), test, True))
    base = judge(one, test)
    return Outcome(
        base,
        judge(two, test),
        wrong,
        (judge(train(r0, False, False, 0), test), base),
        {},
        {"baseline": vectors(one), "mechanism": vectors(two)},
    )
