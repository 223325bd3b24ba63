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

from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.objectives.scores import best_partners
from workbench.papers import bench, contest, digits, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

Pair = tuple[nn.Module, nn.Module]  # the towers of faces and of names


def _bags(pool: list[Tensor], count: int, g: torch.Generator) -> Part:
    """One to three digits and perhaps a stranger, with their names, up to two others, and NONAME.

    Faces (N, 4, 64) and names (N, 6, 256) with their masks; which name each face has (N, 4), −1: no face.
    """
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
    return Part({"faces": faces, "has face": has, "names": names, "has name": said, "name of face": truth})


@experiment(moves="retrieval", min_effect=0.05)
def secla(trial: Trial) -> Outcome:
    """Face to name only, against the recipe with both directions and agreement; three learning rates for each."""
    g, objective = trial.generator(), recipe("secla")
    views = parts.composed(trial, digits.pools(trial), partial(_bags, g=g), (300, 30), (150, 20), (300, 30))

    def one_way(m: Pair, batch: Part, step: Step) -> Tensor:
        """Each face's best name."""
        f, n = m[0](batch.x["faces"]), m[1](batch.x["names"])
        s = best_partners(f, n, batch.x["has face"], batch.x["has name"])
        return heads.softmax(s, torch.arange(len(batch)))

    def both_ways(m: Pair, batch: Part, step: Step) -> Tensor:
        f, n = m[0](batch.x["faces"]), m[1](batch.x["names"])
        there = {"face": batch.x["has face"], "name": batch.x["has name"]}
        wholes = {"face": f.mean(1), "name": n.mean(1)}
        return objective(Batch(wholes, tokens={"face": f, "name": n}, tokens_present=there))["loss"]

    def judge(m: Pair, part: Part, known: bool = False) -> float:
        faces, _, names, said, truth = part.x.values()
        nobody = (names == digits.ngrams("noname")).all(2)
        said = said & ~nobody if known else said
        s = torch.einsum("nkd,nld->nkl", m[0](faces), m[1](names)).masked_fill(~said[:, None], -1e9)
        there = truth >= 0
        if known:  # that noise is nobody can be learned from any bag
            there &= ~nobody.gather(1, truth.clamp_min(0))
        return float((s.argmax(2) == truth)[there].float().mean())

    def vectors(m: Pair, part: Part) -> dict[str, Tensor]:
        part = part.take(part.x["name of face"][:, 0] == 0)  # the first face and its name
        return {"face": unit(m[0](part.x["faces"][:, 0]), dim=1), "name": unit(m[1](part.x["names"][:, 0]), dim=1)}

    one, two = (
        contest.by_loss(lambda _: (bench.mlp(64), bench.mlp(256)), loss, (5e-4, 1e-3, 2e-3), rates=True, size=24)
        for loss in (one_way, both_ways)
    )
    found = contest.tuned(trial, one, two, views, judge)
    others = views.train.but(**{m: views.train.x[m].roll(1, 0) for m in ("names", "has name")})
    return found.outcome(
        control=found.retrained(others, partial(judge, known=True)),
        positive=found.untrained(),
        rows=found.rows(vectors),
    )
