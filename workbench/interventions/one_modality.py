"""Interventions on each modality alone: centre, scale, whiten, take directions away, add noise."""

from __future__ import annotations

from typing import Any

import torch

from workbench.errors import InputError, unknown
from workbench.interventions.base import EIGEN, Affine, Intervention, intervention, moments, powered, scaled, spectrum
from workbench.sets.embeddings import EmbeddingSet


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
def whiten(kind: str = "zca", groups: int = 1, shrink: float = 0.0) -> Intervention:
    """Centre, and make the covariance the identity: `zca` stays near the axes it had, `pca` takes the principal ones.

    With groups, the dimensions are whitened in that many blocks, as with too few rows for one (Huang et al. 2018).
    `shrink` mixes so much of the mean variance into the covariance first (Ledoit & Wolf 2004): 1 only centres.
    """

    def learn(
        es: EmbeddingSet, modalities: tuple[str, ...], *, kind: str, groups: int, shrink: float
    ) -> dict[str, Affine]:
        if kind not in ("zca", "pca"):
            raise unknown("kind of whitening", kind, ("zca", "pca"))
        if not 0 <= shrink <= 1:
            raise InputError(f"whiten: shrink={shrink} is no share; choose 0 … 1")
        found = {}
        for m in modalities:
            d = es[m].shape[-1]
            if not 1 <= groups <= d:
                raise InputError(f"whiten: groups={groups} for {d} dimensions; choose 1 … {d}")
            if groups == 1:
                mean, eigen, axes = spectrum(es, m)
                mixed = (1 - shrink) * eigen + shrink * eigen.mean()  # which leaves the axes as they are
                found[m] = Affine(mean, powered(mixed, axes, -0.5, rotate_back=kind == "zca"))
                continue
            mean, covariance = moments(es, m)
            covariance = (1 - shrink) * covariance + shrink * covariance.trace() / d * torch.eye(d, dtype=mean.dtype)
            w = torch.zeros_like(covariance)
            for block in torch.arange(d).tensor_split(groups):
                part = covariance[block][:, block]
                w[block[:, None], block[None]] = scaled(part, -0.5, rotate_back=kind == "zca")
            found[m] = Affine(mean, w)
        return found

    return Intervention("whiten", learn, {"kind": kind, "groups": groups, "shrink": shrink})


@intervention
def remove_top(components: int = 1) -> Intervention:
    """Centre, and take the leading principal directions of each modality away ("all but the top", Mu et al. 2018)."""

    def learn(es: EmbeddingSet, modalities: tuple[str, ...], *, components: int) -> dict[str, Affine]:
        found = {}
        for m in modalities:
            if not 1 <= components < (d := es[m].shape[-1]):
                raise InputError(f"remove_top: components={components} of {d} dimensions of {m}")
            mean, _, axes = spectrum(es, m)
            top = axes[:, -components:]
            found[m] = Affine(mean, torch.eye(len(mean), dtype=mean.dtype) - top @ top.T)
        return found

    return Intervention("remove_top", learn, {"components": components})


@intervention
def noise(scale: float = 0.1, seed: int = 0) -> Intervention:
    """Add Gaussian noise of expected length `scale` to every row, and scale back to length one (MacCap, CLOSE)."""

    def learn(es: EmbeddingSet, modalities: tuple[str, ...], **settings: Any) -> dict[str, Affine]:
        return {m: Affine(torch.zeros(es[m].shape[-1], dtype=torch.float64)) for m in modalities}

    settings = {"scale": scale, "seed": seed}
    return Intervention("noise", learn, settings, renormalise=True, noise=scale, seed=seed)
