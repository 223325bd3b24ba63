"""Interventions that look at two modalities together: shift along the gap, rotate, project."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.errors import InputError
from workbench.geometry import rotation
from workbench.interventions.base import Affine, Intervention, intervention, once, scaled
from workbench.sets.embeddings import EmbeddingSet


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


def matched(es: EmbeddingSet, a: str, b: str) -> tuple[Tensor, Tensor]:
    """Unit rows of the items that have both, the first row of each."""
    item = _shared(es, a, b)
    if len(item) < 2:
        raise InputError(f"{es.source}: fewer than two items have both {a} and {b}")
    first, second = (es.unit(m, es.first_row(m, item)) for m in (a, b))
    return first, second


def _shared(es: EmbeddingSet, a: str, b: str) -> Tensor:
    has = [torch.bincount(es.item_of_row(m), minlength=len(es)) > 0 for m in (a, b)]
    return (has[0] & has[1]).nonzero()[:, 0]


@intervention
def procrustes() -> Intervention:
    """Turn the second modality onto the first: centre both, then rotate matched rows together (Schönemann 1966).

    Directions that fewer pairs than dimensions leave open are turned as little as they can be.
    """

    def learn(es: EmbeddingSet, modalities: tuple[str, ...]) -> dict[str, Affine]:
        if len(modalities) != 2:
            raise InputError(f"procrustes turns one modality onto another, not {len(modalities)}")
        a, b = modalities
        if es[a].shape[-1] != es[b].shape[-1]:
            raise InputError(f"procrustes needs equal widths: {a} has {es[a].shape[-1]}, {b} {es[b].shape[-1]}")
        x, y = matched(es, a, b)
        return {a: Affine(x.mean(0)), b: Affine(y.mean(0), rotation((y - y.mean(0)).T @ (x - x.mean(0)), len(x)))}

    return Intervention("procrustes", learn)


def _canonical(x: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The whitening of both, and the singular directions of what is left between them."""
    x0, y0 = x - x.mean(0), y - y.mean(0)

    def whitening(z: Tensor) -> Tensor:
        covariance = z.T @ z / len(z)
        # the ridge keeps directions of no variance from being blown up
        covariance += ridge * covariance.trace() / len(covariance) * torch.eye(len(covariance), dtype=z.dtype)
        return scaled(covariance, -0.5, rotate_back=True)

    wa, wb = whitening(x0), whitening(y0)
    u, _, v = torch.linalg.svd(wa @ (x0.T @ y0 / len(x0)) @ wb, full_matrices=False)
    return wa, wb, u, v


@intervention
def cca(components: int = 16, ridge: float = 1e-3) -> Intervention:
    """Project two modalities onto their canonical directions, in which matched rows correlate most (Hotelling 1936)."""

    def learn(es: EmbeddingSet, modalities: tuple[str, ...], *, components: int, ridge: float) -> dict[str, Affine]:
        if len(modalities) != 2:
            raise InputError(f"cca takes two modalities, not {len(modalities)}: fit(es, 'image', 'text')")
        a, b = modalities
        x, y = matched(es, a, b)
        if components > min(x.shape[1], y.shape[1]):
            raise InputError(f"cca: components={components} for {x.shape[1]} and {y.shape[1]} dimensions")
        if components >= len(x):
            raise InputError(f"cca: components={components}, and {len(x)} pairs decide no more than {len(x) - 1}")

        wa, wb, u, v = once(es, ("canonical", a, b, ridge), lambda: _canonical(x, y, ridge))
        return {a: Affine(x.mean(0), wa @ u[:, :components]), b: Affine(y.mean(0), wb @ v[:components].T)}

    return Intervention("cca", learn, {"components": components, "ridge": ridge})


@intervention
def ridge(penalty: float = 0.1) -> Intervention:
    """Map the second modality onto the first by least squares with a penalty, both centred (Hoerl & Kennard 1970)."""

    def learn(es: EmbeddingSet, modalities: tuple[str, ...], *, penalty: float) -> dict[str, Affine]:
        if len(modalities) != 2:
            raise InputError(f"ridge maps one modality onto another, not {len(modalities)}: fit(es, 'image', 'text')")
        if not penalty > 0:
            raise InputError(f"ridge: penalty={penalty}; choose one above 0")
        a, b = modalities
        x, y = matched(es, a, b)
        x0, y0 = x - x.mean(0), y - y.mean(0)
        square = y0.T @ y0
        square.diagonal().add_(penalty * square.trace() / len(square))  # in shares of the mean variance
        return {a: Affine(x.mean(0)), b: Affine(y.mean(0), torch.linalg.solve(square, y0.T @ x0))}

    return Intervention("ridge", learn, {"penalty": penalty})
