"""Contracts over the registry: every diagnostic equals its naive twin, for any chunking, order and rotation."""

import functools
import inspect
import math
import zlib
from typing import get_type_hints

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from tests import reference
from tests.conftest import ROLES, duplicated, planted, ragged, with_roles
from workbench.diagnostics.registry import curves, diagnostics
from workbench.scan.plan import Scan

NAMES = list(diagnostics())
ROLED = [n for n in NAMES if n.startswith("avqi")]
KINDS = 3


def labelled(es):
    """The same set with a column of classes, one item without."""
    items = es.items.assign(kind=[f"k{i % KINDS}" if i != 5 else None for i in range(len(es))])
    return wb.EmbeddingSet({m: es[m] for m in es.modalities}, items, rows=es._rows)


def twin(name, es, *scope, **params):
    """The naive value; labels and halves for those who ask for them."""
    f = getattr(reference, name)
    asks = inspect.signature(f).parameters
    more = dict(params)
    if "label" in asks:
        more["label"] = [None if pd.isna(k) else k for k in es.items["kind"]]
    if "half" in asks:
        names = es.items["family" if "family" in es.items else "id"]
        more["half"] = [zlib.crc32(n.encode()) >> 3 & 1 for n in names]
    return f(plain(es), *scope, **more)


def plain(es):
    return {m: list(zip(es.item_of_row(m).tolist(), es[m].double().numpy(), strict=True)) for m in es.modalities}


def large():
    return planted(n=90, d=6, modalities=("image", "text"), families=3)


def wide():
    return planted(n=20, d=90, modalities=("image", "text"))


TWIN_SETS = {"aligned": planted, "ragged": ragged, "n > 10 d": large, "duplicates": duplicated, "2 n < d": wide}


@functools.cache
def full_report(kind):
    """Every diagnostic of one of the twin sets."""
    return wb.diagnose(labelled(TWIN_SETS[kind]()), label="kind")


def assert_equal(row, expected):
    """The same number, or none on both sides and the reason why."""
    if math.isnan(row["value"]) or math.isnan(expected):
        assert math.isnan(row["value"]), f"the twin has no number: {row}"
        assert math.isnan(expected), f"the twin says {expected}: {row['reason']}"
        assert row["reason"]
        return
    assert row["reason"] is None
    assert row["value"] == pytest.approx(expected, abs=1e-6, rel=1e-6), row["modalities"]


def others(default, es):
    """Other values of a parameter than its default: half and 2.5 times of a number, the later modalities of a name."""
    if isinstance(default, str):
        return list(es.modalities[1:])
    if isinstance(default, int):
        return [3]
    return [0.5 * default, 2.5 * default if default >= 1 else (1 + default) / 2]  # below 1: a share, or a cosine


def values(report):
    return {(r["name"], r["modalities"]): r["value"] for r in report.frame.to_dict("records")}


@pytest.mark.parametrize("name", NAMES)
def test_has_a_naive_twin(name):
    assert callable(getattr(reference, name))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ROLED])
@pytest.mark.parametrize("kind", TWIN_SETS)
def test_equals_its_twin(name, kind):
    es = labelled(TWIN_SETS[kind]())
    report = wb.diagnose(es, only=[name], label="kind")
    assert len(report.frame) > 0 or diagnostics()[name].on == "triple"
    for row in report.frame.to_dict("records"):
        assert_equal(row, twin(name, es, *row["modalities"]))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ROLED])
def test_no_constant_would_equal_the_twins(name):
    """Each diagnostic is finite in a twin set, and not everywhere the same; the cluster indices have their own set."""
    found = [x for kind in TWIN_SETS for (n, _), x in values(full_report(kind)).items() if n == name]
    finite = [x for x in found if math.isfinite(x)]
    assert len(finite) >= 2
    assert max(finite) - min(finite) > 1e-3


def test_the_twin_sets_have_duplicates():
    """Rows of 8, 10 and 12 of 64 coincide with one of another item; more of them nearly do."""
    report = full_report("duplicates")
    for m, count in (("image", 8), ("text", 10), ("audio", 12)):
        assert report.value("duplicate_rate", m) == pytest.approx(count / 64)
        assert report.value("near_duplicate_rate", m) >= (count + 12) / 64


