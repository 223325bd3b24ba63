"""Sets whose true values are known, interventions on them, comparisons between them, and tables of their parts."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench import interventions
from workbench.errors import InputError
from workbench.report import slices as tables
from workbench.sets import planted as testing


@pytest.mark.parametrize(("gap", "cosine"), [(0.0, 0.9), (0.6, 0.5), (1.2, 0.2)])
def test_truth(gap, cosine):
    es = testing.planted(items=120, gap=gap, cosine=cosine, families=2)
    report = wb.diagnose(es)
    c2 = gap**2 / 2
    for name, expected in (
        ("modality_gap", gap),
        ("matched_cosine", (1 - c2) * cosine),
        ("alignment", 2 - 2 * (1 - c2) * cosine),
    ):
        assert report.value(name, "image", "text") == pytest.approx(expected, abs=1e-9)
    assert report.value("resultant_length", "image") == pytest.approx(math.sqrt(c2), abs=1e-9)


def test_missing_and_several_rows():
    es = testing.several(testing.missing(testing.planted(items=60), "text", 0.25), "image", 3)
    assert (len(es["text"]), len(es["image"])) == (45, 180)
    report = wb.diagnose(es)
    assert report.row("recall_at_1", "image", "text")["n_query"] == 135
    assert report.row("ndcg_at_10", "text", "image")["value"] > 0.5


@given(st.integers(0, 1000), st.floats(0.0, 1.0))
@settings(max_examples=15)
def test_shift_moves_the_gap_by_its_share(seed, share):
    es = testing.planted(items=40, dimensions=8, gap=0.7, seed=seed)
    after = interventions.shift(share).fit(es, "image", "text").apply(es)
    delta = after["image"].double().mean(0) - after["text"].double().mean(0)
    assert float(delta.norm()) == pytest.approx(0.7 * (1 - share), abs=1e-6)


def test_whitening_makes_the_covariance_the_identity():
    g = torch.Generator().manual_seed(0)
    es = wb.EmbeddingSet({"a": torch.randn(400, 6, generator=g) * torch.tensor([5.0, 4, 3, 2, 1, 1]) + 1})
    for kind in ("zca", "pca"):
        y = interventions.whiten(kind).fit(es).apply(es)["a"].double()
        torch.testing.assert_close(y.T @ y / 400, torch.eye(6, dtype=torch.float64), atol=1e-6, rtol=0)
    y = interventions.whiten("zca", groups=3).fit(es).apply(es)["a"].double()
    for block in range(3):
        part = y[:, 2 * block : 2 * block + 2]
        torch.testing.assert_close(part.T @ part / 400, torch.eye(2, dtype=torch.float64), atol=1e-6, rtol=0)
    z = interventions.standardise().fit(es).apply(es)["a"].double()
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(6, dtype=torch.float64), atol=1e-6, rtol=0)


def test_interventions_are_fitted_on_train_and_leave_their_input_alone():
    es = testing.planted(items=200, gap=0.6)
    before = es.fingerprint
    train, probe = es.take(np.arange(100)), es.take(np.arange(100, 200))
    for name in interventions.INTERVENTIONS:
        fitted = interventions.named(name).fit(train, "image", "text")
        after = fitted.apply(probe)
        assert len(after) == 100
        assert list(after.items["id"]) == list(probe.items["id"])
    assert wb.EmbeddingSet({m: es[m] for m in es.modalities}, es.items).fingerprint == before
    table = interventions.centre().compare(train, probe, only=["modality_gap"])
    before, after = (table.iloc[0][k, "value"] for k in ("before", "after"))
    assert after < before
    with pytest.raises(wb.InputError, match="fit it first"):
        interventions.centre().apply(es)


def test_procrustes_and_cca_find_a_hidden_turn():
    g = torch.Generator().manual_seed(1)
    x = torch.randn(300, 10, generator=g, dtype=torch.float64)
    q, _ = torch.linalg.qr(torch.randn(10, 10, generator=g, dtype=torch.float64))
    es = wb.EmbeddingSet({"a": x, "b": (x + 0.3 * torch.randn(300, 10, generator=g)) @ q})
    train, probe = es.take(np.arange(150)), es.take(np.arange(150, 300))
    for name, more in (("procrustes", {}), ("cca", {"components": 10})):
        after = interventions.named(name, **more).fit(train, "a", "b").apply(probe)
        assert wb.diagnose(probe, only=["recall_at_1"]).value("recall_at_1", "a", "b") < 0.1
        assert wb.diagnose(after, only=["recall_at_1"]).value("recall_at_1", "a", "b") > 0.9


def test_compare_says_who_is_better_and_when_nobody_is():
    good, bad = (testing.planted(items=300, cosine=c, families=3) for c in (0.6, 0.4))
    found = wb.compare(bad, good)
    row = found.paired.iloc[0]
    assert row["verdict"] == "higher"
    assert row["low"] > 0
    assert row["won"] - row["lost"] == pytest.approx(300 * row["value"])
    assert "One seed each" in found.sentences[0]
    assert set(found.paired["verdict"]) == {"higher"}
    flipped = found.flipped("image", "text")
    assert len(flipped) == row["won"] + row["lost"]
    same = wb.compare(good, good)
    assert set(same.paired["verdict"]) == {"not distinguishable"}
    assert (same.shared["value"] > 0.999).all()


def test_compare_respects_the_floor_that_seeds_set():
    a, b = (testing.planted(items=300, cosine=c) for c in (0.45, 0.42))
    free = wb.compare(a, b)
    seeds = [testing.planted(items=300, cosine=c, seed=k) for k, c in ((5, 0.5), (6, 0.4))]
    floored = wb.compare(a, b, seeds=seeds)
    assert set(free.paired["verdict"]) == {"lower"}
    assert set(floored.paired["verdict"]) == {"not distinguishable"}
    assert "within what seeds alone change" in floored.sentences[0]


def test_compare_joins_on_ids_and_says_what_is_missing():
    es = testing.planted(items=80)
    found = wb.compare(es.take(np.arange(60)), es.take(np.arange(79, 19, -1)))
    assert found.about["items"] == 40
    assert (found.items["changed image"] == 0).all()
    with pytest.raises(wb.InputError, match="share 0 ids"):
        wb.compare(es.take(np.arange(10)), es.take(np.arange(40, 50)))


def test_independent_spaces_share_nothing():
    es = testing.planted(items=200)
    other = testing.shuffled(testing.planted(items=200, seed=9), "image", 1.0, seed=3)
    shared = wb.compare(es, other).shared
    for r in shared[shared["modality"] == "image"].to_dict("records"):
        assert r["null_low"] - 0.02 <= r["value"] <= r["null_high"] + 0.02


def test_slices_keep_the_gallery():
    es = testing.planted(items=90, cosine=0.5)
    es.items["kind"] = [f"k{i % 3}" for i in range(90)]
    frame = tables.slices(es, "kind")
    hits = frame[(frame["name"] == "recall_at_1") & (frame["modalities"] == ("image", "text"))]
    assert (hits["n_gallery"] == 90).all()
    assert (hits["n_query"] == 30).all()
    whole = wb.diagnose(es, only=["recall_at_1"]).value("recall_at_1", "image", "text")
    assert hits["value"].mean() == pytest.approx(whole)
    within = tables.slices(es, "kind", only=["recall_at_1"], within=True)
    assert (within["n_gallery"] == 30).all()


def test_templates_and_their_spread():
    es = testing.several(testing.planted(items=60, cosine=0.5), "text", 3, noise=0.8)
    frame = tables.templates(es, "text", "image", names=["a photo of", "a drawing of", "this is"])
    r = frame[frame["name"] == "recall_at_1"]
    assert list(r["template"]) == ["a photo of", "a drawing of", "this is", "spread"]
    assert r["value"].iloc[3] == pytest.approx(r["value"].iloc[:3].max() - r["value"].iloc[:3].min())


def test_layers_of_a_planted_network():
    frame = tables.layers(
        testing.layered(items=120), only=["avqi_safe_vs_adversarial"], label="role", roles=testing.ROLES
    )
    values = frame.sort_values("layer")["value"].to_numpy()
    assert values[-1] < values[1]


def test_digits_layers_separate_even_from_odd():
    """A small trained net on real digits: safe = even, unsafe = odd, jailbreak = even digits blended with an odd one.

    Trained to tell odd from even, later layers must bring the blends' index down from that of the pixels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x, y = torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)
    g = torch.Generator().manual_seed(0)
    even, odd = x[y % 2 == 0], x[y % 2 == 1]
    n = 250
    a, b = even[torch.randperm(len(even), generator=g)], odd[torch.randperm(len(odd), generator=g)]
    blend = 0.35 * a[:n] + 0.65 * b[:n]
    inputs = torch.cat([a[n : 2 * n], b[n : 2 * n], blend])
    torch.manual_seed(0)
    net = [torch.nn.Linear(64, 48), torch.nn.Linear(48, 32), torch.nn.Linear(32, 16), torch.nn.Linear(16, 2)]
    steps = torch.optim.Adam([p for m in net for p in m.parameters()], lr=3e-3)

    def hidden(z):
        out = []
        for m in net[:-1]:
            z = torch.relu(m(z))
            out.append(z)
        return out

    train, target = (
        torch.cat([a[2 * n :], b[2 * n :]]),
        torch.cat([torch.zeros(len(a) - 2 * n), torch.ones(len(b) - 2 * n)]),
    )
    for _ in range(200):
        loss = torch.nn.functional.cross_entropy(net[-1](hidden(train)[-1]), target.long())
        steps.zero_grad()
        loss.backward()
        steps.step()
    with torch.no_grad():
        states = [torch.nn.functional.pad(h, (0, 48 - h.shape[1])) + 1e-3 for h in hidden(inputs)]
    es = wb.EmbeddingSet(
        {"hidden": torch.stack(states, 1)}, pd.DataFrame({"role": np.repeat(["even", "odd", "blend"], n)})
    )
    roles = {"safe": ["even"], "unsafe": ["odd"], "jailbreak": ["blend"]}
    only = ["avqi_safe_vs_adversarial", "avqi_quantile"]
    frame = tables.layers(es, only=only, label="role", roles=roles)
    by_layer = frame.pivot_table(index="layer", columns="name", values="value")
    assert (by_layer.iloc[-1] < by_layer.iloc[0]).all()
    assert (by_layer["avqi_quantile"] < by_layer["avqi_safe_vs_adversarial"]).all()
    last = frame[(frame["layer"] == 2) & (frame["name"] == only[0])].iloc[0]
    assert last["value"] < last["null_low"]  # far better apart than roles dealt out at random


def test_cca_wants_more_pairs_than_components():
    es = testing.planted(items=40)
    with pytest.raises(InputError, match="12 pairs decide no more than 11"):
        interventions.cca(components=12).fit(es.take(np.arange(12)), *es.modalities)
