"""Are the vectors of an item near each other?

Matched: distances, cosines and volumes of the vectors of one item.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.diagnostics.leave_one_out import Centroids
from workbench.diagnostics.nulls import chance, pairing
from workbench.diagnostics.registry import NotApplicable, curve, diagnostic
from workbench.diagnostics.states import CentroidGramState, HistogramState, MatchedState, PerTupleState, RanksState
from workbench.scan.statistics import BINS, Histogram, Matched, PerTuple, Ranks, State, VolumeRanks

ORDER = 4  # among the questions


@diagnostic(
    on="pair",
    reads=lambda a, b, alpha: (Matched((a, b), alpha),),
    null=pairing.DISTANCE,
    interval="jackknife",
    unit="squared length",
    bound=(0.0, 4.0),
    each="item",
    headline=5,
    see="Left of the band: matched items lie nearer than shuffled ones. A collapsed space does so too.",
    probed=True,
)
def alignment(matched: MatchedState, *, alpha: float = 2.0) -> Tensor:
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
    null=pairing.COSINE,
    interval="jackknife",
    unit="cosine",
    bound=(-1.0, 1.0),
    each="item",
)
def matched_cosine(matched: MatchedState) -> Tensor:
    r"""Mean signed cosine of matched rows, $\mathbb{E}\,\langle a, b\rangle$ over all pairs of rows of one item.

    Stands beside the Gramian volume, which cannot see sign: opposite vectors have volume 0 and cosine −1. Read it
    against its null: in a narrow cone non-matches score high too. Cost: one pass over rows. Equals
    1 − alignment/2 for alpha = 2.

    >>> import torch, workbench as wb
    >>> x = torch.eye(3)
    >>> float(wb.diagnose({"a": x, "b": -x}, only=["matched_cosine"]).value("matched_cosine", "a", "b"))
    -1.0
    """
    return matched["cosine"]


@diagnostic(
    on="pair",
    reads=lambda a, b: (Centroids((a, b)),),
    null=pairing.MARGIN,
    interval="jackknife",
    unit="cosine",
    bound=(-2.0, 2.0),
)
def cosine_margin(centroids: CentroidGramState) -> Tensor:
    r"""Mean cosine of matched rows minus that of rows of different items.

    $$\mathbb{E}_i\langle a_i,b_i\rangle - \mathbb{E}_{i\ne j}\langle a_i,b_j\rangle$$

    0: a match is no nearer than a non-match. What is left of `matched_cosine` once the cone is taken off; both
    histograms are the curve `similarity_histogram`. Small values can still rank well in a narrow cone, so no direction
    is better. Invariant to rotation. Cost: two passes over rows. Source: positive and negative similarity, as usual.

    >>> import torch, workbench as wb
    >>> x = torch.eye(3)
    >>> float(wb.diagnose({"a": x, "b": x}, only=["cosine_margin"]).value("cosine_margin", "a", "b"))
    1.0
    """
    c = centroids
    count = c["n"][..., 0] * c["n"][..., 1]
    return c["matched"] / c["pairs"] - (c["gram"][..., 0, 1] - c["matched"]) / (count - c["pairs"])


@diagnostic(
    on="subset",
    reads=lambda *m: (Matched(m),),
    null=pairing.VOLUME,
    interval="jackknife",
    unit="volume",
    bound=(0.0, 1.0),
    each="item",
    headline=8,
    see="Left of the band: tuples are flatter than shuffled ones, whichever of their vectors agree.",
    probed=True,
)
def gramian_volume(matched: MatchedState) -> Tensor:
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


@diagnostic(
    on="triple",
    reads=lambda *m: (PerTuple(m, "area"),),
    null=pairing.AREA,
    interval="jackknife",
    unit="area",
    bound=(0.0, 1.3),
    each="item",
)
def triangle_area(tuples: PerTupleState) -> Tensor:
    r"""Mean area of the triangle between the unit vectors of three modalities.

    $$\tfrac12\sqrt{\|u\|^2\|w\|^2 - \langle u,w\rangle^2},\quad u = x_1-x_2,\ w = x_1-x_3$$

    0: the three ends lie on a line, as where two coincide and the third is anywhere. Sees sign, unlike the volume; at
    most 3√3/4. No direction is better: read it against shuffled triples. Invariant to rotation and order. Cost: one
    pass over rows. Source: TRIANGLE (Grassucci et al. 2025); its code returns twice the squared area.

    >>> import torch, workbench as wb
    >>> x = torch.eye(3)
    >>> es = {"a": x, "b": x.roll(1, 0), "c": x.roll(2, 0)}
    >>> float(wb.diagnose(es, only=["triangle_area"]).value("triangle_area", "a", "b", "c"))
    0.866...
    """
    return tuples["value"]


@diagnostic(
    on="subset",
    reads=lambda *m: (PerTuple(m, "leading"),),
    null=pairing.LEADING,
    interval="jackknife",
    unit="share",
    bound=(0.0, 1.0),
    each="item",
)
def singular_concentration(tuples: PerTupleState) -> Tensor:
    r"""Mean share of a tuple's squared singular values in the largest, $\sigma_1^2 / \sum_k \sigma_k^2$.

    1: all vectors of an item are parallel, whatever their signs; 1/M: all orthogonal. Blind to sign: read
    `matched_cosine` beside it. No direction is better: read it against shuffled tuples. Cost: one pass over rows.
    Source: PMRL (Liu et al. 2025), whose loss pushes the largest singular value towards √M.

    >>> import torch, workbench as wb
    >>> x = torch.eye(3)
    >>> report = wb.diagnose({"a": x, "b": x.roll(1, 0)}, only=["singular_concentration"])
    >>> round(float(report.value("singular_concentration", "a", "b")), 6)
    0.5
    """
    return tuples["value"]


def _joint_reads(*m: str) -> tuple:
    return (VolumeRanks(m[0], m[1], m[1:]), *(Ranks(m[0], x) for x in m[1:]))


@diagnostic(
    on="tuple",
    reads=_joint_reads,
    null=chance.independent_verdicts(lambda *s: verdicts(*s)),
    interval="score",
    unit="share of queries",
    bound=(0.0, 1.0),
    each="row",
    gallery=True,
)
def pairwise_joint_disagreement(joint: RanksState, *pairs: RanksState) -> tuple[Tensor, Tensor]:
    r"""Share of anchors on which the volume's verdict and that of the pairs differ.

    $$\mathbb{E}_i\,\big|[\text{volume ranks } i \text{ first}] - [\text{every pair ranks } i \text{ first}]\big|$$

    0: looking at all modalities together says what looking at pairs says. High with good `volume_recall_at_1`: tuples
    are found although their pairs are not. Three modalities and more. Ties count as misses. The first modality is the
    anchor. Cost: (M − 1) products of all pairs. Source: this package.

    >>> import torch, workbench as wb
    >>> x = torch.eye(4)
    >>> report = wb.diagnose({"a": x, "b": x, "c": x}, only=["pairwise_joint_disagreement"])
    >>> float(report.value("pairwise_joint_disagreement", "a", "b", "c"))  # every tuple is flat, as b and c coincide
    1.0
    """
    if len(pairs) < 2:
        raise NotApplicable("needs three modalities: of two, the pair is the tuple")
    first, every, row = verdicts(joint, *pairs)
    return (first != every).double(), row


def verdicts(joint: RanksState, *pairs: RanksState) -> tuple[Tensor, Tensor, Tensor]:
    """Per anchor row that has both: whether the volume, and whether every pair, ranks its own first; and the row."""
    row = joint["row"]
    every = torch.ones(len(row), dtype=torch.bool)
    for p in pairs:
        at = torch.searchsorted(p["row"], row)
        every &= (p["above"][at, 0] + p["tied"][at, 0]) == 0
    return (joint["above"][:, 0] + joint["tied"][:, 0]) == 0, every, row


@curve(
    on="pair",
    reads=lambda a, b: (Matched((a, b)), Histogram(a, b)),
    see=(
        "The farther the solid hill lies right of the dotted one, the easier a threshold tells pairs from non-matches."
    ),
)
def similarity_histogram(matched: MatchedState, histogram: HistogramState) -> State:
    """Cosines of matched and of mismatched pairs in bins from −1 to 1, each as shares that add up to 1."""
    cosine = matched["cosine"] / matched["count"]
    inside = torch.histc(cosine, BINS, -1, 1)
    return {
        "edges": torch.linspace(-1, 1, BINS + 1, dtype=torch.float64),
        "matched": inside / inside.sum().clamp_min(1),
        "mismatched": histogram["count"] / histogram["count"].sum().clamp_min(1),
    }
