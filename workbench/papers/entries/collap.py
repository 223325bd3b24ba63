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
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import unit


def _songs(pool: list[Tensor], count: int, clips: int, g: torch.Generator, distinct: bool) -> tuple[Tensor, Tensor]:
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
    return songs, said


def attended(clips: Tensor, words: Tensor, sharpness: float = 0.1) -> Tensor:
    r"""Words that attend over segments: unit clips (Q, K, d), unit words (R, J, d) → (Q, R).

    $\frac1J\sum_j\sum_k \mathrm{softmax}_k(S_{kj}/\tau_a)\,S_{kj}$; our reading of a kernel that is not public.
    """
    s = torch.einsum("qkd,rjd->qrkj", clips, words)
    return ((s / sharpness).softmax(2) * s).sum(2).mean(2)


def pooled(clips: Tensor, words: Tensor) -> Tensor:
    """Cosine of the means of segments and of words."""
    return unit(clips.mean(1), dim=1) @ unit(words.mean(1), dim=1).T


@experiment(min_effect=0.05)
def collap(trial: Trial) -> Outcome:
    """Songs and captions as sets of clips and words, contrasted by the mean of each or by attention."""
    pools = digits.pools(trial)
    g = torch.Generator().manual_seed(trial.seed)
    words = digits.names()

    def run(
        clips: int, score: Callable[[Tensor, Tensor], Tensor], wrong: bool = False
    ) -> tuple[float, float, dict[str, Tensor]]:
        g.manual_seed(trial.seed)
        songs, said = _songs(pools[0], trial.count(600, 40), clips, g, False)
        said = said.roll(1, 0) if wrong else said
        tuning, test = (_songs(p, trial.count(100, 20), clips, g, True) for p in pools[1:])

        def train(t: float, steps: int) -> tuple[nn.Module, nn.Module]:
            torch.manual_seed(trial.seed)
            ear, eye = bench.mlp(64), bench.mlp(256)

            def loss(index: Tensor) -> Tensor:
                a, b = unit(ear(songs[index]), dim=-1), unit(eye(words[said[index]]), dim=-1)
                return heads.symmetric(score(a, b) / t)

            bench.fit([ear, eye], loss, len(songs), steps=steps, seed=trial.seed, size=48)
            return ear, eye

        @torch.no_grad()
        def judge(pair: tuple[nn.Module, nn.Module], held: tuple[Tensor, Tensor]) -> float:
            a, b = unit(pair[0](held[0]), dim=-1), unit(pair[1](words[held[1]]), dim=-1)
            return measures.hits(score(a, b).T)

        pair, _ = contest.best(trial, (0.03, 0.1), lambda t: train(t, trial.steps(250)), lambda m: judge(m, tuning))
        with torch.no_grad():
            vectors = {
                "song": unit(unit(pair[0](test[0]), dim=-1).mean(1), dim=1),
                "caption": unit(unit(pair[1](words[test[1]]), dim=-1).mean(1), dim=1),
            }
        return judge(train(0.1, 0), test), judge(pair, test), vectors

    fresh, mean, a = run(24, pooled)
    _, attention, b = run(24, attended)
    also = {"three clips, averaging": run(3, pooled)[1], "three clips, attention": run(3, attended)[1]}
    return Outcome(
        mean,
        attention,
        (run(24, pooled, True)[1], run(24, attended, True)[1]),
        (fresh, mean),
        also,
        {"baseline": a, "mechanism": b},
    )
