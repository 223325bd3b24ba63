"""Towers: what turns one modality's input into a vector of the joint space."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from workbench.embeddings import EmbeddingSet
from workbench.errors import InputError, unknown

TOWERS: dict[str, Callable[..., nn.Module]] = {}
PIXELS = {"cnn"}  # towers that read the drawing itself, from the column <modality>_png


def tower(f: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    TOWERS[f.__name__] = f
    return f


@tower
def linear(shape: tuple[int, ...], dim: int, hidden: int, dropout: float) -> nn.Module:
    """One linear map of the scaled features."""
    return nn.Sequential(nn.LayerNorm(shape[0], elementwise_affine=False), nn.Linear(shape[0], dim))


@tower
def mlp(shape: tuple[int, ...], dim: int, hidden: int, dropout: float) -> nn.Module:
    """Two layers over frozen features; the default."""
    return nn.Sequential(
        nn.LayerNorm(shape[0], elementwise_affine=False),
        nn.Dropout(dropout),
        nn.Linear(shape[0], hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, dim),
    )


@tower
def cnn(shape: tuple[int, ...], dim: int, hidden: int, dropout: float) -> nn.Module:
    """Four strided convolutions on a small drawing (C, H, W) of bytes, then a linear map."""

    class Scale(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.float() / 127.5 - 1

    widths = (shape[0], 32, 64, 128, hidden)
    layers: list[nn.Module] = [Scale()]
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(8, b), nn.GELU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(hidden, dim)]
    return nn.Sequential(*layers)


class Towers(nn.ModuleDict):
    """A tower a modality; called with a dict of inputs, gives a dict of vectors (B, dim)."""

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {m: self[m](x) for m, x in inputs.items()}


def build(kinds: Mapping[str, str], inputs: Mapping[str, Tensor], dim: int, hidden: int, dropout: float) -> Towers:
    made = {}
    for m, x in inputs.items():
        if kinds[m] not in TOWERS:
            raise unknown("tower", kinds[m], TOWERS)
        made[m] = TOWERS[kinds[m]](tuple(x.shape[1:]), dim, hidden, dropout)
    return Towers(made)


def inputs(es: EmbeddingSet, kinds: Mapping[str, str]) -> dict[str, Tensor]:
    """What the towers read: frozen features as float32 (N, d), or drawings as bytes (N, C, H, W)."""
    out = {}
    for m, kind in kinds.items():
        if kind in PIXELS:
            out[m] = drawings(es, f"{m}_png")
        elif not es.aligned(m):
            raise InputError(
                f"{es.source}: modality {m!r} has missing or several rows an item; training needs one row an item: "
                "take the items that have it (es.take)"
            )
        else:
            out[m] = es[m].float()
    return out


def drawings(es: EmbeddingSet, column: str) -> Tensor:
    """A column of PNG bytes as pixels (N, C, H, W) uint8."""
    from PIL import Image

    if column not in es.items:
        raise unknown("column of drawings", column, [c for c in es.items if c.endswith("_png")])
    pixels = [np.asarray(Image.open(io.BytesIO(b))) for b in es.items[column]]
    x = torch.from_numpy(np.stack(pixels))
    return x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2).contiguous()
