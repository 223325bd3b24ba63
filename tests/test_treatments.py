"""Treatments: each against its naive twin, the goals against the suite, and what is shipped against what was judged."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from tests import reference_treatments as naive
from workbench import interventions
from workbench.diagnostics.subsamples import bare
from workbench.sets.planted import planted
from workbench.treatments import GOALS, METHODS, Treatment, portable, treat
from workbench.treatments.base import SCORES, SPACE, untreated
from workbench.treatments.goals import Parts
from workbench.treatments.treat import divided
from workbench.treatments.treated import LEAST


@pytest.fixture(scope="module")
def parts():
    return divided(planted(160, 12, gap=0.8, cosine=0.5, seed=3))


def rows(es, m):
    return es[m].numpy()


def scored(t, es, query, key):
    """Scores of all queries with all keys, as they are judged."""
    return t.scores(t.transform(rows(es, query), query, "query"), t.transform(rows(es, key), key), query)


def same_order(a, b):
    """Whether two tables of scores rank the keys of every query alike."""
    return (np.argsort(a, axis=1) == np.argsort(b, axis=1)).all()


# -- scores against their twins ------------------------------------------------------------------------------------


def test_csls_is_its_definition(parts):
    t = METHODS["csls"].fit(parts.train, k=5)
    got = scored(t, parts.judged, "text", "image") * 6**0.5 * 2
    want = naive.csls(rows(parts.judged, "text"), rows(parts.judged, "image"), rows(parts.train, "text"), 5)
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_inverted_softmax_is_its_definition(parts):
    t = METHODS["inverted_softmax"].fit(parts.train, beta=20.0)
    got = scored(t, parts.judged, "image", "text") * 6**0.5 * 20
    want = np.log(
        naive.inverted_softmax(
            rows(parts.judged, "image"), rows(parts.judged, "text"), rows(parts.train, "image"), 20.0
        )
    )
    np.testing.assert_allclose(got - got.mean(), want - want.mean(), atol=5e-5)


def test_qb_norm_is_its_definition(parts):
    t = METHODS["qb_norm"].fit(parts.train, beta=20.0)
    judged = parts.judged.take(np.arange(30))
    want = naive.qb_norm(rows(judged, "text"), rows(judged, "image"), rows(parts.train, "text"), 20.0)
    assert same_order(scored(t, judged, "text", "image"), want)
    few = Treatment(t.facts, t.arrays | {"bank.text": t.arrays["bank.text"][:3]})  # most keys are active for no query
    want = naive.qb_norm(rows(judged, "text"), rows(judged, "image"), few.arrays["bank.text"], 20.0)
    assert same_order(scored(few, judged, "text", "image"), want)
    assert not same_order(
        want, naive.inverted_softmax(rows(judged, "text"), rows(judged, "image"), few.arrays["bank.text"], 20.0)
    )


def test_dual_bank_is_its_definition(parts):
    t = METHODS["dual_bank"].fit(parts.train, beta=10.0)
    judged = parts.judged.take(np.arange(30))
    banks = rows(parts.train, "text"), rows(parts.train, "image")
    want = np.log(naive.dual_bank(rows(judged, "text"), rows(judged, "image"), *banks, 10.0))
    got = scored(t, judged, "text", "image") * 6**0.5 * 20
    np.testing.assert_allclose(got - got.mean(), want - want.mean(), atol=5e-5)


def test_calibration_takes_the_mean_of_each_kind_of_score_away(parts):
    t = METHODS["calibrate"].fit(parts.train)
    judged = parts.judged.take(np.arange(20))
    for key in ("image", "text"):
        got = scored(t, judged, "text", key) * 6**0.5
        banks = rows(parts.train, "text"), rows(parts.train, key)
        np.testing.assert_allclose(got, naive.offset(rows(judged, "text"), rows(judged, key), *banks), atol=2e-6)


@pytest.mark.parametrize("name", [m.name for m in METHODS.values() if m.kind == SCORES])
def test_a_bank_holds_train_rows_alone_and_keys_are_of_one_length(parts, name):
    t = METHODS[name].fit(parts.train, **METHODS[name].grid[0])
    for m in parts.train.modalities:
        if f"bank.{m}" in t.arrays:
            np.testing.assert_allclose(t.arrays[f"bank.{m}"], parts.train.unit(m).float().numpy(), atol=1e-6)
        for role in portable.ROLES:
            length = np.linalg.norm(t.transform(rows(parts.judged, m), m, role), axis=1)
            np.testing.assert_allclose(length, 1, atol=1e-6)


# -- the space -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [m.name for m in METHODS.values() if m.kind == SPACE and m.name != "adapter"])
def test_a_treatment_of_the_space_is_its_intervention(parts, name):
    settings = METHODS[name].grid[0]
    t = METHODS[name].fit(parts.train, **settings)
    want = interventions.named(name, **settings).fit(parts.train).apply(parts.judged)
    for m in want.modalities:
        np.testing.assert_allclose(t.transform(rows(parts.judged, m), m), want.unit(m).numpy(), atol=2e-6)


def test_a_ridge_map_solves_its_normal_equations(parts):
    x, y = interventions.matched(parts.train, "image", "text")
    x0, y0 = x - x.mean(0), y - y.mean(0)
    to = interventions.ridge(penalty=0.5).fit(parts.train, "image", "text").maps["text"]
    penalty = 0.5 * float((y0 * y0).sum()) / y0.shape[1]
    torch.testing.assert_close(y0.T @ (y0 @ to.weight - x0) + penalty * to.weight, torch.zeros_like(to.weight))


def test_whitening_shrunk_to_the_end_only_centres(parts):
    x, y = (
        interventions.named(n, **s).fit(parts.train).apply(parts.judged)
        for n, s in (("whiten", {"shrink": 1.0}), ("centre", {}))
    )
    torch.testing.assert_close(x.unit("text"), y.unit("text"))
    blocks = interventions.whiten(groups=3, shrink=0.3).fit(parts.train).maps["text"].weight
    assert float(blocks[:5, 5:].abs().max()) == 0.0


def test_an_adapter_learns_what_there_is_and_does_not_win_where_there_is_nothing():
    halves = divided(wb.dataset("emoji").only(["text", "text_de"]))
    gain = GOALS["retrieval"].judge(METHODS["adapter"].fit(halves.train), halves).mean("recall_at_1")
    assert gain > GOALS["retrieval"].judge(untreated(halves.train), halves).mean("recall_at_1") + 0.05
    noise = wb.EmbeddingSet(
        {m: torch.randn(300, 16, generator=torch.Generator().manual_seed(k)) for k, m in enumerate("ab")}
    )
    assert treat(noise, only=["adapter"]).winner is None  # nothing to learn


# -- goals against the suite ---------------------------------------------------------------------------------------


def several_rows():
    """Captions, missing rows and exact ties at once."""
    draw = torch.Generator().manual_seed(5)
    image = torch.randn(40, 6, generator=draw)
    image[7] = image[3]
    text = torch.cat(
        [image[:30] + 0.8 * torch.randn(30, 6, generator=draw), image[:20] + torch.randn(20, 6, generator=draw)]
    )
    return wb.EmbeddingSet(
        {"image": image, "text": text}, rows={"text": torch.cat([torch.arange(30), torch.arange(20)])}
    )


@pytest.mark.parametrize(
    "es", [planted(90, 8, gap=0.4, cosine=0.6, seed=2), several_rows()], ids=["planted", "captions"]
)
@pytest.mark.parametrize("goal", ["retrieval", "mixed", "storage"])
def test_an_untreated_set_is_judged_as_the_suite_judges_it(es, goal):
    found = GOALS[goal].judge(untreated(es), Parts(es, es))
    names = [
        n for n in ("recall_at_1", "recall_at_10", "mrr", "mixed_recall_at_1") if n in next(iter(found.values.values()))
    ]
    report = wb.diagnose(es, only=names, subsampling=False)
    for direction, measures in found.values.items():
        for name in set(names) & set(measures):
            assert float(measures[name].mean()) == pytest.approx(float(report.value(name, *direction)), abs=1e-9)


def test_the_gain_in_one_index_is_its_definition():
    es = planted(60, 6, gap=0.5, cosine=0.6, seed=4)
    found = GOALS["mixed"].judge(untreated(es), Parts(es, es)).values["text", "image"]["mixed_ndcg_at_10"]
    x, y = rows(es, "text"), rows(es, "image")
    want = [naive.mixed_gain(x, y, x, i) for i in range(len(x))]
    np.testing.assert_allclose(found.numpy(), want, atol=1e-12)


def test_the_vote_of_ten_is_its_definition():
    es = planted(80, 6, cosine=0.6, seed=4)
    es.items["kind"] = list("abcd") * 20
    parts = divided(es, "kind")
    found = GOALS["classes"].judge(untreated(es), parts).values["text", "image"]["knn_accuracy"]
    known, asked = parts.train.items["kind"].tolist(), parts.judged.items["kind"].tolist()
    keys = rows(parts.train, "image")
    want = [naive.nearest_ten(q, keys, known, asked[i]) for i, q in enumerate(rows(parts.judged, "text"))]
    np.testing.assert_allclose(found.numpy(), want)


def test_bare_values_are_those_of_a_report():
    es = planted(80, 8, seed=1)
    found = bare(es, ["modality_gap", "uniformity", "effective_rank"])
    report = wb.diagnose(es, only=["modality_gap", "uniformity", "effective_rank"])
    for (name, scope), value in found.items():
        assert value == pytest.approx(float(report.value(name, *scope)), rel=1e-9)
    assert len(found) == len(report.frame)


# -- storage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float32", "int8", "int4", "binary"])
@pytest.mark.parametrize("keep", ["first", "pca"])
def test_codes_take_the_bytes_that_are_said_and_stand_for_the_judged_vectors(parts, keep, kind):
    t = METHODS["compress"].fit(parts.train, keep=keep, share=2, kind=kind, again=0)
    x = rows(parts.judged, "image")
    codes = t.encode(x, "image")
    assert codes.nbytes == len(x) * t.codec["bytes"]
    np.testing.assert_allclose(t.decode(codes, "image"), t.transform(x, "image"), atol=1e-6)
    if kind != "binary":
        cosines = (t.decode(codes, "image") * t.transform(x, "image", "query")).sum(1)
        assert cosines.min() > (0.9 if kind == "int4" else 0.999)


def test_eight_bits_are_their_definition(parts):
    t = METHODS["compress"].fit(parts.train, keep="first", share=1, kind="int8", again=0)
    x = parts.judged.unit("text").float().numpy()
    scale = t.arrays["scale.text"]
    assert (scale == scale[0]).all()  # so that codes may be compared as they are
    assert t.encode(x, "text").tolist() == [naive.int8(v.tolist(), float(scale[0])) for v in x]


def test_odd_widths_keep_every_dimension():
    es = planted(60, 13, seed=0)
    for kind in ("int4", "binary"):
        t = METHODS["compress"].fit(es, keep="first", share=1, kind=kind, again=0)
        assert t.decode(t.encode(rows(es, "image"), "image"), "image").shape == (60, es["image"].shape[1])


def test_principal_directions_of_all_modalities_keep_cosines():
    es = planted(60, 9, gap=0.3, seed=0)
    t = METHODS["compress"].fit(es, keep="pca", share=1, kind="float32", again=0)
    got = t.transform(rows(es, "image"), "image") @ t.transform(rows(es, "text"), "text").T
    np.testing.assert_allclose(got, (es.unit("image") @ es.unit("text").T).numpy(), atol=1e-6)


def test_keys_scored_again_stand_before_all_others():
    es = planted(400, 16, seed=0)
    t = METHODS["compress"].fit(es, keep="first", share=1, kind="binary", again=100)
    q, k = t.transform(rows(es, "text"), "text", "query"), t.transform(rows(es, "image"), "image")
    scores, near = t.scores(q, k, "text"), np.where(q > 0, 1, -1) @ np.sign(k).T
    first = scores > portable.FAR / 2
    assert (first.sum(1) >= 100).all()
    assert (np.where(first, near, 99).min(1) >= np.where(first, -99, near).max(1)).all()
    np.testing.assert_allclose(scores[first], (q @ k.T)[first])


# -- the whole way -------------------------------------------------------------------------------------------------


def test_a_gap_is_centred_and_a_healthy_set_is_left_alone():
    sick = treat(planted(300, 16, gap=0.9, cosine=0.6, seed=0), "mixed")
    assert sick.winner is not None
    assert sick.winner.low > 0.1
    assert sick.named("centre").change > 0.1
    names = [c.label for c in sick.candidates]
    assert len(names) == len(set(names))
    assert [c.change for c in sick.candidates] == sorted((c.change for c in sick.candidates), reverse=True)
    well = treat(planted(300, 64, cosine=0.9, seed=0), "retrieval")
    assert well.winner is None
    assert well.sentences[0].startswith(f"Nothing helps by more than {LEAST}")


def test_settings_are_chosen_without_the_judged_items():
    es = planted(400, 16, gap=0.6, cosine=0.5, seed=0)
    other = wb.EmbeddingSet({m: es[m].clone() for m in es.modalities}, es.items)
    judged = torch.from_numpy(es.halves == 1)
    other["text"][judged] = other["text"][judged].flip(0)
    chosen = [
        {c.name: c.settings for c in treat(x, "mixed", only=["whiten", "csls", "cca"]).candidates if "+" not in c.name}
        for x in (es, other)
    ]
    assert chosen[0] == chosen[1]


def test_quarters_cut_halves_and_no_family():
    es = planted(200, 4, seed=0)
    es.items["family"] = [f"f{k // 3}" for k in range(200)]
    assert (es.quarters // 2 == es.halves).all()
    assert pd.Series(es.quarters).groupby(es.items["family"].to_numpy()).nunique().max() == 1
    assert np.bincount(es.quarters, minlength=4).min() > 20


def test_splits_are_respected_and_test_is_not_read():
    es = planted(300, 8, gap=0.8, seed=0)
    es.items["split"] = np.repeat(["train", "validation", "test"], 100)
    es["text"][200:] = torch.nan  # would be seen
    found = treat(es, "mixed", only=["centre"])
    assert found.about["parts"] == "train and validation"
    assert (found.about["fitted"], found.about["judged"]) == (100, 100)


def test_what_costs_less_and_does_as_well_is_named():
    found = treat(planted(2_000, 16, gap=0.9, cosine=0.8, seed=0), "mixed", only=["centre", "whiten", "csls"])
    best = found.winner
    assert best is not None
    assert all(c.microseconds <= best.microseconds / 2 for c in found.cheaper)


@pytest.mark.parametrize("goal", list(GOALS))
def test_every_goal_has_a_list_a_page_and_plain_values(goal):
    es = planted(120, 8, gap=0.6, seed=0)
    es.items["kind <b>"] = list("abc") * 40
    found = treat(es, goal, label="kind <b>" if goal == "classes" else "")
    assert found.candidates
    assert {c.name.split(" + ")[-1] for c in found.candidates} <= {m.name for m in METHODS.values() if goal in m.goals}
    told = json.loads(json.dumps(found.to_dict()))
    assert len(told["treatments"]) == len(found.candidates) + 1
    from workbench.treatments.shown import treated_page

    page = treated_page(found)
    assert "Plotly.newPlot" in page
    assert found.goal.unit in found._repr_html_()


def test_storage_that_is_recommended_surely_loses_little():
    found = treat(planted(1_200, 32, cosine=0.9, seed=0), "storage")
    best = found.winner
    assert best is not None
    assert best.p_costs <= 0.05
    assert best.change > -LEAST
    assert best.bytes == min(c.bytes for c in found.candidates if c.spares)
    assert "saves" in found.sentences[0]
    values = [c.value for c in found.front]
    assert values == sorted(values)


def test_two_treatments_that_each_help_are_tried_together():
    found = treat(wb.dataset("emoji").only(["text", "text_de"]), "retrieval", only=["procrustes", "csls"])
    both = found.named("procrustes + csls")
    assert both.change > max(found.named("procrustes").change, found.named("csls").change) - 0.02
    assert len(found.candidates) == 3
