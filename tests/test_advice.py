"""Advice: what is tried and in which order, how a budget is spent, and that luck is not recommended."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from tests.commands import run
from workbench.advice import AIMS, Advised
from workbench.advice.advise import _costs
from workbench.advice.advised import LEAST
from workbench.advice.aims import MOVED, beside
from workbench.advice.candidates import BASELINE, Candidate, Claim, candidates
from workbench.advice.halving import FEWEST, SHARES, TEMPERATURES, Plan, planned, rounds
from workbench.advice.trial import Found, Job, divided, open_to, tried
from workbench.objectives.recipes import RECIPES
from workbench.papers.crew import Crew
from workbench.sets.embeddings import EmbeddingSet


def claim(outcome, effect=0.1, alike=True):
    return Claim("gram", outcome, effect, effect - 0.01, effect + 0.01, 0.02, "R@1", alike)


def test_a_recipe_stands_where_its_best_claim_on_such_a_set_puts_it():
    order = [
        Candidate("held", (claim("held", 0.1), claim("not held", -0.1))),
        Candidate("some", (claim("some gain"),)),
        Candidate("elsewhere", (claim("held", alike=False),)),
        Candidate("more", (claim("inconclusive", 0.05),)),
        Candidate("unknown"),
        Candidate("less", (claim("inconclusive", -0.05),)),
        Candidate("against", (claim("not held"),)),
    ]
    assert sorted(sorted(order, key=lambda c: c.recipe), key=lambda c: c.rank) == order


def test_every_recipe_is_tried_or_has_a_reason_and_the_baseline_is_neither():
    es = wb.testing.planted(items=100)
    found, left = candidates(es, es.modalities, "")
    assert {c.recipe for c in found} | set(left) | {BASELINE} == set(RECIPES)
    assert not {c.recipe for c in found} & set(left)
    assert all([*left.values(), *(c.reason for c in found)])


@pytest.mark.parametrize("minutes", [1, 2, 5, 20])
@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("fitting", [1, 3, 28])
def test_a_plan_keeps_to_its_budget_and_gives_every_round_enough(minutes, workers, fitting):
    short, full = 0.8, 2.4
    p = planned(60 * minutes, 5, workers, short, full, fitting)
    assert 1 <= p.last <= p.second <= p.first <= fitting or p.first == fitting
    assert p.runs >= FEWEST
    middle = short + (full - short) * (SHARES[1] - SHARES[0]) / (1 - SHARES[0])
    spent = (p.first + 1) * len(TEMPERATURES) * short + (p.second + 1) * 2 * middle + (p.last + 1) * p.runs * full
    assert spent / workers <= 60 * minutes * 1.25


def test_a_budget_too_small_says_what_would_do():
    with pytest.raises(wb.InputError, match=r"--budget [\d.]+ minutes or more") as e:
        planned(30, 9, 1, 2.0, 20.0, 5)
    minutes = float(str(e.value).split("--budget ")[1].split()[0])
    assert planned(60 * minutes, 9, 1, 2.0, 20.0, 5).runs >= FEWEST


def found(job, value, more=0.0):
    return Found(job, value, dict.fromkeys(MOVED, 1.0 + more), 1.0)


def test_the_best_recipe_at_its_best_temperature_reaches_the_last_round():
    worth = {"siglip": 0.6, "mmd": 0.5, "cyclip": 0.4, "triplet": 0.1, BASELINE: 0.3, "vicreg": math.nan}
    asked = []

    def work(jobs, what):
        for j in jobs:
            asked.append((what, j))
            yield found(j, worth[j.recipe] - abs(j.temperature - 0.2) + 1e-4 * j.division)

    recipes = ["vicreg", "triplet", "cyclip", "mmd", "siglip"]
    last, before = rounds(work, recipes, 100, Plan(first=5, second=3, last=2, runs=6))
    assert list(last) == [BASELINE, "siglip", "mmd"]
    assert all(f.job.temperature == 0.2 for runs in last.values() for f in runs)
    assert [f.job.division for f in last["mmd"]] == list(range(6))
    # the baseline is in every round, tuned as the others are, and no division is used twice
    of = {w: {j.division for v, j in asked if v == w} for w, _ in asked}
    assert all(not a & b for a, b in permutations(of.values(), 2))
    assert {j.recipe for w, j in asked if w == "second round"} == {BASELINE, "siglip", "mmd", "cyclip"}
    assert len(before) == 6 * len(TEMPERATURES) + 4 * 2


def advised(values):
    """Advice from numbers of the last round, (recipes, divisions), the first the baseline's."""
    names = [BASELINE, "siglip", "mmd", "cyclip"][: len(values)]
    last = {
        r: [found(Job(r, 0.07, 100, k), float(x)) for k, x in enumerate(v)] for r, v in zip(names, values, strict=True)
    }
    about = {
        "items": 400,
        "all_items": 400,
        "one_of_several": [],
        "source": "x",
        "modalities": {"a": 8, "b": 8},
        "label": "",
        "steps": 100,
        "seconds": 1.0,
    }
    return Advised.of(AIMS["retrieval"], {r: Candidate(r) for r in names}, last, dict.fromkeys(names, 0.3), {}, about)