@pytest.mark.parametrize(("name", "parameter"), [(n, p) for n, d in diagnostics().items() for p in d.params])
def test_equals_its_twin_at_other_parameters(name, parameter):
    default, moved = diagnostics()[name].params[parameter], False
    for kind in ("ragged", "duplicates"):
        es = labelled(TWIN_SETS[kind]())
        usual = values(full_report(kind))
        for other in others(default, es):
            report = wb.diagnose(es, only=[name], label="kind", params={name: {parameter: other}})
            assert len(report.frame) > 0
            for row in report.frame.to_dict("records"):
                assert row["params"][parameter] == other
                assert_equal(row, twin(name, es, *row["modalities"], **{parameter: other}))
                moved |= row["value"] != usual[name, row["modalities"]]
    assert moved, f"{parameter} changes nothing"


@pytest.mark.parametrize("name", ROLED)
def test_cluster_indices_equal_their_twins(name):
    es = with_roles()
    x = es["hidden"].double().numpy()
    clusters = [x[(es.items["role"] == r).to_numpy()] for r in ("ok", "bad", "adv")]
    got = wb.diagnose(es, label="role", roles=ROLES, only=[name]).value(name, "hidden")
    # a quantile is read off a histogram: twice the radius in 4,096 bins, and linear between neighbours
    assert got == pytest.approx(getattr(reference, name)(clusters), rel=5e-3 if "quantile" in name else 1e-9)


def test_avqi_oracle():
    s = torch.tensor([[0.0, 0], [1, 0], [0, 1]]) + 1e-9
    for shift, expected in (((2, 2), 0.89474736), ((0.5, 0.5), 3.08846026)):
        x = torch.cat([s, s + torch.tensor([4.0, 0]), s + torch.tensor(shift)]).double()
        es = wb.EmbeddingSet({"h": x}, pd.DataFrame({"role": ["ok"] * 3 + ["bad"] * 3 + ["adv"] * 3}))
        report = wb.diagnose(es, label="role", roles=ROLES, only=["avqi_released"])
        assert report.value("avqi_released", "h") == pytest.approx(expected, rel=1e-6)


@functools.cache
def whole_of(make):
    return values(wb.diagnose(labelled(make()), label="kind"))


@pytest.mark.parametrize("make", [planted, ragged], ids=["aligned", "ragged"])
@pytest.mark.parametrize("tile", [*(pytest.param(n, marks=pytest.mark.slow) for n in (3, 7)), 16, 1000])
def test_any_chunking_gives_the_same_answer(make, tile, monkeypatch):
    es, whole = labelled(make()), whole_of(make)
    monkeypatch.setattr(Scan.__init__, "__kwdefaults__", Scan.__init__.__kwdefaults__ | {"tile": tile})
    cut = values(wb.diagnose(es, label="kind"))
    assert whole.keys() == cut.keys()
    for key, value in whole.items():
        assert cut[key] == pytest.approx(value, rel=1e-6, abs=1e-7, nan_ok=True), key


@pytest.mark.parametrize("make", [planted, ragged], ids=["aligned", "ragged"])
def test_states_merge_in_any_order_and_keep_their_inputs(make):
    """Groups done in any order, merged in any order, give the same state; merging changes no input."""
    from workbench.scan.statistics import Kernel, Matched, Moments, Neighbours, Ranks, Sample

    es = make()
    chosen = [Moments("image"), Matched(("image", "text")), Kernel("image", "image"), Ranks("text", "image")]
    chosen += [Neighbours("text", "text"), Neighbours("image", "text")]
    sweep = Scan(es, [*chosen, Sample("text", 5)], tile=7)
    known = {}
    rng = np.random.default_rng(0)
    for wave in sweep.waves:
        prepared = known | sweep.prepare(wave, known)
        done = [sweep.run(g, wave, prepared) for g in sweep.groups(sweep.tasks(wave, known))]
        for statistic in wave:
            states = [s for d in done for s in d.get(statistic, {}).values()]
            before = [{k: x.clone() for k, x in s.items()} for s in states]
            forward, mixed = (
                functools.reduce(statistic.merge, order)
                for order in (states, [states[i] for i in rng.permutation(len(states))])
            )
            assert len(states) > 1
            for k in forward:
                torch.testing.assert_close(mixed[k], forward[k], rtol=1e-12, atol=1e-12)
            for s, b in zip(states, before, strict=True):
                assert all(torch.equal(s[k], b[k]) for k in b)
            known[statistic] = forward


def test_row_order_and_rotation_change_nothing():
    es = planted()
    before = values(wb.diagnose(es))
    order = np.random.default_rng(1).permutation(len(es))
    turn = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    turned = wb.EmbeddingSet({m: es[m].double() @ turn for m in es.modalities}, es.items)
    for other in (es.take(order), turned):
        after = values(wb.diagnose(other))
        for key, value in before.items():
            if other is turned and diagnostics()[key[0]].axes:
                continue
            assert after[key] == pytest.approx(value, rel=1e-5, abs=1e-6, nan_ok=True), key


