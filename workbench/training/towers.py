"""Towers: what turns one modality's input into a vector of the joint space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import InputError, unknown
from workbench.sets.embeddings import EmbeddingSet
from workbench.training.tower_kind import Shape, TowerKind, drawings, texts

LENGTH = 64  # bytes of a text that are read


TOWERS: dict[str, TowerKind] = {}


def tower(reads: Callable[[EmbeddingSet, str], Tensor]) -> Callable[..., Any]:
    """Register a tower under its function's name, with what it reads of a set."""

    def register(make: Callable[[Shape, int, int, float], nn.Module]) -> Callable[..., nn.Module]:
        TOWERS[make.__name__] = TowerKind(reads, make)
        return make

    return register


def kind(name: str) -> TowerKind:
    """A tower by name: one of ours, or a library's model, such as timm/resnet18."""
    if "/" in name:
        from workbench.training.libraries import library_kind

        return library_kind(name)
    if name not in TOWERS:
        raise unknown("tower", name, TOWERS)
    return TOWERS[name]


# -- what towers read --------------------------------------------------------------------------------------------------


def features(es: EmbeddingSet, m: str) -> Tensor:
    """The modality's own rows, as frozen features (N, d)."""
    if not es.aligned(m):
        raise InputError(
            f"{es.source}: modality {m!r} has missing or several rows an item; training needs one row an item: "
            "take the items that have it (es.take)"
        )
    return es[m].float()


def letters(es: EmbeddingSet, m: str) -> Tensor:
    """A column of texts as UTF-8 bytes (N, LENGTH), 256 where a text has ended."""
    out = torch.full((len(es), LENGTH), 256)
    for i, text in enumerate(texts(es, m)):
        raw = text.encode()[:LENGTH]
        out[i, : len(raw)] = torch.tensor(list(raw), dtype=torch.long)
    return out


# -- the kinds ---------------------------------------------------------------------------------------------------------


@tower(features)
def linear(shape: Shape, dim: int, hidden: int, dropout: float) -> nn.Module:
    """One linear map of the scaled features."""
    return nn.Sequential(nn.LayerNorm(shape[0], elementwise_affine=False), nn.Linear(shape[0], dim))


@tower(features)
def mlp(shape: Shape, dim: int, hidden: int, dropout: float) -> nn.Module:
    """Two layers over frozen features; the default."""
    return nn.Sequential(
        nn.LayerNorm(shape[0], elementwise_affine=False),
        nn.Dropout(dropout),
        nn.Linear(shape[0], hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, dim),
    )


@tower(drawings)
def cnn(shape: Shape, dim: int, hidden: int, dropout: float) -> nn.Module:
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


@tower(features)
def cnn1d(shape: Shape, dim: int, hidden: int, dropout: float) -> nn.Module:
    """Four strided convolutions along a signal: spectra, audio features, anything whose dimensions have an order."""
    widths = (1, 32, 64, 128, hidden)
    layers: list[nn.Module] = [nn.LayerNorm(shape[0], elementwise_affine=False), nn.Unflatten(1, (1, shape[0]))]
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [nn.Conv1d(a, b, 5, stride=2, padding=2), nn.GroupNorm(8, b), nn.GELU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(hidden, dim))


class Characters(nn.Module):
    """A small transformer over bytes (names, DNA, SMILES): two layers, mean over the bytes that are there."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(257, hidden, padding_idx=256), nn.Embedding(LENGTH, hidden)
        layer = nn.TransformerEncoderLayer(
            hidden, 4, 2 * hidden, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        there = x != 256
        z = self.letters(x) + self.places(torch.arange(x.shape[1], device=x.device))
        z = self.body(z, src_key_padding_mask=~there)
        return self.head((z * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp_min(1))


@tower(letters)
def characters(shape: Shape, dim: int, hidden: int, dropout: float) -> nn.Module:
    """A small transformer over the bytes of a text column: names, DNA, SMILES."""
    return Characters(dim, hidden, dropout)


class Towers(nn.ModuleDict):
    """A tower a modality; called with a dict of inputs, gives a dict of vectors (B, dim)."""

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {m: self.of(m)(x) for m, x in inputs.items()}

    def of(self, m: str) -> nn.Module:
        """The tower of a modality."""
        return self[_key(m)]


def build(
    kinds: Mapping[str, str],
    inputs: Mapping[str, Tensor],
    dim: int,
    hidden: int,
    dropout: float,
    own: Mapping[str, nn.Module] | None = None,
) -> Towers:
    """The towers of a run; `own` modules take the place of named ones."""
    made = {}
    for m, x in inputs.items():
        if own and m in own:
            made[m] = own[m]
            continue
        made[m] = kind(kinds[m]).make(tuple(x.shape[1:]), dim, hidden, dropout)
    return Towers({_key(m): x for m, x in made.items()})


def _key(m: str) -> str:
    """A modality's name as the name of a module, which may hold no dot and be no attribute."""
    return f"to_{m.replace('.', '·')}"


def inputs(es: EmbeddingSet, kinds: Mapping[str, str]) -> dict[str, Tensor]:
    """What the towers read: frozen features (N, d), drawings as bytes (N, C, H, W), texts as tokens (N, T)."""
    return {m: kind(name).reads(es, m) for m, name in kinds.items()}


def assigned(spec: str, modalities: Sequence[str]) -> dict[str, str]:
    """`mlp` for all; `cnn:color,sketch` for some, mlp for the rest; several with ; between."""
    parts = [part.partition(":") for part in spec.split(";")]
    out = dict.fromkeys(modalities, "mlp")
    # what is said of some goes before what is said of all
    for name, mark, named in sorted(parts, key=lambda p: bool(p[1])):
        if not name.strip() or (mark and not named.strip()):
            raise InputError(f"train.tower={spec}: say it as cnn, or cnn:color,sketch;characters:text")
        for m in (x.strip() for x in named.split(",")) if mark else modalities:
            if m not in out:
                raise unknown("modality in train.tower", m, modalities)
            out[m] = name.strip()
    return out