@pytest.mark.parametrize("runs", [5, 10])
def test_recipes_that_are_alike_are_hardly_ever_told_apart(runs):
    """Divisions share their items: an effect that all of them share by chance must not be taken for one."""
    draw, share = np.random.default_rng(runs), 1 / 3
    named = 0
    for _ in range(300):
        # spread between divisions, and what all of them share, as Nadeau and Bengio count it
        common = draw.normal(0, 0.03 * math.sqrt(share), (4, 1))
        named += advised(0.4 + common + draw.normal(0, 0.03, (4, runs))).best is not None
    assert named <= 0.07 * 300


def test_a_large_gain_is_named_and_its_interval_is_that_of_a_new_division():
    draw = np.random.default_rng(3)
    hits = inside = 0
    for _ in range(200):
        gain = draw.normal(0.08, 0.01, 8)
        plain = draw.normal(0.4, 0.02, 8)
        found_ = advised([plain, plain + gain])
        hits += found_.best is not None and found_.best.recipe == "siglip"
        inside += found_.finalists[0].low <= draw.normal(0.08, 0.01) <= found_.finalists[0].high
    assert hits >= 0.9 * 200
    assert 0.9 * 200 <= inside <= 0.99 * 200


def test_a_gain_that_is_sure_and_too_small_is_not_named():
    plain = np.linspace(0.3, 0.4, 8)
    noise = 1e-5 * np.arange(8)
    assert advised([plain, plain + LEAST / 2 + noise]).best is None
    assert advised([plain, plain + 2 * LEAST + noise]).best is not None


def test_what_changed_nothing_may_change_something_elsewhere():
    plain = np.linspace(0.3, 0.4, 6)
    got = advised([plain, plain])
    assert got.best is None
    assert got.finalists[0].low < -0.01 < 0.01 < got.finalists[0].high


def test_a_recipe_that_diverged_is_last_and_never_named():
    plain = np.linspace(0.3, 0.4, 6)
    away = np.append(plain[:5] + 0.2, math.nan)
    got = advised([plain, away, plain + 0.05 + 1e-4 * np.arange(6)])
    assert [f.recipe for f in got.finalists] == ["mmd", "siglip"]
    assert got.best.recipe == "mmd"
    assert "nan" not in repr(got)
    assert got.to_dict()["finalists"][1]["gain"] is None


def test_the_card_has_every_recipe_of_the_last_round_and_escapes_what_it_is_given():
    got = advised([np.linspace(0.3, 0.4, 6), np.linspace(0.4, 0.5, 6) + 1e-3 * np.arange(6) % 2])
    got.about["source"] = "<script>alert(1)</script>"
    card = got._repr_html_()
    assert "<script>" not in card
    assert "&lt;script&gt;" in card
    assert all(f"<td>{r}</td>" in card for r in (BASELINE, "siglip"))
    assert got.finalists[0].said_gain in card


# -- the items -----------------------------------------------------------------------------------------------------


def messy():
    """Two captions an item, some rows missing, families, and splits."""
    draw = torch.Generator().manual_seed(4)
    n = 120
    items = pd.DataFrame(
        {
            "id": [f"i{k}" for k in range(n)],
            "family": [f"f{k // 2}" for k in range(n)],
            "split": ["test" if k % 6 < 2 else "train" for k in range(n)],
            "kind": [f"c{k % 3}" for k in range(n)],
            "long": ["x" * 50] * n,
        }
    )
    of = np.repeat(np.arange(n), 2)[10:]
    return EmbeddingSet(
        {"image": torch.randn(n, 8, generator=draw), "text": torch.randn(len(of), 8, generator=draw)},
        items,
        rows={"text": of},
    )


