r"""A presence factor, learnt from pictures in which a concept is absent, lowers false alarms on absent concepts at
equal recall on present ones.

Maths
-----
$$s_q=\langle W_h h_q,W_p\bar p\rangle/\sqrt d\ \text{ within } \pm12,\qquad P(q)=\sigma(s_q)\,\sigma(\text{presence})$$

Carried by
----------
workbench.papers.entries.sam3.score

Code read
---------
facebookresearch/sam3

Deviations
----------
One layer, 36 patches as queries, the true patch in place of a matched box. That the two factors are multiplied is from
memory. Both arms learn from the same prompts, absent ones included.

Data
----
scenes of three scikit-learn digits; number words as prompts, half of them absent, and half of these a look-alike of one
that is there

What must move
--------------
false alarms: share of absent prompts above the score that four in five present ones reach

Control
-------
share of present prompts whose best patch lies on the digit, of both

Positive control
----------------
share of absent prompts without an alarm, by the baseline taught without and with absent prompts

At this size
------------
A score of the best patch that has seen absent prompts can be a presence score itself.

Own data
--------
it trains on pictures; 'workbench thresholds SET' finds the cosine from which a match of yours can be believed
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits, parts, scenes
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

LIKE = torch.tensor([6, 7, 7, 8, 9, 6, 5, 1, 3, 4])  # a class that each is taken for
RECALL, BOUND = 0.8, 12.0


def score(h: Tensor, p: Tensor) -> Tensor:
    """Queries (…, d) against the mean prompt (…, d): their product over √d, kept within ±12.

    >>> round(score(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.25])).item(), 5)
    0.70711
    """
    return ((h * p).sum(-1) / h.shape[-1] ** 0.5).clamp(-BOUND, BOUND)


class Segmenter(nn.Module):
    """Patches that have read each other, a presence token among them, and the prompt."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.eye, self.prompt = scenes.Eye(width), bench.mlp(256, width)
        self.presence = nn.Parameter(0.1 * torch.randn(1, 1, width))
        self.body = nn.TransformerEncoderLayer(width, 4, 96, 0.0, batch_first=True, norm_first=True)
        self.query, self.present = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor, said: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of the patches (B, 36) for a prompt, the presence (B,), and the patches' vectors."""
        p, tokens = self.prompt(scenes.words()[said]), self.eye(x)
        every = torch.cat([self.presence.expand(len(x), -1, -1), tokens, p[:, None]], 1)
        h = self.body(every)
        own = self.query(h[:, 1:-1])
        return score(own, p[:, None]), score(self.present(h[:, 0]), p), own


@experiment(moves="places", better="lower", min_effect=0.03, margin=0.03)
def sam3(trial: Trial) -> Outcome:
    """The score alone against score times presence; three rates for both, 300 steps of 32 prompts."""
    g = trial.generator()

    def asked(pool: list[Tensor], count: int) -> Part:
        """A prompt for each scene: one of its digits, or an absent one."""
        part = scenes.scenes(pool, count, 3, g)
        there, n = part.x["classes"], torch.arange(count)
        absent = torch.rand(count, generator=g) < 0.5
        like, chance = LIKE[there[:, 1]], torch.randint(10, (count,), generator=g)
        other = torch.where(torch.rand(count, generator=g) < 0.5, like, chance)
        absent &= (other[:, None] != there).all(1)
        said = torch.where(absent, other, there[n, 0])
        return part.but(said=said, absent=absent, at=scenes.nearest_token(part.x["corner"][:, 0]))

    views = parts.composed(trial, digits.pools(trial), asked, (1500, 80), (500, 60), (1000, 80))

    def loss(m: Segmenter, batch: Part, step: Step, presence: bool, absent: bool = True) -> Tensor:
        x = batch.x
        s, there, _ = m(x["scene"], x["said"])
        gone = x["absent"]
        match = nn.functional.one_hot(x["at"], scenes.TOKENS).float() * ~gone[:, None]
        each = nn.functional.binary_cross_entropy_with_logits(s, match, reduction="none").sum(1)
        total = each[~gone].mean() if presence or not absent else each.mean()
        if presence:
            total = total + nn.functional.binary_cross_entropy_with_logits(there, (~gone).float())
        return total

    def treatment(presence: bool, absent: bool = True) -> contest.Treatment[tuple[Segmenter, bool]]:
        def whole(m: tuple[Segmenter, bool], batch: Part, step: Step) -> Tensor:
            return loss(m[0], batch, step, presence, absent)

        return contest.by_loss(
            lambda _: (Segmenter(), presence), whole, (1e-3, 2e-3, 4e-3), rates=True, steps=300, size=trial.count(32, 8)
        )

    def confidence(m: tuple[Segmenter, bool], part: Part) -> Tensor:
        s, there, _ = m[0](part.x["scene"], part.x["said"])
        best = s.amax(1).sigmoid()
        return best * there.sigmoid() if m[1] else best

    def alarms(m: tuple[Segmenter, bool], part: Part) -> float:
        c, gone = confidence(m, part), part.x["absent"]
        return float((c[gone] >= c[~gone].quantile(1 - RECALL)).float().mean())

    def quiet(m: tuple[Segmenter, bool], part: Part) -> float:
        return 1 - alarms(m, part)

    def pointed(m: tuple[Segmenter, bool], part: Part) -> float:
        here = ~part.x["absent"]
        s = m[0](part.x["scene"][here], part.x["said"][here])[0]
        middle = part.x["corner"][here, 0].float() + (scenes.OBJECT - 1) / 2
        away = (scenes.CENTRES[s.argmax(1)] - middle).abs().amax(1)
        return float((away <= scenes.OBJECT / 2).float().mean())

    def vectors(m: tuple[Segmenter, bool], part: Part) -> dict[str, Tensor]:
        s, _, own = m[0](part.x["scene"], part.x["said"])
        best = own[torch.arange(len(own)), s.argmax(1)]
        return {"patch": unit(best, dim=1), "prompt": unit(m[0].prompt(scenes.words()[part.x["said"]]), dim=1)}

    found = contest.tuned(trial, treatment(False), treatment(True), views, alarms, choose=quiet)
    unwarned = found.again("baseline", by=treatment(False, absent=False))
    return found.outcome(
        control=found.scores(pointed),
        positive=(found.score(unwarned, quiet), found.score(found.baseline, quiet)),
        also={"false alarms, taught without absent prompts": found.score(unwarned)}
        | found.beside(lambda m, p: {"best patch on the digit": pointed(m, p)}),
        rows=found.rows(vectors),
    )
