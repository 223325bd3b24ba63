"""The workspace without a browser: what makes a selection, what charts count, two spaces, what a page sends."""

import json
import time

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

import workbench as wb
from workbench.explorer import choice, colouring
from workbench.explorer.inspection import Inspection, inspection
from workbench.explorer.map_state import MapState
from workbench.explorer.regions import regions
from workbench.report.comparison import compare
from workbench.sets.planted import planted
from workbench.workspace import charts
from workbench.workspace.classes import centroids, nearest
from workbench.workspace.pair import LOST, OUTCOME, RIGHT, WON, WRONG, Pair
from workbench.workspace.panel import Around
from workbench.workspace.visit import Visit


@pytest.fixture
def es():
    es = planted(items=120, gap=0.8)
    items = es.items.assign(kind=["a", "b", "c"] * 40, size=np.arange(120.0), note=[None, "x", ""] * 40)
    return wb.EmbeddingSet({m: es[m] for m in es.modalities}, items)


@pytest.fixture
def visit(es):
    return Visit(Inspection(es), around=Around("mine", {"run": "mine"}))


def act(visit, name, value=None, how="replace", **more):
    visit.on_message("act", {"name": name, "value": value, "how": how, **more})


# -- what makes a selection --------------------------------------------------------------------------------------------

STEPS = [
    ("worst", (7, "image", "text")),
    ("find", ("i1",)),
    ("where", ("kind", "b")),
    ("where", ("note", "")),
    ("between", ("size", 3.0, 17.5)),
    ("lasso", ("PCA", [[-9.0, -9.0], [9.0, -9.0], [9.0, 9.0], [-9.0, 9.0]], 1, "kind", ["a", "c"])),
    ("ids", ("i3", "i5")),
    ("near", ("i3", "text")),
    ("cluster", ("kind", "image", "a", "")),
]


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(choice.HOW)), min_size=1, max_size=4))
def test_an_address_makes_the_same_selection_again(steps):
    es = planted(items=60, gap=0.8)
    items = es.items.assign(kind=["a", "b", "c"] * 20, size=np.arange(60.0), note=[None, "x", ""] * 20)
    s = Inspection(wb.EmbeddingSet({m: es[m] for m in es.modalities}, items))
    state = MapState(s)
    for (kind, of), how in steps:
        state.choose(kind, *of, how=how)
    again = MapState(s)
    assert again.restore(json.loads(json.dumps(state.state()))) == []
    assert (again.selected == state.selected).all() or not state.steps
    by_hand = np.zeros(60, dtype=bool)
    for (kind, of), how in steps:
        mine = choice.items(s, choice.Step(kind, of))
        by_hand = {"replace": mine, "add": by_hand | mine, "remove": by_hand & ~mine, "within": by_hand & mine}[how]
    assert (state.selected == by_hand).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not understood"),
        ("7", "not understood"),
        ('[["replace","find"]]', "cannot be made of"),
        ('[["replace","nowhere","x"]]', "no kind of selection named 'nowhere'"),
        ('[["twist","find","x"]]', "no way to join selections"),
        ('[["replace","ids","i1","nobody"]]', "no item with id 'nobody'"),
        ('[["replace","where","colour of the moon","x"]]', "no column named"),
        ('[["replace","lasso","PCA","<script>"]]', ""),
        ('[["replace","worst","many","image","text"]]', "cannot be made of"),
    ],
)
def test_an_address_that_cannot_be_is_said_and_changes_nothing(visit, text, said):
    before = visit.map_state.selected.copy()
    visit.restore({"sel": text})
    if said:
        assert said in visit.traits()["page"]["said"]
        assert (visit.map_state.selected == before).all()


def test_undo_goes_over_selection_view_and_colour(visit):
    m = visit.map_state
    first = m.selected.copy()
    act(visit, "tools.view", "PCA")
    act(visit, "tools.colour", "kind")
    act(visit, "selection.value", ["kind", "b"])
    assert (m.view, m.colour, int(m.selected.sum())) == ("PCA", "kind", 40)
    for _ in range(3):
        act(visit, "page.undo")
    assert (m.view, m.colour) == ("gap axis", "modality")
    assert (m.selected == first).all()
    for _ in range(3):
        act(visit, "page.redo")
    assert (m.view, m.colour, int(m.selected.sum())) == ("PCA", "kind", 40)
    act(visit, "page.clear")
    assert not m.selected.any()


