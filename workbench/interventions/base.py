"""What an intervention is: a map fitted on some items, applied to others, by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import pandas as pd
import torch
from torch import Tensor

from workbench.errors import InputError, unknown
from workbench.report.comparison import side_by_side
from workbench.sets.embeddings import EmbeddingSet

T = TypeVar("T")


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
        rows = {m: es.item_of_row(m) for m in es.modalities if not es.aligned(m)}
        return EmbeddingSet(vectors, es.items, rows=rows, source=f"{es.source}, {self!r}")

    def compare(self, train: EmbeddingSet, probe: EmbeddingSet, *modalities: str, **settings: Any) -> pd.DataFrame:
        """Fitted on `train`, judged on `probe`: the reports of the probe before and after, side by side."""
        return side_by_side({"before": probe, "after": self.fit(train, *modalities).apply(probe)}, **settings)


INTERVENTIONS: dict[str, Callable[..., Intervention]] = {}


def intervention(make: Callable[..., Intervention]) -> Callable[..., Intervention]:
    """Register an intervention under its function's name."""
    INTERVENTIONS[make.__name__] = make
    return make


def moments(es: EmbeddingSet, m: str) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) of the unit rows of a modality."""
    x = es.unit(m)
    mean = x.mean(0)
    return mean, (x - mean).T @ (x - mean) / len(x)


_KNOWN: WeakKeyDictionary[EmbeddingSet, dict[Hashable, Any]] = WeakKeyDictionary()


def once(es: EmbeddingSet, what: Hashable, make: Callable[[], T]) -> T:
    """What was worked out for a set before, or is now: several settings of an intervention share what is dear."""
    known = _KNOWN.setdefault(es, {})
    if what not in known:
        known[what] = make()
    return known[what]


def spectrum(es: EmbeddingSet, m: str) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, and variances (d,) and axes (d, d) of the covariance, ascending."""

    def make() -> tuple[Tensor, Tensor, Tensor]:
        mean, covariance = moments(es, m)
        return (mean, *torch.linalg.eigh(covariance))

    return once(es, ("spectrum", m), make)


def scaled(covariance: Tensor, power: float, *, rotate_back: bool) -> Tensor:
    """Σ^power on the directions that vary; the others are dropped, never blown up."""
    eigen, axes = torch.linalg.eigh(covariance)
    return powered(eigen, axes, power, rotate_back=rotate_back)


def powered(eigen: Tensor, axes: Tensor, power: float, *, rotate_back: bool) -> Tensor:
    """The same from variances and axes."""
    keep = eigen > EIGEN * eigen.max()
    w = axes[:, keep] * eigen[keep].pow(power)
    if rotate_back:
        return w @ axes[:, keep].T
    out = torch.zeros_like(axes)
    out[:, : int(keep.sum())] = w.flip(1)
    return out


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
