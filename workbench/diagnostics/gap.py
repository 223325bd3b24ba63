"""Is there a gap, and how large?

Gap: whether the modalities live in different places.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.diagnostics.leave_one_out import Centroids, Potential
from workbench.diagnostics.nulls import pairing, sphere, swap
from workbench.diagnostics.registry import SUBSAMPLING, NotApplicable, curve, diagnostic
from workbench.diagnostics.states import (
    CentroidGramState,
    ClassMomentsState,
    DifferencesState,
    KernelState,
    MatchedState,
    MomentsState,
    ProbedState,
    ShiftedState,
)
from workbench.geometry import frechet
from workbench.scan.statistics import ClassMoments, Differences, Matched, Moments, Separated, Shifted, State, centroids

ORDER = 3  # among the questions
VIEW = "gap axis"  # the map that shows it

DELTAS = tuple(d / 4 for d in range(-8, 9))  # steps along the gap; 0 is the space as it is
ROWS_PER_DIMENSION = 10  # a covariance of fewer rows makes any two sets look apart


def squared_gap(centroids: CentroidGramState) -> Tensor:
    """‖mean of A − mean of B‖² from the Gram matrix of the sums."""
    g, n = centroids["gram"], centroids["n"]
    aa, bb, ab = g[..., 0, 0], g[..., 1, 1], g[..., 0, 1]
    na, nb = n[..., 0], n[..., 1]
    return (aa / na**2 + bb / nb**2 - 2 * ab / (na * nb)).clamp_min(0)


@diagnostic(
    on="pair",
    reads=lambda a, b: (Centroids((a, b)),),
    null=swap.GAP,
    interval="jackknife of the square",
    unit="unit length",
    bound=(0.0, 2.0),
    headline=3,
    see="Distance between the centroids; the band is what items whose modalities trade places would show.",
    probed=True,
)
def modality_gap(centroids: CentroidGramState) -> Tensor:
    r"""Distance between the mean unit vectors of two modalities.

    $$\|\Delta\|, \quad \Delta = \frac{1}{n_A}\sum_i \frac{a_i}{\|a_i\|} - \frac{1}{n_B}\sum_i \frac{b_i}{\|b_i\|}$$

    0: the centroids coincide; 2: all vectors of one modality opposite to all of the other. No direction is better: a
    gap may help, and closing it need not change one ranking. Invariant to rotation and pairing. The plain length is
    biased upwards by noise; the interval is that of the unbiased square. Cost: two passes over rows.
    Source: Liang et al. 2022, sec. 2 (CLIP: 0.82). The vector itself is in `report.arrays`.

    >>> import torch, workbench as wb
    >>> x = torch.eye(3)
    >>> float(wb.diagnose({"a": x, "b": -x}, only=["modality_gap"]).value("modality_gap", "a", "b"))
    1.154...
    """
    return squared_gap(centroids).sqrt()


@diagnostic(
    on="pair",
    reads=lambda a, b: (Centroids((a, b), raw=True),),
    null=swap.RAW_GAP,
    interval="jackknife of the square",
    unit="raw length",
    bound=(0.0, float("inf")),
)
def raw_gap(centroids: CentroidGramState) -> Tensor:
    r"""Distance between the mean vectors of two modalities as stored, lengths and all.

    $$\Big\|\tfrac{1}{n_A}\sum_i a_i - \tfrac{1}{n_B}\sum_i b_i\Big\|$$

    Differs from `modality_gap` where lengths differ, and can move the other way: compare runs by the unit one. No
    direction is better. Cost: two passes over rows. Source: the un-normalised variant of Liang et al. 2022.

    >>> import torch, workbench as wb
    >>> float(wb.diagnose({"a": torch.eye(2), "b": torch.eye(2) * 3}, only=["raw_gap"]).value("raw_gap", "a", "b"))
    1.414...
    """
    return squared_gap(centroids).sqrt()


@diagnostic(
    on="pair",
    reads=lambda a, b: (Centroids((a, b)),),
    null=swap.RELATIVE_GAP,
    interval="jackknife of the square",
    unit="spreads",
    bound=(0.0, float("inf")),
)
def relative_gap(centroids: CentroidGramState) -> Tensor:
    r"""Modality gap in units of the spread of the modalities around their centroids.

    $$\|\Delta\| \Big/ \sqrt{\tfrac12 (\sigma_A^2 + \sigma_B^2)}, \quad \sigma_A^2 = 1 - \|\bar a\|^2$$

    Below about 1 the clouds overlap; far above, they are two islands. Infinite where both have collapsed to points.
    Invariant to rotation and pairing. Cost: two passes over rows. Source: the gap of Liang et al. 2022, scaled here.

    >>> import torch, workbench as wb
    >>> x = torch.eye(3)
    >>> float(wb.diagnose({"a": x, "b": -x}, only=["relative_gap"]).value("relative_gap", "a", "b"))
    1.414...
    """
    g, n = centroids["gram"], centroids["n"]
    resultant = g.diagonal(dim1=-2, dim2=-1) / n**2
    return (squared_gap(centroids) / (1 - resultant).mean(-1).clamp_min(0)).sqrt()


@diagnostic(
    on="pair",
    reads=lambda a, b: (Centroids((a, b)),),
    null=swap.COSINE,
    interval="jackknife",
    unit="cosine",
    bound=(-1.0, 1.0),
)
def centroid_cosine(centroids: CentroidGramState) -> Tensor:
    r"""Cosine between the mean unit vectors of two modalities, $\langle\bar a,\bar b\rangle/(\|\bar a\|\|\bar b\|)$.

    1: both cones point the same way; near 0 or below: two cones apart. Means nothing where `resultant_length` is near
    0, for then there is no direction to speak of. No direction is better. Cost: two passes over rows.

    >>> import torch, workbench as wb
    >>> x = torch.eye(3)
    >>> round(float(wb.diagnose({"a": x, "b": -x}, only=["centroid_cosine"]).value("centroid_cosine", "a", "b")), 6)
    -1.0
    """
    g = centroids["gram"]
    return g[..., 0, 1] / (g[..., 0, 0] * g[..., 1, 1]).sqrt()


@diagnostic(
    on="pair",
    reads=lambda a, b: (Matched((a, b), 1.0),),
    null=pairing.LENGTH,
    interval="jackknife",
    unit="unit length",
    bound=(0.0, 2.0),
    each="item",
)
def matched_distance(matched: MatchedState) -> Tensor:
    r"""Mean distance of matched unit rows, $\mathbb{E}_i\|a_i-b_i\|$: the gap that single items see.

    At least `modality_gap`, and may grow while that one shrinks: centroids can coincide with no pair near. No
    direction is better: read it against shuffled pairs. Cost: one pass over rows. Equals `alignment` with alpha = 1.

    >>> import torch, workbench as wb
    >>> x = torch.eye(3)
    >>> float(wb.diagnose({"a": x, "b": -x}, only=["matched_distance"]).value("matched_distance", "a", "b"))
    2.0
    """
    return matched["distance"]


@diagnostic(
    on="pair",
    reads=lambda a, b: (Separated(a, b), Separated(b, a)),
    null=swap.COIN,
    interval=SUBSAMPLING,
    unit="share of rows",
    bound=(0.0, 1.0),
    each="row",
)
def modality_separability(a: ProbedState, b: ProbedState) -> tuple[Tensor, Tensor]:
    r"""Share of rows whose modality a linear discriminant knows, fitted on the other half of the families.

    $$w = (S_w + \lambda I)^{-1}(\bar a - \bar b), \quad \lambda = 10^{-3}\,\mathrm{tr}(S_w)/\min(d, n)$$

    n: the rows it was fitted on. 0.5: the modalities cannot be told apart along any one direction; 1: they can, as in
    nearly every trained model: a fact, not a fault. Both modalities weigh alike, however many rows they have. Cost: two
    passes over rows, d³. Source: Fisher 1936; the use as a gap measure as in Shi et al. 2023 ("Towards understanding
    the modality gap in CLIP").

    >>> import torch, workbench as wb
    >>> x = torch.eye(8) + 0.1
    >>> report = wb.diagnose({"a": x, "b": -x}, only=["modality_separability"])
    >>> float(report.value("modality_separability", "a", "b"))
    1.0
    """
    rows = len(a["correct"]) + len(b["correct"])
    alike = [s["correct"] * rows / (2 * len(s["correct"])) for s in (a, b)]
    return torch.cat(alike), torch.cat([a["item"], b["item"]])


@diagnostic(
    on="pair",
    reads=lambda a, b: (Moments(a), Moments(b)),
    null=swap.same_cloud(frechet, ROWS_PER_DIMENSION),
    interval=SUBSAMPLING,
    unit="squared length",
    bound=(0.0, 4.0),
)
def frechet_distance(a: MomentsState, b: MomentsState) -> Tensor:
    r"""Fréchet distance between Gaussians fitted to the unit rows of two modalities: gap and shape together.

    $$\|\mu_A-\mu_B\|^2 + \mathrm{tr}\big(\Sigma_A+\Sigma_B-2(\Sigma_A\Sigma_B)^{1/2}\big)$$

    0: same mean and covariance. Grows as n falls, so it is only given where both have at least 10 d rows. No direction
    is better. Invariant to rotation and pairing. Cost: one pass over rows, d³. Source: Dowson & Landau 1982; as FID.

    >>> import torch, workbench as wb
    >>> x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    >>> round(float(wb.diagnose({"a": x, "b": x}, only=["frechet_distance"]).value("frechet_distance", "a", "b")), 6)
    0.0
    """
    d = len(a["mean"])
    n = int(min(float(a["n"]), float(b["n"])))
    if n < ROWS_PER_DIMENSION * d:
        raise NotApplicable(f"needs at least {ROWS_PER_DIMENSION} rows a dimension: {n:,} rows for {d} dimensions")
    return frechet(a["mean"], a["scatter"] / a["n"], b["mean"], b["scatter"] / b["n"])


@diagnostic(
    on="pair",
    reads=lambda a, b, t: (Potential((a,), t), Potential((b,), t), Potential((a, b), t, across=True)),
    null=swap.MMD,
    interval="jackknife",
    unit="squared kernel length",
    bound=(-1.0, 2.0),
)
def mmd_squared(a: KernelState, b: KernelState, across: KernelState, *, t: float = 2.0) -> Tensor:
    r"""Squared maximum mean discrepancy of two modalities with the kernel $e^{-t\|x-y\|^2}$, unbiased.

    $$\mathbb{E}_{i\ne j}k(a_i,a_j) + \mathbb{E}_{i\ne j}k(b_i,b_j) - 2\,\mathbb{E}_{i\ne j}k(a_i,b_j)$$

    About 0, and below it by chance: the clouds are alike; sees any difference of shape that t can resolve, not only of
    means. No direction is better. Shares the sums of `uniformity`, so it is exact where that is. Cost: all pairs.
    Source: Gretton et al. 2012, eq. 3, without matched pairs in the cross term as these are dependent (their eq. 4).

    >>> import torch, workbench as wb
    >>> x = torch.eye(3)
    >>> round(float(wb.diagnose({"a": x, "b": -x}, only=["mmd_squared"]).value("mmd_squared", "a", "b")), 6)
    0.0
    """
    return a["sum"] / a["count"] + b["sum"] / b["count"] - 2 * across["sum"] / across["count"]


def shape_of_differences(m: DifferencesState) -> tuple[Tensor, Tensor, Tensor]:
    """Variance, skewness and excess kurtosis of each dimension of the matched differences."""
    n = m["n"]
    variance = m["second"] / n
    safe = variance.clamp_min(1e-300)
    return variance, m["third"] / n / safe.pow(1.5), m["fourth"] / n / safe.square() - 3


def _varying(m: DifferencesState) -> Tensor:
    """Dimensions in which the differences vary at all, beyond rounding."""
    variance = m["second"] / m["n"]
    varies = variance > 1e-20
    if float(m["n"]) < 4 or not bool(varies.any()):
        raise NotApplicable("the differences of matched rows do not vary")
    return varies


@diagnostic(
    on="pair",
    reads=lambda a, b: (Differences(a, b),),
    null=sphere.GAUSSIAN_SKEW,
    interval=SUBSAMPLING,
    unit="mean |skewness|",
    bound=(0.0, float("inf")),
    axes=True,
)
def gap_skewness(differences: DifferencesState) -> Tensor:
    r"""Mean absolute skewness of the dimensions of matched differences $a_i - b_i$: is the gap Gaussian?

    0 for a Gaussian of any mean and covariance. An effect size, not a test: with many items any p-value is small. Noise
    injection (MacCap, CLOSE) builds on a gap that is roughly Gaussian around a *non-zero* mean. Depends on the axes.
    Cost: two passes over rows. Source: the observation is MacCap's (Qiu et al. 2024); the effect size is ours.

    >>> import torch, workbench as wb
    >>> x, y = torch.eye(4), torch.eye(4).roll(1, 0)
    >>> round(float(wb.diagnose({"a": x, "b": y}, only=["gap_skewness"]).value("gap_skewness", "a", "b")), 6)
    0.0
    """
    return shape_of_differences(differences)[1][_varying(differences)].abs().mean()


@diagnostic(
    on="pair",
    reads=lambda a, b: (Differences(a, b),),
    null=sphere.GAUSSIAN_KURTOSIS,
    interval=SUBSAMPLING,
    unit="mean excess kurtosis",
    bound=(-2.0, float("inf")),
    axes=True,
)
def gap_kurtosis(differences: DifferencesState) -> Tensor:
    r"""Mean excess kurtosis of the dimensions of matched differences: above 0, the gap has heavier tails than noise.

    0 for a Gaussian, −2 for two points. See `gap_skewness`; mean, variance, skewness and kurtosis of each dimension
    are the curve `gap_moments`. Depends on the axes. Cost: two passes over rows.

    >>> import torch, workbench as wb
    >>> x, y = torch.eye(4), torch.eye(4).roll(1, 0)
    >>> round(float(wb.diagnose({"a": x, "b": y}, only=["gap_kurtosis"]).value("gap_kurtosis", "a", "b")), 6)
    -1.0
    """
    return shape_of_differences(differences)[2][_varying(differences)].mean()


@diagnostic(
    on="pair",
    reads=lambda a, b, share: (Moments(a), Moments(b)),
    null=sphere.GAUSSIAN_DIMENSIONS,
    interval="none: a count of sorted dimensions",
    unit="dimensions",
    bound=(0.0, float("inf")),
    axes=True,
)
def gap_dimensions(a: MomentsState, b: MomentsState, *, share: float = 0.5) -> Tensor:
    r"""Fewest coordinates that hold a share of the squared gap: do a few dimensions carry it?

    $$\min\{k : \textstyle\sum_{j \le k} \Delta_{(j)}^2 \ge s\,\|\Delta\|^2\}$$

    1 or 2 of hundreds: a few outlier coordinates are the gap; which ones is in the curve `gap_vector`. Depends on the
    axes, so a rotation changes it. No direction is better. Cost: one pass over rows.
    Source: as Schrodi et al. 2024 ("Two effects, one trigger") look at CLIP's coordinates.

    >>> import torch, workbench as wb
    >>> x = torch.eye(4)
    >>> float(wb.diagnose({"a": x, "b": -x}, only=["gap_dimensions"]).value("gap_dimensions", "a", "b"))
    2.0
    """
    return dimensions_of((a["mean"] - b["mean"]).square(), share)


def dimensions_of(squares: Tensor, share: float) -> Tensor:
    """How many dimensions, the widest first, make up a share of a squared gap (d,)."""
    part = squares.sort(descending=True).values.cumsum(0) / squares.sum()
    return (part < share - 1e-12).sum().double() + 1


@curve(on="pair", reads=lambda a, b: (Moments(a), Moments(b)))
def gap_vector(a: MomentsState, b: MomentsState) -> State:
    """Mean unit vector of the first modality minus that of the second, and its dimensions by the share they carry."""
    delta = a["mean"] - b["mean"]
    share = delta.square() / delta.square().sum().clamp_min(1e-300)
    order = share.argsort(descending=True)
    return {"delta": delta, "dimension": order, "share": share[order]}


@curve(on="pair", reads=lambda a, b: (Differences(a, b),))
def gap_moments(differences: DifferencesState) -> State:
    """Mean, variance, skewness and excess kurtosis of each dimension of the matched differences."""
    variance, skewness, kurtosis = shape_of_differences(differences)
    return {"mean": differences["mean"], "variance": variance, "skewness": skewness, "kurtosis": kurtosis}


@curve(
    on="pair",
    reads=lambda a, b: (ClassMoments(a, "label"), ClassMoments(b, "label")),
    see="The gap within each class. A class of few rows shows a larger one by noise alone.",
)
def label_gap(a: ClassMomentsState, b: ClassMomentsState) -> State:
    """The modality gap within each class, and how many rows each has; classes in the order of the report's labels."""
    gap = (centroids(a["sum"], a["n"]) - centroids(b["sum"], b["n"])).norm(dim=1)
    empty = (a["n"] == 0) | (b["n"] == 0)
    return {"gap": gap.masked_fill(empty, torch.nan), "first": a["n"], "second": b["n"]}


@curve(
    on="pair",
    reads=lambda a, b: (Shifted(a, b, DELTAS), Moments(a), Moments(b)),
    see=(
        "Both modalities move along the line between their centroids; the thin line is where they are. A flat "
        "solid line: for retrieval within one modality the gap does not matter. Queries are sampled, the gallery "
        "is whole."
    ),
)
def shift_curve(shifted: ShiftedState, a: MomentsState, b: MomentsState) -> State:
    """Loss (InfoNCE, temperature 0.01) and recall at 1 of sampled queries against all keys, as the modalities move
    along the gap by δ/2 each.

    δ > 0 moves them towards each other; `distance` is what is left of the gap before renormalising, negative once
    they have passed each other. Liang et al. 2022, sec. 4.
    """
    delta = torch.tensor(DELTAS, dtype=torch.float64)
    own = (shifted["own"] - 1) / 0.01
    loss = torch.logaddexp(shifted["others"].clamp_min(1e-300).log(), own) - own
    return {
        "delta": delta,
        "distance": (a["mean"] - b["mean"]).norm() - delta,
        "loss": loss.mean(0),
        "recall_at_1": (shifted["above"] == 0).double().mean(0),
        "queries": torch.tensor(float(len(own))),
    }
