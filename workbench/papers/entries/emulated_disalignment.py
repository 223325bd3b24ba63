r"""What a tuning did can be read from two checkpoints: how far mixing them moves a behaviour follows from the
behaviour's covariance with their log-ratio, before anything is generated.

Maths
-----
$$p_w\propto p_0\,(p_1/p_0)^w,\qquad \tfrac{d}{dw}E_w[f]=\mathrm{Cov}_w\!\big(f,\ \log\tfrac{p_1}{p_0}\big)$$

Carried by
----------
workbench.objectives.mixing.mixed; workbench.objectives.mixing.sensitivity

Code read
---------
ZHZisZZ/emulated-disalignment

Deviations
----------
The formula only, as a means to see what a tuning did: models of letters, a harmless behaviour, no language model, no
decoder.

Data
----
names of the emoji in 17 languages: models of the next letter, of all languages, and of the same with one language
weighted; the behaviour is how much likelier a letter is in that language

What must move
--------------
error of the predicted behaviour over five mixtures from w = -1 to 2, in nats

Control
-------
a behaviour whose values are dealt among the letters: both errors

Positive control
----------------
the behaviour at w = 0 and at w = 1

At this size
------------
Letters after two letters are few, and every mixture can be summed: with sequences the expectation has to be drawn.

Own data
--------
a set has no next-token models; workbench.objectives.mixing takes the logits of two checkpoints of yours
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from workbench.objectives.mixing import mixed, sensitivity
from workbench.papers import own_set, parts
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "pl", "fi", "et", "hu", "lt", "vi", "ms")
TUNED, STRENGTH, LETTERS = "fi", 4.0, "abcdefghijklmnopqrstuvwxyz "
MIXTURES = (-1.0, -0.5, 0.5, 1.5, 2.0)


def counts(names: list[str]) -> Tensor:
    """How often a letter follows two others, (27 · 27, 27)."""
    known = {c: k for k, c in enumerate(LETTERS)}
    found: Counter[tuple[int, int, int]] = Counter()
    for name in names:
        at = [known[c] for c in f"  {name.lower()} " if c in known]
        found.update(zip(at, at[1:], at[2:], strict=False))
    n = len(LETTERS)
    out = torch.zeros(n * n, n)
    for (a, b, c), k in found.items():
        out[a * n + b, c] = k
    return out


def log_p(count: Tensor, smoothing: float = 0.1) -> Tensor:
    """Log-probabilities of the next letter from counts, with a little for what was never seen."""
    return (count + smoothing).log() - (count + smoothing).sum(1, keepdim=True).log()


def expected(start: Tensor, tuned: Tensor, score: Tensor, weight: float, often: Tensor) -> float:
    """The behaviour of a mixture: the score expected after each pair of letters, over how often that comes."""
    return float(((mixed(start, tuned, weight).exp() * score).sum(1) * often).sum())


def errors(start: Tensor, tuned: Tensor, score: Tensor, often: Tensor) -> tuple[float, float]:
    """Mean error over the mixtures of a straight line through w = 0 and 1, and of a cubic that has their slopes too."""
    at = {w: expected(start, tuned, score, w, often) for w in (0.0, 1.0, *MIXTURES)}
    slope = [float((sensitivity(start, tuned, score, w) * often).sum()) for w in (0.0, 1.0)]
    a, b = at[0.0], at[1.0]

    def line(w: float) -> float:
        return a + w * (b - a)

    def cubic(w: float) -> float:
        """Hermite's: the values and slopes at both ends."""
        u = w * w
        return (
            (2 * u * w - 3 * u + 1) * a
            + (u * w - 2 * u + w) * slope[0]
            + (3 * u - 2 * u * w) * b
            + (u * w - u) * slope[1]
        )

    near, far = (sum(abs(f(w) - at[w]) for w in MIXTURES) / len(MIXTURES) for f in (line, cubic))
    return near, far


@experiment(moves="answers", better="lower", min_effect=0.02)
def emulated_disalignment(trial: Trial) -> Outcome:
    """The behaviour at five mixtures, foretold from w = 0 and 1: by the straight line through both, and with the slopes
    that the covariance gives; nothing is tuned.
    """
    items = own_set.shipped("emoji").items
    items = items.iloc[:: trial.count(1, 8)]
    side = parts.sides(trial, items["family"].fillna(items["id"]).astype(str))

    def taught(part: str, languages: tuple[str, ...]) -> Tensor:
        return counts([str(n) for code in languages for n in items[f"name_{code}"][side == part].dropna()])

    plain = taught("train", LANGUAGES)
    start, tuned = log_p(plain), log_p(plain + STRENGTH * len(LANGUAGES) * taught("train", (TUNED,)))
    unseen = taught("test", LANGUAGES)
    score = log_p(taught("test", (TUNED,))) - log_p(unseen)
    often = unseen.sum(1) / unseen.sum()

    dealt = score.gather(1, torch.rand(score.shape, generator=trial.generator()).argsort(1))
    line, cubic = errors(start, tuned, score, often)
    at = {w: expected(start, tuned, score, w, often) for w in (-1.0, 0.0, 1.0, 2.0)}
    seen = often.topk(200).indices
    return Outcome(
        line,
        cubic,
        control=errors(start, tuned, dealt, often),
        positive=(at[0.0], at[1.0]),
        also={f"behaviour at w = {w:g}": value for w, value in at.items()}
        | {"slope at w = 0": float((sensitivity(start, tuned, score) * often).sum())},
        rows={
            "baseline": {"start": start[seen].exp(), "tuned": tuned[seen].exp()},
            "mechanism": {"undone": mixed(start, tuned, -1)[seen].exp(), "more": mixed(start, tuned, 2)[seen].exp()},
        },
        labels=seen % len(LETTERS),
    )
