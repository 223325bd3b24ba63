"""Retrieval: does a query find its partner among all keys?"""

from __future__ import annotations

from torch import Tensor

from workbench.diagnostics.nulls import CHANCE_RANK, CHANCE_VOLUME, chance
from workbench.diagnostics.registry import diagnostic
from workbench.statistics import Ranks, State, VolumeRanks


def expected_hits(ranks: State, k: int) -> Tensor:
    """Chance that each query finds a match among its first k, ties broken at random: (Q,)."""
    return ((k - ranks["above"]) / (ranks["tied"] + 1)).clamp(0, 1)


def expected_ranks(ranks: State) -> Tensor:
    """1 + keys above + half of the ties: (Q,)."""
    return 1 + ranks["above"] + ranks["tied"] / 2


@diagnostic(
    on="direction",
    reads=lambda a, b: (Ranks(a, b),),
    null=chance(1),
    interval="bootstrap",
    unit="share of queries",
    better="higher",
    bound=(0.0, 1.0),
    each="query",
)
def recall_at_1(ranks: State) -> Tensor:
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
    null=chance(5),
    interval="bootstrap",
    unit="share of queries",
    better="higher",
    bound=(0.0, 1.0),
    each="query",
)
def recall_at_5(ranks: State) -> Tensor:
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
    null=chance(10),
    interval="bootstrap",
    unit="share of queries",
    better="higher",
    bound=(0.0, 1.0),
    each="query",
)
def recall_at_10(ranks: State) -> Tensor:
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
    null=CHANCE_RANK,
    interval="bootstrap",
    unit="rank",
    better="lower",
    bound=(1.0, float("inf")),
    each="query",
    reduce="median",
)
def median_rank(ranks: State) -> Tensor:
    r"""Median over queries of the expected rank of the best match, $1 + g + t/2$.

    1 is perfect, half the gallery is chance. Depends on the gallery. Cost: all pairs, exact. Several matches: the
    best counts, among keys of other items.

    >>> import torch, workbench as wb
    >>> x = torch.eye(4)
    >>> float(wb.diagnose({"a": x, "b": x}, only=["median_rank"]).value("median_rank", "a", "b"))
    1.0
    """
    return expected_ranks(ranks)


def _volume_reads(*m: str, anchor: str) -> tuple:
    first = anchor or m[0]
    others = tuple(x for x in m if x != first)
    return (VolumeRanks(first, others[0], others),)


@diagnostic(
    on="tuple",
    reads=_volume_reads,
    null=CHANCE_VOLUME,
    interval="bootstrap",
    unit="share of queries",
    better="higher",
    bound=(0.0, 1.0),
    each="query",
)
def volume_recall_at_1(ranks: State, *, anchor: str = "") -> Tensor:
    r"""Share of anchors that span their smallest volume with the other modalities of their own item.

    $$\mathbb{E}_i\,[\operatorname{vol}(a_i, x_i^1, \dots) < \operatorname{vol}(a_i, x_j^1, \dots)\ \forall j \ne i]$$

    How GRAM retrieves: the query is the anchor (the first modality unless `anchor` names another), the keys are whole
    tuples. High here says nothing of pairs: see `recall_at_1` of each direction. Cost: (M − 1) products of all pairs
    in float64. Ties by expected rank. Where an item has several rows of another modality, the first counts.

    >>> import torch, workbench as wb
    >>> x = torch.eye(4)
    >>> float(wb.diagnose({"a": x, "b": x}, only=["volume_recall_at_1"]).value("volume_recall_at_1", "a", "b"))
    1.0
    """
    return expected_hits(ranks, 1)
