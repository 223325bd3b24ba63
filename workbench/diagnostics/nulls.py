"""Nulls: what each diagnostic would read if there were nothing to see. Closed forms where there are any.

Re-pairing changes no gap, no uniformity and no rank, so each diagnostic names its own: pairing shuffle, modality
swap within items, label shuffle, or random vectors of the same dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from workbench.diagnostics.registry import NAN_BAND, Null
from workbench.objectives.geometry import leading_share, triangle_area, volume
from workbench.statistics import Matched, Moments, Positive, Ranks, VolumeRanks

DRAWS = 2_000
SHUFFLED_TUPLES = 4_096  # enough that the error of the band's centre is far below its width
EIGEN_WORK = 2e8  # d³ times draws that a null of a spectrum may cost: a second or so
NEIGHBOUR_WORK = 2e9  # products that a null of neighbours may cost: fewer draws of more points
POINTS = 1_000  # random points whose neighbours a null looks at; with fewer items, as many as there are
SWAP_ITEMS = 500  # items whose kernel a null of MMD holds in memory
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
        return shuffled_tuples(context, subject, lambda x: (x[:, 0] - x[:, 1]).square().sum(1).pow(alpha / 2))
    (joint,) = states
    n, d = float(joint["n"]), len(joint["mean"]) // 2
    if n < 2:
        return NAN_BAND
    x, y = joint["mean"][:d], joint["mean"][d:]
    sxx, syy = joint["scatter"][:d, :d], joint["scatter"][d:, d:]
    variance = 4 / (n * n * (n - 1)) * float((sxx * syy).sum())
    return _normal(2 - 2 * float(x @ y), math.sqrt(max(variance, 0.0)))


def shuffled_cosine(context, states, subject) -> Band:
    low, mid, high = shuffled_distance(context, states, subject, alpha=2.0)
    return 1 - high / 2, 1 - mid / 2, 1 - low / 2


def shuffled_margin(context, states, subject) -> Band:
    low, mid, high = shuffled_cosine(context, states, subject)
    return low - mid, 0.0, high - mid


def shuffled_tuples(context, subject, measure: Callable[[Tensor], Tensor]) -> Band:
    """Mean over n tuples put together at random, from a few thousand such tuples of different items."""
    es = context.es
    draw = np.random.default_rng(0)
    items = [torch.as_tensor(draw.integers(0, len(es[m]), SHUFFLED_TUPLES)) for m in subject]
    owner = torch.stack([es.rows(m)[i] for m, i in zip(subject, items, strict=True)], 1)
    apart = (owner.sort(1).values.diff(dim=1) != 0).all(1)
    if int(apart.sum()) < 2:
        return NAN_BAND
    v = measure(torch.stack([es.unit(m, i[apart]) for m, i in zip(subject, items, strict=True)], 1))
    n = min(len(es[m]) for m in subject)
    return _normal(float(v.mean()), float(v.std()) / math.sqrt(n))


def _swap(joint) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Eigenvalues of the second moment of differences, the summed means along its axes, and how many items."""
    n, d = float(joint["n"]), len(joint["mean"]) // 2
    if n < 2:
        return None
    a, b, s = joint["mean"][:d], joint["mean"][d:], joint["scatter"]
    delta = a - b
    second = s[:d, :d] + s[d:, d:] - s[:d, d:] - s[d:, :d] + n * torch.outer(delta, delta)
    eigen, axes = torch.linalg.eigh(second)
    return eigen.clamp_min(0).numpy(), ((a + b) @ axes).numpy(), n


def _swapped(joint) -> np.ndarray:
    """Lengths of the mean difference when each item's two vectors trade places by the toss of a coin."""
    found = _swap(joint)
    if found is None:
        return np.array([math.nan])
    eigen, _, n = found
    z = np.random.default_rng(0).standard_normal((DRAWS, len(eigen)))
    return np.sqrt(z**2 @ eigen) / n


def _percentiles(draws: np.ndarray) -> Band:
    low, mid, high = np.percentile(draws, [2.5, 50, 97.5])
    return float(low), float(mid), float(high)


def swapped_gap(context, states, subject) -> Band:
    return _percentiles(_swapped(states[0]))


def swapped_relative_gap(context, states, subject) -> Band:
    (joint,) = states
    spread = math.sqrt(float(joint["scatter"].trace()) / (2 * max(float(joint["n"]), 1.0)))
    low, mid, high = swapped_gap(context, states, subject)
    return (low / spread, mid / spread, high / spread) if spread else NAN_BAND


