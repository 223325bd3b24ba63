"""Projections: from all modalities' rows to two coordinates, and how far to believe them.

Views whose axes mean something come first. They are linear, x ↦ (x − offset of its modality) · basis, fitted in two
passes of bounded memory; so the same frame can show other rows: a snapshot, or the space after an intervention.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from workbench.disk import is_kept, kept
from workbench.errors import InputError, unknown
from workbench.geometry import rotation
from workbench.sets.embeddings import EmbeddingSet

NEIGHBOURS = 10  # k of the faithfulness
SAME = 2.0**-21  # of the squared lengths: distances this near are equal but for rounding
GRAPH = 15  # k of UMAP's graph
ANCHORS = 2_000  # rows whose neighbours are compared: the share they keep is then known to a percent
WORK = 4e7  # anchors × rows: with more rows there are fewer anchors
SLICE = 65_536  # rows in float64 at once
LOW = (0.05, 0.65)  # overlap and trustworthiness below which a map says little of neighbourhoods


@dataclass(frozen=True)
class LinearView:
    """A linear view: what is taken from each modality's rows, and the two directions that are kept."""

    offset: Mapping[str, Tensor]
    basis: Tensor  # (d, 2)
    axes: tuple[str, str]

    def show(self, es: EmbeddingSet) -> np.ndarray:
        """The coordinates of every row of every modality, (n, 2)."""
        return torch.cat([(x - self.offset[m]) @ self.basis for m, x in _slices(es)]).numpy()


@dataclass(frozen=True)
class Projection:
    """Where every row of every modality lies: xy (n, 2), the modality and the item of each row, axes in words."""

    method: str
    xy: np.ndarray
    modality: np.ndarray
    item: np.ndarray
    axes: tuple[str, str]
    faithfulness: float  # share of the ten nearest rows that are also among the ten nearest on the map
    trustworthiness: float = float("nan")  # 1: no non-match among the map's neighbours; 0.5: as by chance
    frame: LinearView | None = field(default=None, repr=False)

    @property
    def low(self) -> bool:
        """Whether neighbours on this map say next to nothing of neighbours in the space."""
        return self.faithfulness < LOW[0] or self.trustworthiness < LOW[1]


Fit = Callable[[EmbeddingSet], LinearView]
LINEAR_VIEWS: dict[str, Fit] = {}


def frame(f: Fit) -> Fit:
    """The linear view that a method fits on a set."""
    LINEAR_VIEWS[f.__name__] = f
    return f


def _slices(es: EmbeddingSet) -> Iterator[tuple[str, Tensor]]:
    for m in es.modalities:
        for a in range(0, len(es[m]), SLICE):
            yield m, es.unit(m, slice(a, a + SLICE))


@dataclass
class _Moments:
    """Per modality: rows, their sum and their second moment."""

    count: dict[str, int]
    total: dict[str, Tensor]
    second: dict[str, Tensor]

    @classmethod
    def of(cls, es: EmbeddingSet) -> _Moments:
        d = {m: es[m].shape[-1] for m in es.modalities}
        count = dict.fromkeys(es.modalities, 0)
        total = {m: torch.zeros(d[m], dtype=torch.float64) for m in d}
        second = {m: torch.zeros(d[m], d[m], dtype=torch.float64) for m in d}
        for m, x in _slices(es):
            count[m] += len(x)
            total[m] += x.sum(0)
            second[m] += x.T @ x
        return cls(count, total, second)

    @property
    def means(self) -> dict[str, Tensor]:
        return {m: self.total[m] / self.count[m] for m in self.count}

    def scatter(self, offset: Mapping[str, Tensor]) -> Tensor:
        """Σ (x − offset)(x − offset)ᵀ over all rows."""
        parts = []
        for m, n in self.count.items():
            cross = torch.outer(self.total[m], offset[m])
            parts.append(self.second[m] - cross - cross.T + n * torch.outer(offset[m], offset[m]))
        return torch.stack(parts).sum(0)


def _leading(scatter: Tensor) -> tuple[Tensor, list[float]]:
    value, vector = torch.linalg.eigh(scatter)
    share = (value.clamp_min(0) / value.clamp_min(0).sum()).flip(0)[:2]
    return _signed(vector.flip(1)[:, :2]), share.tolist()


@frame
def gap_axis(es: EmbeddingSet) -> LinearView:
    """Along the gap between the first two modalities, against the first direction that all share."""
    if len(es.modalities) < 2:
        raise InputError(f"{es.source}: one modality has no gap; choose pca")
    moments = _Moments.of(es)
    means, (a, b) = moments.means, es.modalities[:2]
    axis = torch.nn.functional.normalize(means[a] - means[b], dim=0)
    keep = torch.eye(len(axis), dtype=axis.dtype) - torch.outer(axis, axis)
    shared = _leading(keep @ moments.scatter(means) @ keep)[0][:, :1]
    offset = {m: torch.zeros_like(axis) for m in es.modalities}
    return LinearView(offset, torch.cat([axis[:, None], shared], 1), (f"gap: {b} → {a}", "first shared direction"))


