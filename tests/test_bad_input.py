"""What cannot be computed is NaN with a reason or one clear error, never a silent number."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from tests.conftest import planted
from workbench.sets import planted as testing


def reasons(report):
    return {(r["name"], r["modalities"]): r["reason"] for r in report.frame.to_dict("records") if r["reason"]}


def numbers(report):
    """Every value is finite or has a reason; no reason hides a value."""
    for r in report.frame.to_dict("records"):
        assert math.isfinite(r["value"]) == (r["reason"] is None), r


def with_kinds(es, kinds):
    return wb.EmbeddingSet({m: es[m] for m in es.modalities}, es.items.assign(kind=kinds))


def test_classes_of_one_item_and_a_single_class():
    es = planted(n=30, modalities=("image", "text"))
    alone = wb.diagnose(with_kinds(es, ["a"] * 15 + ["b"] * 14 + ["c"]), label="kind")
    numbers(alone)
    assert "one of 1" in reasons(alone)["cluster_separation", ("image",)]
    assert "smallest has 1" in reasons(alone)["neural_collapse_within", ("image",)]
    single = wb.diagnose(with_kinds(es, ["a"] * 30), label="kind")
    numbers(single)
    assert "1 class" in reasons(single)["silhouette", ("image",)]
    names = wb.diagnose(with_kinds(es, [f"n{i}" for i in range(30)]), label="kind")
    assert "a name, not a label" in reasons(names)["silhouette", ("image",)]
    with pytest.raises(wb.InputError, match="kinf.*kind"):
        wb.diagnose(with_kinds(es, ["a", "b"] * 15), label="kinf")


def test_a_constant_modality():
    x = planted(n=40, modalities=("image",))["image"]
    report = wb.diagnose({"image": x, "text": torch.ones(40, 12)})
    numbers(report)
    assert "coincide" in reasons(report)["effective_rank", ("text",)]
    assert "coincide" in reasons(report)["isoscore", ("text",)]
    assert report.value("recall_at_1", "text", "image") == pytest.approx(1 / 40)
    assert {f.rule for f in report.findings if f.severity == "fault"} >= {"collapse", "no_pairing_signal"}


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_fewer_items_than_neighbours(n):
    report = wb.diagnose({"a": torch.eye(8)[:n] + 0.1, "b": torch.eye(8)[:n] + 0.2})
    numbers(report)
    if n == 1:
        assert len(reasons(report)) == len(report.frame)


def test_a_missing_modality_and_items_that_share_none():
    es = wb.EmbeddingSet(
        {"image": torch.eye(6), "text": torch.eye(6)[:1]}, pd.DataFrame({"id": range(6)}), rows={"text": [3]}
    )
    report = wb.diagnose(es)
    numbers(report)
    assert "only 1 items have" in reasons(report)["alignment", ("image", "text")] or "two items" in str(reasons(report))
    apart = wb.EmbeddingSet(
        {"image": torch.eye(6)[:3], "text": torch.eye(6)[3:]},
        pd.DataFrame({"id": range(6)}),
        rows={"image": [0, 1, 2], "text": [3, 4, 5]},
    )
    numbers(wb.diagnose(apart))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_extremes_of_narrow_types(dtype):
    top = torch.finfo(dtype).max if dtype != torch.float64 else 1e60
    tiny = torch.finfo(dtype).tiny if dtype != torch.float64 else 1e-60
    x = planted(n=20, d=4, modalities=("a",))["a"]
    x = torch.nn.functional.normalize(x, dim=1)
    big, small = (x.double() * top * 0.5).to(dtype), (x.double() * tiny * 64).to(dtype)
    report = wb.diagnose({"a": big, "b": small}, only=["recall_at_1", "modality_gap", "alignment", "uniformity"])
    assert report.value("recall_at_1", "a", "b") > 0.9
    assert report.value("alignment", "a", "b") < 0.05


def test_opposite_parts_of_a_fused_query_do_not_vanish():
    x = torch.eye(5)
    report = wb.diagnose({"a": x, "b": -x, "c": x}, only=["recall_at_1"])
    assert report.value("recall_at_1", "a+b", "c") == pytest.approx(1.0)


def test_many_collapsed_rows_are_ranked_in_reasonable_time():
    """Everything ties: the whole tile goes to float64 instead of pair by pair."""
    x = torch.ones(3_000, 32) + 1e-9
    report = wb.diagnose({"a": x, "b": x}, only=["recall_at_1", "hubness", "median_rank"])
    assert report.value("median_rank", "a", "b") == pytest.approx(1500.5)


@pytest.mark.parametrize("offset", [-7, 7])
def test_the_offset_is_named_and_moving_the_rows_as_it_says_takes_it_away(offset):
    es = testing.shuffled(testing.planted(items=100, cosine=0.8), "text", offset=offset)
    (f,) = [f for f in wb.diagnose(es).findings if f.rule == "shifted_pairs"]
    assert re.search(r"image i matches text i[+-]7\.", f.sentence)
    rows, way = re.search(r"rows of text (\d+) (up|down)", f.next).groups()
    mended = wb.EmbeddingSet(
        {"image": es["image"], "text": torch.roll(es["text"], -int(rows) if way == "up" else int(rows), 0)}
    )
    assert wb.diagnose(mended, only=["recall_at_1"]).value("recall_at_1", "image", "text") > 0.9


def test_whether_the_gap_matters():
    apart, together = (testing.planted(items=200, cosine=0.7, gap=g) for g in (1.2, 0.15))
    sentences = [next(f.sentence for f in wb.diagnose(es).findings if f.rule == "gap") for es in (apart, together)]
    assert "decides where both share one index" in sentences[0]
    assert "does not matter for retrieval" in sentences[1]


def test_false_negatives_are_information():
    es = testing.planted(items=120, dimensions=4, cosine=0.9)
    x = es["image"].double()
    kind = np.where(x[:, 0] > 0, "right", "left")
    report = wb.diagnose(with_kinds(es, kind), label="kind")
    assert report.value("false_negative_rate", "image", "text") > 0.6
    assert all(f.severity == "info" for f in report.findings)


@pytest.mark.parametrize("lacks", ["k0", "k3", "whatever has a class"])
def test_a_class_that_a_modality_lacks_altogether_has_not_collapsed(lacks):
    es = wb.testing.planted(items=240, cosine=0.6, seed=3)
    kinds = np.array([f"k{i % 4}" for i in range(240)], dtype=object)
    there = kinds != lacks
    if lacks not in kinds:  # only items without a picture have a class
        there = np.arange(240) < 150
        kinds[there] = None
    rows = np.flatnonzero(there)
    vectors = {"image": es["image"][torch.from_numpy(rows)], "text": es["text"]}
    made = wb.EmbeddingSet(vectors, es.items.assign(kind=kinds), rows={"image": rows})
    alarms = {f.rule for f in wb.diagnose(made).findings if f.alarm}
    assert alarms == ({"missing_by_class"} if lacks.startswith("k") else set())


@pytest.mark.parametrize("scale", [1e-56, 1e58])
def test_nothing_but_lengths_knows_a_scale(scale):
    """Near the ends of the range that is read: every number that has no unit of length, and the doctor."""
    es = testing.of_odd_lengths(testing.planted(items=120, gap=0.3), "text", 0.03, 1e-3)
    plain = wb.EmbeddingSet({m: es[m].double() / es[m].abs().max() for m in es.modalities}, es.items)
    scaled = wb.EmbeddingSet({m: plain[m] * scale for m in es.modalities}, es.items)
    one, two = (wb.diagnose(x) for x in (plain, scaled))
    assert ("odd_lengths", "warning") in [(f.rule, f.severity) for f in one.findings]
    assert [f.rule for f in one.findings] == [f.rule for f in two.findings]
    for a, b in zip(one.frame.to_dict("records"), two.frame.to_dict("records"), strict=True):
        by = scale if a["unit"] == "raw length" else 1
        for field in ("value", "low", "high", "null_low", "null_high"):
            assert b[field] == pytest.approx(a[field] * by, rel=1e-6, abs=1e-9 * by, nan_ok=True), (a["name"], field)


@pytest.mark.parametrize(("number", "said"), [(1e200, "1e+200"), (1e-200, "1e-200"), (1e-310, "1e-310")])
def test_numbers_whose_powers_leave_the_range_are_refused(number, said):
    x = np.eye(4) + 0.1
    x[2] *= number
    with pytest.raises(wb.InputError, match=re.escape("modality 'b' at row 2 is " + said)):
        wb.diagnose({"a": np.eye(4), "b": x})


def test_items_of_one_family_have_no_wrong_signs():
    """No two items are strangers then, so none is compared with strangers."""
    es = testing.planted(items=120)
    one = wb.EmbeddingSet({m: es[m] for m in es.modalities}, es.items.assign(family="x"))
    assert not [f for f in wb.diagnose(one).findings if f.alarm]
