"""A fact about a thing stands with the thing: declared once, it is right in every table, comparison, log and screen."""

from __future__ import annotations

import io
import json
import re
import tarfile
import tomllib
from collections import Counter
from dataclasses import fields
from html import escape
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

import workbench as wb
from workbench.app.library import Library
from workbench.cli.catalog import catalog
from workbench.diagnostics import registry
from workbench.diagnostics.registry import CURVES, curves, diagnostics, headlines, leading, logged, panels, questions
from workbench.diagnostics.scoped_name import ScopedName
from workbench.objectives.recipes import RECIPES
from workbench.report.comparison import side_by_side
from workbench.report.doctor import RULES, RUN_RULES, SET_RULES, examine_run, measured
from workbench.report.slices import layers, slices
from workbench.scan.statistics import Neighbours, Ranks, VolumeRanks
from workbench.sets.formats import READERS, WRITERS, kind_of, load, sets_in, write
from workbench.sets.formats.registry import Reader
from workbench.sets.run_folder import RECALL
from workbench.training.compatibility import NEEDED, table
from workbench.training.probe import better
from workbench.training.settings import Settings, sort_settings
from workbench.views import figures, page

EVERY = diagnostics()


# -- diagnostics -------------------------------------------------------------------------------------------------------


def test_eight_numbers_are_headlines_in_an_order():
    assert len(headlines()) == 8
    assert [EVERY[n].headline for n in headlines()] == list(range(1, 9))


@pytest.mark.parametrize("name", EVERY)
def test_what_asks_for_ranks_or_neighbours_depends_on_the_gallery(name):
    d = EVERY[name]
    assert d.gallery == any(isinstance(s, Ranks | VolumeRanks | Neighbours) for s in d._statistics)


def test_every_question_has_its_text_its_place_and_a_figure():
    asked = questions()
    assert [q.order for q in asked.values()] == list(range(1, len(asked) + 1))
    assert all(q.text.endswith("?") and leading(q.name) for q in asked.values())
    assert {c.question for c in curves().values()} <= set(asked)


def test_a_curve_that_says_what_to_see_has_a_figure_and_the_other_way_round():
    assert {name for name, c in CURVES.items() if c.see} == set(figures.CURVES)


def test_a_report_answers_every_question_in_its_order_and_draws_what_findings_stand_on():
    report = wb.diagnose(wb.testing.planted(items=60, gap=0.8))
    told = [questions()[n].text for n in questions() if page.every_value(report, n)]
    folded = page.folded(report)
    places = [folded.index(escape(text)) for text in told]
    assert len(told) == len(questions())
    assert places == sorted(places)
    carried = page.carried(report)
    named = {e["diagnostic"] for f in report.findings for e in f.evidence}
    stood_on = {EVERY[n].question for n in named if n in EVERY}
    assert carried == [n for n in questions() if n in stood_on]
    assert all(page.evidence(report, n) for n in carried), "each has a figure"
    assert "page.carried(report)" in (Path(__file__).parent.parent / "notebooks" / "report.ipynb").read_text()


def test_the_views_that_questions_name_are_there():
    from workbench.explorer.views import VIEWS

    assert {q.view for q in questions().values()} - {""} <= set(VIEWS)


def test_what_is_declared_elsewhere_is_shown_too(monkeypatch):
    """A diagnostic of somebody's own module: no list has to know it."""
    monkeypatch.setattr(registry, "REGISTRY", dict(registry.REGISTRY))
    kind = EVERY["mean_cosine"]

    @registry.diagnostic(on=kind.on, reads=kind.reads, null=kind.null, interval="jackknife", unit="cosine", see="Left.")
    def own_cosine(centroids):
        """Its own."""
        return kind.function(centroids)

    report = wb.diagnose(wb.testing.planted(items=40), only=["own_cosine", "mean_cosine"])
    assert report.value("own_cosine", "text") == report.value("mean_cosine", "text")
    assert "A fact about a thing stands with the thing" in report.to_html()


# -- measures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_a_measure_is_read_back_from_its_key_and_from_its_column(name):
    for scope in (("image",), ("image", "text.v2"), ("a+b", "c"), ("a", "b", "c")):
        m = ScopedName(name, scope)
        assert ScopedName.parse(str(m)) == ScopedName.parse(m.column) == m


def test_every_column_of_the_items_is_a_measure_of_the_report():
    report = wb.diagnose(wb.testing.planted(items=40, modalities=("a", "b", "c")))
    rows = {ScopedName(r["name"], r["modalities"]) for r in report.frame.to_dict("records")}
    assert {ScopedName.parse(c) for c in report.items.columns[1:]} <= rows
    assert all(
        m.column in report.items for m in rows if EVERY[m.name].each and np.isfinite(report.value(m.name, *m.scope))
    )


