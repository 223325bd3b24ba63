"""Vectors of whole numbers with what they were quantised by: one scale, one a row, one a dimension."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

import workbench as wb
from workbench.errors import InputError
from workbench.sets.formats import load_aloud

draw = np.random.default_rng(0)
Z = draw.standard_normal((60, 16))
X, Y = (3 + Z + 0.8 * draw.standard_normal(Z.shape) for _ in range(2))


def quantised(x: np.ndarray, axis: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bytes, their scale and their zero, over all numbers, over each row (1) or over each dimension (0)."""
    low, high = x.min(axis, keepdims=True), x.max(axis, keepdims=True)
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    return np.round(x / scale + zero).clip(0, 255).astype(np.uint8), scale, zero


def near(es: wb.EmbeddingSet, name: str, truth: np.ndarray, step: float) -> bool:
    return bool(np.abs(es[name].numpy() - truth).max() <= step)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_arrays_are_the_numbers_they_stand_for(tmp_path: Path, axis: int | None, kind: str) -> None:
    file = tmp_path / f"a.{kind}"
    held = {}
    for m, x in (("image_emb", X), ("text_emb", Y)):
        q, scale, zero = quantised(x, axis)
        short = m.removesuffix("_emb")
        held |= {m: q, f"{short}_scale": scale.astype("f4"), f"{short}_zero_point": zero.astype("f4")}
    np.savez(file, **held) if kind == "npz" else save_file(held, file)
    es, said = load_aloud(file)
    assert es.modalities == ("image_emb", "text_emb")
    step = float(held["image_scale"].max())
    assert near(es, "image_emb", X, step)
    assert near(es, "text_emb", Y, step * 2)
    assert any("uint8, 16 numbers a row, less image_zero_point, times image_scale" in line for line in said)


@pytest.mark.parametrize("names", [("scale", "zero_point"), ("image_scale", "image_zp"), ("imageScales", "imageZeros")])
def test_columns_are_too_whatever_type_the_lists_have(tmp_path: Path, names: tuple[str, str]) -> None:
    q, scale, zero = quantised(X, 1)
    for kind in ("uint8", "int64"):
        frame = pd.DataFrame(
            {"image_emb": list(q.astype(kind)), names[0]: scale[:, 0], names[1]: zero[:, 0].astype(int)}
        )
        frame.assign(text_emb=list(Y)).to_parquet(tmp_path / "a.parquet")
        assert near(load_aloud(tmp_path / "a.parquet")[0], "image_emb", X, float(scale.max()))


def test_a_least_value_is_added(tmp_path: Path) -> None:
    low, scale = X.min(), (X.max() - X.min()) / 255
    np.savez(
        tmp_path / "a.npz", image=np.round((X - low) / scale).astype(np.uint8), text=Y, image_scale=scale, image_min=low
    )
    assert near(load_aloud(tmp_path / "a.npz")[0], "image", X, float(scale))


def test_a_scale_of_something_else_changes_nothing(tmp_path: Path) -> None:
    q, _, _ = quantised(X, None)
    np.savez(tmp_path / "a.npz", image_emb=q, text_emb=Y, text_scale=np.float32(2), logit_scale=np.float32(100))
    assert near(load_aloud(tmp_path / "a.npz")[0], "image_emb", q, 0)


@pytest.mark.parametrize(
    ("beside", "says"),
    [
        (np.ones(7), "'scale' has 7 numbers; a scale or a zero is one"),
        (np.full(60, np.nan), "'scale' has no number at row 0"),
    ],
)
def test_a_scale_that_does_not_fit_is_refused(tmp_path: Path, beside: np.ndarray, says: str) -> None:
    np.savez(tmp_path / "a.npz", emb=quantised(X, None)[0], scale=beside)
    with pytest.raises(InputError, match=says):
        load_aloud(tmp_path / "a.npz")


def test_bytes_without_a_zero_say_what_they_are_taken_for(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image_emb": list(quantised(X, None)[0]), "text_emb": list(Y)})
    frame.to_parquet(tmp_path / "a.parquet")
    assert any("0 is taken for zero" in line for line in load_aloud(tmp_path / "a.parquet")[1])
