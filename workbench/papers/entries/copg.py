r"""From answers that another policy gave, contrasting rewards within a prompt reaches the best policy, where a policy
gradient without weights does not.

Maths
-----
$$L=\big(R_\beta(y)-R_\beta(y')\big)^2,\quad R_\beta=R-\beta\log\tfrac{\pi}{\pi_0},\quad
\pi^*\propto\pi_0 e^{R/\beta}$$

Carried by
----------
workbench.objectives.preference.copg

Deviations
----------
A bandit of ten answers, so that the best policy is known to the last digit. The formula is from the paper; its code is
not public.

Data
----
scikit-learn digits as prompts, the ten classes as answers: 1 for the class, 0.5 for the one that it is most taken for;
answers logged by a classifier of 100 items, one in ten of them at random

What must move
--------------
divergence of the policy from the best one, KL in nats

Control
-------
answers drawn from the policy itself, where a policy gradient needs no weights: divergence of both arms

Positive control
----------------
divergence (negated) of the policy before training, and after a policy gradient with importance weights

At this size
------------
A policy of ten answers is learnt in seconds; with sequences for answers the weights that the baseline lacks explode,
which cannot be seen here.

Own data
--------
a set has neither rewards nor a policy; workbench.objectives.preference.copg and optimum take your own log-probabilities
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives.preference import copg as contrast
from workbench.objectives.preference import optimum
from workbench.papers import bench, contest, digits
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views

BETA, RANDOM = 0.3, 0.1


def rewards(train: Part, y: Tensor) -> Tensor:
    """1 for the class, 0.5 for the class that its training items' nearest neighbours most often have instead."""
    x, classes = train.x["whole"], train.truth
    near = classes[torch.cdist(x, x).fill_diagonal_(torch.inf).argmin(1)]
    taken = torch.zeros(10, 10).index_put_((classes, near), torch.ones(len(x)), accumulate=True).fill_diagonal_(-1)
    return (torch.eye(10) + 0.5 * nn.functional.one_hot(taken.argmax(1), 10))[y]


@experiment(moves="answers", better="lower", min_effect=0.05)
def copg(trial: Trial) -> Outcome:
    """Both from the policy that imitates the logs, over as many steps and three rates; the logs hold two answers of
    each prompt, and the baseline takes off the mean reward of a batch.
    """
    views, g = digits.whole(trial), trial.generator()

    def taught(x: Tensor, y: Tensor, steps: int) -> nn.Module:
        m = bench.mlp(64, 10)
        bench.teach([m], m, x, y, steps=trial.steps(steps), seed=trial.seed)
        return m

    torch.manual_seed(trial.seed)
    train = views.train
    few = taught(train.x["whole"][:100], train.truth[:100], 60)
    with torch.no_grad():
        logging = [(1 - RANDOM) * few(p.x["whole"]).softmax(1) + RANDOM / 10 for p in views]
    logged = [torch.multinomial(p, 2, replacement=True, generator=g) for p in logging]
    start = taught(train.x["whole"].repeat(2, 1), logged[0].T.flatten(), 200)
    with torch.no_grad():
        parts = [
            p.but(logging=p_logged, answers=a, start=start(p.x["whole"]).log_softmax(1), reward=rewards(train, p.truth))
            for p, p_logged, a in zip(views, logging, logged, strict=True)
        ]
    views = Views(*parts)

    def loss(m: nn.Module, batch: Part, step: Step, kind: str, own: bool = False) -> Tensor:
        log_p, x = m(batch.x["whole"]).log_softmax(1), batch.x
        answers = torch.multinomial(log_p.detach().exp(), 2, True, generator=step.draw) if own else x["answers"]
        chosen, before, reward = (v.gather(1, answers) for v in (log_p, x["start"], x["reward"]))
        if kind == "contrast":
            return contrast(chosen - before, reward, beta=BETA)
        gain = (reward - BETA * (chosen - before)).detach()
        weight = chosen.detach().exp() / x["logging"].gather(1, answers) if kind == "weighted" else 1.0
        return -(weight * (gain - gain.mean()) * chosen).mean()

    def treatment(kind: str, own: bool = False) -> contest.Treatment[nn.Module]:
        return contest.by_loss(
            lambda _: copy.deepcopy(start),
            partial(loss, kind=kind, own=own),
            (1e-3, 3e-3, 1e-2),
            rates=True,
            steps=600,
        )

    def divergence(m: nn.Module, part: Part) -> float:
        log_p = m(part.x["whole"]).log_softmax(1)
        best = optimum(part.x["start"], part.x["reward"], beta=BETA)
        return float((log_p.exp() * (log_p - best)).sum(1).mean())

    def nearness(m: nn.Module, part: Part) -> float:
        return -divergence(m, part)

    def rewarded(m: nn.Module, part: Part) -> dict[str, float]:
        return {"reward": float((m(part.x["whole"]).softmax(1) * part.x["reward"]).sum(1).mean())}

    def policy(m: nn.Module, part: Part) -> dict[str, Tensor]:
        best = optimum(part.x["start"], part.x["reward"], beta=BETA)
        return {"policy": m(part.x["whole"]).softmax(1), "best": best.exp()}

    found = contest.tuned(trial, treatment("plain"), treatment("contrast"), views, divergence, choose=nearness)
    weighted, _ = contest.tune(trial, treatment("weighted"), views, nearness)
    return found.outcome(
        control=found.retrained(by=(treatment("plain", own=True), treatment("contrast", own=True))),
        positive=(found.score(start, nearness), found.score(weighted, nearness)),
        also={"divergence before": found.score(start), "with importance weights": found.score(weighted)}
        | found.beside(rewarded),
        rows=found.rows(policy),
    )