def swapped_cosine(context, states, subject) -> Band:
    """Cosine of the centroids (s ± δ)/2, with s their sum and δ the swapped difference."""
    found = _swap(states[0])
    if found is None:
        return NAN_BAND
    eigen, along, n = found
    z = np.random.default_rng(0).standard_normal((DRAWS, len(eigen))) * np.sqrt(eigen) / n
    ss, dd, sd = along @ along, (z**2).sum(1), z @ along
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (ss - dd) / np.sqrt((ss + dd) ** 2 - 4 * sd**2)
    return _percentiles(cosine) if np.isfinite(cosine).all() else NAN_BAND


def swapped_mmd(context, states, subject, *, t: float) -> Band:
    """Swaps within some hundred items; the law's scale goes as 1/n."""
    es = context.es
    a, b = subject
    items = np.intersect1d(es.rows(a).numpy(), es.rows(b).numpy())
    if len(items) < 4:
        return NAN_BAND
    rng = np.random.default_rng(0)
    some = torch.from_numpy(np.sort(rng.permutation(items)[:SWAP_ITEMS]))
    x, y = (es.unit(m, torch.searchsorted(es.rows(m), some)) for m in subject)
    within = [(2 * t * (p @ q.T - 1)).exp().fill_diagonal_(0) for p, q in ((x, x), (y, y), (x, y))]
    xx, yy, xy = within
    m = len(some)
    # with signs s the statistic is a quadratic form in them: kxx + kyy − kxy − kyx, pair by pair
    h = (xx + yy - xy - xy.T) / (m * (m - 1))
    s = torch.from_numpy(rng.choice([-1.0, 1.0], (500, m)))
    return _percentiles(((s @ h) * s).sum(1).numpy() * m / len(items))


def coin(context, states, subject) -> Band:
    """One toss a family: its rows, and the two rows of a pair, do not toss for themselves."""
    families = np.unique(context.es.families[context.es.rows(subject[0]).numpy()])
    return _normal(0.5, 0.5 / math.sqrt(len(families)))