def test_items_that_may_be_tried_on_are_whole_and_none_of_test():
    es = messy()
    part = open_to(es, "kind")
    assert "test" not in set(part.items["split"])
    assert len(part) == 120 - 40 - 3  # five items have no text, two of them in test
    assert all(part.aligned(m) for m in part.modalities)
    at = {i: k for k, i in enumerate(es.items["id"])}
    for k, i in enumerate(part.items["id"]):
        first = int((es.item_of_row("text") == at[i]).nonzero()[0])
        assert torch.equal(part["text"][k], es["text"][first])
        assert torch.equal(part["image"][k], es["image"][at[i]])
    assert list(part.items) == ["id", "family", "split", "kind"]


def test_divisions_differ_and_none_parts_a_family():
    part = open_to(messy())
    sides = [divided(part, k).items["split"] for k in range(6)]
    assert len({tuple(s) for s in sides}) == 6
    for s in sides:
        assert (s.groupby(part.items["family"]).nunique() == 1).all()
        assert 0.1 < (s == "validation").mean() < 0.45


# -- the aims, against loops ---------------------------------------------------------------------------------------


def three(n=23):
    draw = torch.Generator().manual_seed(6)
    middle = torch.randn(n, 6, generator=draw)
    return EmbeddingSet({m: middle + torch.randn(n, 6, generator=draw) for m in ("a", "b", "c")})


def unit(x):
    x = np.asarray(x, dtype=np.float64)
    return x / np.linalg.norm(x)


def hit(query, keys, own):
    scores = [float(query @ k) for k in keys]
    above = sum(s > scores[own] + 1e-9 for s in scores)
    return float(above == 0)


def test_two_that_ask_for_a_third_are_summed_as_unit_vectors():
    es = three()
    x = {m: [unit(row) for row in es[m].numpy()] for m in es.modalities}
    hits = []
    for third in es.modalities:
        first, second = (m for m in es.modalities if m != third)
        query = [unit(a + b) for a, b in zip(x[first], x[second], strict=True)]
        hits.append(np.mean([hit(q, x[third], k) for k, q in enumerate(query)]))
    assert AIMS["compose"].judge(es, es, "") == pytest.approx(np.mean(hits))


def test_missing_rows_are_drawn_alike_for_all_and_nothing_is_missing_altogether():
    es = three(90)
    value = AIMS["missing"].judge(es, es, "")
    assert value == AIMS["missing"].judge(es, es, "")
    two = EmbeddingSet({m: es[m] for m in ("a", "b")})
    # of two, the one that is not asking is always there: plain retrieval
    assert AIMS["missing"].judge(two, two, "") == pytest.approx(AIMS["retrieval"].judge(two, two, ""))
    whole = np.mean(
        [
            np.mean(
                [
                    hit(
                        q,
                        [unit(sum(unit(es[m][k].numpy()) for m in es.modalities if m != asking)) for k in range(90)],
                        j,
                    )
                    for j, q in enumerate(unit(row) for row in es[asking].numpy())
                ]
            )
            for asking in es.modalities
        ]
    )
    assert AIMS["retrieval"].judge(es, es, "") < value + 0.02 < whole + 0.02, "more of an item finds it more often"


@pytest.fixture(scope="module")
def spaces(tmp_path_factory):
    """Emoji after one step and after many: items that were trained on, and others."""
    es = open_to(wb.dataset("emoji").only(["text", "color", "sketch"]), "group")
    es, out = divided(es.take(np.arange(0, len(es), 3)), 1), []
    for steps in (1, 25):
        run = wb.train(BASELINE, data=es, out=tmp_path_factory.mktemp("run") / "a", steps=steps, evaluate=steps)
        out.append((run.embed("train", es), run.embed("validation", es)))
    return out


@pytest.mark.parametrize("aim", sorted(AIMS))
def test_every_aim_is_a_share_that_training_raises(aim, spaces):
    before, after = (AIMS[aim].judge(*both, "group") for both in spaces)
    assert 0 <= before < after <= 1


def test_a_trial_is_what_train_does_and_says_what_it_came_to():
    es = open_to(wb.testing.planted(120, 8))
    got = tried(es, Job(BASELINE, 0.07, 4, 2), "retrieval", "")
    assert 0 <= got.value <= 1
    assert set(got.beside) == set(MOVED)
    assert tried(es, Job(BASELINE, 0.07, 4, 2), "retrieval", "").value == got.value