def test_a_collapsed_set_scores_chance_not_one():
    x = torch.ones(50, 8) + 0.0
    report = wb.diagnose({"image": x, "text": x})
    assert report.value("recall_at_1", "image", "text") == pytest.approx(1 / 50)
    assert report.value("median_rank", "image", "text") == pytest.approx(25.5)
    assert math.isnan(report.value("effective_rank", "image"))
    assert any(f.rule == "collapse" and f.severity == "fault" for f in report.findings)


def test_near_duplicates_are_ranked_in_float64():
    """Two keys nearer than float32 can tell: the rank must still be right."""
    g = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(30, 16, generator=g, dtype=torch.float64), dim=1)
    y = x.clone()
    y[1] = x[0] + 1e-6 * torch.randn(16, generator=g, dtype=torch.float64)  # all but the partner of item 0
    report = wb.diagnose({"a": x, "b": y}, only=["recall_at_1"])
    assert report.value("recall_at_1", "a", "b") == pytest.approx(
        reference.recall_at_1(plain(wb.EmbeddingSet({"a": x, "b": y})), "a", "b")
    )


def test_shuffled_pairs_are_said_to_be_unpaired():
    es = planted(n=120, modalities=("image", "text"))
    good = wb.diagnose(es)
    assert not any(f.severity == "fault" for f in good.findings)
    order = np.random.default_rng(0).permutation(120)
    bad = wb.diagnose({"image": es["image"], "text": es["text"][order]})
    assert [f.rule for f in bad.findings if f.severity == "fault"] == ["no_pairing_signal"]


def test_every_row_has_what_makes_it_readable():
    report = wb.diagnose(planted())
    for row in report.frame.to_dict("records"):
        if row["reason"] is not None:
            assert math.isnan(row["value"])
            continue
        assert row["n_query"] > 0
        assert row["n_gallery"] > 0
        assert row["exact"]
        assert row["null_low"] <= row["null"] <= row["null_high"]
        low, high = row["bound"]
        assert low - 1e-9 <= row["value"] <= high + 1e-9
        if math.isfinite(row["low"]):
            assert row["low"] <= row["value"] <= row["high"]
        else:
            assert row["interval_kind"].startswith("none")


def test_nulls_hold_what_has_nothing_to_see():
    """Independent random vectors: every value lies in or very near its own null."""
    g = torch.Generator().manual_seed(5)
    report = wb.diagnose({m: torch.randn(200, 32, generator=g) for m in ("a", "b")})
    outside = [
        r["name"]
        for r in report.frame.to_dict("records")
        if r["reason"] is None and not r["null_low"] - 1e-9 <= r["value"] <= r["null_high"] + 1e-9
    ]
    assert len(outside) <= 3, outside  # about 20 values at 95 %


def test_jackknife_leaves_out_families_exactly():
    """The sums without a family equal a set without that family."""
    from workbench.diagnostics.leave_one_out import Centroids, Potential
    from workbench.scan.executors import execute

    es = planted(n=24, families=3)
    for sums, read in ((Potential(("image", "text"), 2.0), "sum"), (Centroids(("image", "text")), "gram")):
        known = execute(Scan(es, sums.statistics))
        got = sums.replicates(known, es).without[read]
        for f in range(8):
            rest = es.take(es.families != f)
            expected = sums.replicates(execute(Scan(rest, sums.statistics)), rest).full[read]
            torch.testing.assert_close(got[f], expected, rtol=1e-6, atol=1e-6)


def test_unequal_widths_are_nan_with_a_reason(emoji):
    report = wb.diagnose(emoji.only(["color", "text"]).take(np.arange(40)), only=["modality_gap", "uniformity"])
    row = report.row("modality_gap", "color", "text")
    assert math.isnan(row["value"])
    assert "1280-d" in row["reason"]
    assert math.isfinite(report.value("uniformity", "color"))


def test_above_the_limit_queries_are_sampled_and_said_so(monkeypatch):
    import workbench.scan.plan as plan

    monkeypatch.setattr(plan, "EXACT_ROWS", 100)
    es = planted(n=2_300, modalities=("image", "text"))
    report = wb.diagnose(es, only=["recall_at_1", "uniformity"])
    row = report.row("recall_at_1", "image", "text")
    assert (row["exact"], row["n_query"], row["n_gallery"]) == (False, plan.SAMPLE_ROWS, 2_300)
    full = wb.diagnose(es, only=["recall_at_1", "uniformity"], exact=True)
    assert full.row("recall_at_1", "image", "text")["exact"]
    for name, scope in (("recall_at_1", ("image", "text")), ("uniformity", ("image",))):
        assert report.value(name, *scope) == pytest.approx(full.value(name, *scope), abs=0.03)


