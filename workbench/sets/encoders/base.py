"""What an encoder is, and how it is called by name: LIBRARY/MODEL, where MODEL is a folder or a name in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench.errors import InputError, unknown

KINDS = ("image", "text", "audio")  # what columns hold
Encode = Callable[[Sequence[Any]], Tensor]


@dataclass(frozen=True)
class Encoder:
    """Functions from a few values to rows: PIL images, strings, or mono sound as float arrays of `rate` a second.

    `encode[kind]` gives (n, d); `layers[kind]`, where a model shows its inside, (n, L, d): the mean of each layer's
    hidden states over real tokens.
    """

    name: str
    encode: dict[str, Encode]
    layers: dict[str, Encode]
    rate: int = 0

    def of(self, kind: str, every_layer: bool = False) -> Encode:
        """The function for a kind of column; raises `InputError` where the model has none."""
        table = self.layers if every_layer else self.encode
        if kind not in table:
            what = f"layers of {kind}" if every_layer else kind
            raise InputError(f"{self.name} has no {what}; it has {', '.join(table) or 'none'}")
        return table[kind]


ENCODERS: dict[str, Callable[[str, str], Encoder]] = {}


def library(name: str) -> Callable[[Callable[[str, str], Encoder]], Callable[[str, str], Encoder]]:
    """Register a library of encoders under this name."""

    def register(f: Callable[[str, str], Encoder]) -> Callable[[str, str], Encoder]:
        ENCODERS[name] = f
        return f

    return register


def encoder(name: str, device: str = "auto") -> Encoder:
    """An encoder by name, such as `open_clip/ViT-B-32@laion2b_s34b_b79k` or `sentence_transformers/FOLDER`.

    `device="auto"` takes CUDA where there is a card. `InputError` where a library or its weights are missing.
    """
    kind, _, rest = name.partition("/")
    if kind not in ENCODERS:
        raise unknown("encoder library", kind, ENCODERS)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return ENCODERS[kind](rest, device)


def from_anywhere(name: str) -> str:
    """An encoder's name that is good in any folder; `InputError` where there is no such library."""
    kind, mark, place = name.partition("/")
    if kind not in ENCODERS:
        raise unknown("encoder library", kind, ENCODERS)
    return f"{kind}/{Path(place).absolute()}" if mark and Path(place).is_dir() else name