def test_messages_that_follow_fast_are_all_heard_once(visit):
    told = [{"name": "tools.colour", "value": "kind", "seq": 1}, {"name": "tools.view", "value": "PCA", "seq": 2}]
    visit.on_message("act", {"seq": 2, "last": told})
    visit.on_message("act", {"seq": 3, "last": [*told, {"name": "tools.colour", "value": "size", "seq": 3}]})
    assert (visit.map_state.view, visit.map_state.colour) == ("PCA", "size")
    visit.map_state.paint("modality")
    visit.on_message("act", {"seq": 3, "last": told})
    assert visit.map_state.colour == "modality", "heard before"


NONSENSE = [None, 7, "x", [], [1], ["kind"], {"a": 1}, ["no", "such"], [0, 10**9, -5], "9" * 400, [None, None, None]]


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
def test_nonsense_from_a_page_breaks_nothing(visit, value):
    names = [f"{p.name}.{n.removeprefix('on_')}" for p in visit.panels.values() for n in dir(p) if n.startswith("on_")]
    assert len(names) > 25
    slow = {"selection.find_weak", "selection.find_suspects", "what if.measure", "clusters.measure"}
    for name in [*names, "page.open", "page.address", "page.__init__", "nobody.nothing", "item.__class__"]:
        if name not in slow:
            act(visit, name, value)
    act(visit, "page.clear")
    act(visit, "selection.value", ["kind", "a"])
    assert int(visit.map_state.selected.sum()) == 40


def test_no_text_of_the_data_becomes_html(es):
    bad = "\"><script>x</script>'&"
    items = es.items.assign(**{"name": bad, "kind": [bad, "b", "c"] * 40, bad: ["p", "q"] * 60})
    visit = Visit(
        Inspection(wb.EmbeddingSet({m: es[m] for m in es.modalities}, items), name=bad),
        around=Around(bad, {"run": bad}),
    )
    visit.drawer = True
    for name in ("item", "selection", "clusters", "what if"):
        visit.open = name
        told = visit.traits()
        for place in ("top", "tools", "left", "right", "foot", "drawer"):
            assert "<script" not in told[place], (name, place)
            assert bad not in told[place]


def test_a_finding_shows_its_own_pair():
    es = planted(items=200, cosine=0.6)
    mixed = es["text"][torch.randperm(200, generator=torch.Generator().manual_seed(1))]
    third = wb.EmbeddingSet({**{m: es[m] for m in es.modalities}, "sound": mixed + 1.0}, es.items)
    visit = Visit(Inspection(third), around=Around("three", {"run": "three"}))
    found = visit.inspection.report.findings
    lost = next(k for k, f in enumerate(found) if f.rule == "no_pairing_signal")
    pair = found[lost].evidence[0]["modalities"][:2]
    act(visit, "findings.show", lost)
    assert visit.queue.direction == tuple(pair)
    assert visit.map_state.colour == f"rank {' → '.join(pair)}"
    worst = visit.inspection.worst(20, tuple(pair))
    assert set(np.flatnonzero(visit.map_state.selected)) == set(worst.tolist())
    apart = next(k for k, f in enumerate(found) if f.rule == "gap" and "sound" in f.evidence[0]["modalities"])
    act(visit, "findings.show", apart)
    assert "sound" in visit.map_state.view
    assert set(np.flatnonzero(visit.map_state.selected)) == set(worst.tolist()), "the selection stays"


# -- charts ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_fisher_is_scipys(a, b, c, d):
    if a + b == 0 or c + d == 0:
        return
    want = fisher_exact([[a, b], [c, d]]).pvalue
    assert charts._fisher(a, a + b, a + c, a + b + c + d) == pytest.approx(want, rel=1e-6)


def test_charts_count_what_loops_count(es):
    s = Inspection(es)
    selected = np.arange(120) % 7 == 0
    c = charts.column(s, "kind")
    for k, name in enumerate(c.names):
        assert c.all[k] == sum(v == name for v in es.items["kind"])
        assert c.counts(selected)[k] == sum(v == name and x for v, x in zip(es.items["kind"], selected, strict=True))
    assert charts.column(s, "note").missing == 80, "None and empty are one thing: missing"
    size = charts.column(s, "size")
    for k in range(len(size.all)):
        low, high = size.edges[k], size.edges[k + 1]
        last = k == len(size.all) - 1
        assert size.all[k] == sum(low <= v < high or (last and v == high) for v in es.items["size"])
    ranks = charts.column(s, "rank image → text")
    assert ranks.all.sum() == 120


