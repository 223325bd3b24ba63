"""Distillation: keep what a frozen or earlier model knows - its rows, its structure, its softened answers."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.objectives.batch import Batch, nothing
from workbench.objectives.recipes.base import Term, entry
from workbench.objectives.recipes.contrast import Loss, clip
from workbench.objectives.recipes.space import hybrid

unit = torch.nn.functional.normalize


def distances(x: Tensor) -> Tensor:
    """Euclidean distances of all pairs i < j, with a gradient that is finite where rows coincide."""
    i, j = torch.triu_indices(len(x), len(x), 1, device=x.device)
    return ((x[i] - x[j]).square().sum(1) + 1e-12).sqrt()


def rows(x: Tensor, taught: Tensor, reduction: str = "sum") -> Tensor:
    """Squared distances to the teacher's rows; summed over the batch, as published, or averaged over it."""
    squared = (x - taught).square().sum()
    return squared if reduction == "sum" else squared / max(len(x), 1)


def structure(x: Tensor, taught: Tensor, reduction: str = "sum") -> Tensor:
    """Smooth-L1 between the pairwise distances of the rows and those of the teacher's."""
    if len(x) < 2:
        return nothing(x)
    return torch.nn.functional.smooth_l1_loss(distances(x), distances(taught), reduction=reduction)


def held(batch: Batch, loss: Loss, modality: str, why: str) -> Tensor:
    """A loss of a modality's unit rows against its teacher's unit rows."""
    name = modality or batch.anchor
    part = batch.only(name)
    return loss(part.unit(name), unit(part.taught(name, why), dim=1))


@entry(
    paper="Fan et al. 2025 (ProCLIP, stage 1)",
    topic="distillation",
    modalities="2 or more; one learns from its teacher",
    cost="B² d",
    minimum="the teacher's rows",
    needs=("teacher",),
    teacher="start",
    data="teacher of the same width",
    learns="anchor",
)
def distil(
    modality: str = "", rows_weight: float = 1.0, structure_weight: float = 1.0, reduction: str = "mean"
) -> list[Term]:
    """A modality's rows and their distances, as a teacher has them: no contrast at all. Default: the anchor.

    The paper sums over the batch and over all pairs, so that its weights grow with B and B²: `reduction="sum"`.
    """
    why = "recipe distil"
    return [
        Term("rows", rows_weight, lambda b, t: held(b, lambda x, y: rows(x, y, reduction), modality, why)),
        Term(
            "structure", structure_weight, lambda b, t: held(b, lambda x, y: structure(x, y, reduction), modality, why)
        ),
    ]


@entry(
    paper="Fan et al. 2025 (ProCLIP, stage 2)",
    topic="distillation",
    modalities="2 or more; one is held by its teacher",
    cost="2 B² d",
    minimum="perfect alignment near the teacher's rows",
    needs=("teacher",),
    teacher="start",
)
def proclip(modality: str = "", weight: float = 0.1, reduction: str = "sum") -> list[Term]:
    """InfoNCE, while one modality keeps its own rows and their distances from before. Default: the anchor.

    As published both terms are sums, so the weight means more with a larger batch. Released code has no default weight.
    """
    why = "recipe proclip"
    return [
        Term("contrast", 1.0, clip),
        Term("rows", weight, lambda b, t: held(b, lambda x, y: rows(x, y, reduction), modality, why)),
        Term("structure", weight, lambda b, t: held(b, lambda x, y: structure(x, y, reduction), modality, why)),
    ]


@entry(
    paper="Yamaguchi et al. 2025 (HyCD of CLIP-Refine)",
    topic="distillation",
    modalities="2 or more, with the model before as teacher",
    cost="2 B² d for each pair",
    minimum="softmax of the teacher, sharpened by the labels",
    needs=("teacher",),
    teacher="start",
    temperature=1.0,
    learn_temperature=False,
)
def hycd(share: float = 0.5) -> list[Term]:
    """Soft labels: the teacher's softmax over raw dot products, blended with one-hot targets, both ways."""
    return [Term("hybrid_distillation", 1.0, lambda b, t: hybrid(b, share, t))]
