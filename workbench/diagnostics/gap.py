"""Gap: do the modalities live in different places?"""

from __future__ import annotations

from torch import Tensor

from workbench.diagnostics.nulls import SWAP_GAP, SWAP_RELATIVE_GAP
from workbench.diagnostics.registry import curve, diagnostic
from workbench.diagnostics.tallies import Centroids
from workbench.statistics import Moments, State


def squared_gap(centroids: State) -> Tensor:
    """‖mean of A − mean of B‖² from the Gram matrix of the sums."""
    g, n = centroids["gram"], centroids["n"]
    aa, bb, ab = g[..., 0, 0], g[..., 1, 1], g[..., 0, 1]
    na, nb = n[..., 0], n[..., 1]
    return (aa / na**2 + bb / nb**2 - 2 * ab / (na * nb)).clamp_min(0)


@diagnostic(
    on="pair",
    reads=lambda a, b: (Centroids((a, b)),),
    null=SWAP_GAP,
    interval="jackknife of the square",
    unit="unit length",
    bound=(0.0, 2.0),
)
def modality_gap(centroids: State) -> Tensor:
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
    reads=lambda a, b: (Centroids((a, b)),),
    null=SWAP_RELATIVE_GAP,
    interval="jackknife of the square",
    unit="spreads",
    bound=(0.0, float("inf")),
)
def relative_gap(centroids: State) -> Tensor:
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


@curve(on="pair", reads=lambda a, b: (Moments((a,)), Moments((b,))))
def gap_vector(a: State, b: State) -> State:
    """Mean unit vector of the first modality minus that of the second."""
    return {"delta": a["mean"] - b["mean"]}
