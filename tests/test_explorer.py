"""What is behind the map: masks and polygons, layouts and how far to believe them, pairs, selections, what-if."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.manifold import trustworthiness

import workbench as wb
from workbench.app.face import Face
from workbench.explorer import wire_format as wire
from workbench.explorer.inspection import Inspection, inspection, selected
from workbench.explorer.map_state import MapState
from workbench.explorer.whatif import Knobs, WhatIf
from workbench.explorer.widgets import MapWidget
from workbench.sets.planted import planted
from workbench.sets.projection import METHODS, project, turned
from workbench.training.samplers import judged, read_pairs, shuffle
from workbench.views import figures
from workbench.workspace.panel import Around
from workbench.workspace.panels.item import HELD, TRAINS
from workbench.workspace.visit import Visit


@pytest.fixture
def es():
    return planted(items=120, gap=0.8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))


def crossings(point, polygon):
    """The naive twin: is a point inside, by walking the edges one by one."""
    x, y = point
    odd = False
    for (ax, ay), (bx, by) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            odd = not odd
    return odd


def test_points_in_a_polygon():
    g = np.random.default_rng(0)
    xy = g.normal(size=(500, 2))
    star = [(2 * np.cos(a), np.sin(a) * (1 if k % 2 else 0.4)) for k, a in enumerate(np.linspace(0, 6, 11))]
    assert wire.inside(xy, star).tolist() == [crossings(p, star) for p in xy.tolist()]
    assert not wire.inside(xy, [(0, 0), (1, 1)]).any()
    assert not wire.inside(xy, [(0, 0), (1, float("nan")), (2, 2)]).any()


def test_a_mask_is_one_bit_a_point():
    mask = np.array([True, False, False, True, False, False, False, False, True])
    assert wire.bits(mask) == bytes([0b00001001, 1])


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("umap", "torchdr")])
def test_linear_views_are_what_they_say(method):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(120, 16, generator=draw, dtype=torch.float64)  # no two distances are equal
    es = wb.EmbeddingSet({"image": x + 0.5, "text": x + torch.randn(120, 16, generator=draw, dtype=torch.float64)})
    p = project(es, method)
    x = np.concatenate([es.unit(m).numpy() for m in es.modalities])
    assert p.xy.shape == (len(x), 2)
    assert p.trustworthiness == pytest.approx(trustworthiness(x, p.xy, n_neighbors=10), abs=2e-3)
    if method == "gap_axis":
        a, b = (es.unit(m).mean(0) for m in es.modalities[:2])
        along = p.xy[p.modality == es.modalities[0], 0].mean() - p.xy[p.modality == es.modalities[1], 0].mean()
        assert along == pytest.approx(float((a - b).norm()))
    if method == "pca":
        y = x - x.mean(0)
        assert np.allclose(np.sort(np.linalg.svd(y)[1])[::-1][:2], np.linalg.norm(p.xy, axis=0))
    if method == "svd":
        assert np.allclose(np.linalg.svd(x)[1][:2], np.linalg.norm(p.xy, axis=0))


def test_umap_is_kept_on_disk_and_is_the_same_again(es, tmp_path):
    pytest.importorskip("umap", reason="umap-learn needs numba", exc_type=ImportError)
    a = project(es, "umap")
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 1
    b = project(es, "umap")
    assert (a.xy == b.xy).all()
    assert a.faithfulness == b.faithfulness > project(es, "pca").faithfulness


def test_a_rotation_moves_nothing_in_a_common_frame(es):
    q, _ = torch.linalg.qr(torch.randn(es["image"].shape[1], es["image"].shape[1], dtype=torch.float64))
    turned_set = wb.EmbeddingSet({m: es.unit(m) @ q for m in es.modalities}, es.items)
    p = project(es, "gap_axis")
    assert np.allclose(turned(p.frame, es, turned_set), p.xy, atol=1e-6)
    assert not np.allclose(p.frame.show(turned_set), p.xy, atol=0.1)


def test_a_lasso_selects_items_and_undo_takes_it_back(es):
    map_state = MapState(Inspection(es))
    told = []
    map_state.listen(told.append)
    box = map_state.xy.min(0), map_state.xy.mean(0)
    around = [[box[0][0], box[0][1]], [box[1][0], box[0][1]], [box[1][0], box[1][1]], [box[0][0], box[1][1]]]
    map_state.on_message("gesture", {"points": around, "op": "replace", "off": 0, "hidden": []})
    hit = set(map_state.item[[crossings(p, [tuple(a) for a in around]) for p in map_state.xy.tolist()]])
    assert set(np.flatnonzero(map_state.selected)) == hit
    assert told[-1]["mask"] == wire.bits(map_state.selected[map_state.item])
    map_state.on_message("gesture", {"points": around, "op": "replace", "off": 0b11, "hidden": []})
    assert not map_state.selected.any(), "what is hidden is not selected"
    map_state.on_message("command", {"name": "undo"})
    assert set(np.flatnonzero(map_state.selected)) == hit
    for nonsense in ({"points": "x"}, {"points": [[1]]}, {"off": "a"}, None, 3):
        map_state.on_message("gesture", nonsense)
        map_state.on_message("clicked", nonsense)
        map_state.on_message("asked", nonsense)


def test_a_picture_asked_for_again_is_sent_again(es):
    page, widget, sent = Face(Visit(inspection(es))), MapWidget(MapState(inspection(es))), []
    page.param.watch(lambda e: sent.append(e.new), "png")
    widget.observe(lambda change: sent.append(change["new"]), "png")
    for face in (page, widget):
        for seq in (1, 2):
            sent.clear()
            face.command = {"name": "picture", "seq": seq}
            assert sent[-1].startswith(b"\x89PNG"), "an equal picture would not be a change"


def test_colours_have_a_legend_for_a_thousand_classes(es):
    many = es.items.assign(kind=[f"class {k}" for k in range(len(es))], size=np.arange(len(es)))
    big = Inspection(es, items=pd.concat([many]).assign(kind=lambda f: f["kind"].where(f.index > 1, "class 0")))
    map_state = MapState(big)
    map_state.paint("kind")
    legend = map_state._spec()["legend"]
    assert legend["kind"] == "category"
    assert sum(e["count"] for e in legend["entries"]) == len(es)
    assert sum(bool(e["color"]) for e in legend["entries"]) == 8
    map_state.paint("size")
    assert map_state._spec()["legend"]["kind"] == "value"
    with pytest.raises(wb.InputError, match="no colour named"):
        map_state.paint("colour of the moon")


def test_a_meeting_is_what_loops_find(es):
    s = Inspection(es)
    a, b = es.modalities[:2]
    x, y = es.unit(a), es.unit(b)
    for item in (0, 7, 63):
        m = s.query_result(item, a, b)
        cosine = [float(x[item] @ y[j]) for j in range(len(es))]
        rank = 1 + sum(c > cosine[item] for c in cosine)
        assert m.rank == rank == s.ranks(a, b)[item]
        assert m.margin == pytest.approx(cosine[item] - max(c for j, c in enumerate(cosine) if j != item), abs=1e-5)
        hub = sum(item in np.argsort([-float(x[i] @ y[j]) for j in range(len(es))])[:10] for i in range(len(es)))
        assert m.hub == hub
        beaten = [
            i for i in range(len(es)) if i != item and max(range(len(es)), key=lambda j: float(x[i] @ y[j])) == item
        ]
        assert set(m.beats["item"]) <= set(beaten)
        assert len(m.beats) == min(5, len(beaten))


def test_text_of_items_never_becomes_html(es):
    bad = "<script>alert(1)</script>"
    items = es.items.assign(
        name=bad, text=bad, sound_wav=[b'RIFF"><script>'] * len(es), picture_png=[b"<svg>"] * len(es)
    )
    html = Visit(Inspection(es, items=items)).panels["item"].html()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert wire.data_url(b"<svg onload=alert(1)>") == ""


def test_a_selection_is_one_thing_in_three_places(es, tmp_path):
    es.save(tmp_path / "set")
    ex = wb.explore(tmp_path / "set")
    assert len(ex.selection) == 20
    ids = ["i3", "i5", "i8"]
    seen = []
    ex.observe(lambda change: seen.append(change["new"]), names=["mask"])
    ex.select(ids)
    assert ex.selection["id"].tolist() == ids
    assert seen[-1] == wire.bits(ex.map_state.selected[ex.map_state.item])
    ex.save("mine")
    assert selected(tmp_path / "set", "mine").items["id"].tolist() == ids
    assert inspection(tmp_path / "set").selections == {"mine": ids}
    with pytest.raises(wb.InputError, match="letters, digits"):
        ex.save("../../etc/passwd")
    with pytest.raises(wb.InputError, match="no item with id 'x'"):
        ex.select(["x"])
    with pytest.raises(wb.InputError, match="in memory only"):
        wb.explore(es).save("mine")


def test_the_explorer_is_the_workspace_and_answers_both_ways(es):
    ex = wb.explore(es)
    with pytest.warns(DeprecationWarning, match="map_state since 0.2"):
        assert ex.scene is ex.map_state
    heard = []
    ex.observe(lambda change: heard.append(change["new"]), names=["chosen"])
    ex.act = {"name": "tools.view", "value": "PCA", "seq": 1}
    assert ex.spec["axes"][0].startswith("component 1")
    ex.clicked = {"point": 4, "op": "replace", "seq": 1}
    assert ex.selection["id"].tolist() == [f"i{ex.map_state.item[4]}"]
    assert heard == [1]
    assert f"i{int(ex.map_state.item[4])}" in ex.right
    ex.act = {"name": "page.undo", "value": None, "seq": 2}
    assert heard == [1, 20]
    before = ex.points
    ex.show(panel="what if").act = {"name": "what if.knob", "value": ["shift", "1.0"], "how": "replace", "seq": 3}
    assert ex.points != before, "the map moves along"
    data, *_ = ex._repr_mimebundle_()
    assert "image/png" in data
    assert "<script" in data["text/html"], "the map that stays"


# -- what if -----------------------------------------------------------------------------------------------------------


def test_what_if_says_what_loops_find(es):
    w = WhatIf(Inspection(es), "image", "text")
    knobs = Knobs(shift=0.5, temperature=0.1)
    frame = w.table(knobs).set_index(["name", "of"])
    x, y = (
        torch.nn.functional.normalize(w.change(m, es.unit(m, w.rows[m]), knobs, w.rows[m]), dim=1)
        for m in ("image", "text")
    )
    s = (x @ y.T).numpy()
    n = len(s)
    hits = [float(s[i, i] > max(s[i, j] for j in range(n) if j != i)) for i in range(n)]
    assert frame.loc["recall_at_1", "image → text"]["now"] == pytest.approx(np.mean(hits))
    logits = s / 0.1
    rows = [-logits[i, i] + np.log(sum(np.exp(logits[i]))) for i in range(n)]
    columns = [-logits[i, i] + np.log(sum(np.exp(logits[:, i]))) for i in range(n)]
    assert frame.loc["loss", "image · text"]["now"] == pytest.approx(np.mean(rows + columns), rel=1e-4)
    within = (x @ x.T).numpy()
    mixed = [float(s[i, i] > max(max(s[i, j], within[i, j]) for j in range(n) if j != i)) for i in range(n)]
    assert frame.loc["mixed_recall_at_1", "image → text"]["now"] == pytest.approx(np.mean(mixed))
    assert frame.loc["modality_gap", "image · text"]["now"] == pytest.approx(
        float((x.mean(0) - y.mean(0)).norm()), rel=1e-4
    )


def test_a_temperature_changes_no_rank(es):
    w = WhatIf(Inspection(es), "image", "text")
    for temperature in (0.005, 0.5):
        knobs = Knobs(temperature=temperature)
        frame = w.table(knobs).set_index("name")
        assert (frame.loc[["recall_at_1", "mixed_recall_at_1", "modality_gap"], "change"] == 0).all()
        assert np.isfinite(frame["now"]).all()
        assert frame.loc["loss", "change"] != 0
        assert "no rank" in w.says(knobs, 10)


# -- judged pairs ------------------------------------------------------------------------------------------------------


def test_judgements_are_a_list_that_training_heeds(es, tmp_path):
    es.save(tmp_path / "set")
    s = inspection(tmp_path / "set")
    file = s.judge(2, 9, "false negative", "image", "text")
    s.judge(2, 9, "duplicate", "image", "text")
    s.judge(4, 5, "wrong", "image", "text")
    pairs = read_pairs(str(file))
    assert pairs[["id", "other", "verdict"]].to_numpy().tolist() == [["i2", "i9", "duplicate"], ["i4", "i5", "wrong"]]
    batches = judged(shuffle(120, 60, seed=0), pairs, es.items["id"])
    for step in range(1, 30):
        batch = set(batches(step).tolist())
        assert not {2, 9} <= batch
        assert (4 in batch) == (5 in batch)
    with pytest.raises(wb.InputError, match="none of its 2 pairs"):
        judged(shuffle(10, 5, seed=0), pairs, pd.Series([f"z{k}" for k in range(10)]))
    (tmp_path / "bad.csv").write_text("id,other\n1,2\n")
    with pytest.raises(wb.InputError, match="needs columns"):
        read_pairs(str(tmp_path / "bad.csv"))


def test_only_pairs_that_training_can_use_are_offered_to_it(tmp_path):
    """The page of every run printed a command that training refused: a run shows items that it did not learn from."""
    testing = wb.testing.planted(items=120, cosine=0.5)
    testing.save(tmp_path / "set")
    plain = {"data": tmp_path / "set", "steps": 2, "batch": 16, "evaluate": 2}
    run = wb.train("infonce", out=tmp_path / "run", **plain)

    seen = Visit(inspection(run), around=Around("run", {"run": "run"}))
    item = seen.panels["item"]
    assert HELD in item.html(), "said before one judges"
    assert "split=train" in item.html(), "and where verdicts are of use"
    shown = seen.queue.item
    seen.inspection.judge(shown, (shown + 1) % len(seen.inspection.es), "wrong", "image", "text")
    assert "1 judged" in item.html()
    assert "--set pairs" not in item.html()
    file = tmp_path / "run" / "judgements" / "pairs.csv"
    with pytest.raises(wb.InputError, match="none of its 1 pairs"):
        wb.train("infonce", out=tmp_path / "no", pairs=file, **plain)

    learnt = Visit(inspection(run, "train"), around=Around("run", {"run": "run", "split": "train"}))
    assert learnt.inspection.trainable.all()
    item = learnt.panels["item"]
    assert TRAINS in item.html()
    learnt.map_state.select(np.arange(len(learnt.inspection.es)))
    learnt.queue.go_to(next(i for i in learnt.queue.items if item._rivals(item.result(i))))
    item.on_judge(0, "replace")
    assert len(learnt.inspection.usable) == 1
    assert f"--set pairs={file}" in item.html()
    wb.train("infonce", out=tmp_path / "yes", pairs=file, **plain)
    item.on_unjudge(None, "")
    assert not len(learnt.inspection.usable)


def test_one_figure_of_a_report_has_its_caption_or_says_why_there_is_none():
    report = wb.diagnose(planted(items=60))
    for name in [*figures.CURVES, *dict.fromkeys(report.frame["name"])]:
        drawn = any(n == name for n, _ in report.arrays) if name in figures.CURVES else report.known(name)
        if not drawn:
            with pytest.raises(wb.InputError, match=name):
                report.figure(name)
            continue
        fig = report.figure(name)
        assert fig.layout.title.text == name.replace("_", " ")
        assert fig.layout.title.subtitle.text
        assert len(fig.data) > 0
        assert fig.layout.height > fig.layout.margin.t + 60
    with pytest.raises(wb.InputError, match="did you mean 'modality_gap'"):
        report.figure("modality_gab")


def test_the_map_alone_is_that_of_the_set_and_its_words_are_checked():
    es = planted(items=40)
    alone = wb.map_of(es, view="PCA", colour="modality")
    assert (alone.spec["items"], alone.map_state.view) == (40, "PCA")
    assert "image/png" in alone._repr_mimebundle_()[0]
    with pytest.raises(wb.InputError, match="view"):
        wb.map_of(es, view="PCB")
    with pytest.raises(wb.InputError, match="did you mean 'modality'"):
        wb.map_of(es, colour="modalitie")
