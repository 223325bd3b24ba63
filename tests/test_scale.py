"""A hundred thousand items: sampled and said so, in bounded memory."""

import resource

import pytest
import torch

import workbench as wb


@pytest.mark.slow
def test_a_hundred_thousand_items_in_bounded_memory(tmp_path):
    g = torch.Generator().manual_seed(0)
    base = torch.randn(100_000, 64, generator=g)
    es = wb.EmbeddingSet({m: base + 0.5 * torch.randn(100_000, 64, generator=g) for m in ("a", "b")})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = wb.diagnose(wb.load(es.save(tmp_path / "s")))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    row = report.row("recall_at_1", "a", "b")
    assert (row["n_query"], row["n_gallery"], row["exact"]) == (2_000, 100_000, False)
    assert report.row("alignment", "a", "b")["n_query"] == 100_000
    assert grown < 1_500, f"{grown:.0f} MB"
