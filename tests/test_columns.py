"""Holes in columns of any kind: what is missing is no class, no family of its own kind, no colour and no positive."""

import contextlib
import shutil
import time
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.commands import run
from workbench.explorer.inspection import Inspection
from workbench.explorer.map_state import NO_COLOUR, MapState
from workbench.explorer.whatif import Knobs, WhatIf
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.report.slices import slices
from workbench.sets import columns
from workbench.sets.formats import WRITERS
from workbench.training.loop import _labels
from workbench.training.settings import Settings

N = 60
KINDS = {  # four values of each kind
    "text": ["cat", "dog", "eel", "fox"],
    "whole numbers": [0, 1, 2, 3],
    "hashes": [2**60 + k for k in range(4)],
    "unsigned hashes": [2**63 + k for k in range(4)],
    "floats": [0.5, 1.5, 2.5, 3.5],
    "truth": [True, False, True, False],
    "dates": [datetime(2020, 1, k + 1) for k in range(4)],
    "mixed": ["unknown", 7, 2.5, "x"],
    "lists": [["a", "b"], ["c"], [], ["d"]],
    "maps": [{"k": 1}, {"k": 2}, {}, {"j": 3}],
    "bytes": [b"\x89a", b"\x89b", b"\x89c", b"\x89d"],
}
HOLES = {"text": [None, np.nan, pd.NA, "", "  "]}
rng = np.random.default_rng(3)
X = rng.normal(size=(N, 6))
Y = X + rng.normal(size=(N, 6))


def punched(kind, where, hole=None):
    values = [KINDS[kind][i % 4] for i in range(N)]
    return pd.Series([hole if i in where else v for i, v in enumerate(values)], dtype=object)


def made(column, name="kind"):
    return wb.EmbeddingSet({"a": X, "b": Y}, pd.DataFrame({name: column}))


