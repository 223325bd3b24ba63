"""Nulls of the space alone: rows drawn evenly on the sphere, or from a Gaussian without any preferred direction."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from scipy.special import betainc, gammaincinv
from torch import Tensor

from workbench.diagnostics.context import Context
from workbench.diagnostics.nulls.bands import Band, binomial, normal, percentiles
from workbench.diagnostics.registry import NAN_BAND, NotApplicable, Null
from workbench.diagnostics.scope import Scope
from workbench.disk import kept
from workbench.scan.statistics import Differences, Neighbours, State

EIGEN_WORK = 2e8  # d³ times draws that a null of a spectrum may cost: a second or so
FEW_NUMBERS = 200_000  # of a matrix that may be drawn whole, some ten times
NEIGHBOUR_WORK = 2e9  # products that a null of neighbours may cost: fewer draws of more points
WORTH_KEEPING = 1e8  # such products that what was drawn is kept for the next time
POINTS = 1_000  # random points whose neighbours a null looks at; with fewer items, as many as there are

# what is kept is that of this very file
_KEY = "nulls/" + hashlib.blake2b(Path(__file__).read_bytes(), digest_size=6).hexdigest()

_one_at_a_time = Lock()  # two diagnostics that ask for the same draws shall not both make them


def gaussian_potential(t: float, d: int) -> float:
    r"""$\mathbb{E}\,e^{-t\|x-y\|^2}$ for independent x, y even on the sphere in d dimensions, by its power series."""
    term = total = 1.0
    for k in range(1, 200):
        term *= t * t / (k * (d / 2 + k - 1))
        total += term
        if term < 1e-17 * total:
            break
    return math.exp(-2 * t) * total


def sphere(context: Context, states: Sequence[State], scope: Scope, *, t: float) -> Band:
    """n points drawn evenly on the sphere: the potential's mean and, as it is degenerate, its exact variance."""
    n = sum(len(context.es[m]) for m in scope)
    d = context.es[scope[0]].shape[-1]
    if n < 2:
        return NAN_BAND
    mean = gaussian_potential(t, d)
    # t twice as wide: E of the squared potential
    variance = max(gaussian_potential(2 * t, d) - mean**2, 0.0) * 2 / (n * (n - 1))
    low, mid, high = (math.log(max(x, 1e-300)) for x in normal(mean, math.sqrt(variance)))
    return low, mid, high


def bartlett(rng: np.random.Generator, k: int, freedom: int) -> np.ndarray:
    """The Cholesky factor of a Wishart matrix: what n rows of noise leave, without the rows."""
    lower = np.tril(rng.standard_normal((k, k)), -1)
    lower[np.diag_indices(k)] = np.sqrt(rng.chisquare(freedom - np.arange(k)))
    return lower


def _noise_spectra(n: int, d: int, raw: bool) -> tuple[Tensor, ...]:
    with _one_at_a_time:
        return _spectra(n, d, raw)