def test_bins_select_what_they_show(visit):
    c = charts.column(visit.inspection, "size")
    act(visit, "selection.bins", ["size", 2, 5])
    assert int(visit.map_state.selected.sum()) == int(c.all[2:6].sum())
    last = len(c.all) - 1
    act(visit, "selection.bins", ["size", last, last])
    assert int(visit.map_state.selected.sum()) == int(c.all[last])


def test_what_is_unusual_is_found_and_luck_is_not(es):
    s = Inspection(es)
    planted_ = (es.items["kind"] == "b").to_numpy() & (np.arange(120) < 60)
    found = charts.unusual(s, planted_, ["kind", "size"])
    assert {(u.column, u.value) for u in found} >= {("kind", "b")}
    first = next(u for u in found if u.value == "b")
    assert first.share == 1.0
    assert first.elsewhere == pytest.approx(20 / 100)
    draw = np.random.default_rng(0)
    false = sum(bool(charts.unusual(s, draw.permutation(120) < 20, ["kind", "size"])) for _ in range(100))
    assert false <= 10


# -- views, colours, regions -------------------------------------------------------------------------------------------


def test_each_pair_has_its_gap_axis():
    es = planted(items=80, gap=0.5)
    third = wb.EmbeddingSet({**{m: es[m] for m in es.modalities}, "sound": es["text"] + 1.0}, es.items)
    s = Inspection(third)
    assert s.views[:3] == ["gap axis", "gap axis image · sound", "gap axis text · sound"]
    place = s.view("gap axis text · sound")
    a, b = (third.unit(m).mean(0) for m in ("text", "sound"))
    along = [place.xy[place.modality == m, 0].mean() for m in ("text", "sound")]
    assert abs(along[0] - along[1]) == pytest.approx(float((a - b).norm()))
    with pytest.raises(wb.InputError, match="no view named"):
        s.view("gap axis nobody")


def test_ranks_are_coloured_in_ranks_and_only_where_they_are(es):
    state = MapState(Inspection(es))
    state.paint("rank image → text")
    legend = state.traits()["spec"]["legend"]
    assert legend["low"] == "1"
    assert float(legend["high"].replace(",", "")) == state.inspection.ranks("image", "text").max()
    of_text = state.modality == state.names.index("text")
    assert (state._codes[of_text] == colouring.NO_COLOUR).all(), "a rank is a query's"


def test_regions_are_named_by_what_their_items_share():
    draw = torch.Generator().manual_seed(0)
    middle = 6 * torch.randn(4, 12, generator=draw)
    of = torch.arange(2400) % 4
    x = middle[of] + torch.randn(2400, 12, generator=draw)
    words = ["apples and pears", "lorries on roads", "violins with harps", "glaciers in fog"]
    captions = [f"number {k} of {words[int(o)]}" for k, o in enumerate(of)]
    items = pd.DataFrame({"id": [str(k) for k in range(2400)], "caption": captions})
    s = Inspection(wb.EmbeddingSet({"image": x, "text": x + 0.1}, items))
    place = s.view("PCA, gap removed")
    named = [r for r in regions(s, place.xy, place.item) if r["level"] == 0]
    assert named
    for r in named:
        group = next(k for k, w in enumerate(words) if r["text"] in w)
        mine = place.xy[of.numpy()[place.item] == group].mean(0)
        others = [place.xy[of.numpy()[place.item] == k].mean(0) for k in range(4) if k != group]
        far = [np.linalg.norm(np.array([r["x"], r["y"]]) - o) for o in others]
        assert np.linalg.norm(np.array([r["x"], r["y"]]) - mine) < min(far)
    assert regions(Inspection(s.es.take(np.arange(500))), place.xy[:500], place.item[:500]) == []


# -- clusters ----------------------------------------------------------------------------------------------------------


