"""Do pairs find each other?

Retrieval: where the partner of a query stands among all keys.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from workbench.diagnostics.nulls import chance
from workbench.diagnostics.registry import SUBSAMPLING, diagnostic
from workbench.diagnostics.states import PlacesState, PositiveState, RanksState
from workbench.scan.statistics import Positive, Ranks, VolumeRanks

ORDER = 1  # among the questions


def expected_hits(ranks: PlacesState, k: int) -> Tensor:
    """Chance that each query finds a match among its first k, ties broken at random: (Q,)."""
    return ((k - ranks["above"][:, 0]) / (ranks["tied"][:, 0] + 1)).clamp(0, 1)


def expected_ranks(ranks: PlacesState) -> Tensor:
    """1 + keys above + half of the ties: (Q,)."""
    return 1 + ranks["above"][:, 0] + ranks["tied"][:, 0] / 2


@diagnostic(
    on="direction",
    reads=lambda a, b: (Ranks(a, b),),
    null=chance.recall(1),
    interval="score",
    unit="share of queries",
    better="higher",
    bound=(0.0, 1.0),
    each="query",
    fused=True,
    headline=1,
    title="R@1",
    see="A dot to the right of its grey band finds more than a shuffled pairing would.",
    probed=True,
    gallery=True,
    paired=True,
)
def recall_at_1(ranks: RanksState) -> Tensor:
    r"""Share of queries whose nearest key, by cosine, belongs to the same item.

    $$\mathbb{E}_q \operatorname{clip}\Big(\frac{k - g_q}{t_q + 1}, 0, 1\Big)$$ with g keys above the match, t tied.

    Depends on the gallery: the same model scores less among more keys, so the report says how many. A collapsed set
    scores chance, not 1. Invariant to rotation and row order. Cost: all pairs; exact, near ties are scored again in
    float64. Source: usual; ties by expected rank.

    >>> import torch, workbench as wb
    >>> x = torch.eye(4)
    >>> float(wb.diagnose({"a": x, "b": x}, only=["recall_at_1"]).value("recall_at_1", "a", "b"))
    1.0
    """
    return expected_hits(ranks, 1)


@diagnostic(
    on="direction",
    reads=lambda a, b: (Ranks(a, b),),
    null=chance.recall(5),
    interval="score",
    unit="share of queries",
    better="higher",
    bound=(0.0, 1.0),
    each="query",
    fused=True,
    gallery=True,
)
def recall_at_5(ranks: RanksState) -> Tensor:
    r"""Share of queries with a match among the five nearest keys; see `recall_at_1`.

    >>> import torch, workbench as wb
    >>> x = torch.ones(10, 2)
    >>> float(wb.diagnose({"a": x, "b": x}, only=["recall_at_5"]).value("recall_at_5", "a", "b"))
    0.5
    """
    return expected_hits(ranks, 5)


@diagnostic(
    on="direction",
    reads=lambda a, b: (Ranks(a, b),),
    null=chance.recall(10),
    interval="score",
    unit="share of queries",
    better="higher",
    bound=(0.0, 1.0),
    each="query",
    fused=True,
    gallery=True,
)
def recall_at_10(ranks: RanksState) -> Tensor:
    r"""Share of queries with a match among the ten nearest keys; see `recall_at_1`.

    >>> import torch, workbench as wb
    >>> x = torch.ones(40, 2)
    >>> float(wb.diagnose({"a": x, "b": x}, only=["recall_at_10"]).value("recall_at_10", "a", "b"))
    0.25
    """
    return expected_hits(ranks, 10)


@diagnostic(
    on="direction",
    reads=lambda a, b: (Ranks(a, b),),
    null=chance.RANK,
    interval="score",
    unit="rank",
    better="lower",
    bound=(1.0, float("inf")),
    each="query",
    reduce="median",
    fused=True,
    gallery=True,
)
def median_rank(ranks: RanksState) -> Tensor:
    r"""Median over queries of the expected rank of the best match, $1 + g + t/2$.

    1 is perfect, half the gallery is chance. Depends on the gallery. Cost: all pairs, exact. Several matches: the
    best counts, among keys of other items.

    >>> import torch, workbench as wb
    >>> x = torch.eye(4)
    >>> float(wb.diagnose({"a": x, "b": x}, only=["median_rank"]).value("median_rank", "a", "b"))
    1.0
    """
    return expected_ranks(ranks)


@diagnostic(
    on="direction",
    reads=lambda a, b: (Ranks(a, b), Ranks(a, a, b)),
    null=chance.MIXED,
    interval=SUBSAMPLING,
    unit="share of queries",
    better="higher",
    bound=(0.0, 1.0),
    each="query",
    headline=4,
    gallery=True,
)
def mixed_recall_at_1(ranks: RanksState, own: RanksState) -> Tensor:
    r"""Recall at 1 in a gallery that holds both modalities: rows of the query's own modality compete.

    As `recall_at_1`, with $g_q$ and $t_q$ counted over the keys and over the query modality's rows of other items.

    Where a gap can matter: moving one modality changes hardly any ranking within the other, but decides who wins here.
    Far below `recall_at_1`: the nearest neighbours are of the query's own kind, so a mixed index will not cross over.
    Cost: all pairs across and within, exact. Source: mixed-modality search, as work after Liang et al. 2022 has it.

    >>> import torch, workbench as wb
    >>> x = torch.eye(4)
    >>> float(wb.diagnose({"a": x, "b": x}, only=["mixed_recall_at_1"]).value("mixed_recall_at_1", "a", "b"))
    1.0
    """
    above, tied = (ranks[f][:, :1] + own[f][:, :1] for f in ("above", "tied"))
    return expected_hits({"above": above, "tied": tied}, 1)


def _volume_reads(*m: str, anchor: str) -> tuple:
    first = anchor or m[0]
    others = tuple(x for x in m if x != first)
    return (VolumeRanks(first, others[0], others),)


@diagnostic(
    on="tuple",
    reads=_volume_reads,
    null=chance.VOLUME,
    interval="score",
    unit="share of queries",
    better="higher",
    bound=(0.0, 1.0),
    each="query",
    headline=2,
    gallery=True,
)
def volume_recall_at_1(ranks: RanksState, *, anchor: str = "") -> Tensor:
    r"""Share of anchors that span their smallest volume with the other modalities of their own item.

    $$\mathbb{E}_i\,[\operatorname{vol}(a_i, x_i^1, \dots) < \operatorname{vol}(a_i, x_j^1, \dots)\ \forall j \ne i]$$

    How GRAM retrieves: the query is the anchor (the first modality unless `anchor` names another), the keys are whole
    tuples. High here says nothing of pairs: see `recall_at_1` of each direction. Cost: (M − 1) products of
    all pairs. Ties by expected rank. Where an item has several rows of another modality, the first counts.

    >>> import torch, workbench as wb
    >>> x = torch.eye(4)
    >>> float(wb.diagnose({"a": x, "b": x}, only=["volume_recall_at_1"]).value("volume_recall_at_1", "a", "b"))
    1.0
    """
    return expected_hits(ranks, 1)


def over_ties(ranks: PlacesState, gain: Callable[[Tensor], Tensor], match: int) -> Tensor:
    """Mean of gain(rank) over the ranks that a match may take among its ties, (Q,); better matches stand before it."""
    before, tied = (ranks["above"][:, match] + match).long(), ranks["tied"][:, match].long()
    last = int((before + tied).max()) + 1 if len(before) else 1
    total = torch.nn.functional.pad(gain(torch.arange(1, last + 1, dtype=torch.float64)).cumsum(0), (1, 0))
    return (total[before + tied + 1] - total[before]) / (tied + 1)


@diagnostic(
    on="direction",
    reads=lambda a, b: (Ranks(a, b),),
    null=chance.RECIPROCAL,
    interval="score",
    unit="reciprocal rank",
    better="higher",
    bound=(0.0, 1.0),
    each="query",
    fused=True,
    gallery=True,
    paired=True,
)
def mrr(ranks: RanksState) -> Tensor:
    r"""Mean reciprocal rank of the best match, $\mathbb{E}_q\,1/\text{rank}_q$.

    1 is perfect; dominated by the first few ranks. Depends on the gallery. Ties: the mean over the ranks that they
    could take. Cost: all pairs, exact. Source: as usual in retrieval (Craswell 2009).

    >>> import torch, workbench as wb
    >>> x = torch.eye(4)
    >>> float(wb.diagnose({"a": x, "b": x}, only=["mrr"]).value("mrr", "a", "b"))
    1.0
    """
    return over_ties(ranks, lambda r: 1 / r, 0)


@diagnostic(
    on="direction",
    reads=lambda a, b: (Ranks(a, b), Positive(a, b)),
    null=chance.GAIN,
    interval="score",
    unit="gain",
    better="higher",
    bound=(0.0, 1.0),
    each="query",
    gallery=True,
)
def ndcg_at_10(ranks: RanksState, positive: PositiveState) -> Tensor:
    r"""Normalised discounted gain of all matches among the first ten keys.

    $$\Big(\sum_{p:\,r_p \le 10} \frac{1}{\log_2(1+r_p)}\Big) \Big/ \sum_{j=1}^{\min(P,10)} \frac{1}{\log_2(1+j)}$$

    1: all P matches of a query come first; for one match, a soft recall at 10. Depends on the gallery. Ties: the mean
    over the ranks they could take. Cost: all pairs, a pass for each match of a query. Source: Järvelin & Kekäläinen
    2002, with gain 1 for every row of the query's item.

    >>> import torch, workbench as wb
    >>> x = torch.eye(4)
    >>> float(wb.diagnose({"a": x, "b": x}, only=["ndcg_at_10"]).value("ndcg_at_10", "a", "b"))
    1.0
    """
    count = positive["positives"][torch.searchsorted(positive["row"], ranks["row"])].clamp_max(10)
    ideal = (1 / torch.log2(torch.arange(2, 12, dtype=torch.float64))).cumsum(0)[count.long() - 1]
    total = torch.zeros_like(ideal)
    for p in range(ranks["above"].shape[1]):
        has = count > p
        part: PlacesState = {"above": ranks["above"][has], "tied": ranks["tied"][has]}
        if bool(has.any()):
            total[has] += over_ties(part, lambda r: torch.where(r <= 10, 1 / torch.log2(1 + r), 0.0), p)
    return total / ideal
