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
from workbench.papers.digits import LEFT, RIGHT
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import unit


class _Frames(nn.Module):
    """Frames (B, T, w) to unit frame features (B, T, d), each with its two neighbours on either side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, 64, 5, padding=2, padding_mode="circular"), nn.GELU(), nn.Conv1d(64, bench.DIM, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return unit(self.body(x.transpose(1, 2)).transpose(1, 2), dim=-1)


def synchrony(a: Tensor, b: Tensor) -> Tensor:
    """Mean over frames of the positive part of their cosine: unit frames (B, T, d) → (B,) in 0 … 1 (CoGenAV)."""
    return (a * b).sum(-1).clamp_min(0).mean(1)


@experiment(min_effect=0.05, margin=0.05)
def cogenav(trial: Trial) -> Outcome:
    """InfoNCE on time averages against the binary contrast, whose negatives are shifts of the same sequence."""
    x, _ = digits.digits()
    g = torch.Generator().manual_seed(trial.seed)
    order = torch.randperm(len(x), generator=g)
    order = order[: trial.count(1797, 180) // 3 * 3].view(-1, 3)
    # each sequence begins anywhere: else the empty rows between digits would put strangers in step
    phase = torch.randint(24, (len(order),), generator=g).tolist()
    a = torch.stack([LEFT(x[i]).reshape(24, 4).roll(k, 0) for i, k in zip(order, phase, strict=True)])
    v = torch.stack([RIGHT(x[i]).reshape(24, 4).roll(k, 0) for i, k in zip(order, phase, strict=True)])
    n = len(a)
    train, tune, test = slice(0, n * 6 // 10), slice(n * 6 // 10, n * 75 // 100), slice(n * 75 // 100, n)

    def shifted(y: Tensor) -> Tensor:
        by = torch.randint(3, 22, (len(y),), generator=g)
        at = (torch.arange(24)[None] + by[:, None]) % 24
        return y.gather(1, at[..., None].expand_as(y))

    def train_arm(value: float, binary: bool, apart: bool, steps: int) -> tuple[_Frames, _Frames]:
        torch.manual_seed(trial.seed)
        ear, eye = _Frames(4), _Frames(4)
        p, q = a[train], (v[train].roll(1, 0) if apart else v[train])

        def loss(index: Tensor) -> Tensor:
            p_, q_ = ear(p[index]), eye(q[index])
            if not binary:
                return heads.symmetric(unit(p_.mean(1), dim=1) @ unit(q_.mean(1), dim=1).T / value)
            off = eye(shifted(q[index]))
            d = torch.cat([synchrony(p_, q_), synchrony(p_, off)]).clamp(1e-3, 1 - 1e-3)
            y = torch.cat([torch.ones(len(index)), torch.zeros(len(index))])
            return nn.functional.binary_cross_entropy(d, y)

        lr = value if binary else 2e-3
        bench.fit([ear, eye], loss, len(p), steps=steps, seed=trial.seed, size=64, lr=lr)
        return ear, eye

    @torch.no_grad()
    def judge(pair: tuple[_Frames, _Frames], span: slice, apart: bool = False) -> float:
        g.manual_seed(trial.seed)
        p, q = a[span], (v[span].roll(1, 0) if apart else v[span])
        d = torch.cat([synchrony(pair[0](p), pair[1](q)), synchrony(pair[0](p), pair[1](shifted(q)))])
        return measures.auc(d, torch.arange(len(d)) < len(p))

    steps = trial.steps(300)
    base, t = contest.best(
        trial, (0.03, 0.1, 0.3), lambda t: train_arm(t, False, False, steps), lambda m: judge(m, tune)
    )
    sync, lr = contest.best(
        trial, (1e-3, 2e-3, 5e-3), lambda r: train_arm(r, True, False, steps), lambda m: judge(m, tune)
    )
    apart = tuple(
        judge(train_arm(value, binary, True, steps), test, True) for value, binary in ((t, False), (lr, True))
    )
    with torch.no_grad():
        rows = {
            arm: {"left": unit(m[0](a[test]).mean(1), dim=1), "right": unit(m[1](v[test]).mean(1), dim=1)}
            for arm, m in (("baseline", base), ("mechanism", sync))
        }
    return Outcome(
        judge(base, test),
        judge(sync, test),
        (apart[0], apart[1]),
        (judge(train_arm(t, False, False, 0), test), judge(base, test)),
        {},
        rows,
    )