def test_what_stands_beside_is_what_a_report_says():
    es = three(60)
    report = wb.diagnose(es, only=list(MOVED), subsampling=False)
    for name, value in beside(es).items():
        rows = report.frame[(report.frame["name"] == name) & report.frame["value"].notna()]
        assert value == pytest.approx(rows["value"].mean(), rel=1e-6)


# -- the whole way -------------------------------------------------------------------------------------------------


def test_advice_on_a_small_set_from_the_command_line_and_what_it_names_runs(tmp_path):
    es = wb.testing.planted(240, 16)
    es.save(tmp_path / "set")
    call = ["advise", str(tmp_path / "set"), "--only", "siglip", "--steps", "10", "--budget", "0.9"]
    done = run(*call, "--json", str(tmp_path / "a.json"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "beats infonce here" in done.stdout or "R@1" in done.stdout
    told = pd.read_json(tmp_path / "a.json", typ="series")
    assert set(told["tried"]) == {BASELINE, "siglip"}
    line = done.stdout.split("next  workbench ")[1].split()
    assert told["command"] == "workbench " + " ".join(line)
    after = run(*line, cwd=tmp_path)
    assert after.returncode == 0, after.stderr


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["--goal", "recall"], "no goal named 'recall'"),
        (["--goal", "classes"], "needs --label"),
        (["--goal", "compose"], "needs 3 modalities or more"),
        (["--only", "gramm"], "did you mean 'gram'"),
        (["--only", "triangle"], "triangle needs 3 modalities"),
        (["--budget", "0"], "minutes above 0"),
        (["--modalities", "text,sound"], "no modality named 'sound'"),
        (["--label", "kind"], "kind"),
        (["--steps", "9"], "steps must be 10 or more, not 9"),
        (["--budget", "inf"], "minutes above 0"),
        (["--workers", "-3"], "workers must be 1 or more"),
        (["--only", "infonce"], "name another recipe"),
        (["--json", "."], "is a folder"),
    ],
)
def test_what_cannot_be_advised_on_is_said_in_a_sentence(call, said, tmp_path):
    wb.testing.planted(items=150).save(tmp_path / "set")
    done = run("advise", str(tmp_path / "set"), *call)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_set_too_small_is_said():
    with pytest.raises(wb.InputError, match="needs? 100 or more|100 or more"):
        wb.advise(wb.testing.planted(items=60))


def test_families_too_few_to_deal_are_said():
    es = wb.testing.planted(items=200)
    one = EmbeddingSet({m: es[m] for m in es.modalities}, es.items.assign(family=[f"f{k % 9}" for k in range(200)]))
    with pytest.raises(wb.InputError, match="families of items .* recipes need 20 or more"):
        wb.advise(one)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (["one"] * 200, "at least two classes"),
        ([None] * 200, "and a class"),
        (["a", "b"] * 3 + [None] * 194, "recipes need"),
    ],
)
def test_classes_that_cannot_be_told_are_said_before_anything_is_trained(kinds, said):
    es = wb.testing.planted(items=200)
    es = EmbeddingSet({m: es[m] for m in es.modalities}, es.items.assign(kind=kinds))
    with pytest.raises(wb.InputError, match=said):
        wb.advise(es, "classes", label="kind")


def test_a_set_of_test_items_alone_is_said():
    es = wb.testing.planted(items=150)
    with pytest.raises(wb.InputError, match="no item outside of test"):
        wb.advise(EmbeddingSet({m: es[m] for m in es.modalities}, es.items.assign(split="test")))


def test_a_baseline_without_a_number_is_no_answer():
    def work(jobs, what):
        yield from (Found(j, math.nan, {}, 1.0, "the loss is nan at step 3") for j in jobs)

    with pytest.raises(wb.InputError, match="infonce itself gives no number: the loss is nan at step 3"):
        _costs(work, 100, 2, "x")


def test_a_process_that_ends_says_what_it_said_last(tmp_path):
    with (
        Crew("json.tool", ["--no-such-option"], 1, tmp_path, "advise x") as crew,
        pytest.raises(wb.InputError, match=r"advise x: a run ended with 2: .*no-such-option"),
    ):
        list(crew.answers([{"a": 1}]))
