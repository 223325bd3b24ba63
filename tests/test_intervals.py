"""Nominal 95 % intervals cover the truth at 93 to 97 %, over many planted sets with families of two."""

import pytest
import torch

import workbench as wb
from tests.conftest import planted

SETS = 1_500
SUBJECTS = {"alignment": ("image", "text"), "modality_gap": ("image", "text"), "uniformity": ("image",)}


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
    large = wb.diagnose(sample(20_000, seed=0), only=list(SUBJECTS), exact=True)
    truth = {name: large.value(name, *subject) for name, subject in SUBJECTS.items()}
    hits = dict.fromkeys(SUBJECTS, 0)
    for seed in range(1, SETS + 1):
        report = wb.diagnose(sample(160, seed), only=list(SUBJECTS))
        for name, subject in SUBJECTS.items():
            row = report.row(name, *subject)
            hits[name] += row["low"] <= truth[name] <= row["high"]
    shares = {name: h / SETS for name, h in hits.items()}
    assert all(0.93 <= s <= 0.97 for s in shares.values()), shares
