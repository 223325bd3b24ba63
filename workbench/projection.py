"""Projections: from all modalities' rows to two coordinates, and how far to believe them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.embeddings import EmbeddingSet
from workbench.errors import InputError, unknown

NEIGHBOURS = 10  # k of the faithfulness and of UMAP's graph
ANCHORS = 2_000  # rows whose neighbours are compared: the share they keep is then known to a percent


@dataclass(frozen=True)
class Projection:
    """Where every row of every modality lies: xy (n, 2), the modality and the item of each row, axes in words."""

    method: str
    xy: np.ndarray
    modality: np.ndarray
    item: np.ndarray
    axes: tuple[str, str]
    faithfulness: float  # share of the ten nearest rows that are also among the ten nearest on the map


Method = Callable[[Tensor, np.ndarray], tuple[Tensor, tuple[str, str]]]
METHODS: dict[str, Method] = {}


def method(f: Method) -> Method:
    METHODS[f.__name__] = f
    return f


@method
def pca(x: Tensor, modality: np.ndarray) -> tuple[Tensor, tuple[str, str]]:
    """The two directions of largest variance of all rows together, in units of length."""
    y = x - x.mean(0)
    value, vector = torch.linalg.eigh(y.T @ y)
    share = (value / value.sum()).flip(0)[:2]
    axes = (f"component 1 ({share[0]:.0%})", f"component 2 ({share[1]:.0%})")
    return y @ _signed(vector.flip(1)[:, :2]), axes


@method
def centred_pca(x: Tensor, modality: np.ndarray) -> tuple[Tensor, tuple[str, str]]:
    """As pca, after each modality's mean is taken away: what the modalities share once the gap is gone."""
    y = x.clone()
    for m in np.unique(modality):
        at = torch.from_numpy(modality == m)
        y[at] -= y[at].mean(0)
    return pca(y, modality)


@method
def gap_axis(x: Tensor, modality: np.ndarray) -> tuple[Tensor, tuple[str, str]]:
    """Along the gap between the first two modalities, against the first direction they share."""
    first, second = list(dict.fromkeys(modality))[:2]
    means = [x[torch.from_numpy(modality == m)].mean(0) for m in (first, second)]
    axis = torch.nn.functional.normalize(means[0] - means[1], dim=0)
    y = x.clone()
    for m in np.unique(modality):
        at = torch.from_numpy(modality == m)
        y[at] -= y[at].mean(0)
    y -= torch.outer(y @ axis, axis)
    shared = _signed(torch.linalg.eigh(y.T @ y)[1][:, -1:])[:, 0]
    return torch.stack([x @ axis, x @ shared], 1), (f"gap: {second} → {first}", "first shared direction")


@method
def umap(x: Tensor, modality: np.ndarray) -> tuple[Tensor, tuple[str, str]]:
    """UMAP of all rows together by cosine, seeded; distances on the map mean little, neighbourhoods more."""
    import warnings

    from umap import UMAP

    if len(x) <= NEIGHBOURS + 1:
        raise InputError(f"UMAP needs more than {NEIGHBOURS + 1} rows; choose pca")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed means one thread is what a seed is for
        xy = UMAP(n_neighbors=NEIGHBOURS, metric="cosine", random_state=0).fit_transform(x.float().numpy())
    return torch.from_numpy(xy).double(), ("UMAP 1", "UMAP 2")


def project(es: EmbeddingSet, method: str = "pca") -> Projection:
    """Two coordinates for every row of every modality of a set in one space."""
    if method not in METHODS:
        raise unknown("projection", method, METHODS)
    widths = {m: es[m].shape[-1] for m in es.modalities}
    if len(set(widths.values())) > 1:
        raise InputError(f"{es.source}: modalities of different widths {widths} have no common map")
    x = torch.cat([es.unit(m) for m in es.modalities])
    modality = np.repeat(np.array(es.modalities), [len(es[m]) for m in es.modalities])
    item = torch.cat([es.rows(m) for m in es.modalities]).numpy()
    xy, axes = METHODS[method](x, modality)
    return Projection(method, xy.numpy(), modality, item, axes, faithfulness(x, xy))


def faithfulness(x: Tensor, xy: Tensor) -> float:
    """Share of each row's ten nearest rows, in the space, that are among its ten nearest on the map."""
    n = len(x)
    k = min(NEIGHBOURS, n - 1)
    if k < 1:
        return float("nan")
    at = torch.linspace(0, n - 1, min(n, ANCHORS)).long()

    def nearest(points: Tensor) -> Tensor:
        d = torch.cdist(points[at].float(), points.float())
        d[torch.arange(len(at)), at] = torch.inf
        return d.topk(k, largest=False).indices

    kept = (nearest(x)[:, :, None] == nearest(xy)[:, None, :]).any(2)
    return float(kept.double().mean())


def _signed(v: Tensor) -> Tensor:
    """An eigenvector's sign is arbitrary: make its largest entry positive, so that a map does not flip by chance."""
    return v * v.gather(0, v.abs().argmax(0, keepdim=True)).sign()
