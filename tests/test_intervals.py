"""Nominal 95 % intervals cover the truth at 93 to 97 %, over many planted sets with families of two."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import stdtrit

import workbench as wb
from benchmarks import coverage
from tests.conftest import planted
from workbench.diagnostics import intervals
from workbench.report.comparison import Seeds, _judged

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


def test_a_share_has_the_roots_of_the_score_as_its_interval():
    """Wilson's ends are where the share seen lies z standard errors from the share supposed."""
    for k, n in ((0, 219), (3, 40), (20, 40), (100, 100)):
        values = torch.tensor([1.0] * k + [0.0] * (n - k))
        low, high = intervals.of_a_share(values, torch.arange(n))
        mean, se, f, freedom = intervals.by_families(values, torch.arange(n))
        z = float(stdtrit(freedom, 0.975))
        size = mean * (1 - mean) / se**2 if 0 < mean < 1 else f
        supposed = np.linspace(0, 1, 200_001)
        inside = (mean - supposed) ** 2 <= z**2 * supposed * (1 - supposed) / size
        assert low == pytest.approx(supposed[inside].min(), abs=1e-5)
        assert high == pytest.approx(supposed[inside].max(), abs=1e-5)
    assert intervals.of_a_share(torch.zeros(219), torch.arange(219))[1] == pytest.approx(0.0173, abs=2e-4)


def test_standard_errors_are_those_of_leaving_out_each_family():
    rng = np.random.default_rng(0)
    family = torch.arange(60) // 4
    values = torch.from_numpy((rng.random(60) < 0.7).astype(float))
    without = np.array([float(values[family != f].mean()) for f in range(15)])
    expected = math.sqrt(14 / 15 * ((without - without.mean()) ** 2).sum())
    assert intervals.by_families(values, family)[1] == pytest.approx(expected, rel=1e-9)
    low, high = intervals.jackknife_of_a_mean(values, torch.ones(60), family)
    assert (low + high) / 2 == pytest.approx(float(values.mean()))


def test_few_large_deviations_leave_few_degrees_of_freedom():
    even = torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert intervals.scatter(even)[1] > 400
    assert intervals.scatter(torch.cat([even / 100, torch.tensor([9.0, -9.0])]))[1] < 7
    assert intervals.scatter(torch.zeros(10))[1] == 9


def test_the_bias_of_pairs_within_families_is_taken_off():
    """A mean over pairs of eight families of 25: the pairs of a family are alike, and an eighth of all."""
    g = torch.Generator().manual_seed(0)
    of = torch.randn(8, 16, generator=g).repeat_interleave(25, 0)
    x = torch.nn.functional.normalize(3 * of + torch.randn(200, 16, generator=g), dim=1)
    items = pd.DataFrame({"family": [f"f{k // 25}" for k in range(200)]})
    row = wb.diagnose(wb.EmbeddingSet({"a": x}, items), only=["mean_cosine"]).row("mean_cosine", "a")
    cosines = (x @ x.T).double()
    apart = torch.arange(200)[:, None] // 25 != torch.arange(200)[None] // 25
    assert row["low"] < float(cosines[apart].mean()) < row["high"]
    assert row["value"] == pytest.approx(float((cosines.sum() - 200) / (200 * 199)), abs=1e-6)
    assert row["low"] <= row["value"] <= row["high"]


def test_parts_of_a_set_scatter_as_the_set_does():
    """Whatever is no mean of rows has an interval that is the same each time, unless it is not asked for."""
    es = planted(n=300)
    report = wb.diagnose(es, only=["false_negative_rate", "effective_rank", "hubness"])
    for row in report.frame[report.frame["reason"].isna()].to_dict("records"):
        assert row["interval_kind"].startswith("subsampling")
        assert row["low"] < row["value"] < row["high"]
    again = wb.diagnose(es, only=["false_negative_rate", "effective_rank", "hubness"])
    assert report.frame["low"].dropna().tolist() == again.frame["low"].dropna().tolist()
    without = wb.diagnose(es, only=["hubness"], subsampling=False).frame
    assert set(without["interval_kind"]) == {"none: not asked for"}


def test_subsampling_of_a_mean_is_its_standard_error():
    """Where class means are well known, the nearest one is right or wrong for each row by itself."""
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(5):
        kind = rng.integers(0, 2, 240)
        x = torch.from_numpy(rng.standard_normal((240, 3)) + np.array([1.5, 1.5, 0]) * (2 * kind[:, None] - 1))
        es = wb.EmbeddingSet({"a": x}, pd.DataFrame({"kind": np.array(["u", "v"])[kind]}))
        row = wb.diagnose(es, label="kind", only=["nearest_centroid_accuracy"]).row("nearest_centroid_accuracy", "a")
        plain = math.sqrt(row["value"] * (1 - row["value"]) / 240)
        ratios.append((row["high"] - row["low"]) / 2 / float(stdtrit(11, 0.975)) / plain)
    assert 0.75 < np.mean(ratios) < 1.35, ratios


def test_a_median_lies_between_quantiles_of_its_rows():
    values = torch.arange(1.0, 102.0)
    low, high = intervals.of_a_median(values, torch.arange(101))
    assert (low, high) == (41, 61)  # the binomial's own are 41 and 61
    assert intervals.of_a_median(torch.ones(50), torch.arange(50)) == (1, 1)


def test_every_interval_that_was_measured_holds():
    """Of the intervals of each diagnostic nine in ten hold, but where the benchmark says why not."""
    known = coverage.measured()
    assert set(known) == {c.name for c in coverage.CELLS}
    for cell, found in known.items():
        for name, (count, above, below) in found.items():
            if count >= 100 and (cell, name) not in coverage.SHORT:
                assert (above + below) / count <= (0.15 if cell == coverage.HEAVY else 0.1), (cell, name)


def test_of_equal_recipes_hardly_any_comparison_calls_one_better():
    rng = np.random.default_rng(0)
    called = sum(Seeds(list(rng.normal(0.5, 0.02, 3))).p(rng.normal(0.5, 0.02)) <= 0.05 for _ in range(2_000))
    assert called / 2_000 == pytest.approx(0.05, abs=0.015)
    assert Seeds([0.5, 0.51, 0.49]).p(0.9) < 0.01
    assert Seeds([0.5]).p(0.9) == 0


def test_one_statement_is_made_for_all_directions_and_measures():
    rows = [{"p": p, "value": 1.0} for p in (0.04, 0.01, 0.03, 0.2)]
    judged = _judged(rows)
    assert judged["p"].tolist() == pytest.approx([0.09, 0.04, 0.09, 0.2])  # Holm 1979, by hand
    assert judged["verdict"].tolist() == ["not distinguishable", "higher", "not distinguishable", "not distinguishable"]
