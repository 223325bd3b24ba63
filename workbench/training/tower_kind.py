"""What a kind of tower is, and what columns of the items it can read."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from workbench.errors import InputError, unknown
from workbench.sets.embeddings import EmbeddingSet

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TowerKind:
    """A kind of tower: what it reads of a modality, and the module for inputs of that shape."""

    reads: Callable[[EmbeddingSet, str], Tensor]
    make: Callable[[Shape, int, int, float], nn.Module]


def texts(es: EmbeddingSet, m: str) -> list[str]:
    """The column <modality>_text, else name."""
    column = f"{m}_text" if f"{m}_text" in es.items else "name"
    if column not in es.items:
        raise unknown("column of texts", f"{m}_text", [c for c in es.items if es.items[c].dtype == object])
    return [str(x) for x in es.items[column]]


def drawings(es: EmbeddingSet, m: str) -> Tensor:
    """The column <modality>_png as pixels (N, C, H, W) uint8."""
    from PIL import Image

    column = f"{m}_png"
    if column not in es.items:
        raise unknown("column of drawings", column, [c for c in es.items if c.endswith("_png")])
    pixels = []
    for k, raw in enumerate(es.items[column]):
        try:
            image = Image.open(io.BytesIO(raw))
            # a palette's indices are no colours
            pixels.append(np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB")))
        except (OSError, TypeError):
            raise InputError(
                f"{es.source}: column {column}, item {es.items['id'].iloc[k]!r}: no readable picture"
            ) from None
        if pixels[-1].shape != pixels[0].shape:
            both = f"{pixels[0].shape} and {pixels[-1].shape}"
            raise InputError(f"{es.source}: column {column} has pictures of shape {both}; make them alike")
    x = torch.from_numpy(np.stack(pixels))
    return x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2).contiguous()
