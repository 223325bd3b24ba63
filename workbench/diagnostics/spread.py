"""Is the sphere used?

Spread: whether the vectors crowd together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from workbench.diagnostics.leave_one_out import Centroids, Potential
from workbench.diagnostics.nulls import sphere
from workbench.diagnostics.registry import curve, diagnostic
from workbench.diagnostics.states import CentroidGramState, KernelState, SampleState
from workbench.scan.statistics import Sample, State
from workbench.sets.embeddings import EmbeddingSet

ORDER = 5  # among the questions
VIEW = "SVD, uncentred"  # the map that shows it

POTENTIAL: dict[str, Any] = {"interval": "jackknife", "unit": "nats", "bound": (-8.0, 0.0)}


@diagnostic(
    on="modality",
    reads=lambda m, t: (Potential((m,), t),),
    null=sphere.POTENTIAL,
    headline=6,
    see="The nearer to the band, the more evenly the sphere is used; 0 is a single point.",
    probed=True,
    **POTENTIAL,
)
def uniformity(potential: KernelState, *, t: float = 2.0) -> Tensor:
    r"""Log mean Gaussian potential over distinct pairs of unit rows of one modality.

    $$U = \log \frac{1}{n(n-1)} \sum_{i \ne j} e^{-t\|x_i - x_j\|^2}$$

    0: all rows coincide. For t = 2 the even sphere tends to −4 from above as d grows; −8 is two opposite points.
    Neither end is better: read it with alignment and retrieval. Invariant to rotation and row order; depends on n
    for small n, see the curve `uniformity_by_size`. Cost: all pairs. Source: Wang & Isola 2020, eq. 5 (t = 2); their
    code takes i < j, the same mean.

    >>> import torch, workbench as wb
    >>> round(wb.diagnose({"a": torch.eye(3)}, only=["uniformity"]).value("uniformity", "a"), 6)
    -4.0
    """
    return (potential["sum"] / potential["count"]).log()


@diagnostic(
    on="pair", reads=lambda a, b, t: (Potential((a, b), t, across=True),), null=sphere.POTENTIAL_ACROSS, **POTENTIAL
)
def uniformity_cross(potential: KernelState, *, t: float = 2.0) -> Tensor:
    r"""Log mean Gaussian potential between the rows of two modalities, of different items only.

    $$U_{AB} = \log \mathbb{E}_{i \ne j}\, e^{-t\|a_i - b_j\|^2}$$

    How near non-matches of the other modality are. A gap lowers it; compare with both modalities' `uniformity`. Neither
    end is better. Cost: all pairs across. Source: the cross-modal uniformity of Fahim et al. 2024 ("It's not a modality
    gap"), which leaves out matched pairs too.

    >>> import torch, workbench as wb
    >>> x = torch.eye(2)
    >>> round(wb.diagnose({"a": x, "b": -x}, only=["uniformity_cross"]).value("uniformity_cross", "a", "b"), 6)
    -4.0
    """
    return (potential["sum"] / potential["count"]).log()


@diagnostic(
    on="tuple",
    reads=lambda *m, t: (Potential(m, t),),
    null=sphere.POTENTIAL,
    **(POTENTIAL | {"interval": "jackknife of this size"}),
)
def uniformity_joint(potential: KernelState, *, t: float = 2.0) -> Tensor:
    r"""Uniformity of all modalities' rows taken together, matched pairs included.

    $$U = \log \frac{1}{n(n-1)} \sum_{i \ne j} e^{-t\|z_i - z_j\|^2}, \quad z \in \bigcup_m X_m$$

    A gap between modalities lowers it although neither modality is spread any better: compare with `uniformity`.
    Cost: all pairs within and across. Source: as CLIP-Refine evaluates it, on images and texts concatenated.

    >>> import torch, workbench as wb
    >>> x = torch.eye(2)
    >>> round(wb.diagnose({"a": x, "b": -x}, only=["uniformity_joint"]).value("uniformity_joint", "a", "b"), 3)
    -4.396
    """
    return (potential["sum"] / potential["count"]).log()


@diagnostic(
    on="modality",
    reads=lambda m: (Centroids((m,)),),
    null=sphere.COSINE,
    interval="jackknife",
    unit="cosine",
    bound=(-1.0, 1.0),
    layered=True,
)
def mean_cosine(centroids: CentroidGramState) -> Tensor:
    r"""Mean cosine of distinct rows of one modality: the width of its cone.

    $$\frac{1}{n(n-1)}\sum_{i\ne j}\langle x_i, x_j\rangle = \frac{\|\sum_i x_i\|^2 - n}{n(n-1)}$$

    0: no common direction; 1: collapsed to a point. Random deep networks already give narrow cones (the cone effect:
    0.87 after ten ReLU layers). No direction is better. Cost: two passes over rows. Source: Liang et al. 2022, sec. 2.

    >>> import torch, workbench as wb
    >>> float(wb.diagnose({"a": torch.eye(3)}, only=["mean_cosine"]).value("mean_cosine", "a"))
    0.0
    """
    n, squares = centroids["n"][..., 0], centroids["squares"][..., 0]
    return (centroids["gram"][..., 0, 0] - squares) / (n * (n - 1))


SIZES = (16, 32, 64, 128, 256, 512, 1024)


@curve(
    on="modality",
    reads=lambda m: (Sample(m, 2_048),),
    sees_set=True,
    see=(
        "Compare uniformity only at one n: small samples scatter, and the form that pairs a row with itself is "
        "biased upwards."
    ),
)
def uniformity_by_size(sample: SampleState, es: EmbeddingSet, modality: str) -> State:
    """Uniformity (t = 2) of disjoint samples of n rows: their mean, as it is here and with self-pairs as it is often
    coded. The second is biased upwards, by −log of the share of true pairs; the first only by the logarithm."""
    x = es.unit(modality, sample["row"][sample["hash"].argsort()])
    sizes = [n for n in SIZES if 2 * n <= len(x)] or [len(x)]
    out = []
    for n in sizes:
        parts = x[: len(x) // n * n].view(-1, n, x.shape[1])
        e = (4 * (parts @ parts.mT - 1)).exp()
        with_self = e.mean((1, 2))
        without = (e.sum((1, 2)) - n) / (n * (n - 1)) if n > 1 else with_self
        out.append((without.log().mean(), with_self.log().mean(), without.log().std() if len(parts) > 1 else 0.0))
    columns = torch.tensor(out, dtype=torch.float64)
    return {
        "n": torch.tensor(sizes, dtype=torch.float64),
        "uniformity": columns[:, 0],
        "with_self_pairs": columns[:, 1],
        "deviation": columns[:, 2],
    }
