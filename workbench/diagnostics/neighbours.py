"""Who is near whom?

Neighbours: hubs, shared neighbourhoods, duplicates, and false negatives.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.diagnostics.nulls import chance, sphere
from workbench.diagnostics.nulls import labels as label_nulls
from workbench.diagnostics.registry import SUBSAMPLING, SUBSAMPLING_SMALL, NotApplicable, curve, diagnostic
from workbench.diagnostics.states import FirstRowsState, LabelsState, NeighboursState
from workbench.scan.statistics import Labels, Neighbours, State

ORDER = 2  # among the questions


def occurrences(neighbours: NeighboursState) -> Tensor:
    """How often each key is among the neighbours of the queries; keys that never are count 0: (K,)."""
    apart(neighbours)
    index = neighbours["index"]
    return torch.bincount(index[index >= 0], minlength=int(neighbours["keys"])).double()


def skewness(x: Tensor) -> Tensor:
    """Third standardised moment of counts (K,); raises `NotApplicable` where all are alike."""
    r = x - x.mean()
    deviation = r.square().mean().sqrt()
    if float(deviation) == 0:
        raise NotApplicable("every key is a neighbour equally often")
    return r.pow(3).mean() / deviation**3


MOST_TIED = 0.5  # of the rows


@diagnostic(
    on="direction",
    reads=lambda a, b: (Neighbours(a, b),),
    null=sphere.hubs(skewness, within=False),
    interval=SUBSAMPLING_SMALL,
    unit="skewness",
    bound=(-float("inf"), float("inf")),
    see="Right of the band: a few keys are near everyone, and take the place of other items' matches.",
    gallery=True,
)
def hubness(neighbours: NeighboursState) -> Tensor:
    r"""Skewness of how often a key is among the ten nearest of the queries: do a few keys turn up everywhere?

    $$S = \mathbb{E}\big[(N_{10}(k) - \mu)^3\big] / \sigma^3$$

    0: all keys alike; above the null: hubs, which take the place of other items' matches. Read it with
    `recall_at_1` and the curve `taken_by`. No direction is better. Depends on n and d. Cost: all pairs, neighbours
    exact. Source: Radovanović et al. 2010, eq. 1, from queries of one modality to keys of another.

    >>> import torch, workbench as wb
    >>> x = torch.eye(40) + 0.01 * torch.arange(40.0)
    >>> wb.diagnose({"a": x, "b": x}, only=["hubness"]).value("hubness", "a", "b") > 1
    True
    """
    return skewness(occurrences(neighbours))


@diagnostic(
    on="modality",
    reads=lambda m: (Neighbours(m, m),),
    null=sphere.hubs(skewness, within=True),
    interval=SUBSAMPLING_SMALL,
    unit="skewness",
    bound=(-float("inf"), float("inf")),
    gallery=True,
)
def hubness_within(neighbours: NeighboursState) -> Tensor:
    r"""Skewness of the k-occurrence within one modality: as `hubness`, among rows of other items of the same modality.

    Cost: all pairs, neighbours exact. Source: Radovanović et al. 2010, eq. 1 (k = 10).

    >>> import torch, workbench as wb
    >>> x = torch.eye(40) + 0.01 * torch.arange(40.0)
    >>> wb.diagnose({"a": x}, only=["hubness_within"]).value("hubness_within", "a") > 1
    True
    """
    return skewness(occurrences(neighbours))


@diagnostic(
    on="direction",
    reads=lambda a, b: (Neighbours(a, b),),
    null=sphere.hubs(lambda n: (n == 0).double().mean(), within=False),
    interval=SUBSAMPLING,
    unit="share of keys",
    better="lower",
    bound=(0.0, 1.0),
    gallery=True,
)
def antihub_share(neighbours: NeighboursState) -> Tensor:
    r"""Share of keys that are among the ten nearest of no query at all: they can never be found.

    $$\mathbb{E}_k\,[N_{10}(k) = 0]$$

    The other side of `hubness`. With sampled queries it is the share not found by these, and larger. Depends on n and
    d. Cost: all pairs, neighbours exact. Source: Radovanović et al. 2010, sec. 4.

    >>> import torch, workbench as wb
    >>> x = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    >>> float(wb.diagnose({"a": x, "b": x}, only=["antihub_share"]).value("antihub_share", "a", "b"))
    0.0
    """
    return (occurrences(neighbours) == 0).double().mean()


@diagnostic(
    on="pair",
    reads=lambda a, b: (Neighbours(a, a), Neighbours(b, b), Labels(a, ""), Labels(b, "")),
    null=chance.overlaps(lambda s: first_rows(s), lambda a, b: overlap(a, b)),
    interval=SUBSAMPLING,
    unit="share of neighbours",
    better="higher",
    bound=(0.0, 1.0),
    each="row",
    any_width=True,
    see="Right of the band: items that are neighbours in one modality are neighbours in the other too.",
    gallery=True,
)
def mutual_knn(
    a: NeighboursState, b: NeighboursState, rows_a: LabelsState, rows_b: LabelsState
) -> tuple[Tensor, Tensor]:
    r"""Share of an item's ten nearest items in one modality that are among its ten nearest in the other.

    $$\mathbb{E}_i\,|N_A(i) \cap N_B(i)| / k$$

    Among neighbours that have both modalities. Do both see the same neighbourhoods? Needs no shared space: it compares
    two geometries, and a gap or a rotation changes nothing. Chance is about k/(N − 1). Of items with several rows the
    first speaks. Cost: all pairs within each. Source: Huh et al. 2024 (Platonic representation), who clip outliers
    first and take the best of all layers.

    >>> import torch, workbench as wb
    >>> x = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    >>> float(wb.diagnose({"a": x, "b": -x}, only=["mutual_knn"]).value("mutual_knn", "a", "b"))
    1.0
    """
    apart(a, b)
    first, second = first_rows(a), first_rows(b)
    both = torch.isin(first["item"], second["item"])
    mine = first["key_item"][both]
    theirs = second["key_item"][torch.isin(second["item"], first["item"])]
    if len(mine) < 2:
        raise NotApplicable("fewer than two items have both")
    # a neighbour that lacks the other modality can never be shared, and is not asked for
    mine = torch.where(torch.isin(mine, rows_b["item"]), mine, -1)
    theirs = torch.where(torch.isin(theirs, rows_a["item"]), theirs, -1)
    return overlap(mine, theirs), first["item"][both]


def first_rows(neighbours: NeighboursState) -> FirstRowsState:
    """Keep the first row of each item of a neighbours' state."""
    item = neighbours["item"]
    leads = torch.ones_like(item, dtype=torch.bool)
    leads[1:] = item[1:] != item[:-1]
    return {"item": item[leads], "key_item": neighbours["key_item"][leads]}