# -- what was seen to go wrong -----------------------------------------------------------------------------------------


def test_slices_keep_the_gallery_for_every_number_that_is_a_mean_over_queries():
    es = wb.testing.planted(items=300, cosine=0.5)
    es.items["kind"] = ["a", "b", "c"] * 100
    names = [n for n, d in EVERY.items() if d.per_query]
    frame = slices(es, "kind", only=names)
    whole = wb.diagnose(es, only=names).frame.set_index(["name", "modalities"])
    for r in frame.to_dict("records"):
        assert r["n_gallery"] == whole.loc[(r["name"], r["modalities"]), "n_gallery"] >= 300
        assert r["null_low"] <= r["null_high"]
    ranks = wb.diagnose(es, only=["median_rank"]).items["median_rank image→text"]
    of_a = frame[(frame["name"] == "median_rank") & (frame["kind"] == "a")].iloc[0]
    assert of_a["value"] == np.median(ranks[es.items["kind"] == "a"])
    assert of_a["null_low"] > 50, "half of 300 keys is what chance gives, not a share of at most 1"


def test_sets_of_unequal_size_are_not_compared_by_what_depends_on_it():
    data = {"few": wb.testing.planted(items=60), "many": wb.testing.planted(items=600)}
    for name, d in EVERY.items():
        if d.gallery and d.labelling == "" and d.on in ("modality", "pair", "direction"):
            with pytest.raises(wb.InputError, match=f"{name}.* cannot be compared"):
                side_by_side(data, only=[name])
    table = side_by_side(data, only=["modality_gap", "alignment", "effective_rank"])
    assert np.isfinite(table.xs("value", axis=1, level=1)).all(axis=None)


def test_early_stop_goes_the_way_that_the_registry_says():
    assert {better("loss"), better(RECALL), better("recall_at_1 image text")} == {"lower", "higher"}
    for d in logged():
        if d.better is None:
            with pytest.raises(wb.InputError, match=f"train.watch={d.name} text: neither more nor less"):
                better(f"{d.name} text")
    with pytest.raises(wb.InputError, match="no metric of the looks"):
        better("recal_at_1 image text")


def test_training_does_not_stop_on_a_metric_that_nobody_calls_better(tmp_path):
    """Uniformity fell from -3.0 to -3.3 with retrieval rising, and the run was stopped as if it got worse."""
    es = wb.testing.planted(items=80)
    with pytest.raises(wb.InputError, match="uniformity text: neither more nor less"):
        wb.train("infonce", data=es, out=tmp_path / "run", steps=4, batch=8, patience=2, watch="uniformity text")
    assert not (tmp_path / "run").exists()


def test_a_look_logs_what_is_probed_and_panels_draw_it(tmp_path):
    run = wb.train("infonce", data=wb.testing.planted(items=80), out=tmp_path / "run", steps=2, batch=8, evaluate=1)
    assert {ScopedName.parse(k).name for k in run.looks[-1]} >= {d.name for d in panels()}
    titles = {a.text for a in figures.metrics({"run": run.metrics}).layout.annotations}
    assert titles == {"loss", *(d.heading for d in panels())}


def test_layers_show_what_is_layered():
    from workbench.sets.planted import ROLES, layered

    names = {n for n, d in EVERY.items() if d.layered}
    assert set(layers(layered(), label="role", roles=ROLES)["name"]) == names
    assert set(layers(layered())["name"]) == {n for n in names if not EVERY[n].labelling}


# -- formats -----------------------------------------------------------------------------------------------------------


def _npy(path, es):
    np.save(path, es["image"].numpy())


def _npy_folder(path, es):
    path.mkdir()
    for m in es.modalities:
        np.save(path / f"{m}.npy", es[m].numpy())


def _clip(path, es):
    for m, folder in (("image", "img_emb"), ("text", "text_emb")):
        (path / folder).mkdir(parents=True)
        np.save(path / folder / f"{folder}_0.npy", es[m].numpy())


