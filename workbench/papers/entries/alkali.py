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

from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, digits, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part
from workbench.sets.embeddings import EmbeddingSet

ROLES = {"safe": ["safe"], "unsafe": ["unsafe"], "jailbreak": ["jailbreak"]}


class _Layers(nn.Module):
    """The small network whose states are looked at: (B, 64) → (B, 4, 48)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64 if k == 0 else 48, 48) for k in range(4)])

    def forward(self, x: Tensor) -> Tensor:
        out = []
        for layer in self.layers:
            x = torch.tanh(layer(x))
            out.append(x)
        return torch.stack(out, 1)


class _Pooler(nn.Module):
    """Layers weighted, then a linear map beside the plain mean, as the full form of GRACE has it."""

    def __init__(self) -> None:
        super().__init__()
        self.profile, self.map = nn.Parameter(torch.zeros(4)), nn.Linear(48, 48)

    def forward(self, h: Tensor) -> Tensor:
        return self.map((self.profile.softmax(0)[:, None] * h).sum(1)) + h.mean(1)


Model = tuple[_Pooler, nn.Module]  # the objective learns as well


def _frozen(trial: Trial, part: Part) -> _Layers:
    """The network, taught the ten digits."""
    torch.manual_seed(trial.seed)
    states, head = _Layers(), nn.Linear(48, 10)
    bench.teach(
        [states, head],
        lambda x: head(states(x)[:, -1]),
        part.x["whole"],
        part.truth,
        steps=trial.steps(300),
        seed=trial.seed,
    )
    return states.requires_grad_(False)


def _pooled(m: Model, part: Part) -> dict[str, Tensor]:
    return {role: m[0](h) for role, h in part.x.items()}


@experiment(moves="classes", recipe="grace", min_effect=0.05, better="lower")
def alkali(trial: Trial) -> Outcome:
    """GRACE without and with its merging term over a pooler of layers; two learning rates for both."""
    g, whole = trial.generator(), digits.whole(trial)
    states = _frozen(trial, whole.train)

    def triples(part: Part, count: int) -> Part:
        even, odd = (part.x["whole"][part.truth % 2 == k] for k in (0, 1))
        s, u, o, e = (p[torch.randint(len(p), (count,), generator=g)] for p in (even, odd, odd, even))
        return Part({role: states(x) for role, x in zip(ROLES, (s, u, 0.45 * o + 0.55 * e), strict=True)})

    views = parts.composed(trial, whole, triples, (1200, 60), (300, 30), (600, 60))
    everyone = torch.cat(list(views.train.x.values()))
    dealt = everyone[torch.randperm(len(everyone), generator=g)].chunk(3)

    def loss(m: Model, batch: Part, step: Step) -> Tensor:
        return m[1](Batch(_pooled(m, batch)))["loss"]

    def treatment(merge: float) -> contest.Treatment[Model]:
        def build(_: float) -> Model:
            return _Pooler(), recipe("grace", dims={"safe": 48}, merge=merge, smooth=0.0)

        return contest.by_loss(build, loss, (1e-3, 3e-3), rates=True, size=64)

    def nearer(m: Model, part: Part, of: str = "jailbreak", to: str = "safe", than: str = "unsafe") -> float:
        z = _pooled(m, part)
        mine, other = z[to].mean(0), z[than].mean(0)
        return float(((z[of] - mine).norm(dim=1) < (z[of] - other).norm(dim=1)).float().mean())

    found = contest.tuned(trial, treatment(0.0), treatment(1.0), views, nearer, choose=lambda m, part: -nearer(m, part))
    rows = found.rows(_pooled)
    return found.outcome(
        control=found.retrained(Part(dict(zip(ROLES, dealt, strict=True)))),
        positive=(0.5, found.score(found.baseline, partial(nearer, of="unsafe", to="unsafe", than="safe"))),
        also=contest.by_arm(rows, _avqi),
        rows=rows,
    )


def _avqi(z: dict[str, Tensor]) -> dict[str, float]:
    """Both forms of AVQI, lower is safer."""
    import pandas as pd

    from workbench.report.diagnose import diagnose

    x = torch.cat(list(z.values()))
    role = [r for r, v in z.items() for _ in range(len(v))]
    es = EmbeddingSet({"state": x}, pd.DataFrame({"id": [f"h{k}" for k in range(len(x))], "role": role}))
    wanted = ["avqi_released", "avqi_safe_vs_adversarial"]
    report = diagnose(es, label="role", roles=ROLES, only=wanted, subsampling=False)
    return {w: float(report.value(w, "state")) for w in wanted}
