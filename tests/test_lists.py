"""Lists that people act on: what was planted is found, nothing is found where nothing is, and files go round."""

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from tests.commands import run
from workbench.diagnostics.intervals import false_discovery
from workbench.lists import likeness, suspects, thresholds, weak_slices
from workbench.lists.drift import drift
from workbench.lists.suspects import posterior, share_of_strangers
from workbench.lists.thresholds import Asked, asked, promised, trusted
from workbench.lists.weak import clusters
from workbench.sets.formats.write import write
from workbench.sets.listed import chosen
from workbench.sets.planted import planted, shuffled


def wrong_in(es, m, share, seed=5):
    """A set with this share of its pairs wrong, and whose."""
    bad = shuffled(es, m, share, seed=seed)
    return bad, set(es.items["id"][(bad[m] != es[m]).any(1).numpy()])


# -- suspects ------------------------------------------------------------------------------------------------------


def test_likeness_is_that_of_all_doubly_centred_cosines():
    es = planted(50, 8, gap=0.4, seed=1)
    s = es.unit("image") @ es.unit("text").T
    r = s - s.mean(1, keepdim=True) - s.mean(0) + s.mean()
    want = r / (r.square().mean(1, keepdim=True) * r.square().mean(0)).pow(0.25)
    like = likeness.Likeness.of(es, "image", "text")
    torch.testing.assert_close((like.x @ like.y.T).double(), want, atol=1e-5, rtol=1e-5)
    forth, to, back, fro = like.rivals()
    other = want.clone().fill_diagonal_(-torch.inf)
    assert torch.equal(to, other.max(1).indices)
    assert torch.equal(fro, other.max(0).indices)
    torch.testing.assert_close(forth.double(), other.max(1).values, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(back.double(), other.max(0).values, atol=1e-5, rtol=1e-5)


def test_the_posterior_is_the_share_over_a_density_that_can_only_rise():
    draw = torch.Generator().manual_seed(0)
    strangers, pairs = torch.rand(400, generator=draw).double(), 1 - 0.02 * torch.rand(1600, generator=draw).double()
    p = torch.cat([strangers, pairs])
    found, share = posterior(p)
    assert share == pytest.approx(0.2, abs=0.05)
    order = p.argsort()
    assert bool((found[order].diff() <= 1e-12).all())  # the higher a pair stands, the less it is a stranger
    assert float(found[:400].mean()) > 0.85
    assert float((found[400:] > 0.5).double().mean()) < 0.01
    assert share_of_strangers(pairs) == 0.0


@pytest.mark.parametrize("cosine", [0.4, 0.9])
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_wrong_pairs_are_found_and_hardly_any_other(cosine, share):
    es, bad = wrong_in(planted(1_000, 32, gap=0.5, cosine=cosine, seed=3), "text", share)
    found = suspects(es, kinds=["wrong pair"]).frame
    hit = found["id"].isin(bad)
    assert hit.mean() > 0.85
    assert hit.sum() > 0.8 * len(bad)
    assert found["id"].head(10).isin(bad).all()


@pytest.mark.parametrize("cosine", [0.1, 0.3, 0.9])
def test_a_weak_space_accuses_nobody(cosine):
    for seed in range(3):
        assert not len(suspects(planted(500, 32, cosine=cosine, seed=seed), kinds=["wrong pair"]).frame)


def test_twins_leaks_and_strangers_are_told_apart():
    es = planted(300, 16, seed=2)
    x, y = es["image"].clone(), es["text"].clone()
    x[10], y[10] = x[20], y[20]  # one thing twice
    x[30], y[30] = x[40], y[40]  # … in two splits
    x[50] = x[60]  # one picture with two texts: no duplicate
    y[70] = 10 * torch.randn(16 + 2, generator=torch.Generator().manual_seed(9))[: y.shape[1]]
    items = es.items.assign(split=["train"] * 35 + ["test"] * 265)
    found = suspects(wb.EmbeddingSet({"image": x, "text": y}, items)).frame
    ids = es.items["id"]
    said = found[found["kind"] == "duplicate"]
    assert (said["id"].tolist(), said["other"].tolist()) == ([ids[20]], [ids[10]]) or said.empty
    said = found[found["kind"] == "leak"]
    assert {frozenset(x) for x in zip(said["id"], said["other"], strict=True)} >= {frozenset((ids[30], ids[40]))}
    assert said.set_index("id").loc[ids[30], "other"] == ids[40], "of a leak the train side goes"
    twins = found[found["kind"].isin(["duplicate", "leak"])]
    assert not {ids[50], ids[60]} & set(twins["id"])


def test_families_are_no_duplicates_of_themselves():
    es = planted(200, 16, seed=2)
    x, y = es["image"].clone(), es["text"].clone()
    x[1::2], y[1::2] = x[::2], y[::2]
    items = es.items.assign(family=[f"f{k // 2}" for k in range(200)])
    assert not len(suspects(wb.EmbeddingSet({"image": x, "text": y}, items), kinds=["duplicate", "leak"]).frame)


def test_an_outlier_is_far_from_all_and_says_how_far():
    es = planted(300, 16, seed=2)
    y = es["text"].double().clone()
    y = y[:1] + 0.1 * y  # a cone
    y[7] = -y[0]
    found = suspects(wb.EmbeddingSet({"image": es["image"], "text": y}, es.items), kinds=["outlier"]).frame
    assert found["id"].tolist() == [es.items["id"][7]]
    assert "times as far" in found["reason"][0]


def test_items_that_could_answer_for_each_other_are_named_once():
    es = planted(400, 24, cosine=0.7, seed=1)
    one = int(likeness.Likeness.of(es, "image", "text").own.argmax())
    x, y = es["image"].double().clone(), es["text"].double().clone()
    noise = torch.randn(2, x.shape[1], generator=torch.Generator().manual_seed(0)).double() / x.shape[1] ** 0.5
    x[5], y[5] = x[one] + 0.05 * noise[0], y[one] + 0.4 * noise[1]
    found = suspects(wb.EmbeddingSet({"image": x, "text": y}, es.items), kinds=["false negative"]).frame
    pairs = [frozenset(p) for p in zip(found["id"], found["other"], strict=True)]
    assert frozenset(es.items["id"][[5, one]]) in pairs
    assert len(pairs) == len(set(pairs))


def test_the_lists_go_round_into_training_import_and_diagnosis(tmp_path):
    es, bad = wrong_in(planted(600, 32, cosine=0.9, seed=3), "text", 0.1)
    write(es, tmp_path / "pairs.parquet", "parquet")
    done = run("suspects", "pairs.parquet", "-o", "lists", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--drop lists/drop.csv" in done.stdout
    drop = set(pd.read_csv(tmp_path / "lists" / "drop.csv", dtype=str)["id"])
    assert len(drop & bad) > 0.9 * len(bad)
    done = run("diagnose", "pairs.parquet", "--drop", "lists/drop.csv", cwd=tmp_path)
    assert f"{len(drop)} items left out by lists/drop.csv" in done.stdout
    assert "pairs are wrong" not in done.stdout
    assert run("import", "pairs.parquet", "-o", "set", "--keep", "lists/drop.csv", cwd=tmp_path).returncode == 0
    assert set(wb.load(tmp_path / "set").items["id"]) == drop
    (tmp_path / "pairs.csv").write_text("id,other,verdict\n" + ",".join([*es.items["id"][:2], "false negative"]) + "\n")
    words = [
        "--drop",
        "lists/drop.csv",
        "--set",
        "steps=2",
        "--set",
        "batch=16",
        "--set",
        "pairs=pairs.csv",
        "-o",
        "run",
    ]
    done = run("train", "infonce", "--data", "pairs.parquet", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert wb.Run(tmp_path / "run").config["train"]["leave_out"] == "lists/drop.csv"


def test_weak_slices_and_new_items_go_round_too(tmp_path):
    es = sliced(3, weak=True)
    write(es, tmp_path / "pairs.parquet", "parquet")
    assert run("slices", "pairs.parquet", "-o", "weak.csv", cwd=tmp_path).returncode == 0
    done = run("diagnose", "pairs.parquet", "--keep", "weak.csv", cwd=tmp_path)
    assert f"{int((es.items['c1'] != '2').sum())} items left out by weak.csv" in done.stdout
    words = ["--drop", "weak.csv", "--set", "steps=2", "--set", "batch=16", "-o", "run"]
    done = run("train", "infonce", "--data", "pairs.parquet", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_items_are_chosen_by_their_ids_as_they_are_written(tmp_path):
    es = wb.EmbeddingSet({"a": torch.eye(4)}, pd.DataFrame({"id": ["007", "08", "1e5", "x"]}))
    (tmp_path / "some.csv").write_text("kind,id\nwrong pair,007\nwrong pair,1e5\n")
    left, said = chosen(es, drop=tmp_path / "some.csv")
    assert left.items["id"].tolist() == ["08", "x"]
    assert said == [f"2 items left out by {tmp_path / 'some.csv'}, 2 kept"]
    (tmp_path / "ids.txt").write_text("x\n\n08\n")
    assert chosen(es, keep=tmp_path / "ids.txt")[0].items["id"].tolist() == ["08", "x"]
    (tmp_path / "none.txt").write_text("nobody\n")
    with pytest.raises(wb.InputError, match="none of its 1 ids"):
        chosen(es, drop=tmp_path / "none.txt")
    (tmp_path / "two.csv").write_text("name,kind\na,b\n")
    with pytest.raises(wb.InputError, match="no column 'id'"):
        chosen(es, drop=tmp_path / "two.csv")
    with pytest.raises(wb.InputError, match="no such file"):
        chosen(es, keep=tmp_path / "gone.csv")
    (tmp_path / "all.txt").write_text("007\n08\n1e5\nx\n")
    with pytest.raises(wb.InputError, match="leaves no item"):
        chosen(es, drop=tmp_path / "all.txt")


# -- weak slices ---------------------------------------------------------------------------------------------------


def sliced(seed, weak=False):
    """A set with columns that say nothing; or one whose rows of c1 = 2 have noisy texts."""
    es, draw = planted(500, 24, cosine=0.65, seed=seed), np.random.default_rng(seed)
    items = es.items.assign(**{f"c{k}": draw.integers(0, v, 500).astype(str) for k, v in enumerate((2, 4, 9))})
    items["size"] = draw.normal(size=500)
    y = es["text"].clone().float()
    if weak:
        bad = torch.from_numpy((items["c1"] == "2").to_numpy().copy())
        y[bad] += 0.25 * torch.randn(int(bad.sum()), y.shape[1], generator=torch.Generator().manual_seed(seed))
    return wb.EmbeddingSet({"image": es["image"], "text": y}, items)


def test_columns_that_say_nothing_have_no_weak_slice():
    alarms = [len(weak_slices(sliced(seed)).frame) > 0 for seed in range(12)]
    assert sum(alarms) <= 2


def test_a_weak_slice_is_found_once_with_its_items():
    es = sliced(3, weak=True)
    found = weak_slices(es)
    assert found.frame["slice"].tolist()[0] == "c1 2"
    assert set(found.ids(0)) == set(es.items["id"][es.items["c1"] == "2"])
    r = found.frame.loc[0]
    assert r["value"] < r["rest"]
    assert r["low"] <= r["effect"] <= r["high"] < 0
    assert len(found.frame) <= 10
    assert "c1 2: R@1" in found.sentences[0]


def test_the_false_discovery_rate_is_that_of_its_definition():
    p = np.array([0.01, 0.2, 0.03, 0.9])
    harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4
    want = [min(1, min(x * 4 * harmonic / (sorted(p).index(x) + 1) for x in p if x >= y)) for y in p]
    np.testing.assert_allclose(false_discovery(torch.from_numpy(p), however_they_depend=True).numpy(), want)


def test_clusters_find_planted_ones_and_are_the_same_each_time():
    draw = torch.Generator().manual_seed(0)
    middle = torch.nn.functional.normalize(torch.randn(5, 12, generator=draw), dim=1)
    own = torch.arange(300) % 5
    x = torch.nn.functional.normalize(middle[own] + 0.1 * torch.randn(300, 12, generator=draw), dim=1)
    code = clusters(x, 5)
    assert pd.crosstab(code, own.numpy()).gt(0).sum().sum() == 5
    assert (code == clusters(x, 5)).all()


# -- thresholds ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_half_of_the_families_keeps_what_the_other_was_promised():
    es = wb.dataset("emoji").only(["text", "text_de"])
    family, draw, kept, right = es.families, np.random.default_rng(0), [], []
    for _ in range(60):
        half = draw.permutation(family.max() + 1)[family] % 2
        known, new = (asked(es.take(half == k), "text", "text_de") for k in (0, 1))
        said = promised(known, 0.9, 0.7)
        kept.append((new.match >= said["score"]).mean())
        if np.isfinite(said["accept"]):
            right.append(new.right[new.first >= said["accept"]].mean())
    assert 0.89 < np.mean(kept) < 0.93
    assert np.mean(right) >= 0.7


def test_conformal_quantiles_are_their_definition():
    rank = np.arange(1.0, 20.0)
    q = Asked(rank, -rank, -rank, rank == 1, np.sort(-np.arange(1.0, 31.0))[None], 30)
    said = promised(q, 0.9, 0.95)
    assert said["k"] == 18  # the ⌈20 · .9⌉-th of 19
    assert said["set_size"] == 18
    assert np.isnan(promised(q, 0.96, 0.95)["k"])  # 19 families cannot promise so much


def test_precision_is_shown_and_not_hoped_for():
    score = np.linspace(0, 1, 400)
    sure = score > 0.5
    accept = trusted(score, sure, 0.9)
    assert 0.35 < accept < 0.55
    assert np.isnan(trusted(score[:20], np.ones(20, dtype=bool), 0.95))  # twenty of twenty prove 86 %, not 95
    assert np.isnan(trusted(score, np.zeros(400, dtype=bool), 0.9))


def test_thresholds_speak_of_every_direction_and_refuse_what_they_cannot():
    found = thresholds(planted(200, 16, cosine=0.9, seed=0), precision=0.9)
    assert len(found.sentences) == 2
    assert found.frame["accepted"].min() > 0.9
    assert len(found.calibration) == 20
    with pytest.raises(wb.InputError, match="between 0 and 1"):
        thresholds(planted(200, 16, seed=0), coverage=95)
    with pytest.raises(wb.InputError, match="a guarantee needs"):
        thresholds(planted(12, 16, seed=0))


# -- drift ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_halves_of_one_set_do_not_drift():
    es = wb.dataset("emoji").only(["text", "text_de"]).take(np.arange(500))
    family, draw, alarms = es.families, np.random.default_rng(0), 0
    for _ in range(12):
        half = draw.permutation(family.max() + 1)[family] % 2
        alarms += drift(es.take(half == 0), es.take(half == 1)).drifted
    assert alarms <= 2


def test_what_moved_is_said_of_the_modality_that_moved():
    es = planted(600, 24, seed=1)
    new = wb.EmbeddingSet({"image": es["image"], "text": es["text"] + 0.1}, es.items).take(np.arange(300, 600))
    found = drift(es.take(np.arange(300)), new)
    assert found.frame.set_index("of")["p"].le(0.05).to_dict() == {
        "image": False,
        "text": True,
        "the gap of image · text": True,
    }
    assert "text: drifted" in found.sentences[1]


def test_new_items_that_are_like_nothing_before_are_named():
    draw = torch.Generator().manual_seed(0)
    middle = torch.randn(4, 16, generator=draw)
    x = middle[torch.arange(400) % 4] + 0.3 * torch.randn(400, 16, generator=draw)
    y = middle[torch.arange(200) % 4] + 0.3 * torch.randn(200, 16, generator=draw)
    y[:9] = torch.randn(9, 16, generator=draw)
    found = drift(wb.EmbeddingSet({"text": x}), wb.EmbeddingSet({"text": y}))
    assert set(found.items["id"].astype(str)) >= {str(k) for k in range(9)} or len(found.items) >= 7
    assert len(found.items) <= 12


def test_sets_that_share_nothing_or_little_are_refused(tmp_path):
    a, b = planted(100, 8, seed=0), planted(100, 8, seed=1)
    with pytest.raises(wb.InputError, match="share no modality"):
        drift(a.only(["image"]), b.only(["text"]))
    with pytest.raises(wb.InputError, match="too few to tell drift from luck"):
        drift(a.take(np.arange(5)), b)
    a.save(tmp_path / "a")
    done = run("drift", tmp_path / "a", tmp_path / "gone")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["suspects", "slices", "thresholds"])
def test_every_list_has_a_command_that_says_what_it_read(command, tmp_path):
    write(planted(120, 12, cosine=0.8, seed=0), tmp_path / "pairs.parquet", "parquet")
    done = run(command, "pairs.parquet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "120 items" in done.stdout


def test_what_drift_does_not_compare_is_said():
    es = planted(200, 16, seed=0)
    wide = wb.EmbeddingSet({"image": es["image"], "text": torch.cat([es["text"], es["text"]], 1)}, es.items)
    said = drift(es, wide).sentences
    assert any("text is not compared" in s and "dimensions" in s for s in said)
    assert any("200 ids are in both" in s for s in said)


@pytest.mark.parametrize("command", ["suspects", "thresholds", "treat"])
def test_a_constant_modality_is_refused_by_its_name(command, tmp_path):
    es = planted(120, 12, seed=0)
    write(
        wb.EmbeddingSet({"image": torch.ones(120, 14), "text": es["text"]}, es.items), tmp_path / "p.parquet", "parquet"
    )
    done = run(command, "p.parquet", cwd=tmp_path)
    assert done.returncode == 2
    assert "image is constant" in done.stderr


def test_captions_a_row_are_gathered_by_their_item(tmp_path):
    es = planted(150, 12, cosine=0.9, seed=0)
    twice = np.repeat(np.arange(150), 2)
    noise = 0.1 * torch.randn(300, es["text"].shape[1], generator=torch.Generator().manual_seed(0))
    rows = {"image": es["image"][twice], "text": es["text"][twice].float() + noise}
    items = pd.DataFrame({"id": [f"r{k}" for k in range(300)], "picture": [f"p{k}" for k in twice]})
    write(wb.EmbeddingSet(rows, items), tmp_path / "captions.parquet", "parquet")
    done = run("treat", "captions.parquet", "--item", "picture", "--only", "centre", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "300 rows of 150 items" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [(["suspects", "--kind", "foo"], "no kind of suspect"), (["thresholds", "--coverage", "95"], "95.0")],
)
def test_what_is_asked_wrongly_is_said_before_anything_is_read(words, says, tmp_path):
    write(planted(120, 12, seed=0), tmp_path / "pairs.parquet", "parquet")
    done = run(words[0], "pairs.parquet", *words[1:], cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert not done.stdout