def test_reports_survive_the_disk(tmp_path):
    report = wb.diagnose(planted(), only=["recall_at_1", "avqi_released", "effective_rank"])
    report.save(tmp_path / "r")
    back = wb.Report.load(tmp_path / "r")
    pd.testing.assert_frame_equal(back.frame, report.frame, check_dtype=False)
    assert back.to_dict()["results"] == report.to_dict()["results"]


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12])
def test_cluster_indices_know_no_scale(scale):
    es = with_roles()
    names = [*ROLED, "cluster_separation"]
    scaled = wb.EmbeddingSet({"hidden": es["hidden"].double() * scale}, es.items)
    before, after = (wb.diagnose(s, label="role", roles=ROLES, only=names).frame["value"] for s in (es, scaled))
    assert after.tolist() == pytest.approx(before.tolist(), rel=1e-6)


@pytest.mark.parametrize("kind", ["twins", "few points", "equidistant"])
def test_knn_accuracy_does_not_go_by_the_order_of_rows_that_tie(kind):
    draw = np.random.default_rng(0)
    x = draw.standard_normal((140, 16))
    x[100:] = x[60:100]
    x = {"twins": x, "few points": np.eye(12)[draw.integers(0, 12, 140)], "equidistant": np.eye(140)}[kind]
    label = np.array(list("abcd"))[draw.choice(4, 140, p=[0.4, 0.3, 0.2, 0.1])]
    values = []
    for order in (np.arange(140), draw.permutation(140), np.arange(140)[::-1]):
        es = wb.EmbeddingSet({"a": torch.from_numpy(x[order].copy())}, pd.DataFrame({"kind": label[order]}))
        report = wb.diagnose(es, label="kind", only=["knn_label_accuracy"], subsampling=False)
        values.append(report.value("knn_label_accuracy", "a"))
    assert values == pytest.approx([twin("knn_label_accuracy", es, "a")] * 3, abs=1e-9)


def test_rules_speak_of_pairs_at_chance_where_their_distance_was_not_asked_for():
    g = torch.Generator().manual_seed(0)
    es = wb.EmbeddingSet({"a": torch.randn(80, 16, generator=g) + 2, "b": torch.randn(80, 16, generator=g)})
    only = ["recall_at_1", "recall_at_10", "median_rank", "modality_gap", "mixed_recall_at_1"]
    assert "gap" in [f.rule for f in wb.diagnose(es, only=only).findings]


def declared_shape(state, field):
    """The letters of a field's shape, as its type says."""
    return [
        x.strip() for x in get_type_hints(state, include_extras=True)[field].__metadata__[0].split(",") if x.strip()
    ]


@pytest.mark.parametrize("kind", [*TWIN_SETS, "roles"])
def test_every_argument_holds_what_its_type_says(kind, monkeypatch):
    """Names of fields and their shapes: a letter is one size within a state, and axes of families stand before all."""
    called = set()

    def watched(d, function):
        hints, names = get_type_hints(function), list(inspect.signature(function).parameters)

        def look(*states, **params):
            for k, state in enumerate(s for s in states if isinstance(s, dict)):
                of = hints[names[min(k, len(names) - 1 - len(params))]]
                assert of.__required_keys__ <= set(state) <= set(of.__annotations__), (d.name, of)
                sizes, extra = {}, {x.ndim - len(declared_shape(of, f)) for f, x in state.items()}
                assert len(extra) == 1, (d.name, of, {f: tuple(x.shape) for f, x in state.items()})
                for f, x in state.items():
                    letters = declared_shape(of, f)
                    for letter, size in zip(letters, x.shape[x.ndim - len(letters) :], strict=True):
                        assert sizes.setdefault(letter, size) == size, (d.name, of, f, letter)
                called.add((d.name, of.__name__))
            return function(*states, **params)

        return look

    for d in (*diagnostics().values(), *curves().values()):
        look = watched(d, d.function)
        monkeypatch.setitem(d.__dict__, "function", look)
    es = with_roles() if kind == "roles" else labelled(TWIN_SETS[kind]())
    wb.diagnose(es, label="role" if kind == "roles" else "kind", subsampling=kind == "ragged")
    assert len(called) > (60 if kind != "roles" else 10)