@frame
def svd(es: EmbeddingSet) -> LinearView:
    """The two leading right singular vectors, uncentred: the cone is not taken away (Liang et al.'s figure)."""
    moments = _Moments.of(es)
    offset = {m: torch.zeros_like(x) for m, x in moments.means.items()}
    basis, share = _leading(moments.scatter(offset))
    return LinearView(offset, basis, tuple(f"singular vector {k + 1} ({s:.0%})" for k, s in enumerate(share)))  # type: ignore[arg-type]


@frame
def centred_pca(es: EmbeddingSet) -> LinearView:
    """As pca, after each modality's mean is taken away: what the modalities share once the gap is gone."""
    moments = _Moments.of(es)
    basis, share = _leading(moments.scatter(moments.means))
    return LinearView(moments.means, basis, tuple(f"component {k + 1} ({s:.0%})" for k, s in enumerate(share)))  # type: ignore[arg-type]


@frame
def pca(es: EmbeddingSet) -> LinearView:
    """The two directions of largest variance of all rows together, in units of length."""
    moments = _Moments.of(es)
    mean = torch.stack(list(moments.total.values())).sum(0) / sum(moments.count.values())
    offset = dict.fromkeys(es.modalities, mean)
    basis, share = _leading(moments.scatter(offset))
    return LinearView(offset, basis, tuple(f"component {k + 1} ({s:.0%})" for k, s in enumerate(share)))  # type: ignore[arg-type]


