"""Nominal 95 % intervals cover the truth at 93 to 97 %, over many planted sets with families of two."""

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from tests.conftest import planted

SETS = 1_500
SCOPES = {"alignment": ("image", "text"), "modality_gap": ("image", "text"), "uniformity": ("image",)}


def sample(n, seed):
    """Items in families of two that share half of their signal; a gap between the modalities."""
    g = torch.Generator().manual_seed(seed)
    shared = torch.randn(n // 2, 10, generator=g).repeat_interleave(2, 0)
    base = shared + torch.randn(n, 10, generator=g)
    offset = torch.linspace(-1, 1, 10)
    items = planted(n=n, d=10, families=2).items
    x, y = base + torch.randn(n, 10, generator=g) + offset, base + torch.randn(n, 10, generator=g) - offset
    return wb.EmbeddingSet({"image": x, "text": y}, items)


@pytest.mark.slow
def test_coverage():
    large = wb.diagnose(sample(20_000, seed=0), only=list(SCOPES), exact=True)
    truth = {name: large.value(name, *scope) for name, scope in SCOPES.items()}
    hits = dict.fromkeys(SCOPES, 0)
    for seed in range(1, SETS + 1):
        report = wb.diagnose(sample(160, seed), only=list(SCOPES))
        for name, scope in SCOPES.items():
            row = report.row(name, *scope)
            hits[name] += row["low"] <= truth[name] <= row["high"]
    shares = {name: h / SETS for name, h in hits.items()}
    assert all(0.93 <= s <= 0.97 for s in shares.values()), shares


def ragged_noise(seed, n=100, d=8):
    """Independent directions: five captions an item, and half of the items without a sound."""
    rng = np.random.default_rng(seed)
    half = np.sort(rng.permutation(n)[: n // 2])
    return wb.EmbeddingSet(
        {
            "image": rng.standard_normal((n, d)),
            "text": rng.standard_normal((5 * n, d)),
            "audio": rng.standard_normal((n // 2, d)),
        },
        pd.DataFrame({"id": [str(i) for i in range(n)]}),
        rows={"text": np.repeat(np.arange(n), 5), "audio": half},
    )


@pytest.mark.slow
def test_nulls_hold_noise_with_several_captions_and_missing_rows():
    """Of 60 sets with nothing to see, most values must not stand out of their null: 95 % is nominal, 85 % is asked."""
    asked = ["mutual_knn", "modality_gap", "relative_gap", "hubness", "hubness_within", "modality_separability"]
    inside, count = {}, {}
    for seed in range(60):
        for r in wb.diagnose(ragged_noise(seed), only=asked).frame.to_dict("records"):
            key = (r["name"], r["modalities"])
            inside[key] = inside.get(key, 0) + (r["value"] <= r["null_high"])
            count[key] = count.get(key, 0) + 1
    shares = {k: inside[k] / count[k] for k in count}
    assert all(v >= 0.85 for v in shares.values()), {k: v for k, v in shares.items() if v < 0.85}