SOME = [set(), {0}, set(range(0, N, 3)), set(range(N - 8)), set(range(N))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", SOME, ids=["whole", "first", "third", "most", "all"])
def test_every_place_that_reads_a_column_takes_holes(kind, where, tmp_path):
    es = made(punched(kind, where))
    assert columns.missing(es.items["kind"]).tolist() == [i in where for i in range(N)]
    back = wb.load(es.save(tmp_path / "set"))
    assert back.fingerprint == es.fingerprint
    codes, names = columns.codes(back.items["kind"])
    assert (codes < 0).tolist() == [i in where for i in range(N)]
    assert len(names) == len({str(KINDS[kind][i % 4]) for i in range(N) if i not in where})
    frame = wb.diagnose(back, label="kind", only=["knn_label_accuracy", "silhouette", "recall_at_1"]).frame
    labelled = frame[(frame["name"] == "silhouette") & frame["reason"].isna()]
    assert (labelled["n_query"] <= N - len(where)).all()
    table = slices(back, "kind", only=["recall_at_1"])
    assert len(table) == 2 * len(names)
    if len(where) in (0, N // 3, N):
        assert len(wb.compare(back, back, by="kind").slices) % max(len(names), 1) == 0
    state = MapState(Inspection(back), colour="modality")
    for colour in state.colours:
        state = MapState(Inspection(back), colour=colour)
        shown, legend = state._colours()
        if colour == "kind":
            assert ((shown == NO_COLOUR) == np.isin(state.item, list(where))).all()
            assert not {"nan", "None", "<NA>", ""} & {e["name"] for e in legend.get("entries", [])}
    for name in sorted(WRITERS):
        with contextlib.suppress(wb.InputError):
            WRITERS[name].write(back, tmp_path / name)
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("hole", [None, np.nan, pd.NA, "", "  "], ids=repr)
def test_all_ways_to_say_nothing_are_one(hole):
    where = set(range(0, N, 4))
    es, plain = made(punched("text", where, hole)), made(punched("text", where))
    assert es.fingerprint == plain.fingerprint
    assert es.items["kind"].isna().sum() == len(where)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(where=st.sets(st.integers(0, N - 1)), kind=st.sampled_from(["text", "hashes", "floats", "mixed", "dates"]))
def test_an_item_without_a_family_is_a_family_of_its_own(where, kind):
    column = punched(kind, where)
    own = pd.Series([f"own {i}" if i in where else str(v) for i, v in enumerate(column)])
    a, b = made(column, "family"), made(own, "family")
    assert (pd.factorize(a.families)[0] == pd.factorize(b.families)[0]).all()
    assert a.families.min() >= 0
    if len(where) < N - 3:
        only = ["recall_at_1", "matched_cosine"]
        got, right = (wb.diagnose(x, only=only).frame[["value", "low", "high"]] for x in (a, b))
        assert np.allclose(got.astype(float), right.astype(float), equal_nan=True)


@settings(deadline=None, max_examples=12)
@given(where=st.sets(st.integers(0, N - 1), max_size=N - 12), kind=st.sampled_from(["text", "whole numbers", "floats"]))
def test_labels_with_holes_are_the_labels_of_the_rest(where, kind):
    keep = np.array([i not in where for i in range(N)])
    column = punched(kind, where)
    es = made(column)
    rest = wb.EmbeddingSet({"a": X[keep], "b": Y[keep]}, pd.DataFrame({"kind": column[keep].tolist()}))
    only = ["knn_label_accuracy", "silhouette", "nearest_centroid_accuracy", "davies_bouldin"]
    got, right = (wb.diagnose(x, label="kind", only=only).frame["value"].astype(float) for x in (es, rest))
    assert np.allclose(got, right, equal_nan=True)


def test_an_unlabelled_item_is_a_positive_of_itself_alone():
    torch.manual_seed(0)
    x, y = torch.randn(12, 8), torch.randn(12, 8)
    objective = recipe("supcon", dims={"a": 8, "b": 8})

    def loss(labels):
        return objective(Batch({"a": x, "b": y}, labels=torch.tensor(labels)))["loss"].item()

    assert loss([0, 0, 1, 1] + [-1] * 8) == pytest.approx(loss([0, 0, 1, 1, *range(2, 10)]))


@pytest.mark.parametrize("known", [0, 1, 3, N])
def test_what_if_takes_classes_that_hardly_any_item_has(known):
    what = WhatIf(Inspection(made(punched("text", set(range(known, N))))), "a", "b", label="kind")
    row = what.table(Knobs()).query("name == 'classifier_transfer'").iloc[0]
    assert np.isfinite(row["now"]) == (known == N)


def test_training_takes_labels_with_holes_as_they_are():
    where = set(range(0, N, 3))
    found = _labels(made(punched("text", where)), Settings(label="kind"))
    assert (found < 0).tolist() == [i in where for i in range(N)]
    assert int(found.max()) == 3


@pytest.mark.parametrize("value", [0, 0.0, "0", np.int64(0)], ids=repr)
def test_a_role_finds_whole_numbers_however_they_are_held(value):
    es = made(pd.Series([float(i % 3) if i % 7 else np.nan for i in range(N)]), "kind")
    report = wb.diagnose(
        es, label="kind", roles={"safe": [value], "unsafe": ["1"], "jailbreak": [2]}, only=["avqi_released"]
    )
    assert report.frame["reason"].isna().all()


def test_a_missing_id_and_a_name_twice_are_refused_in_one_sentence():
    with pytest.raises(wb.InputError, match="'id' is empty at row 1"):
        made(pd.Series(["a", None] + [f"k{i}" for i in range(N - 2)]), "id")
    frame = pd.DataFrame(np.zeros((N, 2)), columns=["k", "k"])
    with pytest.raises(wb.InputError, match="two columns are called 'k'"):
        wb.EmbeddingSet({"a": X}, frame)


def test_true_among_numbers_is_no_one_and_maps_of_any_keys_are_text():
    mixed = made(pd.Series([True, 1, False, 0] * (N // 4), dtype=object))
    assert columns.codes(mixed.items["kind"])[1] == ["0", "1", "false", "true"]
    maps = made(pd.Series([{(1, 2): np.int64(3), "s": {4}}] * N, dtype=object))
    assert maps.items["kind"][0] == '{"(1, 2)": 3, "s": [4]}'


def test_the_members_of_many_values_take_one_pass():
    names = pd.Series([f"n{i % 100_000}" for i in range(200_000)])
    start = time.perf_counter()
    columns.codes(names)
    once = time.perf_counter() - start
    found = columns.members(names)
    assert time.perf_counter() - start < 25 * once, "a look at every row for each value"
    assert found["n7"].tolist() == [7, 100_007]


def test_a_class_of_one_item_is_not_asked_of_its_neighbours():
    kind = ["u"] * 30 + ["v"] * 28 + ["alone", "lonely"]
    es = made(kind)
    row = wb.diagnose(es, label="kind", only=["knn_label_accuracy"]).row("knn_label_accuracy", "a")
    assert row["n_query"] == 58


def test_flipped_bits_of_a_saved_set_are_found(tmp_path):
    saved = made(punched("text", {1})).save(tmp_path / "set")
    draw = np.random.default_rng(0)
    files = sorted(saved.iterdir())
    for k in range(60):
        file = files[k % len(files)]
        raw = file.read_bytes()
        at = int(draw.integers(len(raw)))
        file.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << int(draw.integers(8))]) + raw[at + 1 :])
        with pytest.raises(wb.InputError, match=f"{file.name}|manifest"):
            wb.load(saved)
        file.write_bytes(raw)
    assert len(wb.load(saved)) == N
    assert "3 files as they were saved" in run("check", str(saved)).stdout
    (saved / "a.safetensors").unlink()
    done = run("check", str(saved))
    assert (done.returncode, "a.safetensors: no such file" in done.stderr) == (2, True)
    whole = made(punched("text", {2})).save(tmp_path / "whole")
    done = run("check", str(saved), str(whole))
    assert (done.returncode, "1 of 2 sets are not as they were saved" in done.stderr) == (2, True)
    assert "damaged" in done.stdout
    assert f"{whole}: 3 files as they were saved" in done.stdout, "the others are looked at all the same"


def test_whole_numbers_and_short_floats_are_vectors():
    levels = (np.clip(X / 3, -1, 1) * 127).astype(np.int8)
    right = wb.diagnose({"a": levels.astype(float), "b": Y}, only=["recall_at_1"]).frame["value"].tolist()
    assert wb.diagnose({"a": levels, "b": Y}, only=["recall_at_1"]).frame["value"].tolist() == right
    short = torch.as_tensor(X).to(torch.float8_e4m3fn)
    assert wb.EmbeddingSet({"a": short})["a"].dtype == torch.float32


def test_scores_by_class_are_the_means_of_its_items_and_say_who_was_not_asked(tmp_path):
    es = wb.testing.planted(items=62)
    kinds = ["a"] * 30 + ["b"] * 29 + ["c"] + [None] * 2
    report = wb.diagnose(wb.EmbeddingSet({m: es[m] for m in es.modalities}, es.items.assign(kind=kinds)), label="kind")
    report.save(tmp_path / "report")
    for r in (report, wb.Report.load(tmp_path / "report")):
        table = r.by_class("knn_label_accuracy")
        assert table["items"].to_dict() == {"(no class)": 2, "a": 30, "b": 29, "c": 1}
        assert table["asked image"].to_dict() == {"(no class)": 0, "a": 30, "b": 29, "c": 0}
        hits = r.items["knn_label_accuracy image"].tolist()
        assert table["image"]["a"] == pytest.approx(sum(hits[:30]) / 30)
        assert np.isnan(table["image"]["c"])
    assert set(report.by_class("recall_at_1")) >= {"image→text", "asked text→image"}
    with pytest.raises(wb.InputError, match="no per-item diagnostic .*modality_gap"):
        report.by_class("modality_gap")
    with pytest.raises(wb.InputError, match="diagnose with label="):
        wb.diagnose(es, only=["recall_at_1"]).by_class("recall_at_1")
