r"""A binary contrast on the mean cosine of frames learns which of two sequences are in step better than a contrast of
averaged features does.

Maths
-----
$$d=\frac1T\sum_t\max(0,\cos(a_t,v_t)),\qquad L=\mathrm{BCE}(d, y)$$

Carried by
----------
workbench.papers.entries.cogenav.synchrony

Code read
---------
HumanMLLM/CoGenAV

Deviations
----------
The generative half (a frozen speech recogniser) is left out; d is kept away from 0 and 1, where the released form has
no gradient.

Data
----
rows of scikit-learn digits as frames: left halves as one channel, right halves as the other, three digits a sequence

What must move
--------------
AUROC of sequences in step against the same ones shifted by three frames or more

Control
-------
channels of different sequences, in step or shifted: both scores

Positive control
----------------
AUROC of the contrast of averages, untrained against trained

Own data
--------
it needs two sequences an item, and a set holds one row
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.digits import LEFT, RIGHT
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, in_order, unit


class _Frames(nn.Module):
    """Frames (B, T, w) to unit frame features (B, T, d), each with its two neighbours on either side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, 64, 5, padding=2, padding_mode="circular"), nn.GELU(), nn.Conv1d(64, bench.DIM, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return unit(self.body(x.transpose(1, 2)).transpose(1, 2), dim=-1)


Pair = tuple[_Frames, _Frames]


def synchrony(a: Tensor, b: Tensor) -> Tensor:
    """Mean over frames of the positive part of their cosine: unit frames (B, T, d) → (B,) in 0 … 1 (CoGenAV)."""
    return (a * b).sum(-1).clamp_min(0).mean(1)


def _sequences(count: int, g: torch.Generator) -> Part:
    """Three digits each, row by row; a sequence begins anywhere, else empty rows would put strangers in step."""
    x, _ = digits.digits()
    order = torch.randperm(len(x), generator=g)[: count // 3 * 3].view(-1, 3)
    phase = torch.randint(24, (len(order),), generator=g).tolist()
    halves = {"left": LEFT(x), "right": RIGHT(x)}
    return Part(
        {
            m: torch.stack([h[i].reshape(24, 4).roll(k, 0) for i, k in zip(order, phase, strict=True)])
            for m, h in halves.items()
        }
    )


def _strangers(part: Part) -> Part:
    return part.but(right=part.x["right"].roll(1, 0))


@experiment(moves="retrieval", min_effect=0.05, margin=0.05)
def cogenav(trial: Trial) -> Outcome:
    """InfoNCE on time averages against the binary contrast, whose negatives are shifts of the same sequence."""
    g = trial.generator()
    views = in_order(_sequences(trial.count(1797, 180), g))

    def shifted(y: Tensor) -> Tensor:
        by = torch.randint(3, 22, (len(y),), generator=g)
        at = (torch.arange(24)[None] + by[:, None]) % 24
        return y.gather(1, at[..., None].expand_as(y))

    def averages(m: Pair, batch: Part, step: Step) -> Tensor:
        p, q = m[0](batch.x["left"]), m[1](batch.x["right"])
        return heads.symmetric(unit(p.mean(1), dim=1) @ unit(q.mean(1), dim=1).T / step.setting)

    def binary(m: Pair, batch: Part, step: Step) -> Tensor:
        p, q = m[0](batch.x["left"]), m[1](batch.x["right"])
        off, n = m[1](shifted(batch.x["right"])), len(batch)
        d = torch.cat([synchrony(p, q), synchrony(p, off)]).clamp(1e-3, 1 - 1e-3)
        return nn.functional.binary_cross_entropy(d, torch.cat([torch.ones(n), torch.zeros(n)]))

    def judge(m: Pair, part: Part) -> float:
        g.manual_seed(trial.seed)
        p, q = part.x["left"], part.x["right"]
        d = torch.cat([synchrony(m[0](p), m[1](q)), synchrony(m[0](p), m[1](shifted(q)))])
        return measures.auc(d, torch.arange(len(d)) < len(p))

    def build(_: float) -> Pair:
        return _Frames(4), _Frames(4)

    found = contest.tuned(
        trial,
        contest.by_loss(build, averages, bench.TEMPERATURES, size=64),
        contest.by_loss(build, binary, (1e-3, 2e-3, 5e-3), rates=True, size=64),
        views,
        judge,
    )
    return found.outcome(
        control=found.retrained(_strangers(views.train), lambda m, part: judge(m, _strangers(part))),
        positive=found.untrained(),
        rows=found.rows(
            lambda m, part: {k: unit(tower(part.x[k]).mean(1), dim=1) for k, tower in zip(part.x, m, strict=True)}
        ),
    )
