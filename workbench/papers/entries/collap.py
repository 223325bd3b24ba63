r"""In a long recording of which a caption names only parts, attention of the words over segments finds the recording
better than averaging does.

Maths
-----
$$s=\frac1J\sum_j\sum_k \mathrm{softmax}_k(S_{kj}/\tau_a)\,S_{kj},\qquad L=\mathrm{symCE}(s/\tau)$$

Carried by
----------
workbench.papers.entries.collap.attended

Deviations
----------
The attention kernel and the number of clips are not public: text-conditioned attention with temperature 0.1 is ours.

Data
----
songs of 24 clips, 3 of them scikit-learn digits and 21 noise; captions of three number words

What must move
--------------
recall at 1 of a song by its caption among 100

Control
-------
songs with the captions of other songs: both scores

Positive control
----------------
recall at 1 of averaging, untrained against trained

Own data
--------
its parts (patches, segments, bags) have no place in a set with one row an item
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step, Tuned
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit

Score = Callable[[Tensor, Tensor], Tensor]
Model = tuple[nn.Module, nn.Module, Score]  # the towers of clips and of words, and how both are compared


def _songs(pool: list[Tensor], count: int, clips: int, g: torch.Generator, distinct: bool) -> Part:
    """Songs (count, clips, 64) of three digits among noise, and the classes of the three (count, 3)."""
    seen: set[tuple[int, ...]] = set()
    songs, said = torch.rand(count, clips, 64, generator=g), torch.zeros(count, 3, dtype=torch.long)
    for k in range(count):
        three = torch.randperm(10, generator=g)[:3]
        while distinct and tuple(sorted(three.tolist())) in seen:
            three = torch.randperm(10, generator=g)[:3]
        seen.add(tuple(sorted(three.tolist())))
        at = torch.randperm(clips, generator=g)[:3]
        for place, c in zip(at.tolist(), three.tolist(), strict=True):
            songs[k, place] = digits.sample_digit(pool, c, g)
        said[k] = three
    return Part({"clips": songs, "said": said})


def attended(clips: Tensor, words: Tensor, sharpness: float = 0.1) -> Tensor:
    r"""Words that attend over segments: unit clips (Q, K, d), unit words (R, J, d) → (Q, R).

    $\frac1J\sum_j\sum_k \mathrm{softmax}_k(S_{kj}/\tau_a)\,S_{kj}$; our reading of a kernel that is not public.
    """
    s = torch.einsum("qkd,rjd->qrkj", clips, words)
    return ((s / sharpness).softmax(2) * s).sum(2).mean(2)


def pooled(clips: Tensor, words: Tensor) -> Tensor:
    """Cosine of the means of segments and of words."""
    return unit(clips.mean(1), dim=1) @ unit(words.mean(1), dim=1).T


@experiment(moves="retrieval", min_effect=0.05)
def collap(trial: Trial) -> Outcome:
    """Songs and captions as sets of clips and words, contrasted by the mean of each or by attention."""
    words = digits.names()

    def embedded(m: Model, part: Part) -> tuple[Tensor, Tensor]:
        return unit(m[0](part.x["clips"]), dim=-1), unit(m[1](words[part.x["said"]]), dim=-1)

    def loss(m: Model, batch: Part, step: Step) -> Tensor:
        return heads.symmetric(m[2](*embedded(m, batch)) / step.setting)

    def judge(m: Model, part: Part) -> float:
        return measures.hits(m[2](*embedded(m, part)).T)

    def vectors(m: Model, part: Part) -> dict[str, Tensor]:
        song, caption = embedded(m, part)
        return {"song": unit(song.mean(1), dim=1), "caption": unit(caption.mean(1), dim=1)}

    def treatment(score: Score) -> contest.Treatment[Model]:
        return contest.by_loss(lambda _: (bench.mlp(64), bench.mlp(256), score), loss, (0.03, 0.1), steps=250, size=48)

    def both(clips: int, wrong: bool = False) -> Tuned[Model]:
        g, pools = trial.generator(), digits.pools(trial)
        train = _songs(pools[0], trial.count(600, 40), clips, g, False)
        held = (_songs(p, trial.count(100, 20), clips, g, True) for p in pools[1:])
        said = train.x["said"].roll(1, 0) if wrong else train.x["said"]
        return contest.tuned(trial, treatment(pooled), treatment(attended), Views(train.but(said=said), *held), judge)

    found = both(24)
    few = dict(zip(("averaging", "attention"), both(3).scores(), strict=True))
    return found.outcome(
        control=both(24, wrong=True).scores(),
        positive=found.untrained(),
        also={f"three clips, {name}": value for name, value in few.items()},
        rows=found.rows(vectors),
    )
