"""Does the space know the classes?

Labels: how well the classes of a column, whatever they are, can be told from the vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.diagnostics.nulls import labels as label_nulls
from workbench.diagnostics.registry import SUBSAMPLING, NotApplicable, diagnostic
from workbench.diagnostics.states import (
    ClassMomentsState,
    ClassSpreadState,
    LabelsState,
    NeighboursState,
    ProbedState,
    SilhouetteState,
)
from workbench.geometry import distances
from workbench.scan.contracts import TIE
from workbench.scan.statistics import (
    ClassMoments,
    ClassSpread,
    Labels,
    Neighbours,
    Probed,
    Silhouette,
    centroids,
)

ORDER = 8  # among the questions

DEGENERATE = 1e-24  # of a squared unit length: centroids nearer than this coincide


def _reads(m: str) -> tuple:
    return ClassMoments(m, "label"), ClassSpread(m, "label")


def present(moments: ClassMomentsState, *, least: int = 1) -> Tensor:
    """Classes that have rows at all; raises where there are fewer than two, or one is too small."""
    n = moments["n"]
    has = n > 0
    if int(has.sum()) < 2:
        raise NotApplicable("needs at least two classes with rows")
    if float(n[has].min()) < least:
        raise NotApplicable(f"needs at least {least} items of each class; the smallest has {int(n[has].min())}")
    return has


@diagnostic(
    on="modality",
    reads=lambda m: (Silhouette(m, m, "label"), Labels(m, "label"), ClassMoments(m, "label")),
    null=label_nulls.silhouette(lambda *s: silhouette(*s), lambda m: (Silhouette(m, m, "label"),)),
    interval=SUBSAMPLING,
    unit="coefficient",
    better="higher",
    bound=(-1.0, 1.0),
    each="row",
)
def silhouette(distances: SilhouetteState, labels: LabelsState, moments: ClassMomentsState) -> tuple[Tensor, Tensor]:
    r"""Mean silhouette of unit rows: is a row nearer to its own class than to the next one?

    $$\mathbb{E}_i\,\frac{b_i-a_i}{\max(a_i,b_i)}$$ with a the mean distance to its class, b to the nearest other class.

    1: tight and apart; 0: on the border; below: in the wrong class. A row alone in its class counts 0. Needs `label=`.
    Above 2,000 rows a sample of rows against all. Cost: pairs. Source: Rousseeuw 1987; Euclidean on unit rows.

    >>> import torch, pandas as pd, workbench as wb
    >>> x = torch.eye(2).repeat_interleave(3, 0)
    >>> es = wb.EmbeddingSet({"a": x}, pd.DataFrame({"kind": list("uuuvvv")}))
    >>> float(wb.diagnose(es, label="kind", only=["silhouette"]).value("silhouette", "a"))
    1.0
    """
    n = moments["n"]
    present(moments)
    at = torch.searchsorted(labels["row"], distances["row"])
    label, item = labels["label"][at], labels["item"][at]
    has = label >= 0
    total, label = distances["sum"][has], label[has]
    own = torch.nn.functional.one_hot(label, len(n)).bool()
    mean = total / n.clamp_min(1)
    mean[:, n == 0] = torch.inf
    b = mean.masked_fill(own, torch.inf).min(1).values
    a = total[own] / (n[label] - 1).clamp_min(1)
    value = torch.where(n[label] > 1, (b - a) / torch.maximum(a, b).clamp_min(1e-300), 0.0)
    return value, item[has]


@diagnostic(
    on="modality",
    reads=_reads,
    null=label_nulls.labels(lambda *s: davies_bouldin(*s), _reads),
    interval=SUBSAMPLING,
    unit="index",
    better="lower",
    bound=(0.0, float("inf")),
)
def davies_bouldin(moments: ClassMomentsState, spread: ClassSpreadState) -> Tensor:
    r"""Davies-Bouldin index of unit rows: the worst ratio of spread to distance, averaged over classes.

    $$\frac1C\sum_a\max_{b\ne a}\frac{s_a+s_b}{\|\mu_a-\mu_b\|}$$ with s the mean distance to the centroid.

    0: tight classes far apart. Needs `label=`. Cost: two passes over rows. Source: Davies & Bouldin 1979 (p = q = 1…2,
    as scikit-learn takes it).

    >>> import torch, pandas as pd, workbench as wb
    >>> x = torch.eye(2).repeat_interleave(3, 0)
    >>> es = wb.EmbeddingSet({"a": x}, pd.DataFrame({"kind": list("uuuvvv")}))
    >>> float(wb.diagnose(es, label="kind", only=["davies_bouldin"]).value("davies_bouldin", "a"))
    0.0
    """
    has = present(moments)
    mu, s = centroids(moments["sum"], moments["n"])[has], (spread["sum"] / moments["n"].clamp_min(1))[has]
    distance = distances(mu)
    off = ~torch.eye(len(mu), dtype=torch.bool)
    if float(distance[off].min()) ** 2 < DEGENERATE:
        raise NotApplicable("two classes have the same centroid")
    ratio = (s[:, None] + s[None]) / distance.masked_fill(~off, torch.inf)
    return ratio.max(1).values.mean()


@diagnostic(
    on="modality",
    reads=_reads,
    null=label_nulls.labels(lambda *s: calinski_harabasz(*s), _reads),
    interval=SUBSAMPLING,
    unit="ratio",
    better="higher",
    bound=(0.0, float("inf")),
)
def calinski_harabasz(moments: ClassMomentsState, spread: ClassSpreadState) -> Tensor:
    r"""Calinski-Harabasz ratio of unit rows: variance between classes over variance within.

    $$\frac{\sum_c n_c\|\mu_c-\mu\|^2 / (C-1)}{\sum_i\|x_i-\mu_{y_i}\|^2 / (n-C)}$$

    About 1 for labels that mean nothing; grows with n for those that mean something. Needs `label=`. Cost: two passes
    over rows. Source: Caliński & Harabasz 1974.

    >>> import torch, pandas as pd, workbench as wb
    >>> x = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    >>> es = wb.EmbeddingSet({"a": x}, pd.DataFrame({"kind": list("uuvv")}))
    >>> wb.diagnose(es, label="kind", only=["calinski_harabasz"]).value("calinski_harabasz", "a") > 100
    True
    """
    has = present(moments)
    n, c = moments["n"].sum(), float(has.sum())
    mean = moments["sum"].sum(0) / n
    between = (moments["n"] * (centroids(moments["sum"], moments["n"]) - mean).square().sum(1)).sum()
    within = spread["within"].trace()
    if float(n) <= c or float(within) <= 1e-24 * float(n):
        raise NotApplicable("no row differs from the centroid of its class")
    return (between / (c - 1)) / (within / (n - c))


def _collapse(moments: ClassMomentsState) -> Tensor:
    """Class means around the mean of the class means."""
    mu = centroids(moments["sum"], moments["n"])[present(moments, least=2)]
    return mu - mu.mean(0)


@diagnostic(
    on="modality",
    reads=_reads,
    null=label_nulls.labels(lambda *s: neural_collapse_within(*s), _reads),
    interval=SUBSAMPLING,
    unit="ratio",
    bound=(0.0, float("inf")),
)
def neural_collapse_within(moments: ClassMomentsState, spread: ClassSpreadState) -> Tensor:
    r"""NC1: variance within classes along the directions between them, $\mathrm{tr}(\Sigma_W\Sigma_B^{+})/C$.

    0: every class has collapsed to its mean, as at the end of training a classifier. No direction is better: collapse
    helps accuracy and hurts transfer. Needs `label=`, and two items of each class. Cost: two passes over rows, d³.
    Source: Papyan et al. 2020, eq. NC1, on unit rows.

    >>> import torch, pandas as pd, workbench as wb
    >>> x = torch.eye(2).repeat_interleave(3, 0)
    >>> es = wb.EmbeddingSet({"a": x}, pd.DataFrame({"kind": list("uuuvvv")}))
    >>> float(wb.diagnose(es, label="kind", only=["neural_collapse_within"]).value("neural_collapse_within", "a"))
    0.0
    """
    r = _collapse(moments)
    _, sigma, v = torch.linalg.svd(r / len(r) ** 0.5, full_matrices=False)
    keep = sigma > 1e-9 * sigma[0].clamp_min(1e-12)
    if not bool(keep.any()) or float(sigma[0]) < 1e-12:
        raise NotApplicable("all classes have the same centroid")
    within = spread["within"] / moments["n"].sum()
    along = ((v[keep] @ within) * v[keep]).sum(1)
    return (along / sigma[keep].square()).sum() / len(r)


@diagnostic(
    on="modality",
    reads=_reads,
    null=label_nulls.labels(lambda *s: neural_collapse_angles(*s), _reads),
    interval=SUBSAMPLING,
    unit="cosine",
    bound=(0.0, 2.0),
)
def neural_collapse_angles(moments: ClassMomentsState, spread: ClassSpreadState) -> Tensor:
    r"""NC2: how far the centred class means are from a simplex, $\mathbb{E}_{a\ne b}|\cos(\mu_a,\mu_b) + \frac1{C-1}|$.

    0: all classes equally far from each other, the end state of neural collapse. No direction is better. Needs `label=`
    and two items of each class. Cost: one pass over rows. Source: Papyan et al. 2020, fig. 4, on unit rows.

    >>> import torch, pandas as pd, workbench as wb
    >>> x = torch.eye(3).repeat_interleave(3, 0)
    >>> es = wb.EmbeddingSet({"a": x}, pd.DataFrame({"kind": list("uuuvvvwww")}))
    >>> report = wb.diagnose(es, label="kind", only=["neural_collapse_angles"])
    >>> round(float(report.value("neural_collapse_angles", "a")), 6)
    0.0
    """
    r = _collapse(moments)
    if float(r.norm(dim=1).min()) < 1e-12:
        raise NotApplicable("a class has its centroid at the mean of all")
    r = torch.nn.functional.normalize(r, dim=1)
    off = ~torch.eye(len(r), dtype=torch.bool)
    return (r @ r.T + 1 / (len(r) - 1))[off].abs().mean()


@diagnostic(
    on="modality",
    reads=_reads,
    null=label_nulls.labels(lambda *s: nearest_centroid_accuracy(*s), _reads),
    interval=SUBSAMPLING,
    unit="share of rows",
    better="higher",
    bound=(0.0, 1.0),
)
def nearest_centroid_accuracy(moments: ClassMomentsState, spread: ClassSpreadState) -> Tensor:
    r"""NC4: share of unit rows whose nearest class mean is that of their own class.

    1: the class means alone decide. Optimistic, for each row helped to make its mean: `linear_probe_accuracy` is held
    out. Needs `label=`. Cost: two passes over rows. Source: Papyan et al. 2020, NC4.

    >>> import torch, pandas as pd, workbench as wb
    >>> x = torch.eye(2).repeat_interleave(3, 0)
    >>> es = wb.EmbeddingSet({"a": x}, pd.DataFrame({"kind": list("uuuvvv")}))
    >>> report = wb.diagnose(es, label="kind", only=["nearest_centroid_accuracy"])
    >>> float(report.value("nearest_centroid_accuracy", "a"))
    1.0
    """
    present(moments)
    return spread["nearest"] / moments["n"].sum()


def _knn_reads(m: str) -> tuple:
    return Neighbours(m, m, by="label"), Labels(m, "label")


@diagnostic(
    on="modality",
    reads=_knn_reads,
    null=label_nulls.neighbours(lambda *s: knn_label_accuracy(*s), _knn_reads),
    interval=SUBSAMPLING,
    unit="share of rows",
    better="higher",
    bound=(0.0, 1.0),
    each="row",
    gallery=True,
)
def knn_label_accuracy(neighbours: NeighboursState, labels: LabelsState) -> tuple[Tensor, Tensor]:
    r"""Share of rows whose class wins the vote of their ten nearest labelled rows of other items.

    $$\mathbb{E}_i\,[\arg\max_c |\{j \in N_{10}(i) : y_j = c\}| = y_i]$$

    Keys that tie for the last places share them, classes that tie share the point. A class that a single item has can
    never win, so its rows are not asked. Needs `label=`. Cost: all pairs, neighbours exact.
    Source: the kNN evaluation of self-supervised learning (Wu et al. 2018), without weights.

    >>> import torch, pandas as pd, workbench as wb
    >>> x = torch.eye(2).repeat_interleave(20, 0) + 0.001 * torch.arange(40.0)[:, None]
    >>> es = wb.EmbeddingSet({"a": x}, pd.DataFrame({"kind": ["u"] * 20 + ["v"] * 20}))
    >>> float(wb.diagnose(es, label="kind", only=["knn_label_accuracy"]).value("knn_label_accuracy", "a"))
    1.0
    """
    at = torch.searchsorted(labels["row"], neighbours["row"])
    mine, index = labels["label"][at], neighbours["index"]
    theirs = torch.where(index >= 0, labels["label"][index.clamp_min(0)], -1)
    counted = (mine >= 0) & (theirs >= 0).any(1) & ~lonely(labels)[at]
    weight = torch.ones_like(theirs, dtype=torch.float64)
    tied = neighbours["tied"]
    weight[tied] = (neighbours["score"][tied] > neighbours["score"][tied, -1:] + TIE).double()
    if len(torch.unique(mine[counted])) < 2:
        raise NotApplicable("needs at least two classes with rows")
    voter = torch.arange(len(mine)).repeat_interleave(theirs.shape[1])
    voters = torch.cat([voter, neighbours["tie_row"]])
    classes = torch.cat([theirs.flatten(), labels["label"][neighbours["tie_key"]]])
    weights = torch.cat([weight.flatten(), neighbours["tie_share"]])
    return _elected(mine, voters, classes, weights)[counted], neighbours["item"][counted]


def _elected(mine: Tensor, voter: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """The share of the point of each query whose own class, `mine` (n,), has most of its votes: one vote a place, (v,)
    each, for a class, −1 for none. A row a class would be many times what was voted for."""
    size = int(label.max()) + 2
    ballot, at = torch.unique(voter * size + label + 1, return_inverse=True)
    votes = torch.zeros(len(ballot), dtype=torch.float64).index_add_(0, at, weight)
    who, what = ballot // size, ballot % size - 1
    voted = what >= 0
    who, what, votes = who[voted], what[voted], votes[voted]
    most = torch.zeros(len(mine), dtype=torch.float64).scatter_reduce_(0, who, votes, "amax")
    top = (votes >= most[who] - 1e-9).double()
    own = torch.zeros(len(mine), dtype=torch.float64).index_add_(0, who, top * (what == mine[who]))
    return own / torch.bincount(who[top > 0], minlength=len(mine)).clamp_min(1)


def lonely(labels: LabelsState) -> Tensor:
    """Rows whose class no other item has, (n,) bool: no neighbour and no fit can know it."""
    label, item = labels["label"], labels["item"]
    items = int(item.max()) + 1
    known = torch.unique(label[label >= 0] * items + item[label >= 0]) // items
    return (label >= 0) & (torch.bincount(known, minlength=int(label.max()) + 1)[label.clamp_min(0)] == 1)


@diagnostic(
    on="modality",
    reads=lambda m: (Probed(m, "label"), ClassMoments(m, "label")),
    null=label_nulls.PROBE,
    interval=SUBSAMPLING,
    unit="share of rows",
    better="higher",
    bound=(0.0, 1.0),
    each="row",
    see="Right of the band: a linear rule tells the classes of families that it has not seen.",
)
def linear_probe_accuracy(probed: ProbedState, moments: ClassMomentsState) -> tuple[Tensor, Tensor]:
    r"""Share of rows whose class a linear probe names, fitted on the other half of the families.

    $$W = (\tilde X^\top\tilde X + \lambda I)^{-1}\tilde X^\top\tilde Y, \quad \lambda = 10^{-3}\,\mathrm{tr}(\tilde
    X^\top\tilde X)/\min(d, n)$$

    Ridge regression onto the classes on centred unit rows; both halves are judged. Needs `label=`. Cost: two passes
    over rows, d³. Source: the linear evaluation of self-supervised learning, in closed form.

    >>> import torch, pandas as pd, workbench as wb
    >>> x = torch.eye(2).repeat_interleave(20, 0)
    >>> es = wb.EmbeddingSet({"a": x}, pd.DataFrame({"kind": ["u"] * 20 + ["v"] * 20}))
    >>> float(wb.diagnose(es, label="kind", only=["linear_probe_accuracy"]).value("linear_probe_accuracy", "a"))
    1.0
    """
    present(moments)
    return probed["correct"], probed["item"]