def same_gaussian(context, states, subject) -> Band:
    """Two samples of one Gaussian with the pooled covariance, of the sizes at hand."""
    from workbench.diagnostics.gap import ROWS_PER_DIMENSION, frechet

    a, b = states
    d = len(a["mean"])
    if min(float(a["n"]), float(b["n"])) < ROWS_PER_DIMENSION * d:
        return NAN_BAND
    pooled = (a["scatter"] + b["scatter"]) / (a["n"] + b["n"])
    scale = torch.linalg.eigvalsh(pooled).clamp_min(0).sqrt()
    rng, out = np.random.default_rng(0), []
    for _ in range(int(min(20, max(3, EIGEN_WORK // (4 * d**3))))):
        drawn = []
        for n in (int(a["n"]), int(b["n"])):
            lower = torch.from_numpy(_bartlett(rng, d, n - 1)) * scale[:, None]
            drawn += [torch.from_numpy(rng.standard_normal(d)) * scale / math.sqrt(n), lower @ lower.T / n]
        out.append(float(frechet(*drawn)))
    return _normal(float(np.mean(out)), float(np.std(out, ddof=1)))


def _bartlett(rng: np.random.Generator, k: int, freedom: int) -> np.ndarray:
    """The Cholesky factor of a Wishart matrix: what n rows of noise leave, without the rows."""
    lower = np.tril(rng.standard_normal((k, k)), -1)
    lower[np.diag_indices(k)] = np.sqrt(rng.chisquare(freedom - np.arange(k)))
    return lower


@lru_cache(maxsize=16)
def _noise_spectra(n: int, d: int) -> tuple[Tensor, ...]:
    """Singular values, all min(n, d) of them, of n rows of isotropic noise."""
    k, freedom = min(n, d), max(n, d)
    draws = int(min(40, max(4, EIGEN_WORK // k**3)))
    rng = np.random.default_rng(0)
    return tuple(torch.linalg.svdvals(torch.from_numpy(_bartlett(rng, k, freedom))) for _ in range(draws))


def isotropic(measure: Callable[[Tensor], Tensor], *, centred: bool = True) -> Null:
    """A measure of the spectrum of as many vectors without any preferred direction."""

    def band(context, states, subject, **params) -> Band:
        n, d = len(context.es[subject[0]]) - centred, context.es[subject[0]].shape[-1]
        if n < 2 or d < 2:
            return NAN_BAND
        pad = torch.zeros(d - min(n, d), dtype=torch.float64)
        out = [float(measure(torch.cat([s, pad]), **params)) for s in _noise_spectra(n, d)]
        return _normal(float(np.mean(out)), float(np.std(out, ddof=1)))

    return Null("isotropic Gaussian", band)


def sphere_resultant(context, states, subject) -> Band:
    from scipy.stats import chi2

    n, d = len(context.es[subject[0]]), context.es[subject[0]].shape[-1]
    low, mid, high = np.sqrt(chi2.ppf([0.025, 0.5, 0.975], d) / (n * d))
    return float(low), float(mid), float(high)


def sphere_cosine(context, states, subject) -> Band:
    n, d = len(context.es[subject[0]]), context.es[subject[0]].shape[-1]
    return _normal(0.0, math.sqrt(2 / (n * (n - 1) * d))) if n > 1 else NAN_BAND


def sphere_across(context, states, subject, *, t: float) -> Band:
    """Two sets of points drawn evenly on the sphere: the variance of a two-sample mean of a degenerate kernel."""
    na, nb = (len(context.es[m]) for m in subject)
    d = context.es[subject[0]].shape[-1]
    mean = gaussian_potential(t, d)
    variance = max(gaussian_potential(2 * t, d) - mean**2, 0.0) / (na * nb)
    low, mid, high = (math.log(max(x, 1e-300)) for x in _normal(mean, math.sqrt(variance)))
    return low, mid, high


def _points(rng: np.random.Generator, n: int, d: int) -> Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((n, d))), dim=1)


@lru_cache(maxsize=16)
def _sphere_neighbours(queries: int, n: int, d: int, within: bool) -> tuple[tuple[Tensor, Tensor], ...]:
    """Scores and positions of the ten nearest among n even points of the sphere, in a few draws."""
    rng, out = np.random.default_rng(0), []
    for _ in range(int(np.clip(NEIGHBOUR_WORK / (queries * n * d), 12, 150))):
        x = _points(rng, queries, d)
        s = x @ (x if within else _points(rng, n, d)).T
        if within:
            s.fill_diagonal_(-4.0)
        top = torch.topk(s, min(10, n - within), dim=1)
        out.append((top.values, top.indices))
    return tuple(out)


def _of_neighbours(kind: str, within: bool, measure: Callable[[Tensor, Tensor, int], float]) -> Null:
    def band(context, states, subject, **params) -> Band:
        from workbench.diagnostics.registry import Reason

        asked, keys = len(context.es[subject[0]]), len(context.es[subject[-1]])
        share = min(POINTS / max(asked, keys), 1.0)  # fewer points, as many queries a key
        queries, n, d = round(asked * share), round(keys * share), context.es[subject[0]].shape[-1]
        if min(n, queries) < 4:
            return NAN_BAND
        try:
            out = [measure(s, i, n) for s, i in _sphere_neighbours(queries, n, d, within)]
        except Reason:
            return NAN_BAND
        if len(out) >= 40:
            return _percentiles(np.array(out))
        return _normal(float(np.mean(out)), float(np.std(out, ddof=1)))

    return Null(kind, band)


def hubs(measure: Callable[[Tensor], Tensor], *, within: bool) -> Null:
    """A measure of how often keys are neighbours, for even points on the sphere (1,000 of them at most)."""
    kind = "uniform on the sphere"
    return _of_neighbours(
        kind, within, lambda s, i, n: float(measure(torch.bincount(i.flatten(), minlength=n).double()))
    )


def _twonn(score: Tensor, index: Tensor, n: int) -> float:
    from workbench.diagnostics.spectrum import two_nn

    return float(two_nn((2 - 2 * score[:, :2]).clamp_min(1e-24).sqrt()))


def sphere_duplicates(context, states, subject, *, cosine: float) -> Band:
    """Chance that the nearest of n even points lies within the angle, from the share of the sphere's cap."""
    from scipy.special import betainc

    n, d = len(context.es[subject[0]]), context.es[subject[0]].shape[-1]
    if d < 2:
        return NAN_BAND
    cap = betainc((d - 1) / 2, 0.5, min(max(1 - cosine**2, 0.0), 1.0)) / 2
    return _binomial(n, float(-np.expm1((n - 1) * np.log1p(-cap))))


def gaussian_moment(mean: float, deviation: float) -> Callable[..., Band]:
    """The mean over d dimensions of a sample moment with this mean and deviation, both to be divided by √n."""

    def band(context, states, subject) -> Band:
        n, d = float(states[0]["n"]), len(states[0]["second"])
        return _normal(mean / math.sqrt(n), deviation / math.sqrt(n * d))

    return band


def gaussian_dimensions(context, states, subject, *, share: float) -> Band:
    """As many dimensions that share a gap by chance: squares of independent normal numbers."""
    d = context.es[subject[0]].shape[-1]
    z = np.sort(np.random.default_rng(0).standard_normal((200, d)) ** 2, axis=1)[:, ::-1].cumsum(1)
    return _percentiles((z < share * z[:, -1:]).sum(1) + 1.0)


def _hit_chance(n: float, k: int, positives: np.ndarray) -> float:
    """Chance that a random order of n puts one of the positives among the first k, averaged over queries."""
    miss = np.ones_like(positives)
    for i in range(int(k)):
        miss *= np.clip((n - positives - i) / max(n - i, 1), 0, 1)
    return float(1 - miss.mean())


def _binomial(n: int, p: float) -> Band:
    from scipy.stats import binom

    if not n:
        return NAN_BAND
    low, high = binom.ppf([0.025, 0.975], n, p) / n
    return min(float(low), p), p, max(float(high), p)


def chance_recall(context, states, subject, *, k: int) -> Band:
    queries, gallery, positives = context.retrieval(states, subject)
    return _binomial(queries, _hit_chance(gallery, min(k, gallery), positives)) if queries else NAN_BAND


def chance_mixed(context, states, subject) -> Band:
    """Recall at 1 among the rows of both modalities, without the query itself."""
    queries, gallery, positives = context.retrieval(states, subject)
    gallery += len(context.es[subject[0]]) - 1
    return _binomial(queries, _hit_chance(gallery, 1, positives)) if queries else NAN_BAND


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


def _ranked(gain: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Band]:
    """The mean of a gain over the rank of the best of P matches in a random order."""

    def band(context, states, subject) -> Band:
        queries, gallery, positives = context.retrieval(states, subject)
        if not queries:
            return NAN_BAND
        p = float(positives.mean())
        rank = np.arange(1, gallery + 1)
        # the best of p even draws: later than r with chance (1 − r/n)^p
        chance = (1 - (rank - 1) / gallery) ** p - (1 - rank / gallery) ** p
        g = gain(rank)
        mean = float(chance @ g)
        deviation = math.sqrt(max(float(chance @ g**2) - mean**2, 0.0))
        return _normal(mean, deviation / math.sqrt(queries))

    return band


def chance_overlap(context, states, subject) -> Band:
    """Lists of neighbours that know nothing of each other: the chance that an item stands in one at all."""
    chances, items_of = [], []
    for state in states:
        listed = state["key_item"].sort(1).values
        distinct = 1 + (listed.diff(dim=1) != 0).sum(1).double() - (listed[:, 0] < 0).double()
        items = torch.unique(state["item"])
        if len(items) < 3:
            return NAN_BAND
        chances.append(float(distinct.mean()) / (len(items) - 1))
        items_of.append(items)
    shared = items_of[0][torch.isin(items_of[0], items_of[1])]
    p = min(sum(chances) / 2, 1.0)
    # as many chances to agree as the shorter list has members that could be in the other
    known = [torch.isin(state["key_item"], shared).sum(1).double().mean() for state in states]
    n, k = len(shared), max(float(min(known)), 1.0)
    return _normal(p, math.sqrt(p * (1 - p) / (n * k))) if n > 2 else NAN_BAND


def same_label(context, states, subject) -> Band:
    """Share of equal labels among random pairs of different items."""
    label = context.label("label")
    if label is None:
        return NAN_BAND
    n = torch.bincount(label[label >= 0]).double()
    total = float(n.sum())
    if total < 2:
        return NAN_BAND
    p = float((n * (n - 1)).sum()) / (total * (total - 1))
    return _normal(p, math.sqrt(p * (1 - p) / (total * 10)))


def label_guess(context, states, subject) -> Band:
    """From guessing by the frequencies of the classes to always naming the largest."""
    label = context.label("label")
    if label is None:
        return NAN_BAND
    label = label[context.es.rows(subject[0])]
    n = torch.bincount(label[label >= 0]).double()
    total = int(n.sum())
    if not total:
        return NAN_BAND
    share = n / total
    guess, largest = float(share.square().sum()), float(share.max())
    return _binomial(total, guess)[0], (guess + largest) / 2, _binomial(total, largest)[2]


def independent_verdicts(context, states, subject) -> Band:
    """Two verdicts with these shares of yes that know nothing of each other."""
    from workbench.diagnostics.matched import verdicts

    first, every, row = verdicts(*states)
    p, q = float(first.double().mean()), float(every.double().mean())
    return _binomial(len(row), p * (1 - q) + q * (1 - p))


def _joint_reads(*m: str) -> tuple:
    return (VolumeRanks(m[0], m[1], m[1:]), *(Ranks(m[0], x) for x in m[1:]))


def _pair_moments(a: str, b: str, **params) -> tuple:
    return (Moments((a, b), by_item=True),)


def _raw_moments(a: str, b: str, **params) -> tuple:
    return (Moments((a, b), True, True),)


def _own_moments(a: str, b: str, **params) -> tuple:
    return Moments((a,)), Moments((b,))


def _positives(a: str, b: str, **params) -> tuple:
    return (Positive(a, b),)


def _own_neighbours(a: str, b: str) -> tuple:
    from workbench.statistics import Neighbours

    return Neighbours(a, a), Neighbours(b, b)


def _differences(a: str, b: str) -> tuple:
    from workbench.statistics import Differences

    return (Differences(a, b),)


SPHERE = Null("uniform on the sphere", sphere)
SPHERE_ACROSS = Null("uniform on the sphere", sphere_across)
SPHERE_COSINE = Null("uniform on the sphere", sphere_cosine)
SPHERE_RESULTANT = Null("uniform on the sphere", sphere_resultant)
SPHERE_TWONN = _of_neighbours("uniform on the sphere", True, _twonn)
SPHERE_DUPLICATES = Null("uniform on the sphere", sphere_duplicates)
PAIRING_DISTANCE = Null("pairing shuffle", shuffled_distance, _pair_moments)
PAIRING_LENGTH = Null(
    "pairing shuffle", lambda c, s, subject: shuffled_distance(c, s, subject, alpha=1.0), _pair_moments
)
PAIRING_COSINE = Null("pairing shuffle", shuffled_cosine, _pair_moments)
PAIRING_MARGIN = Null("pairing shuffle", shuffled_margin, _pair_moments)
PAIRING_VOLUME = Null("pairing shuffle", lambda c, s, subject: shuffled_tuples(c, subject, volume))
PAIRING_AREA = Null("pairing shuffle", lambda c, s, subject: shuffled_tuples(c, subject, triangle_area))
PAIRING_LEADING = Null("pairing shuffle", lambda c, s, subject: shuffled_tuples(c, subject, leading_share))
SWAP_GAP = Null("modality swap", swapped_gap, _pair_moments)
SWAP_RAW_GAP = Null("modality swap", swapped_gap, _raw_moments)
SWAP_RELATIVE_GAP = Null("modality swap", swapped_relative_gap, _pair_moments)
SWAP_COSINE = Null("modality swap", swapped_cosine, _pair_moments)
SWAP_MMD = Null("modality swap", swapped_mmd)
SAME_GAUSSIAN = Null("one Gaussian for both", same_gaussian, _own_moments)
COIN = Null("toss of a coin", coin)
# moments of a Gaussian sample: skewness has variance 6/n and mean absolute value √(2/π) of its deviation
GAUSSIAN_SKEW = Null(
    "Gaussian", gaussian_moment(math.sqrt(12 / math.pi), math.sqrt(6 * (1 - 2 / math.pi))), _differences
)
GAUSSIAN_KURTOSIS = Null("Gaussian", gaussian_moment(0.0, math.sqrt(24)), _differences)
GAUSSIAN_DIMENSIONS = Null("Gaussian", gaussian_dimensions)


def chance(k: int) -> Null:
    """Random pairing for recall among the first k of a fixed gallery."""
    return Null("pairing shuffle", lambda c, s, subject: chance_recall(c, s, subject, k=k), _positives)


CHANCE_MIXED = Null("pairing shuffle", chance_mixed, _positives)
CHANCE_RANK = Null("pairing shuffle", chance_median_rank, _positives)
CHANCE_RECIPROCAL = Null("pairing shuffle", _ranked(lambda r: 1 / r), _positives)
CHANCE_GAIN = Null("pairing shuffle", _ranked(lambda r: np.where(r <= 10, 1 / np.log2(1 + r), 0.0)), _positives)
CHANCE_OVERLAP = Null("pairing shuffle", chance_overlap, _own_neighbours)
CHANCE_VOLUME = Null(
    "pairing shuffle",
    lambda c, s, subject, **params: chance_recall(c, s, subject, k=1),
    lambda *subject, **params: (Matched(subject),),
)
INDEPENDENT_VERDICTS = Null("independent verdicts", independent_verdicts, _joint_reads)
SAME_LABEL = Null("label shuffle", same_label)
LABEL_GUESS = Null("label shuffle", label_guess)