def test_nearest_centroids_are_those_of_loops(es):
    s = Inspection(es)
    x, own = es.unit("image"), es.items["kind"].to_numpy()
    found = nearest(s, "kind", "image")
    for i in range(0, 120, 7):
        score = {}
        for c in "abc":
            rows = [j for j in range(120) if own[j] == c and j != i]
            score[c] = float(torch.nn.functional.cosine_similarity(x[rows].sum(0), x[i], dim=0))
        assert found.near[i] == max(score, key=score.get)
    matrix = found.matrix
    assert matrix.to_numpy().sum() == 120
    assert found.accuracy == pytest.approx(np.trace(matrix.to_numpy()) / 120)
    stray = choice.items(s, choice.Step("cluster", ("kind", "image", "a", "")))
    assert set(np.flatnonzero(stray)) == {i for i in range(120) if own[i] == "a" != found.near[i]}
    assert centroids(x.float(), own).tolist() == found.near.tolist()


# -- two spaces --------------------------------------------------------------------------------------------------------


def test_two_spaces_show_what_the_comparison_counts():
    a, b = planted(items=100, cosine=0.5), planted(items=100, cosine=0.2, seed=0)
    pair = Pair.of(Inspection(a, name="a"), Inspection(b, name="b"))
    found = compare(a, b)
    for r in found.paired[found.paired["name"] == "recall_at_1"].to_dict("records"):
        column = f"{OUTCOME}{' → '.join(r['modalities'])}"
        counts = pair.items[column].value_counts()
        assert counts.get(LOST, 0) == r["lost"]
        assert counts.get(WON, 0) == r["won"]
        assert counts.sum() == r["n"]
        assert set(counts.index) <= {LOST, WON, RIGHT, WRONG}
    visit = Visit(pair, around=Around("a against b", {"compare": "a,b"}), colour=f"{OUTCOME}image → text")
    assert "B is worse in all 2 directions" in visit.traits()["left"]
    act(visit, "difference.side", [f"{OUTCOME}image → text", LOST])
    assert int(visit.map_state.selected.sum()) == (pair.items[f"{OUTCOME}image → text"] == LOST).sum()
    start = visit.map_state.xy.copy()
    act(visit, "between.go", 1)
    until = time.monotonic() + 30
    while np.allclose(visit.map_state.xy, start) and time.monotonic() < until:
        time.sleep(0.05)  # B is turned onto A aside
    assert not np.allclose(visit.map_state.xy, start)
    act(visit, "between.go", 0)
    assert np.allclose(visit.map_state.xy, start)
    visit.open = "in B"
    assert "in B" in visit.traits()["right"]


# -- what people leave behind ------------------------------------------------------------------------------------------


def test_a_file_keeps_selections_and_verdicts_beside_it(tmp_path):
    es = planted(items=120, cosine=0.2)
    frame = pd.DataFrame({"id": es.items["id"], "image": list(es["image"].numpy()), "text": list(es["text"].numpy())})
    frame.to_parquet(tmp_path / "pairs.parquet")
    visit = Visit(inspection(tmp_path / "pairs.parquet"), around=Around("pairs", {"run": "pairs"}))
    act(visit, "selection.save", "worst")
    item = visit.panels["item"]
    visit.queue.go_to(next(i for i in visit.queue.items if item._rivals(item.result(i))))
    act(visit, "item.judge", 1)
    again = inspection(tmp_path / "pairs.parquet")
    assert len(again.selections["worst"]) == 20
    assert again.judgements["verdict"].tolist() == ["false negative"]
    from workbench.app.library import Library

    library = Library([tmp_path])
    assert list(library.entries()) == ["pairs"], "what was left is no set"
    library.close()


def test_a_run_without_splits_can_be_embedded_again(tmp_path):
    planted(items=120, cosine=0.5).save(tmp_path / "set")
    run = wb.train("infonce", data=tmp_path / "set", out=tmp_path / "run", steps=2, batch=16, evaluate=2)
    sizes = {split: len(run.embed(split)) for split in ("train", "validation", "test")}
    assert sum(sizes.values()) == 120
    assert len(inspection(run, "train").es) == sizes["train"]


def test_a_report_of_an_earlier_snapshot_is_made_anew(tmp_path):
    planted(items=120, cosine=0.5).save(tmp_path / "set")
    plain = {"data": tmp_path / "set", "out": tmp_path / "run", "batch": 16, "evaluate": 2}
    run = wb.train("infonce", steps=4, **plain)
    first = run.report()
    first.about["steps"] = 1
    first.save(run.path / "reports" / "validation")
    assert run.report().about["steps"] == 4
