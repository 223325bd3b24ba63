r"""A contrast between a film and the music that is generated for it, beside next-token learning, makes the music's
states tell their own film, at nearly equal perplexity.

Maths
-----
$$L=-\overline{\log p(y_t|y_{<t},x)}+\lambda\,\mathrm{symCE}(\langle\bar x_i,\bar h_j\rangle/\tau)$$

Carried by
----------
recipe infonce

Deviations
----------
No code is public: weight and temperature are ours. Beats are counted and are no term of the loss, for it is not known
how they enter training.

Data
----
films of 16 frames in runs of noisy scikit-learn digits; music of 16 tokens, a note for each class, struck where a run
begins and held else, one note in seven a wrong one

What must move
--------------
recall at 10 of the true film by the decoder's states, of the baseline through a ridge map

Control
-------
log-likelihood of a token of the test music, of both arms

Positive control
----------------
the recall of the baseline by its ridge map, from music of other films and from its own

At this size
------------
The states are of the part that listens and does not yet look, or a film would find itself in them; a ridge map is a
strong baseline for what they know.

Own data
--------
a set has no generator; sequences of yours as items with several rows are looked up by 'workbench diagnose'
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.papers import contest, digits, films, measures, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.films import LENGTH
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit

NOTES, HIDDEN, WRONG, NEAR = 10, 96, 1 / 7, 1


def scored(pool: list[Tensor], count: int, g: torch.Generator) -> Part:
    """Films with their music: {film (N, 16, 64), music (N, 16)}; below ten a note is held, from ten on it is struck."""
    note = torch.randperm(NOTES, generator=torch.Generator().manual_seed(0))
    frames, music = [], []
    for _ in range(count):
        x, runs = films.film(pool, LENGTH, 2, 6, g)
        frames.append(x + 0.5 * torch.randn(x.shape, generator=g))
        row = torch.zeros(LENGTH, dtype=torch.long)
        for c, first, last in runs:
            false = torch.rand(1, generator=g) < WRONG
            n = int(torch.randint(NOTES, (1,), generator=g)) if false else int(note[c])
            row[first : last + 1] = n
            row[first] += NOTES
        music.append(row)
    return Part({"film": torch.stack(frames), "music": torch.stack(music)}, torch.stack(music)[:, 0] % NOTES)


class Composer(nn.Module):
    """A film's frames, and music that listens to what was played, and then looks at the frame."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = nn.Sequential(
            nn.Conv1d(64, HIDDEN, 3, padding=1), nn.GELU(), nn.Conv1d(HIDDEN, HIDDEN, 3, padding=1)
        )
        self.token, self.body = nn.Embedding(2 * NOTES + 1, 32), nn.GRU(32, HIDDEN, batch_first=True)
        self.out = nn.Sequential(nn.Linear(2 * HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 2 * NOTES))
        self.seen, self.heard = nn.Linear(HIDDEN, 32), nn.Linear(HIDDEN, 32)

    def forward(self, film: Tensor, music: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities (N, 16, 20), the mean frame and the mean state, (N, h) each."""
        before = torch.cat([torch.full((len(music), 1), 2 * NOTES), music[:, :-1]], 1)
        x = self.frames(film.mT).mT
        h = self.body(self.token(before))[0]
        return self.out(torch.cat([h, x], 2)).log_softmax(2), x.mean(1), h.mean(1)

    @torch.no_grad()
    def played(self, film: Tensor, g: torch.Generator) -> Tensor:
        """Music drawn token by token, (N, 16)."""
        x, state = self.frames(film.mT).mT, None
        music = torch.full((len(film), 1), 2 * NOTES)
        for k in range(LENGTH):
            h, state = self.body(self.token(music[:, -1:]), state)
            log_p = self.out(torch.cat([h[:, 0], x[:, k]], 1)).log_softmax(1)
            music = torch.cat([music, torch.multinomial(log_p.exp(), 1, generator=g)], 1)
        return music[:, 1:]


def beats(true: Tensor, played: Tensor) -> float:
    """Share of struck places (N, L) of the one that the other strikes within a place of it.

    >>> a, b = torch.zeros(1, 10).bool(), torch.zeros(1, 10).bool()
    >>> a[0, [1, 4, 7]], b[0, [1, 5, 9]] = True, True
    >>> round(beats(a, b), 4)
    0.6667
    """
    wide = nn.functional.max_pool1d(played.float()[:, None], 2 * NEAR + 1, stride=1, padding=NEAR)[:, 0] > 0
    return float((wide & true).sum() / true.sum().clamp_min(1))


@experiment(moves="retrieval", min_effect=0.05, margin=0.03)
def vmas(trial: Trial) -> Outcome:
    """The generator over three rates, against generator and contrast over three weights, chosen by the
    likelihood of the music; 400 steps of 64 films.
    """
    g = trial.generator()
    views = parts.composed(
        trial, digits.pools(trial), lambda pool, n: scored(pool, n, g), (900, 60), (300, 30), (500, 40)
    )

    def loss(m: Composer, batch: Part, step: Step, contrast: bool) -> Tensor:
        log_p, x, h = m(batch.x["film"], batch.x["music"])
        total = -log_p.gather(2, batch.x["music"][..., None]).mean()
        if contrast:
            s = unit(m.seen(x), dim=1) @ unit(m.heard(h), dim=1).T / 0.1
            total = total + step.setting * heads.symmetric(s)
        return total

    def treatment(contrast: bool) -> contest.Treatment[Composer]:
        grid = (0.1, 0.3, 1.0) if contrast else (1e-3, 2e-3, 4e-3)
        return contest.by_loss(
            lambda _: Composer(), partial(loss, contrast=contrast), grid, rates=not contrast, steps=400, size=64
        )

    def likely(m: Composer, part: Part) -> float:
        return float(m(part.x["film"], part.x["music"])[0].gather(2, part.x["music"][..., None]).mean())

    def read_out(m: Composer, part: Part, shift: int = 0) -> float:
        """By a ridge map from the mean state to the mean frame, taught on the training part."""
        told = views.train
        _, x, h = m(told.x["film"], told.x["music"])
        _, true, asked = m(part.x["film"], part.x["music"].roll(shift, 0))
        said, centre = measures.linear(h, x, asked), x.mean(0)
        return measures.recall(unit(said - centre, dim=1), unit(true - centre, dim=1), 10)

    def contrasted(m: Composer, part: Part) -> float:
        _, x, h = m(part.x["film"], part.x["music"])
        return measures.recall(unit(m.heard(h), dim=1), unit(m.seen(x), dim=1), 10)

    def struck(m: Composer, part: Part) -> float:
        played = m.played(part.x["film"], torch.Generator().manual_seed(trial.seed))
        return beats(part.x["music"] >= NOTES, played >= NOTES)

    def vectors(m: Composer, part: Part) -> dict[str, Tensor]:
        _, x, h = m(part.x["film"], part.x["music"])
        return {"film": unit(m.seen(x), dim=1), "music": unit(m.heard(h), dim=1)}

    plain, _ = contest.tune(trial, treatment(False), views, likely)
    with torch.no_grad():
        trial.seek_room(read_out(plain, views.validation))
    joint, _ = contest.tune(trial, treatment(True), views, likely)
    with torch.no_grad():
        test = views.test
        return Outcome(
            read_out(plain, test),
            contrasted(joint, test),
            control=(likely(plain, test), likely(joint, test)),
            positive=(read_out(plain, test, len(test) // 2), read_out(plain, test)),
            also={
                "beats hit, baseline": struck(plain, test),
                "beats hit, mechanism": struck(joint, test),
                "the joint model read out by a ridge map": read_out(joint, test),
            },
            rows={"baseline": vectors(plain, test), "mechanism": vectors(joint, test)},
            labels=test.y,
        )