@lru_cache(maxsize=16)
def _spectra(n: int, d: int, raw: bool) -> tuple[Tensor, ...]:
    """Singular values, all min(n, d) of them, of n even rows on the sphere, or of Gaussian ones, up to a factor.

    Of many rows they are those of Gaussian ones, drawn without the rows, and as much narrower as even lengths make
    them: the squared shares of variance add up to 1/n + (1 − 1/n)/d, and of Gaussian rows to (n + d + 1)/(nd + 2).
    """
    k = min(n, d)
    draws = int(min(40, max(4, EIGEN_WORK // k**3)))

    def drawn() -> list[np.ndarray]:
        return [s.numpy() for s in _drawn_spectra(n, d, raw, draws)]

    known = kept(f"{_KEY}-spectra-{n}-{d}-{raw:d}", drawn) if k**3 * draws >= WORTH_KEEPING else drawn()
    return tuple(map(torch.from_numpy, known))


def _drawn_spectra(n: int, d: int, raw: bool, draws: int) -> list[Tensor]:
    k, freedom = min(n, d), max(n, d)
    rng, out = np.random.default_rng(0), []
    if raw:
        return [torch.linalg.svdvals(torch.from_numpy(bartlett(rng, k, freedom))) for _ in range(draws)]
    if n * d <= FEW_NUMBERS:
        return [torch.linalg.svdvals(_points(rng, n, d)) for _ in range(draws)]
    even, gaussian = (x - 1 / k for x in (1 / n + (1 - 1 / n) / d, (n + d + 1) / (n * d + 2)))
    narrower = math.sqrt(max(even, 0.0) / gaussian)
    for _ in range(draws):
        share = torch.linalg.svdvals(torch.from_numpy(bartlett(rng, k, freedom))).square()
        share /= share.sum()
        out.append((1 / k + (share - 1 / k) * narrower).clamp_min(0).sqrt())
    return out


def isotropic(measure: Callable[[Tensor], Tensor], *, centred: bool = True, raw: bool = False) -> Null:
    """A measure of the spectrum of as many vectors without any preferred direction: unit ones, or raw Gaussian ones."""

    def band(context: Context, states: Sequence[State], scope: Scope, **params: Any) -> Band:
        n, d = len(context.es[scope[0]]) - centred, context.es[scope[0]].shape[-1]
        if n < 2 or d < 2:
            return NAN_BAND
        pad = torch.zeros(d - min(n, d), dtype=torch.float64)
        out = [float(measure(torch.cat([s, pad]), **params)) for s in _noise_spectra(n, d, raw)]
        return normal(float(np.mean(out)), float(np.std(out, ddof=1)))

    return Null("isotropic Gaussian" if raw else "uniform on the sphere", band, reference=True)


def sphere_resultant(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Length of the mean of n even points: its square times n d is χ² with d degrees."""
    n, d = len(context.es[scope[0]]), context.es[scope[0]].shape[-1]
    low, mid, high = np.sqrt(2 * gammaincinv(d / 2, [0.025, 0.5, 0.975]) / (n * d))  # quantiles of χ² with d degrees
    return float(low), float(mid), float(high)


def sphere_cosine(context: Context, states: Sequence[State], scope: Scope) -> Band:
    """Mean cosine of distinct pairs of n even points."""
    n, d = len(context.es[scope[0]]), context.es[scope[0]].shape[-1]
    return normal(0.0, math.sqrt(2 / (n * (n - 1) * d))) if n > 1 else NAN_BAND


def sphere_across(context: Context, states: Sequence[State], scope: Scope, *, t: float) -> Band:
    """Two sets of points drawn evenly on the sphere: the variance of a two-sample mean of a degenerate kernel."""
    na, nb = (len(context.es[m]) for m in scope)
    d = context.es[scope[0]].shape[-1]
    mean = gaussian_potential(t, d)
    variance = max(gaussian_potential(2 * t, d) - mean**2, 0.0) / (na * nb)
    low, mid, high = (math.log(max(x, 1e-300)) for x in normal(mean, math.sqrt(variance)))
    return low, mid, high


def _points(rng: np.random.Generator, n: int, d: int) -> Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((n, d))), dim=1)


def _sphere_neighbours(queries: int, n: int, d: int, within: bool) -> tuple[tuple[Tensor, Tensor], ...]:
    with _one_at_a_time:
        return _nearest(queries, n, d, within)


@lru_cache(maxsize=16)
def _nearest(queries: int, n: int, d: int, within: bool) -> tuple[tuple[Tensor, Tensor], ...]:
    """Scores and positions of the ten nearest among n even points of the sphere, in a few draws."""
    draws = int(np.clip(NEIGHBOUR_WORK / (queries * n * d), 12, 150))

    def drawn() -> list[np.ndarray]:
        rng, out = np.random.default_rng(0), []
        for _ in range(draws):
            x = _points(rng, n, d)
            s = (x[:queries] if within else _points(rng, queries, d)) @ x.T
            if within:
                s.fill_diagonal_(-4.0)
            top = torch.topk(s, min(10, n - within), dim=1)
            out += [top.values.float().numpy(), top.indices.short().numpy()]  # there are at most 1,000 points
        return out

    worth = queries * n * d * draws >= WORTH_KEEPING
    known = kept(f"{_KEY}-neighbours-{queries}-{n}-{d}-{within:d}", drawn) if worth else drawn()
    pairs = zip(known[::2], known[1::2], strict=True)
    return tuple((torch.from_numpy(s).double(), torch.from_numpy(i).long()) for s, i in pairs)


def _of_neighbours(kind: str, within: bool, measure: Callable[[Tensor, Tensor, int], float]) -> Null:
    def band(context: Context, states: Sequence[State], scope: Scope, **params: Any) -> Band:
        asked, keys = len(states[0]["row"]), len(context.es[scope[-1]])
        share = min(POINTS / max(asked, keys), 1.0)  # fewer points, as many queries a key
        queries, n, d = round(asked * share), round(keys * share), context.es[scope[0]].shape[-1]
        if min(n, queries) < 4:
            return NAN_BAND
        try:
            out = [measure(s, i, n) for s, i in _sphere_neighbours(queries, n, d, within)]
        except NotApplicable:
            return NAN_BAND
        if len(out) >= 40:
            return percentiles(np.array(out))
        return normal(float(np.mean(out)), float(np.std(out, ddof=1)))

    return Null(kind, band, lambda *scope, **params: (Neighbours(scope[0], scope[-1]),), reference=True)


def hubs(measure: Callable[[Tensor], Tensor], *, within: bool) -> Null:
    """A measure of how often keys are neighbours, for even points on the sphere (1,000 of them at most)."""
    kind = "uniform on the sphere"
    return _of_neighbours(
        kind, within, lambda s, i, n: float(measure(torch.bincount(i.flatten(), minlength=n).double()))
    )


def two_nn(fit: Callable[[Tensor], Tensor]) -> Null:
    """A fit from the distances to the two nearest neighbours, (n, 2), for even points on the sphere."""

    def measure(score: Tensor, index: Tensor, n: int) -> float:
        return float(fit((2 - 2 * score[:, :2]).clamp_min(1e-24).sqrt()))

    return _of_neighbours("uniform on the sphere", True, measure)


def sphere_duplicates(context: Context, states: Sequence[State], scope: Scope, *, cosine: float) -> Band:
    """Chance that the nearest of n even points lies within the angle, from the share of the sphere's cap."""
    n, d = len(context.es[scope[0]]), context.es[scope[0]].shape[-1]
    if d < 2:
        return NAN_BAND
    cap = betainc((d - 1) / 2, 0.5, min(max(1 - cosine**2, 0.0), 1.0)) / 2
    return binomial(n, float(-np.expm1((n - 1) * np.log1p(-cap))))


def gaussian_moment(mean: float, deviation: float) -> Callable[..., Band]:
    """The mean over d dimensions of a sample moment with this mean and deviation, both to be divided by √n."""

    def band(context: Context, states: Sequence[State], scope: Scope) -> Band:
        n, d = float(states[0]["n"]), len(states[0]["second"])
        return normal(mean / math.sqrt(n), deviation / math.sqrt(n * d))

    return band


def gaussian_dimensions(context: Context, states: Sequence[State], scope: Scope, *, share: float) -> Band:
    """As many dimensions that share a gap by chance: squares of independent normal numbers."""
    d = context.es[scope[0]].shape[-1]
    z = np.sort(np.random.default_rng(0).standard_normal((200, d)) ** 2, axis=1)[:, ::-1].cumsum(1)
    return percentiles((z < share * z[:, -1:]).sum(1) + 1.0)


def _differences(a: str, b: str) -> tuple:
    return (Differences(a, b),)


POTENTIAL = Null("uniform on the sphere", sphere, reference=True)
POTENTIAL_ACROSS = Null("uniform on the sphere", sphere_across, reference=True)
COSINE = Null("uniform on the sphere", sphere_cosine, reference=True)
RESULTANT = Null("uniform on the sphere", sphere_resultant, reference=True)
DUPLICATES = Null("uniform on the sphere", sphere_duplicates, reference=True)
# moments of a Gaussian sample: skewness has variance 6/n and mean absolute value √(2/π) of its deviation
GAUSSIAN_SKEW = Null(
    "Gaussian", gaussian_moment(math.sqrt(12 / math.pi), math.sqrt(6 * (1 - 2 / math.pi))), _differences, True
)
GAUSSIAN_KURTOSIS = Null("Gaussian", gaussian_moment(0.0, math.sqrt(24)), _differences, True)
GAUSSIAN_DIMENSIONS = Null("Gaussian", gaussian_dimensions, reference=True)