def apart(*neighbours: NeighboursState) -> None:
    """Raises where most rows have more equally near keys than places: who is a neighbour is then no fact."""
    for state in neighbours:
        share = float(state["tied"].double().mean()) if len(state["tied"]) else 0.0
        if share > MOST_TIED:
            raise NotApplicable(f"the nearest keys are tied for {share:.0%} of the rows: many rows coincide")


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Share of the neighbours in each row that stand in the same row of the other, both ways: (n, k) twice → (n,)."""
    hit = (a[:, :, None] == b[:, None]) & (a >= 0)[:, :, None]
    known_a, known_b = (a >= 0), (b >= 0)
    one = (hit.any(2) & known_a).sum(1).double() / known_a.sum(1).clamp_min(1)
    other = (hit.any(1) & known_b).sum(1).double() / known_b.sum(1).clamp_min(1)
    return (one + other) / 2


@diagnostic(
    on="modality",
    reads=lambda m, cosine: (Neighbours(m, m),),
    null=sphere.DUPLICATES,
    interval=SUBSAMPLING,
    unit="share of rows",
    better="lower",
    bound=(0.0, 1.0),
    each="row",
    gallery=True,
)
def duplicate_rate(neighbours: NeighboursState, *, cosine: float = 1 - 1e-6) -> tuple[Tensor, Tensor]:
    r"""Share of rows that coincide with a row of another item: $\max_{j \ne i}\langle x_i,x_j\rangle \ge 1 - 10^{-6}$.

    Duplicates make a perfect retrieval impossible, and are false negatives in every batch that holds both. Several rows
    of one item are no duplicates. Cost: all pairs, the nearest scored in float64.

    >>> import torch, workbench as wb
    >>> x = torch.cat([torch.eye(3), torch.eye(3)[:1]])
    >>> float(wb.diagnose({"a": x}, only=["duplicate_rate"]).value("duplicate_rate", "a"))
    0.5
    """
    return (neighbours["score"][:, 0] >= cosine).double(), neighbours["item"]


@diagnostic(
    on="modality",
    reads=lambda m, cosine: (Neighbours(m, m),),
    null=sphere.DUPLICATES,
    interval=SUBSAMPLING,
    unit="share of rows",
    bound=(0.0, 1.0),
    each="row",
    gallery=True,
)
def near_duplicate_rate(neighbours: NeighboursState, *, cosine: float = 0.95) -> tuple[Tensor, Tensor]:
    r"""Share of rows with a row of another item at a cosine of at least 0.95; see `duplicate_rate`.

    In a narrow cone everything is near: no direction is better, read it with `mean_cosine`.

    >>> import torch, workbench as wb
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    >>> round(float(wb.diagnose({"a": x}, only=["near_duplicate_rate"]).value("near_duplicate_rate", "a")), 3)
    0.667
    """
    return (neighbours["score"][:, 0] >= cosine).double(), neighbours["item"]


def _labelled(a: str, b: str) -> tuple:
    return Neighbours(a, b), Labels(a, "label"), Labels(b, "label")


@diagnostic(
    on="direction",
    reads=_labelled,
    null=label_nulls.neighbours(lambda *s: false_negative_rate(*s), _labelled),
    interval=SUBSAMPLING,
    unit="share of wrong keys",
    bound=(0.0, 1.0),
    each="row",
    gallery=True,
)
def false_negative_rate(neighbours: NeighboursState, query: LabelsState, key: LabelsState) -> tuple[Tensor, Tensor]:
    r"""Of the ten nearest keys that belong to other items, the share that bears the query's label.

    $$\mathbb{E}_q\,\frac{|\{k \in N_{10}(q) : y_k = y_q,\ k \not\sim q\}|}{|\{k \in N_{10}(q) : k \not\sim q\}|}$$

    High: what a contrastive loss pushes away, and what recall counts as wrong, is often right. The null is the share of
    equal labels among random pairs. Needs `label=`. No direction is better. Cost: all pairs. Source: this package.

    >>> import torch, pandas as pd, workbench as wb
    >>> x = torch.eye(4).repeat(4, 1)
    >>> es = wb.EmbeddingSet({"a": x, "b": x}, pd.DataFrame({"kind": list("wxyz") * 4}))
    >>> report = wb.diagnose(es, label="kind", only=["false_negative_rate"])
    >>> 0.2 < report.value("false_negative_rate", "a", "b") < 0.5
    True
    """
    index = neighbours["index"]
    wrong = (index >= 0) & (neighbours["key_item"] != neighbours["item"][:, None])
    mine = query["label"][torch.searchsorted(query["row"], neighbours["row"])]
    same = key["label"][index.clamp_min(0)] == mine[:, None]
    counted = (mine >= 0) & wrong.any(1)
    share = (same & wrong).sum(1).double() / wrong.sum(1).clamp_min(1)
    return share[counted], neighbours["item"][counted]


@curve(on="direction", reads=lambda a, b: (Neighbours(a, b),))
def taken_by(neighbours: NeighboursState) -> State:
    """Per query: the item of its nearest key, and whether it is another item than its own. Hubs take many."""
    nearest = neighbours["key_item"][:, 0]
    return {"item": neighbours["item"], "nearest": nearest, "taken": (nearest != neighbours["item"]).double()}
