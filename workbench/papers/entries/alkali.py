r"""Merging unsafe with camouflaged items, beside parting both from safe ones, keeps camouflage out of the safe cluster.

Maths
-----
$$L=L_{\text{pref}}+\overline{[5-\|h_s-h_u\|]_+}\,\&\,\overline{[5-\|h_s-h_j\|]_+}+\overline{[\|h_u-h_j\|-1]_+}$$

Carried by
----------
recipe grace; diagnostics avqi_released, avqi_safe_vs_adversarial

Code read
---------
vinija/alkali

Deviations
----------
A frozen small network stands for the language model; the smoothness term is left out. Released AVQI takes Dunn's
minimum over all pairs, so merging unsafe with camouflaged sends it to infinity: both forms are printed.

Data
----
four layers of a frozen network on scikit-learn digits: even for safe, odd for unsafe, a blend of an odd and an even
one for camouflaged

What must move
--------------
share of camouflaged items nearer the safe centroid

Control
-------
roles dealt at random: the same share

Positive control
----------------
share of plain unsafe items nearer the unsafe centroid, against a half

Own data
--------
it needs layers of a model and three items of one prompt; 'workbench diagnose --roles' gives AVQI of your set
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, digits
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part
from workbench.sets.embeddings import EmbeddingSet

cross = nn.functional.cross_entropy


ROLES = {"safe": ["safe"], "unsafe": ["unsafe"], "jailbreak": ["jailbreak"]}


@experiment(recipe="grace", min_effect=0.05, better="lower")
def alkali(trial: Trial) -> Outcome:
    """GRACE without and with its merging term over a pooler of layers; two learning rates for both."""
    g = torch.Generator().manual_seed(trial.seed)
    parts = digits.whole(trial)
    torch.manual_seed(trial.seed)
    layers = nn.ModuleList([nn.Linear(64 if k == 0 else 48, 48) for k in range(4)])
    head = nn.Linear(48, 10)

    def states(x: Tensor) -> Tensor:
        out = []
        for layer in layers:
            x = torch.tanh(layer(x))
            out.append(x)
        return torch.stack(out, 1)  # (B, 4, 48)

    whole, truth = parts.train.x["whole"], parts.train.y
    assert truth is not None
    bench.fit(
        [layers, head],
        lambda i: cross(head(states(whole[i])[:, -1]), truth[i]),
        len(whole),
        steps=trial.steps(300),
        seed=trial.seed,
    )
    layers.requires_grad_(False)

    def triples(part: Part, count: int) -> list[Tensor]:
        assert part.y is not None
        even, odd = (part.x["whole"][part.y % 2 == k] for k in (0, 1))
        s, u, o = (p[torch.randint(len(p), (count,), generator=g)] for p in (even, odd, odd))
        e = even[torch.randint(len(even), (count,), generator=g)]
        return [states(p) for p in (s, u, 0.45 * o + 0.55 * e)]

    sizes = (trial.count(1200, 60), trial.count(300, 30), trial.count(600, 60))
    data, tune, test = (triples(p, n) for p, n in zip((parts.train, parts.validation, parts.test), sizes, strict=True))
    everyone = torch.cat(data)
    dealt = list(everyone[torch.randperm(len(everyone), generator=g)].chunk(3))

    class Pooler(nn.Module):
        """Layers weighted, then a linear map beside the plain mean, as the full form of GRACE has it."""

        def __init__(self) -> None:
            super().__init__()
            self.profile, self.map = nn.Parameter(torch.zeros(4)), nn.Linear(48, 48)

        def forward(self, h: Tensor) -> Tensor:
            return self.map((self.profile.softmax(0)[:, None] * h).sum(1)) + h.mean(1)

    def train(lr: float, merge: float, three: list[Tensor]) -> Pooler:
        torch.manual_seed(trial.seed)
        pool = Pooler()
        objective = recipe("grace", dims={"safe": 48}, merge=merge, smooth=0.0)

        def loss(index: Tensor) -> Tensor:
            return objective(Batch({m: pool(h[index]) for m, h in zip(ROLES, three, strict=True)}))["loss"]

        bench.fit([pool, objective], loss, len(three[0]), steps=trial.steps(300), seed=trial.seed, size=64, lr=lr)
        return pool

    @torch.no_grad()
    def nearer(pool: Pooler, of: list[Tensor], which: int = 2, to: int = 0) -> float:
        z = [pool(h) for h in of]
        mine, other = z[to].mean(0), z[1 - to].mean(0)
        return float(((z[which] - mine).norm(dim=1) < (z[which] - other).norm(dim=1)).float().mean())

    rates = (1e-3, 3e-3)
    plain, r0 = contest.best(trial, rates, lambda r: train(r, 0.0, data), lambda m: -nearer(m, tune))
    merged, r1 = contest.best(trial, rates, lambda r: train(r, 1.0, data), lambda m: -nearer(m, tune))
    wrong = tuple(nearer(train(r, w, dealt), test) for r, w in ((r0, 0.0), (r1, 1.0)))
    also, rows = {}, {}
    with torch.no_grad():
        for arm, m in (("baseline", plain), ("mechanism", merged)):
            rows[arm] = dict(zip(ROLES, (m(h) for h in test), strict=True))
            for name, value in _avqi(rows[arm]).items():
                also[f"{name}, {arm}"] = value
    return Outcome(
        nearer(plain, test),
        nearer(merged, test),
        (wrong[0], wrong[1]),
        (0.5, nearer(plain, test, which=1, to=1)),
        also,
        rows,
    )


def _avqi(z: dict[str, Tensor]) -> dict[str, float]:
    """Both forms of AVQI, lower is safer."""
    import pandas as pd

    from workbench.report.diagnose import diagnose

    x = torch.cat(list(z.values()))
    role = [r for r, v in z.items() for _ in range(len(v))]
    es = EmbeddingSet({"state": x}, pd.DataFrame({"id": [f"h{k}" for k in range(len(x))], "role": role}))
    wanted = ["avqi_released", "avqi_safe_vs_adversarial"]
    report = diagnose(es, label="role", roles=ROLES, only=wanted)
    return {w: float(report.value(w, "state")) for w in wanted}
