"""Towers by name from timm, open_clip and sentence-transformers; weights from this disk, never from the network.

`timm/resnet18` and `open_clip/ViT-B-32` start from random weights, `…@FILE.safetensors` from a file,
`…@TAG` from the published weights of that tag where they lie in the Hugging Face cache.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from workbench.errors import InputError, unknown
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.encoders.weights import weights_file
from workbench.training.tower_kind import Shape, TowerKind, drawings, texts

EXTRAS = {"timm": "clip", "open_clip": "clip", "sentence_transformers": "transformers"}


class Pictures(nn.Module):
    """Drawings as bytes, made what an image model wants: three channels, its size, its mean and deviation."""

    def __init__(self, body: nn.Module, size: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.body, self.size = body, tuple(size)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        x = x.float().expand(-1, 3, -1, -1) / 255 if x.shape[1] == 1 else x[:, :3].float() / 255
        x = interpolate(x, self.size, mode="bicubic", antialias=True).clamp(0, 1)
        return self.body((x - self.mean) / self.std)


class Words(nn.Module):
    """Token ids (N, T), −1 where there is none, through a model of sentence-transformers."""

    def __init__(self, model: nn.Module, padding: int) -> None:
        super().__init__()
        self.model, self.padding = model, padding

    def forward(self, x: Tensor) -> Tensor:
        # what is padding in every row costs nothing
        x = x[:, (x >= 0).any(0)]
        ids = x.masked_fill(x < 0, self.padding)
        return self.model({"input_ids": ids, "attention_mask": (x >= 0).long()})["sentence_embedding"]


def headed(body: nn.Module, width: int, dim: int) -> nn.Module:
    """The model itself where it has the run's width, else a linear map behind it."""
    return body if width == dim else nn.Sequential(body, nn.Linear(width, dim, bias=False))


@cache
def library_kind(name: str) -> TowerKind:
    """The kind for LIBRARY/MODEL or LIBRARY/MODEL@WEIGHTS."""
    library, _, rest = name.partition("/")
    if not rest:
        raise InputError(f"tower {name}: name a model, such as timm/resnet18")
    if library not in LIBRARIES:
        raise unknown("library of towers", library, LIBRARIES)
    return LIBRARIES[library](rest)


def _timm(rest: str) -> TowerKind:
    timm = _imported("timm")
    name, _, weights = rest.partition("@")
    if not timm.is_model(name):
        raise unknown("timm model", name, timm.list_models())

    def make(shape: Shape, dim: int, hidden: int, dropout: float) -> nn.Module:
        file: dict[str, Any] = {}
        if weights:
            known = timm.list_pretrained(f"{name}.*")
            published = timm.get_pretrained_cfg(f"{name}.{weights}") if f"{name}.{weights}" in known else None
            file = {"file": str(weights_file(weights, published.hf_hub_id if published else "", "model.safetensors"))}
        body = timm.create_model(
            name, pretrained=bool(weights), num_classes=0, drop_rate=dropout, pretrained_cfg_overlay=file or None
        )
        c = timm.data.resolve_model_data_config(body)
        return headed(Pictures(body, c["input_size"][1:], c["mean"], c["std"]), body.num_features, dim)

    return TowerKind(drawings, make)


def _open_clip(rest: str) -> TowerKind:
    """The image tower for a modality with drawings, the text tower for one without."""
    clip = _imported("open_clip")
    name, _, weights = rest.partition("@")
    if name not in clip.list_models():
        raise unknown("open_clip model", name, clip.list_models())

    def reads(es: EmbeddingSet, m: str) -> Tensor:
        if f"{m}_png" in es.items:
            return drawings(es, m)
        try:
            return clip.get_tokenizer(name)(texts(es, m))
        except OSError:
            raise InputError(
                f"open_clip/{name}: its tokenizer is not on this disk, and nothing is downloaded"
            ) from None

    def make(shape: Shape, dim: int, hidden: int, dropout: float) -> nn.Module:
        file = None
        if weights:
            published = clip.get_pretrained_cfg(name, weights) or {}
            file = str(weights_file(weights, published.get("hf_hub", "").strip("/"), "open_clip_model.safetensors"))
        # the text trunk of some models would be fetched; their weights are in the file, or random
        model = clip.create_model(name, pretrained=file, pretrained_text=False)
        width = model.visual.output_dim
        if len(shape) == 3:
            c = model.visual.preprocess_cfg
            return headed(Pictures(model.visual, c["size"], c["mean"], c["std"]), width, dim)
        return headed(Tokens(model), width, dim)

    return TowerKind(reads, make)


class Tokens(nn.Module):
    """The text side of an open_clip model, alone."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        model.visual = None
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.encode_text(x)


def _sentence_transformers(rest: str) -> TowerKind:
    """A folder, or the name of a model in the cache; this library has no architecture without its files."""
    sentence_transformers = _imported("sentence_transformers")
    try:
        model = sentence_transformers.SentenceTransformer(rest, device="cpu", local_files_only=True)
    except (OSError, ValueError):
        raise InputError(
            f"sentence_transformers/{rest}: no such folder, and no such model in the cache; nothing is downloaded: "
            f"save it once with SentenceTransformer({rest!r}).save(FOLDER), then name the folder"
        ) from None
    padding = model.tokenizer.pad_token_id

    def reads(es: EmbeddingSet, m: str) -> Tensor:
        given = model.tokenizer(texts(es, m), padding=True, truncation=True, return_tensors="pt")
        return given["input_ids"].masked_fill(given["attention_mask"] == 0, -1)

    def make(shape: Shape, dim: int, hidden: int, dropout: float) -> nn.Module:
        return headed(Words(copy.deepcopy(model), padding), model.get_embedding_dimension(), dim)

    return TowerKind(reads, make)


LIBRARIES: dict[str, Callable[[str], TowerKind]] = {
    "timm": _timm,
    "open_clip": _open_clip,
    "sentence_transformers": _sentence_transformers,
}


def _imported(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except (ImportError, RuntimeError) as e:
        raise InputError(
            f"towers of {name} need it: pip install 'workbench[{EXTRAS[name]}]' ({str(e).splitlines()[0]})"
        ) from None
