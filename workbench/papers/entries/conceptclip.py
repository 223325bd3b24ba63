r"""Matching each concept with its best patch makes a model point at the concept.

Maths
-----
$$M_{bc}=\max_p\,(s_c\langle v_{bp},k_c\rangle+b_c),\qquad
L=L_{\mathrm{SigLIP}}-\tfrac12\cdot\tfrac1{|c|}\sum\log\sigma(\pm M_{bc})$$

Carried by
----------
recipe siglip; workbench.papers.entries.conceptclip.best_patch

Code read
---------
JerrryNie/ConceptCLIP

Deviations
----------
Both losses from the start instead of in two stages.

Data
----
16 × 16 canvases with two scikit-learn digits and two patches of noise in the four quadrants; captions of two number
words

What must move
--------------
share of concepts whose best patch is the right quadrant (chance .25)

Control
-------
both losses with captions of other canvases: pointing between the two occupied quadrants

Positive control
----------------
pointing of the whole-pair loss, untrained against trained

At this size
------------
Four patches of one digit each: the whole-pair loss alone points rightly 98 times in a hundred. That whole pairs keep
their retrieval is the paper's as well; it stands beside, and is not judged.

Own data
--------
its parts (patches, segments, bags) have no place in a set with one row an item
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import unit


@experiment(recipe="siglip", min_effect=0.05)
def conceptclip(trial: Trial) -> Outcome:
    """SigLIP of whole canvases and captions, with and without the best-patch term."""
    pools = digits.pools(trial)
    g = torch.Generator().manual_seed(trial.seed)
    words = digits.names()

    def canvases(pool: list[Tensor], count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Patches (count, 4, 64), the two classes and their quadrants, (count, 2) each."""
        x, c, q = torch.rand(count, 4, 64, generator=g), [], []
        for k in range(count):
            two, at = torch.randperm(10, generator=g)[:2], torch.randperm(4, generator=g)[:2]
            for place, one in zip(at.tolist(), two.tolist(), strict=True):
                x[k, place] = digits.sample_digit(pool, one, g)
            c.append(two)
            q.append(at)
        return x, torch.stack(c), torch.stack(q)

    data = canvases(pools[0], trial.count(800, 40))
    tune, test = (canvases(p, trial.count(300, 30)) for p in pools[1:])

    def train(t: float, weight: float, wrong: bool, steps: int) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(trial.seed)
        eye, ear = bench.mlp(64), bench.mlp(256)
        whole = recipe("siglip", temperature=t)
        bias = nn.Parameter(torch.tensor(-10.0))
        x, c, _ = data
        c = c.roll(1, 0) if wrong else c

        class Bias(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.bias = bias

        def loss(index: Tensor) -> Tensor:
            patch, word = eye(x[index]), ear(words)
            out = whole(Batch({"picture": patch.mean(1), "caption": word[c[index]].mean(1)}))["loss"]
            if not weight:
                return out
            m = best_patch(unit(patch, dim=-1), unit(word, dim=1)) / t + bias  # (B, 10)
            there = torch.zeros(len(index), 10, dtype=torch.bool).scatter(1, c[index], True)
            return out + weight * heads.sigmoid(m, there) * len(index) / m.shape[1]

        bench.fit([eye, ear, whole, Bias()], loss, len(x), steps=steps, seed=trial.seed, size=64)
        return eye, ear

    @torch.no_grad()
    def pointing(
        pair: tuple[nn.Module, nn.Module], held: tuple[Tensor, Tensor, Tensor], occupied: bool = False
    ) -> float:
        x, c, q = held
        s = torch.einsum("bpd,bcd->bcp", unit(pair[0](x), dim=-1), unit(pair[1](words), dim=1)[c])
        if occupied:  # that a word is no noise can be learned from any caption
            there = torch.zeros(len(q), 4, dtype=torch.bool).scatter(1, q, True)
            s = s.masked_fill(~there[:, None], -2)
        return float((s.argmax(2) == q).float().mean())

    @torch.no_grad()
    def whole(pair: tuple[nn.Module, nn.Module]) -> dict[str, Tensor]:
        x, c, _ = test
        return {
            "picture": unit(pair[0](x).mean(1), dim=1),
            "caption": unit(pair[1](words)[c].mean(1), dim=1),
        }

    steps = trial.steps(350)
    base, t0 = contest.best(trial, (0.05, 0.1, 0.3), lambda t: train(t, 0, False, steps), lambda m: pointing(m, tune))
    both, t1 = contest.best(trial, (0.05, 0.1, 0.3), lambda t: train(t, 0.5, False, steps), lambda m: pointing(m, tune))
    wrong = (pointing(train(t0, 0, True, steps), test, True), pointing(train(t1, 0.5, True, steps), test, True))
    rows = {"baseline": whole(base), "mechanism": whole(both)}
    return Outcome(
        pointing(base, test),
        pointing(both, test),
        wrong,
        (pointing(train(t0, 0, False, 0), test), pointing(base, test)),
        {
            f"caption → picture recall at 10, {arm}": measures.recall(z["caption"], z["picture"], 10)
            for arm, z in rows.items()
        },
        rows,
        test[1][:, 0],
    )


def best_patch(patches: Tensor, concepts: Tensor) -> Tensor:
    """The best cosine of a concept among the patches of each picture: (B, P, d), (C, d) → (B, C) (ConceptCLIP)."""
    return (patches @ concepts.T).amax(1)
