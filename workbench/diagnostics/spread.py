"""Spread: is the sphere used, or do the vectors crowd together?"""

from __future__ import annotations

from torch import Tensor

from workbench.diagnostics.nulls import SPHERE
from workbench.diagnostics.registry import diagnostic
from workbench.diagnostics.tallies import Potential
from workbench.statistics import State


@diagnostic(
    on="modality",
    reads=lambda m, t: (Potential((m,), t),),
    null=SPHERE,
    interval="jackknife",
    unit="nats",
    bound=(-8.0, 0.0),
)
def uniformity(potential: State, *, t: float = 2.0) -> Tensor:
    r"""Log mean Gaussian potential over distinct pairs of unit rows of one modality.

    $$U = \log \frac{1}{n(n-1)} \sum_{i \ne j} e^{-t\|x_i - x_j\|^2}$$

    0: all rows coincide. For t = 2 the even sphere tends to −4 from above as d grows; −8 is two opposite points.
    Neither end is better: read it with alignment and retrieval. Invariant to rotation and row order; depends on n
    for small n. Cost: all pairs. Source: Wang & Isola 2020, eq. 5 (t = 2); their code takes i < j, the same mean.

    >>> import torch, workbench as wb
    >>> round(wb.diagnose({"a": torch.eye(3)}, only=["uniformity"]).value("uniformity", "a"), 6)
    -4.0
    """
    return (potential["sum"] / potential["count"]).log()


@diagnostic(
    on="tuple",
    reads=lambda *m, t: (Potential(m, t),),
    null=SPHERE,
    interval="jackknife",
    unit="nats",
    bound=(-8.0, 0.0),
)
def uniformity_joint(potential: State, *, t: float = 2.0) -> Tensor:
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
