"""Spectrum: in how many directions do the vectors really vary?"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.diagnostics.nulls import ISOTROPIC
from workbench.diagnostics.registry import curve, diagnostic
from workbench.statistics import Moments, State

SPECTRAL = "none: the spectrum of a sample is biased by its size; read it beside its null of the same size"


def singular_values(moments: State) -> Tensor:
    """Singular values of the centred rows, descending; what rounding made of a zero is a zero."""
    eigen = torch.linalg.eigvalsh(moments["scatter"]).flip(0).clamp_min(0)
    eps = torch.finfo(eigen.dtype).eps
    # relative to the largest, and, where all rows coincide, to what rounding unit rows leaves behind
    floor = max(len(eigen) * eps * float(eigen[0]), float(moments["n"]) * (8 * eps) ** 2)
    # a centred matrix of n rows has at most n − 1 directions
    eigen = torch.where((eigen > floor) & (torch.arange(len(eigen)) < float(moments["n"]) - 1), eigen, 0.0)
    return eigen.sqrt()


def entropy_rank(sigma: Tensor) -> Tensor:
    """exp of the entropy of σ/Σσ."""
    p = sigma / sigma.sum()
    return torch.exp(-torch.special.xlogy(p, p).sum())


@diagnostic(
    on="modality",
    reads=lambda m: (Moments((m,)),),
    null=ISOTROPIC,
    interval=SPECTRAL,
    unit="dimensions",
    bound=(1.0, float("inf")),
)
def effective_rank(moments: State) -> Tensor:
    r"""Number of directions that the centred unit rows really use: exp of the entropy of their singular values.

    $$\exp\Big(-\sum_k p_k \log p_k\Big), \quad p_k = \sigma_k / \sum_l \sigma_l$$

    1: all on one line; at most min(n − 1, d). Centred, unlike RankMe. Invariant to rotation and row order. NaN where
    all rows coincide. Cost: one pass over rows, d³. Source: Roy & Vetterli 2007, eq. 1, on the centred matrix.

    >>> import torch, workbench as wb
    >>> float(wb.diagnose({"a": torch.eye(3)}, only=["effective_rank"]).value("effective_rank", "a"))
    2.0
    """
    return entropy_rank(singular_values(moments))


@curve(on="modality", reads=lambda m: (Moments((m,)),))
def singular_spectrum(moments: State) -> State:
    """Singular values of the centred unit rows, descending."""
    return {"sigma": singular_values(moments)}
