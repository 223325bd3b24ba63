"""Interventions: changes of an embedding space, fitted on some items and applied to others.

>>> import workbench as wb
>>> from workbench.testing import planted
>>> es = planted(gap=0.6)
>>> closed = shift(1.0).fit(es, "image", "text").apply(es)
>>> round(float(wb.diagnose(closed, only=["modality_gap"]).value("modality_gap", "image", "text")), 6)
0.0
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from workbench.embeddings import EmbeddingSet
from workbench.errors import InputError, unknown

Fit = Callable[..., dict[str, Tensor]]
EIGEN = 1e-10  # of the largest variance: directions below it hold nothing that could be scaled up


@dataclass(frozen=True)
class Affine:
    """x ↦ (x − before) W + after, then noise: what every intervention comes to for one modality."""

    before: Tensor
    weight: Tensor | None = None
    after: Tensor | float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        y = x - self.before
        return (y if self.weight is None else y @ self.weight) + self.after


def changed(to: Affine, x: Tensor, *, noise: float = 0.0, seed: int = 0, renormalise: bool = False) -> Tensor:
    """Unit rows (n, d) after a fitted map, with noise of this expected length, scaled back where that is wanted."""
    y = to(x)
    if noise:
        draw = torch.Generator().manual_seed(seed)
        y = y + noise * torch.randn(y.shape, generator=draw, dtype=y.dtype) / y.shape[1] ** 0.5
    return torch.nn.functional.normalize(y, dim=1) if renormalise else y


@dataclass(frozen=True)
class Intervention:
    """`fit` learns from a set (its train items), `apply` changes a set; both leave their input alone.

    Rows are scaled to length one before, as every diagnostic sees them, and afterwards only where `renormalise`.
    """

    name: str
    learn: Callable[..., dict[str, Affine]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    renormalise: bool = False
    noise: float = 0.0
    seed: int = 0
    maps: Mapping[str, Affine] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.settings.items())})"

    def fit(self, es: EmbeddingSet, *modalities: str) -> Intervention:
        """Learn from these modalities (default: all) of these items."""
        chosen = modalities or es.modalities
        for m in chosen:
            if m not in es:
                raise unknown("modality", m, es.modalities)
        return replace(self, maps=self.learn(es, chosen, **self.settings))

    def apply(self, es: EmbeddingSet) -> EmbeddingSet:
        """The set with the modalities that were fitted changed, the others as they are."""
        if not self.maps:
            raise InputError(
                f"{self.name}: fit it first, on train items: intervention.fit(es.split('train')).apply(es)"
            )
        vectors = {}
        for k, m in enumerate(es.modalities):
            if m not in self.maps:
                vectors[m] = es[m]
                continue
            vectors[m] = changed(
                self.maps[m], es.unit(m), noise=self.noise, seed=self.seed + k, renormalise=self.renormalise
            )
        rows = {m: es.rows(m) for m in es.modalities if not es.aligned(m)}
        return EmbeddingSet(vectors, es.items, rows=rows, source=f"{es.source}, {self!r}")

    def compare(self, train: EmbeddingSet, probe: EmbeddingSet, *modalities: str, **settings: Any) -> pd.DataFrame:
        """Fitted on `train`, judged on `probe`: the reports of the probe before and after, side by side."""
        from workbench.report import side_by_side

        return side_by_side({"before": probe, "after": self.fit(train, *modalities).apply(probe)}, **settings)


INTERVENTIONS: dict[str, Callable[..., Intervention]] = {}


def intervention(make: Callable[..., Intervention]) -> Callable[..., Intervention]:
    INTERVENTIONS[make.__name__] = make
    return make


def moments(es: EmbeddingSet, m: str) -> tuple[Tensor, Tensor]:
    x = es.unit(m)
    mean = x.mean(0)
    return mean, (x - mean).T @ (x - mean) / len(x)


def scaled(covariance: Tensor, power: float, *, rotate_back: bool) -> Tensor:
    """Σ^power on the directions that vary; the others are dropped, never blown up."""
    eigen, axes = torch.linalg.eigh(covariance)
    keep = eigen > EIGEN * eigen.max()
    w = axes[:, keep] * eigen[keep].pow(power)
    if rotate_back:
        return w @ axes[:, keep].T
    out = torch.zeros_like(covariance)
    out[:, : int(keep.sum())] = w.flip(1)
    return out


@intervention
def shift(share: float = 1.0) -> Intervention:
    r"""Move two modalities along their gap: each by half of share·Δ, so that share = 1 closes it (Liang et al. 2022).

    Not renormalised: the gap of the probe closes up to the difference between probe and train.
    """

    def learn(es: EmbeddingSet, modalities: tuple[str, ...], *, share: float) -> dict[str, Affine]:
        if len(modalities) != 2:
            raise InputError(f"shift moves two modalities, not {len(modalities)}: fit(es, 'image', 'text')")
        a, b = modalities
        if es[a].shape[-1] != es[b].shape[-1]:
            raise InputError(f"shift needs equal widths: {a} has {es[a].shape[-1]}, {b} {es[b].shape[-1]}")
        delta = es.unit(a).mean(0) - es.unit(b).mean(0)
        return {a: Affine(share * delta / 2), b: Affine(-share * delta / 2)}

    return Intervention("shift", learn, {"share": share})


@intervention
def centre() -> Intervention:
    """Take the mean of each modality away: closes the gap and opens the cone."""

    def learn(es: EmbeddingSet, modalities: tuple[str, ...]) -> dict[str, Affine]:
        return {m: Affine(es.unit(m).mean(0)) for m in modalities}

    return Intervention("centre", learn)


@intervention
def standardise() -> Intervention:
    """Centre, and give every dimension variance one; constant dimensions become 0."""

    def learn(es: EmbeddingSet, modalities: tuple[str, ...]) -> dict[str, Affine]:
        found = {}
        for m in modalities:
            mean, covariance = moments(es, m)
            variance = covariance.diagonal()
            scale = torch.where(variance > EIGEN * variance.max(), variance.clamp_min(1e-300).rsqrt(), 0.0)
            found[m] = Affine(mean, torch.diag(scale))
        return found

    return Intervention("standardise", learn)


@intervention
def whiten(kind: str = "zca", groups: int = 1) -> Intervention:
    """Centre, and make the covariance the identity: `zca` stays near the axes it had, `pca` takes the principal ones.

    With groups, the dimensions are whitened in that many blocks, as with too few rows for one (Huang et al. 2018).
    """

    def learn(es: EmbeddingSet, modalities: tuple[str, ...], *, kind: str, groups: int) -> dict[str, Affine]:
        if kind not in ("zca", "pca"):
            raise unknown("kind of whitening", kind, ("zca", "pca"))
        found = {}
        for m in modalities:
            mean, covariance = moments(es, m)
            d = len(mean)
            if not 1 <= groups <= d:
                raise InputError(f"whiten: groups={groups} for {d} dimensions; choose 1 … {d}")
            w = torch.zeros_like(covariance)
            for block in torch.arange(d).tensor_split(groups):
                part = covariance[block][:, block]
                w[block[:, None], block[None]] = scaled(part, -0.5, rotate_back=kind == "zca")
            found[m] = Affine(mean, w)
        return found

    return Intervention("whiten", learn, {"kind": kind, "groups": groups})


@intervention
def remove_top(components: int = 1) -> Intervention:
    """Centre, and take the leading principal directions of each modality away ("all but the top", Mu et al. 2018)."""

    def learn(es: EmbeddingSet, modalities: tuple[str, ...], *, components: int) -> dict[str, Affine]:
        found = {}
        for m in modalities:
            mean, covariance = moments(es, m)
            if not 1 <= components < len(mean):
                raise InputError(f"remove_top: components={components} of {len(mean)} dimensions of {m}")
            top = torch.linalg.eigh(covariance).eigenvectors[:, -components:]
            found[m] = Affine(mean, torch.eye(len(mean), dtype=mean.dtype) - top @ top.T)
        return found

    return Intervention("remove_top", learn, {"components": components})


def matched(es: EmbeddingSet, a: str, b: str) -> tuple[Tensor, Tensor]:
    """Unit rows of the items that have both, the first row of each."""
    item = _shared(es, a, b)
    if len(item) < 2:
        raise InputError(f"{es.source}: fewer than two items have both {a} and {b}")
    first, second = (es.unit(m, torch.searchsorted(es.rows(m), item)) for m in (a, b))
    return first, second


def _shared(es: EmbeddingSet, a: str, b: str) -> Tensor:
    has = [torch.bincount(es.rows(m), minlength=len(es)) > 0 for m in (a, b)]
    return (has[0] & has[1]).nonzero()[:, 0]


@intervention
def procrustes() -> Intervention:
    """Turn the second modality onto the first: centre both, then rotate matched rows together (Schönemann 1966)."""

    def learn(es: EmbeddingSet, modalities: tuple[str, ...]) -> dict[str, Affine]:
        if len(modalities) != 2:
            raise InputError(f"procrustes turns one modality onto another, not {len(modalities)}")
        a, b = modalities
        if es[a].shape[-1] != es[b].shape[-1]:
            raise InputError(f"procrustes needs equal widths: {a} has {es[a].shape[-1]}, {b} {es[b].shape[-1]}")
        x, y = matched(es, a, b)
        u, _, v = torch.linalg.svd((y - y.mean(0)).T @ (x - x.mean(0)), full_matrices=False)
        return {a: Affine(x.mean(0)), b: Affine(y.mean(0), u @ v)}

    return Intervention("procrustes", learn)


@intervention
def noise(scale: float = 0.1, seed: int = 0) -> Intervention:
    """Add Gaussian noise of expected length `scale` to every row, and scale back to length one (MacCap, CLOSE)."""

    def learn(es: EmbeddingSet, modalities: tuple[str, ...], **settings: Any) -> dict[str, Affine]:
        return {m: Affine(torch.zeros(es[m].shape[-1], dtype=torch.float64)) for m in modalities}

    settings = {"scale": scale, "seed": seed}
    return Intervention("noise", learn, settings, renormalise=True, noise=scale, seed=seed)


@intervention
def cca(components: int = 16, ridge: float = 1e-3) -> Intervention:
    """Project two modalities onto their canonical directions, in which matched rows correlate most (Hotelling 1936)."""

    def learn(es: EmbeddingSet, modalities: tuple[str, ...], *, components: int, ridge: float) -> dict[str, Affine]:
        if len(modalities) != 2:
            raise InputError(f"cca takes two modalities, not {len(modalities)}: fit(es, 'image', 'text')")
        a, b = modalities
        x, y = matched(es, a, b)
        x0, y0 = x - x.mean(0), y - y.mean(0)
        if components > min(x.shape[1], y.shape[1]):
            raise InputError(f"cca: components={components} for {x.shape[1]} and {y.shape[1]} dimensions")

        def whitening(z: Tensor) -> Tensor:
            covariance = z.T @ z / len(z)
            # the ridge keeps directions of no variance from being blown up
            covariance += ridge * covariance.trace() / len(covariance) * torch.eye(len(covariance), dtype=z.dtype)
            return scaled(covariance, -0.5, rotate_back=True)

        wa, wb = whitening(x0), whitening(y0)
        u, _, v = torch.linalg.svd(wa @ (x0.T @ y0 / len(x0)) @ wb, full_matrices=False)
        return {a: Affine(x.mean(0), wa @ u[:, :components]), b: Affine(y.mean(0), wb @ v[:components].T)}

    return Intervention("cca", learn, {"components": components, "ridge": ridge})


def named(name: str, **settings: Any) -> Intervention:
    """An intervention by its name, as the command line gives it."""
    if name not in INTERVENTIONS:
        raise unknown("intervention", name, INTERVENTIONS)
    make = INTERVENTIONS[name]
    known = inspect.signature(make).parameters
    for key in settings:
        if key not in known:
            raise unknown(f"setting of {name}", key, known)
    try:
        return make(**{k: type(known[k].default)(v) for k, v in settings.items()})
    except ValueError:
        raise InputError(f"{name}: settings {dict(settings)} do not fit; the defaults are {make()!r}") from None