def umap(x: Tensor) -> Tensor:
    """UMAP of all rows together by cosine, seeded, on the exact neighbour graph; distances on the map mean little."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns of what it does without
        from umap import UMAP

    if len(x) <= GRAPH + 1:
        raise InputError(f"UMAP needs more than {GRAPH + 1} rows; choose pca")
    index, cosine = nearest(x, GRAPH, itself=True)
    graph = (index.numpy(), (1 - cosine).clamp_min(0).numpy(), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed means one thread is what a seed is for
        model = UMAP(n_neighbors=GRAPH, metric="cosine", random_state=0, precomputed_knn=graph)
        return torch.from_numpy(model.fit_transform(x.numpy())).double()


def torchdr(x: Tensor) -> Tensor:
    """UMAP on a CUDA device, by TorchDR."""
    from importlib import import_module

    try:
        library = import_module("torchdr")
    except ImportError:
        raise InputError("the map torchdr needs it: pip install torchdr") from None
    if not torch.cuda.is_available():
        raise InputError("the map torchdr needs a CUDA device; choose umap")
    return library.UMAP(n_neighbors=GRAPH, random_state=0, device="cuda").fit_transform(x.cuda()).cpu().double()


NONLINEAR: dict[str, Callable[[Tensor], Tensor]] = {"umap": umap, "torchdr": torchdr}
METHODS = (*LINEAR_VIEWS, *NONLINEAR)


def project(es: EmbeddingSet, method: str = "gap_axis", pair: tuple[str, str] | None = None) -> Projection:
    """Two coordinates for every row of every modality of a set in one space; slow ones are kept in a cache on disk.

    `pair`: the modalities that a linear view takes for the first two, as for the gap between others.
    """
    if method not in METHODS:
        raise unknown("projection", method, METHODS)
    widths = {m: es[m].shape[-1] for m in es.modalities}
    if len(set(widths.values())) > 1:
        raise InputError(f"{es.source}: modalities of different widths {widths} have no common map")
    if es.layers:
        raise InputError(f"{es.source}: its rows have layers; look at one of them, es.layer(k)")
    modality = np.repeat(np.array(es.modalities), [len(es[m]) for m in es.modalities])
    item = torch.cat([es.item_of_row(m) for m in es.modalities]).numpy()
    if method in LINEAR_VIEWS:
        fitted = es if pair is None else es.only([*pair, *(m for m in es.modalities if m not in pair)])
        seen = LINEAR_VIEWS[method](fitted)
        xy = seen.show(es)
        return Projection(method, xy, modality, item, seen.axes, *faithfulness(es, xy), seen)

    def made() -> list[np.ndarray]:
        xy = NONLINEAR[method](torch.cat([es.unit(m, dtype=torch.float32) for m in es.modalities])).numpy()
        return [xy, np.array(faithfulness(es, xy))]

    xy, faith = kept(_name(es, method), made)
    return Projection(method, xy, modality, item, _axes(method), *faith.tolist())


def cached(es: EmbeddingSet, method: str) -> bool:
    """Whether a projection is there at once: a linear view, or one that was made before."""
    return method in LINEAR_VIEWS or is_kept(_name(es, method))


def _name(es: EmbeddingSet, method: str) -> str:
    return f"{es.fingerprint}-{method}-2"


def _axes(method: str) -> tuple[str, str]:
    return (f"{method.upper()} 1", f"{method.upper()} 2")


def nearest(x: Tensor, k: int, *, itself: bool = False) -> tuple[Tensor, Tensor]:
    """The k rows nearest by cosine to each unit row, and their cosines; `itself` puts the row first, as UMAP wants."""
    index, cosine = [], []
    step = max(1, int(2e8 // max(len(x), 1)))
    for a in range(0, len(x), step):
        near = x[a : a + step] @ x.T
        own = torch.arange(a, a + len(near))
        near[torch.arange(len(near)), own] = 2.0 if itself else -2.0
        top = near.topk(min(k, len(x)), dim=1)
        index.append(top.indices)
        cosine.append(top.values.clamp(max=1.0))
    return torch.cat(index), torch.cat(cosine)


def faithfulness(es: EmbeddingSet, xy: np.ndarray) -> tuple[float, float]:
    r"""Neighbours kept, and trustworthiness (Venna & Kaski 2001), over evenly spaced anchors against all rows.

    Kept: share of a row's ten nearest rows that are among its ten nearest on the map. Trustworthiness:
    $1 - \frac{2}{nk(2n-3k-1)} \sum_i \sum_{j \in U_i} (r(i,j) - k)$, U_i: map neighbours that are none in the space.
    Rows that are equally far share a rank, the mean of their places, so that ties prove nothing: a space without
    distances gives 0.5.
    """
    x = torch.cat([es.unit(m) for m in es.modalities])
    n = len(x)
    k = min(NEIGHBOURS, (n - 1) // 2)
    if k < 1:
        return float("nan"), float("nan")
    x = (x - x.mean(0)).float()  # around the mean, or a narrow cone would lose its distances to rounding
    length = x.square().sum(1)
    points = torch.from_numpy(np.ascontiguousarray(xy, dtype=np.float32))
    mixed = torch.randperm(n, generator=torch.Generator().manual_seed(0))  # who of those that coincide is shown first
    place = torch.argsort(mixed)
    at = torch.linspace(0, n - 1, int(min(n, ANCHORS, max(100, WORK / n)))).long()
    kept, strange = 0.0, 0.0
    for part in at.split(max(1, int(5e7 // n))):
        rows = torch.arange(len(part))
        far = length[part, None] + length[None] - 2 * x[part] @ x.T
        slack = SAME * (length[part] + length.max())
        # by differences: a product of float32 would lose the small distances, which are the ones that count
        flat = torch.cdist(points[part], points[mixed], compute_mode="donot_use_mm_for_euclid_dist")
        far[rows, part] = torch.inf
        flat[rows, place[part]] = torch.inf
        shown = mixed[flat.topk(k, largest=False).indices]
        for column in shown.T:  # the rank, in the space, of each neighbour on the map
            own = far[rows, column][:, None]
            nearer = torch.count_nonzero(far < own - slack[:, None], dim=1)
            level = torch.count_nonzero(far <= own + slack[:, None], dim=1) - nearer
            kept += float(((k - nearer) / level).clamp(0, 1).double().sum())
            strange += float((nearer + (level + 1) / 2 - k).clamp_min(0).double().sum())
    count = len(at)
    return kept / (count * k), 1 - 2 * strange / (count * k * (2 * n - 3 * k - 1))


def turned(frame: LinearView, reference: EmbeddingSet, other: EmbeddingSet) -> np.ndarray:
    """Rows of another snapshot in a reference's frame, after the rotation that brings them nearest to it.

    One orthogonal Procrustes in the full space for all modalities together: a rotation that training made by chance
    moves nothing on the map, what moves is change.
    """
    a = torch.cat([reference.unit(m) for m in reference.modalities])
    b = torch.cat([other.unit(m) for m in reference.modalities])
    if a.shape != b.shape:
        raise InputError(f"{other.source}: has other rows than {reference.source}; a common frame needs the same")
    b = b @ rotation(b.T @ a, len(b) + 1)
    sizes = [len(reference[m]) for m in reference.modalities]
    parts = [(x - frame.offset[m]) @ frame.basis for m, x in zip(reference.modalities, b.split(sizes), strict=True)]
    return torch.cat(parts).numpy()


def _signed(v: Tensor) -> Tensor:
    """An eigenvector's sign is arbitrary: make its largest entry positive, so that a map does not flip by chance."""
    return v * v.gather(0, v.abs().argmax(0, keepdim=True)).sign()