def _datasets(path, es):
    path.mkdir()
    table = pa.table({m: es[m].tolist() for m in es.modalities})
    with pa.OSFile(str(path / "data-0.arrow"), "wb") as raw, pa.ipc.new_stream(raw, table.schema) as out:
        out.write_table(table)
    (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-0.arrow"}]}))


def _webdataset(path, es):
    with tarfile.open(path, "w") as tar:
        for i, name in enumerate(es.items["id"]):
            for m in es.modalities:
                raw = io.BytesIO()
                np.save(raw, es[m][i].numpy())
                member = tarfile.TarInfo(f"{name}.{m}.npy")
                member.size = raw.tell()
                tar.addfile(member, io.BytesIO(raw.getvalue()))


def _text_table(path, es):
    rows = [{"id": es.items["id"][i], **{m: es[m][i].tolist() for m in es.modalities}} for i in range(len(es))]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


def _parts(kind):
    def make(path, es):
        path.mkdir()
        for k in (0, 1):
            write(es.take(np.arange(20) + 20 * k), path / f"{k}.{kind}", kind)

    return make


# what this package does not write itself: the file's name, and how it is made
MADE = {
    "npy": ("image.npy", _npy),
    "npy folder": ("folder", _npy_folder),
    "torch": ("set.pt", lambda path, es: torch.save({m: es[m] for m in es.modalities}, path)),
    "text table": ("set.jsonl", _text_table),
    "parquet folder": ("folder", _parts("parquet")),
    "arrow folder": ("folder", _parts("arrow")),
    "datasets": ("folder", _datasets),
    "webdataset": ("shard.tar", _webdataset),
    "clip": ("folder", _clip),
}


def test_every_format_that_is_read_is_tried():
    assert set(READERS) == set(MADE) | (set(WRITERS) & set(READERS))


@pytest.mark.parametrize("kind", MADE)
def test_what_others_write_is_told_read_and_served(tmp_path, kind):
    name, make = MADE[kind]
    es = wb.testing.planted(items=40)
    make(tmp_path / name, es)
    assert kind_of(tmp_path / name) == kind
    found = load(tmp_path / name)
    assert len(found) == 40
    assert torch.equal(found["image"], es["image"])
    served = Library([tmp_path / name]).entries()
    assert len(served) == (2 if READERS[kind].parts else 1)
    assert all(e.inspection() is not None for e in served.values())


@pytest.mark.parametrize("to", [w for w in WRITERS if w in READERS])
def test_what_is_written_is_told_read_and_served(tmp_path, to):
    """`serve x.arrow`, .h5, .zarr, .lance and a projector's folder said: no run and no set."""
    extra = READERS[to].extra
    if extra:
        pytest.importorskip({"hdf5": "h5py"}.get(extra, extra))
    es = wb.testing.planted(items=40)
    out = write(es, tmp_path / f"made{(READERS[to].suffixes or ('.' + to,))[0] if to != 'projector' else ''}", to)
    assert kind_of(out) == to
    assert len(load(out)) == 40
    assert sets_in(out) == [out]
    (served,) = Library([out]).entries().values()
    assert served.inspection().report.value("recall_at_1", "image", "text") > 0.5
    assert [e.path for e in Library([tmp_path]).entries().values()] == [out]


def test_a_folder_of_runs_and_sets_shows_each_and_nothing_else(tmp_path):
    es = wb.testing.planted(items=80)
    wb.train("infonce", data=es, out=tmp_path / "run", steps=1, batch=8)
    es.save(tmp_path / "saved")
    for name in ("a", "b"):
        write(es, tmp_path / f"{name}.parquet", "parquet")
    (tmp_path / "notes.tsv").write_text("no vectors\n")
    (tmp_path / "labels.npy").write_bytes(b"")
    assert list(Library([tmp_path]).entries()) == ["a", "b", "run", "saved"]


def test_files_of_one_modality_each_are_one_set(tmp_path):
    es = wb.testing.planted(items=40)
    for m in es.modalities:
        np.save(tmp_path / f"{m}.npy", es[m].numpy())
    (served,) = Library([tmp_path]).entries().values()
    assert served.inspection().es.modalities == ("image", "text")


def test_formats_are_told_apart_and_their_extras_can_be_installed():
    takes_all = Counter(s for r in READERS.values() if r.fits is Reader.fits for s in r.suffixes)
    assert max(takes_all.values()) == 1, "of formats that share a suffix all but one say which files fit"
    ranks = [r.rank for r in READERS.values() if isinstance(r.folder, str) and r.folder]
    assert len(ranks) == len(set(ranks)), "files of several kinds may lie in one folder"
    assert all(r.magic or r.folder or r.suffixes for r in READERS.values())
    extras = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert {f.extra for f in [*READERS.values(), *WRITERS.values()]} - {""} <= set(extras["optional-dependencies"])


# -- the doctor's rules ------------------------------------------------------------------------------------------------

ALARMS = {**RULES, **SET_RULES, **RUN_RULES}
ALARMS = {n: r for n, r in ALARMS.items() if r.severity != "info"}


@pytest.fixture(scope="module")
def healthy():
    es = wb.testing.planted(items=240, cosine=0.6, seed=3)
    assert not any(f.alarm for f in wb.diagnose(es).findings)
    return es


@pytest.fixture(scope="module")
def healthy_run(tmp_path_factory):
    es = wb.testing.planted(items=200)
    run = wb.train("infonce", data=es, out=tmp_path_factory.mktemp("run") / "a", steps=60, evaluate=20, batch=64)
    assert not any(f.alarm for f in run.findings)
    return run.looks


def test_every_alarm_declares_the_fault_that_it_finds():
    assert len(RULES) + len(SET_RULES) + len(RUN_RULES) == len({**RULES, **SET_RULES, **RUN_RULES})
    for name, rule in ALARMS.items():
        assert rule.fault is not None, f"{name}: say which planted fault it finds, @rule(..., fault=Fault(...))"
        assert len(list(rule.fault)) == 3, f"{name}: three strengths, of which the last is plain to see"


@pytest.mark.parametrize("name", [n for n in ALARMS if n not in RUN_RULES])
def test_the_doctor_finds_what_was_planted_and_is_quiet_where_nothing_was(healthy, name):
    rule = ALARMS[name]
    assert not [f for f in wb.diagnose(healthy).findings if f.rule == name]
    report = wb.diagnose(rule.fault.worst(healthy), **rule.fault.ask)
    found = [f for f in report.findings if f.rule == name]
    assert found
    assert all(f.severity == rule.severity and f.evidence and f.next for f in found)


@pytest.mark.parametrize("name", [n for n in RUN_RULES if n in ALARMS])
def test_the_doctor_finds_what_was_planted_into_a_run(healthy_run, name):
    guess = healthy_run[0]["loss"]
    assert not [f for f in examine_run(healthy_run, guess) if f.alarm]
    found = [f for f in examine_run(RUN_RULES[name].fault.worst(healthy_run), guess) if f.rule == name]
    assert found
    assert all(f.severity == RUN_RULES[name].severity and f.evidence and f.next for f in found)


def test_every_rule_is_in_the_catalogue_measured_or_not():
    rows = {r["name"]: r for r in catalog("rules")}
    assert list(rows) == [*RULES, *SET_RULES, *RUN_RULES]
    figures = measured()["power"]
    for name, rule in ALARMS.items():
        assert (rows[name]["power"] == "not measured") == (name not in figures)
        if name in figures:
            assert set(figures[name]) == {label for label, _ in rule.fault}, "measured with other strengths"
    assert set(figures) <= set(ALARMS)


# -- recipes and interventions -----------------------------------------------------------------------------------------


def test_what_a_recipe_needs_is_said_in_words_and_every_recipe_fits_some_data():
    for r in RECIPES.values():
        assert r.data in {"", *NEEDED}
        assert r.topic
        assert r.modalities.startswith(str(r.min_modalities)), "the prose and the number say the same"
    listed = [n for row in table() for n in re.findall(r"`(\w+)`", row["recipes"])]
    assert sorted(listed) == sorted(RECIPES), "once each"


@pytest.mark.parametrize(
    "name", [n for n, r in RECIPES.items() if not r.data and not {"tokens", "negatives"} & {*r.needs}]
)
def test_a_recipe_takes_a_queue_if_and_only_if_keys_beyond_the_batch_change_it(name):
    draw = torch.Generator().manual_seed(0)
    rows = {m: torch.randn(8, 16, generator=draw) for m in ("a", "b", "c")[: max(2, RECIPES[name].min_modalities)]}
    more = {m: torch.cat([x, torch.randn(8, 16, generator=draw)]) for m, x in rows.items()}
    given = {"labels": torch.arange(8) // 2, "teacher": rows}
    losses = []
    for keys in (None, more):
        torch.manual_seed(0)
        objective = wb.recipe(name, dims=dict.fromkeys(rows, 16))
        torch.manual_seed(1)
        losses.append(objective(wb.Batch(rows, keys=keys, **given))["loss"].item())
    assert (losses[0] != losses[1]) == RECIPES[name].queue


def test_every_intervention_is_in_the_catalogue_and_made_by_its_name():
    from workbench.interventions import INTERVENTIONS, named

    assert [r["name"] for r in catalog("interventions")] == list(INTERVENTIONS)
    assert all(
        named(n).name == n and r["summary"] for n, r in zip(INTERVENTIONS, catalog("interventions"), strict=True)
    )


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [f for f in fields(Settings) if f.metadata], ids=lambda f: f.name)
def test_a_setting_says_its_bounds_itself_and_they_are_kept(field):
    default = sort_settings("infonce", {})[0]
    beyond = {"least": lambda x: x - 1, "below_one": lambda x: 1.5, "choices": lambda x: "nothing of the kind"}
    ((kind, bound),) = field.metadata.items()
    with pytest.raises(wb.InputError, match=f"train.{field.name}"):
        sort_settings("infonce", {f"train.{field.name}": type(field.default)(beyond[kind](bound))})
    assert sort_settings("infonce", {f"train.{field.name}": field.default})[0] == default
