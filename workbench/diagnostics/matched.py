"""Matched: are the vectors of one item near each other?"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.diagnostics.nulls import PAIRING_DISTANCE, PAIRING_VOLUME
from workbench.diagnostics.registry import Null, curve, diagnostic
from workbench.statistics import BINS, Histogram, Matched, Moments, State


def _shuffled_cosine(context, states, subject) -> tuple[float, float, float]:
    low, mid, high = PAIRING_DISTANCE.band(context, states, subject, alpha=2.0)
    return 1 - high / 2, 1 - mid / 2, 1 - low / 2


PAIRING_COSINE = Null("pairing shuffle", _shuffled_cosine, lambda a, b: (Moments((a, b)),))


@diagnostic(
    on="pair",
    reads=lambda a, b, alpha: (Matched((a, b), alpha),),
    null=PAIRING_DISTANCE,
    interval="jackknife",
    unit="squared length",
    bound=(0.0, 4.0),
    each="item",
)
def alignment(matched: State, *, alpha: float = 2.0) -> Tensor:
    r"""Mean distance of matched unit rows, to the power alpha.

    $$\mathbb{E}_i\,\|a_i - b_i\|^{\alpha}$$

    0: every item's vectors coincide, which a collapsed space achieves as well, so no direction is better: read it
    against its null (shuffled pairs) and with uniformity. Invariant to rotation and row order. Cost: one pass over
    rows. Source: Wang & Isola 2020, eq. 4 (alpha = 2).

    >>> import torch, workbench as wb
    >>> x = torch.eye(3)
    >>> float(wb.diagnose({"a": x, "b": -x}, only=["alignment"]).value("alignment", "a", "b"))
    4.0
    """
    return matched["distance"]


@diagnostic(
    on="pair",
    reads=lambda a, b: (Matched((a, b)),),
    null=PAIRING_COSINE,
    interval="jackknife",
    unit="cosine",
    bound=(-1.0, 1.0),
    each="item",
)
def matched_cosine(matched: State) -> Tensor:
    r"""Mean signed cosine of matched rows, $\mathbb{E}_i\,\langle a_i, b_i\rangle$.

    Stands beside the Gramian volume, which cannot see sign: opposite vectors have volume 0 and cosine −1. Read it
    against its null: in a narrow cone strangers score high too. Cost: one pass over rows. Equals
    1 − alignment/2 for alpha = 2.

    >>> import torch, workbench as wb
    >>> x = torch.eye(3)
    >>> float(wb.diagnose({"a": x, "b": -x}, only=["matched_cosine"]).value("matched_cosine", "a", "b"))
    -1.0
    """
    return matched["cosine"]


@diagnostic(
    on="tuple",
    reads=lambda *m: (Matched(m),),
    null=PAIRING_VOLUME,
    interval="jackknife",
    unit="volume",
    bound=(0.0, 1.0),
    each="item",
)
def gramian_volume(matched: State) -> Tensor:
    r"""Mean volume of the body spanned by the unit vectors of each tuple.

    $$\mathbb{E}_i \sqrt{\det G_i}, \quad G_i = X_i X_i^\top,\ X_i \in \mathbb{R}^{M \times d}$$

    0: the vectors of an item are linearly dependent, so two of three may agree and the third be anywhere; 1: all
    orthogonal. Blind to sign: read `matched_cosine` beside it, and the null of shuffled tuples. For two modalities it
    is the mean sine of their angle. Invariant to rotation, order and sign. Cost: one pass over rows.
    Source: GRAM (Cicchetti et al. 2025), eq. 3; its code takes √|det| in float32, here a product of lengths.

    >>> import torch, workbench as wb
    >>> x = torch.eye(3)
    >>> float(wb.diagnose({"a": x, "b": x.roll(1, 0)}, only=["gramian_volume"]).value("gramian_volume", "a", "b"))
    1.0
    """
    return matched["volume"]


@curve(on="pair", reads=lambda a, b: (Matched((a, b)), Histogram(a, b)))
def similarity_histogram(matched: State, histogram: State) -> State:
    """Cosines of matched and of mismatched pairs in bins from −1 to 1, each as shares that add up to 1."""
    cosine = matched["cosine"] / matched["count"]
    inside = torch.histc(cosine, BINS, -1, 1)
    return {
        "edges": torch.linspace(-1, 1, BINS + 1, dtype=torch.float64),
        "matched": inside / inside.sum().clamp_min(1),
        "mismatched": histogram["count"] / histogram["count"].sum().clamp_min(1),
    }
