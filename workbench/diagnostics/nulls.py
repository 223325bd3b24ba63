"""Nulls: what each diagnostic would read if there were nothing to see. Closed forms where there are any.

Re-pairing changes no gap, no uniformity and no rank, so each diagnostic names its own: pairing shuffle, modality
swap within items, label shuffle, or random vectors of the same dimension.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from workbench.diagnostics.registry import NAN_BAND, Null
from workbench.statistics import Matched, Moments, Positive

DRAWS = 2_000
SHUFFLED_TUPLES = 4_096  # enough that the error of the band's centre is far below its width
EIGEN_WORK = 2e8  # d³ times draws that a null of a spectrum may cost: a second or so
Band = tuple[float, float, float]


def _normal(mean: float, sd: float) -> Band:
    return mean - 1.96 * sd, mean, mean + 1.96 * sd


def gaussian_potential(t: float, d: int) -> float:
    r"""$\mathbb{E}\,e^{-t\|x-y\|^2}$ for independent x, y even on the sphere in d dimensions, by its power series."""
    term = total = 1.0
    for k in range(1, 200):
        term *= t * t / (k * (d / 2 + k - 1))
        total += term
        if term < 1e-17 * total:
            break
    return math.exp(-2 * t) * total


def sphere(context, states, subject, *, t: float) -> Band:
    """n points drawn evenly on the sphere: the potential's mean and, as it is degenerate, its exact variance."""
    n = sum(len(context.es[m]) for m in subject)
    d = context.es[subject[0]].shape[-1]
    if n < 2:
        return NAN_BAND
    mean = gaussian_potential(t, d)
    # t twice as wide: E of the squared potential
    variance = max(gaussian_potential(2 * t, d) - mean**2, 0.0) * 2 / (n * (n - 1))
    low, mid, high = (math.log(max(x, 1e-300)) for x in _normal(mean, math.sqrt(variance)))
    return low, mid, high


def shuffled_distance(context, states, subject, *, alpha: float) -> Band:
    """Alignment under random re-pairing: exact mean and variance of the permutation law for alpha = 2."""
    if alpha != 2:
        return shuffled_tuples(context, subject, "distance", alpha)
    (joint,) = states
    n, d = float(joint["n"]), len(joint["mean"]) // 2
    if n < 2:
        return NAN_BAND
    x, y = joint["mean"][:d], joint["mean"][d:]
    sxx, syy = joint["scatter"][:d, :d], joint["scatter"][d:, d:]
    variance = 4 / (n * n * (n - 1)) * float((sxx * syy).sum())
    return _normal(2 - 2 * float(x @ y), math.sqrt(max(variance, 0.0)))


def shuffled_volume(context, states, subject) -> Band:
    return shuffled_tuples(context, subject, "volume", 2.0)


def shuffled_tuples(context, subject, field: str, alpha: float) -> Band:
    """Mean over n tuples put together at random, from a few thousand such tuples of different items."""
    from workbench.objectives.geometry import volume

    es = context.es
    draw = np.random.default_rng(0)
    items = [torch.as_tensor(draw.integers(0, len(es[m]), SHUFFLED_TUPLES)) for m in subject]
    owner = torch.stack([es.rows(m)[i] for m, i in zip(subject, items, strict=True)], 1)
    apart = (owner.sort(1).values.diff(dim=1) != 0).all(1)
    if int(apart.sum()) < 2:
        return NAN_BAND
    x = torch.stack([es.unit(m, i[apart]) for m, i in zip(subject, items, strict=True)], 1)
    if field == "volume":
        v = volume(x)
    else:
        v = (x[:, 0] - x[:, 1]).square().sum(1).pow(alpha / 2)
    n = min(len(es[m]) for m in subject)
    return _normal(float(v.mean()), float(v.std()) / math.sqrt(n))


def _swapped(context, states, subject) -> np.ndarray:
    """Lengths of the mean difference when each item's two vectors trade places by the toss of a coin."""
    (joint,) = states
    n, d = float(joint["n"]), len(joint["mean"]) // 2
    if n < 2:
        return np.array([math.nan])
    delta, s = joint["mean"][:d] - joint["mean"][d:], joint["scatter"]
    second = s[:d, :d] + s[d:, d:] - s[:d, d:] - s[d:, :d] + n * torch.outer(delta, delta)
    eigen = torch.linalg.eigvalsh(second).clamp_min(0).numpy()
    z = np.random.default_rng(0).standard_normal((DRAWS, len(eigen)))
    return np.sqrt(z**2 @ eigen) / n


def swapped_gap(context, states, subject) -> Band:
    return tuple(np.percentile(_swapped(context, states, subject), [2.5, 50, 97.5]).tolist())


def swapped_relative_gap(context, states, subject) -> Band:
    (joint,) = states
    spread = math.sqrt(float(joint["scatter"].trace()) / (2 * max(float(joint["n"]), 1.0)))
    low, mid, high = swapped_gap(context, states, subject)
    return (low / spread, mid / spread, high / spread) if spread else NAN_BAND


def isotropic_rank(context, states, subject) -> Band:
    """Effective rank of as many vectors without any preferred direction, by Bartlett's form of their scatter."""
    from workbench.diagnostics.spectrum import entropy_rank

    n, d = len(context.es[subject[0]]) - 1, context.es[subject[0]].shape[-1]
    if n < 2:
        return NAN_BAND
    k, freedom = min(n, d), max(n, d)
    draws = int(min(40, max(4, EIGEN_WORK // k**3)))
    rng, out = np.random.default_rng(0), []
    for _ in range(draws):
        lower = np.tril(rng.standard_normal((k, k)), -1)
        lower[np.diag_indices(k)] = np.sqrt(rng.chisquare(freedom - np.arange(k)))
        out.append(float(entropy_rank(torch.linalg.svdvals(torch.from_numpy(lower)))))
    return _normal(float(np.mean(out)), float(np.std(out, ddof=1)))


def _hit_chance(n: float, k: int, positives: np.ndarray) -> float:
    """Chance that a random order of n puts one of the positives among the first k, averaged over queries."""
    miss = np.ones_like(positives)
    for i in range(int(k)):
        miss *= np.clip((n - positives - i) / max(n - i, 1), 0, 1)
    return float(1 - miss.mean())


def chance_recall(context, states, subject, *, k: int) -> Band:
    from scipy.stats import binom

    queries, gallery, positives = context.retrieval(states, subject)
    p = _hit_chance(gallery, min(k, gallery), positives)
    if not queries:
        return NAN_BAND
    low, high = binom.ppf([0.025, 0.975], queries, p) / queries
    return float(low), p, float(high)


def chance_median_rank(context, states, subject) -> Band:
    """The middle of that many ranks drawn evenly: a Beta order statistic."""
    from scipy.stats import beta

    queries, gallery, positives = context.retrieval(states, subject)
    if not queries:
        return NAN_BAND
    half = (queries + 1) / 2
    share = beta.ppf([0.025, 0.5, 0.975], half, half)
    several = float(positives.mean())
    return tuple((0.5 + gallery * (1 - (1 - share) ** (1 / several))).tolist())


def _pair_moments(a: str, b: str, **params) -> tuple:
    return (Moments((a, b)),)


def _positives(a: str, b: str, **params) -> tuple:
    return (Positive(a, b),)


SPHERE = Null("uniform on the sphere", sphere)
PAIRING_DISTANCE = Null("pairing shuffle", shuffled_distance, _pair_moments)
PAIRING_VOLUME = Null("pairing shuffle", shuffled_volume)
SWAP_GAP = Null("modality swap", swapped_gap, _pair_moments)
SWAP_RELATIVE_GAP = Null("modality swap", swapped_relative_gap, _pair_moments)
ISOTROPIC = Null("isotropic Gaussian", isotropic_rank)


def chance(k: int) -> Null:
    """Random pairing for recall among the first k of a fixed gallery."""
    return Null("pairing shuffle", lambda c, s, subject: chance_recall(c, s, subject, k=k), _positives)


CHANCE_RANK = Null("pairing shuffle", chance_median_rank, _positives)
CHANCE_VOLUME = Null(
    "pairing shuffle",
    lambda c, s, subject, **params: chance_recall(c, s, subject, k=1),
    lambda *subject, **params: (Matched(subject),),
)
