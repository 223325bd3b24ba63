"""Runs: the same seed gives the same run, a killed run resumes to the same result, settings are checked."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.training.samplers import balanced, dropped, hard, shuffle
from workbench.training.settings import sort_settings

SHORT = {"steps": 30, "evaluate": 10, "batch": 64, "hidden": 32, "dim": 16}
MODALITIES = ["text", "color", "sketch"]
PLAIN = SHORT | {"dropout": 0.0, "steps": 20}


@pytest.fixture(scope="module", autouse=True)
def some_emoji(tmp_path_factory):
    """A third of the emoji with their drawings, one name each: what these tests train on."""
    es = wb.dataset("emoji")
    some = es.take(es.families % 3 == 0)
    kept = [c for c in some.items if not c.startswith("name_")]
    path = some.with_items(some.items[kept]).save(tmp_path_factory.mktemp("data") / "emoji")
    for settings in (SHORT, PLAIN):
        settings["data"] = str(path)


def test_the_same_seed_gives_the_same_run(tmp_path):
    a, b, c = (
        wb.train("infonce", out=tmp_path / n, modalities=MODALITIES, seed=s, **SHORT)
        for n, s in (("a", 0), ("b", 0), ("c", 1))
    )
    assert a.metrics == b.metrics
    assert a.snapshot().fingerprint == b.snapshot().fingerprint != c.snapshot().fingerprint


def test_a_killed_run_resumes_to_the_same_result(tmp_path):
    settings = SHORT | {"steps": 60}
    whole = wb.train("gram", out=tmp_path / "whole", modalities=MODALITIES, **settings)
    cut = str(tmp_path / "cut")
    script = f"import workbench as wb; wb.train('gram', out={cut!r}, modalities={MODALITIES}, **{settings})"
    process = subprocess.Popen([sys.executable, "-c", script], env=os.environ | {"WORKBENCH_QUIET": "1"})
    deadline = time.time() + 60
    while time.time() < deadline and not list((tmp_path / "cut").glob("checkpoints/step-000020.*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert wb.Run(tmp_path / "cut").steps < 60, "the run ended before it was killed: the test would be vacuous"
    resumed = wb.train("gram", out=tmp_path / "cut", modalities=MODALITIES, resume=True, **settings)
    assert resumed.metrics == whole.metrics
    assert resumed.snapshot().fingerprint == whole.snapshot().fingerprint


def test_batches_cover_an_epoch_without_repeats():
    index = shuffle(100, 25, seed=3)
    seen = torch.cat([index(step) for step in range(1, 5)])
    assert sorted(seen.tolist()) == list(range(100))
    assert not torch.equal(index(1), index(5))


def test_what_is_learnt_is_learnt(demo_runs):
    report = demo_runs["infonce"].report("validation")
    for row in report.frame[report.frame["name"] == "recall_at_1"].to_dict("records"):
        assert row["low"] > row["null_high"], row["modalities"]
    assert demo_runs["infonce"].test_reads == 0


def test_volumes_retrieve_where_pairs_do_not(demo_runs):
    report = demo_runs["gram"].report("validation")
    row = report.row("volume_recall_at_1", *MODALITIES)
    assert row["low"] > row["null_high"]
    assert report.value("recall_at_1", "sketch", "color") < 0.1
    assert any(f.rule == "flat_tuples" for f in report.findings)


def test_looks_at_test_are_counted(demo_runs):
    run = demo_runs["gram"]
    report = run.report("test")
    assert report.about["test_reads"] == run.test_reads == 1
    assert run.report("test").about["test_reads"] == 1  # the saved report is read, not the split
    assert run.embed("test").items["split"].unique().tolist() == ["test"]


def test_drawings_can_be_read_by_a_cnn(tmp_path):
    run = wb.train(
        "infonce", out=tmp_path / "cnn", modalities=["text", "color"], tower="cnn:color", steps=2, evaluate=2, batch=16
    )
    assert run.snapshot()["color"].shape[1] == 128


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temprature": 0.1}, "did you mean 'temperature'"),
        ({"steps": "many"}, "train.steps must be int"),
        ({"smoothing": 0.1}, "setting"),
    ],
)
def test_wrong_settings_are_refused(settings, said):
    with pytest.raises(wb.InputError, match=said):
        sort_settings("infonce", settings)


def test_a_run_is_never_overwritten(tmp_path, demo_runs):
    with pytest.raises(wb.InputError, match="a run is here already"):
        wb.train("gram", out=demo_runs["gram"].path, modalities=MODALITIES)
    with pytest.raises(wb.InputError, match="cannot resume, train differ"):
        wb.train("gram", out=demo_runs["gram"].path, modalities=MODALITIES, resume=True, lr=0.5)


def tensors(run):
    return run.checkpoint()[1]["model"]


def weights(run, modality):
    return torch.cat([x.flatten() for k, x in tensors(run).items() if k.startswith(f"to_{modality}.")])


def test_two_processes_train_as_one(tmp_path):
    """The command line starts two real ranks; without dropout their run is that of one process."""
    one = wb.train("infonce", out=tmp_path / "one", modalities=["text", "color"], **PLAIN)
    settings = [x for k, v in PLAIN.items() for x in (("--data", v) if k == "data" else ("--set", f"{k}={v}"))]
    command = [sys.executable, "-m", "workbench.cli", "train", "infonce", "-o", str(tmp_path / "two"), "--devices", "2"]
    done = subprocess.run(
        [*command, "--modalities", "text,color", *settings],
        env=os.environ | {"WORKBENCH_QUIET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    two = wb.Run(tmp_path / "two")
    lines = [[m for m in run.metrics if "loss" in m] for run in (one, two)]
    assert [m["step"] for m in lines[0]] == [m["step"] for m in lines[1]]
    for a, b in zip(*lines, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
    torch.testing.assert_close(weights(two, "text"), weights(one, "text"), rtol=1e-3, atol=1e-4)


def test_cached_chunks_and_accumulated_batches(tmp_path):
    whole = wb.train("infonce", out=tmp_path / "whole", modalities=["text", "color"], **PLAIN)
    parts = wb.train("infonce", out=tmp_path / "parts", modalities=["text", "color"], chunk=24, **PLAIN)
    torch.testing.assert_close(weights(parts, "color"), weights(whole, "color"), rtol=1e-3, atol=1e-4)
    many = wb.train("infonce", out=tmp_path / "many", modalities=["text", "color"], accumulate=2, **PLAIN)
    assert many.metrics[-1]["loss"] < many.metrics[0]["loss"]
    assert not torch.equal(weights(many, "color"), weights(whole, "color"))


def test_frozen_towers_do_not_move_until_they_may(tmp_path):
    start, still, later = (
        wb.train("infonce", out=tmp_path / n, modalities=["text", "color"], **(PLAIN | {"steps": k}), **more)
        for n, k, more in (
            ("start", 1, {"lr": 0.0}),
            ("still", 20, {"freeze": "text"}),
            ("later", 20, {"freeze": "text", "freeze_until": 10}),
        )
    )
    assert torch.equal(weights(still, "text"), weights(start, "text"))
    assert not torch.equal(weights(still, "color"), weights(start, "color"))
    assert not torch.equal(weights(later, "text"), weights(start, "text"))
    with pytest.raises(wb.InputError, match="did you mean 'text'"):
        wb.train("infonce", out=tmp_path / "typo", modalities=["text", "color"], freeze="txt", **PLAIN)


@pytest.mark.parametrize("name", ["tcl", "proclip", "protoclip", "siglip"])
def test_runs_with_state_of_their_own_resume_to_the_same_result(tmp_path, name):
    """An averaged teacher, a teacher from the start, a memory, a learned bias: all are in the checkpoint."""
    settings = SHORT | ({"memory": 128, "every": 2, "clusters": 5} if name == "protoclip" else {})
    whole = wb.train(name, out=tmp_path / "whole", modalities=["text", "color"], **settings)
    first = wb.train(name, out=tmp_path / "cut", modalities=["text", "color"], **settings)
    for step in (30,):  # as if it had been killed after step 20
        first.checkpoints[step].unlink()
    again = wb.train(name, out=tmp_path / "cut", modalities=["text", "color"], resume=True, **settings)
    assert again.metrics == whole.metrics


def test_it_stops_when_the_probe_no_longer_gets_better(tmp_path):
    run = wb.train(
        "infonce",
        out=tmp_path / "r",
        modalities=["text", "color"],
        **(PLAIN | {"steps": 200, "lr": 0.0, "patience": 2}),
    )
    assert run.steps == 20  # two looks without a better one


def test_samplers():
    label = torch.tensor([0] * 90 + [1] * 9 + [-1])
    drawn = label[torch.cat([balanced(label, 10, 0)(k) for k in range(1, 200)])]
    assert (drawn >= 0).all()
    assert 0.35 < float((drawn == 1).double().mean()) < 0.6
    x = torch.nn.functional.normalize(torch.randn(100, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    index = hard(lambda: x, 100, 16, 0)
    batch = index(1)
    assert len(set(batch.tolist())) == 16
    assert torch.equal(batch, hard(lambda: x, 100, 16, 0)(1))
    nearest = [(x[at] @ x[at].T).fill_diagonal_(-1).amax(1).mean() for at in (batch, torch.arange(16))]
    assert nearest[0] > nearest[1]
    there = dropped(torch.arange(400), ("a", "b", "c"), 0.25, 0, 1)
    assert set(there) == {"b", "c"}
    assert 0.7 < float(there["b"].double().mean()) < 0.8


def test_modality_dropout_trains_on_what_is_there(tmp_path):
    run = wb.train("infonce", out=tmp_path / "r", modalities=MODALITIES, drop=0.5, **PLAIN)
    assert run.metrics[-1]["loss"] < run.metrics[0]["loss"]


def test_volumes_log_what_is_over_log_b(tmp_path):
    run = wb.train("gram", out=tmp_path / "r", modalities=MODALITIES, **PLAIN)
    last = run.metrics[-1]
    assert last["loss_over_alignment"] == pytest.approx(last["loss"] - torch.tensor(64.0).log().item(), abs=1e-6)


def test_a_monitor_writes_a_run_that_everything_reads(tmp_path):
    from workbench.sets.planted import planted
    from workbench.training.monitor import Monitor

    monitor = Monitor(tmp_path / "theirs", steps=40)
    for step, cosine in ((0, 0.1), (20, 0.4), (40, 0.8)):
        es = planted(items=60, cosine=cosine)
        monitor.log(step, loss=torch.tensor(1.0 - cosine))
        monitor.look(step, {m: es[m] for m in es.modalities}, list(es.items["id"]), loss=1.0 - cosine)
    run = wb.Run(tmp_path / "theirs")
    assert list(run.snapshots) == [0, 20, 40]
    assert run.report().value("recall_at_1", "image", "text") > 0.9
    assert run.findings == []
    with pytest.raises(wb.InputError, match="must be one number"):
        monitor.log(50, loss=torch.ones(3))


def test_a_sweep_keeps_what_is_done_and_says_how_the_space_moved(tmp_path):
    from workbench.training.sweep import moved, sweep

    wanted = {"out": tmp_path, "modalities": ["text", "color"], "seeds": 2, "grid": {"temperature": ["0.05", "0.2"]}}
    runs = sweep(["infonce"], **wanted, **PLAIN)
    assert [r.name for r in runs] == [f"infonce-temperature={t}-s{s}" for t in ("0.05", "0.2") for s in (0, 1)]
    before = [r.path.stat().st_mtime for r in runs]
    assert [r.path.stat().st_mtime for r in sweep(["infonce"], **wanted, **PLAIN)] == before
    frame = moved(runs)
    assert set(frame["run"]) == {"infonce-temperature=0.05", "infonce-temperature=0.2"}
    hits = frame[frame["name"] == "recall_at_1"]
    assert (hits["low"] < hits["change"]).all()
    with pytest.raises(wb.InputError, match="did you mean 'temperature'"):
        sweep(["infonce"], **(wanted | {"grid": {"temprature": ["1"]}, "out": tmp_path / "typo"}), **PLAIN)
    assert not (tmp_path / "typo").exists()


def test_every_recipe_fits_some_data_or_says_what_it_needs(emoji):
    from workbench.objectives.recipes import RECIPES
    from workbench.training.compatibility import fitting, lacking, table

    fit = fitting(emoji, ["text", "color", "sketch"], "group")
    assert {"infonce", "gram", "triangle", "supcon", "tcl"} <= set(fit)
    assert all(lacking(RECIPES[n], ["text", "color", "sketch"], "group") for n in set(RECIPES) - set(fit))
    listed = " ".join(r["recipes"] for r in table())
    assert all(f"`{n}`" in listed for n in RECIPES)


def test_a_stage_starts_where_another_ended(tmp_path):
    first = wb.train("align_uniform", out=tmp_path / "first", modalities=["text", "color"], **PLAIN)
    second = wb.train("proclip", out=tmp_path / "second", modalities=["text", "color"], start=str(first.path), **PLAIN)
    before, after = first.snapshot(), second.snapshot(0)
    torch.testing.assert_close(after["text"], before["text"])
    with pytest.raises(wb.InputError, match=r"none of its towers fits"):
        wb.train(
            "infonce",
            out=tmp_path / "no",
            modalities=["text", "color"],
            start=str(first.path),
            **(PLAIN | {"dim": 8, "hidden": 8}),
        )


@pytest.mark.parametrize("name", ["infonce", "gram"])
def test_a_queue_of_earlier_rows_resumes_exactly(tmp_path, name):
    settings = SHORT | {"queue": 100}
    whole = wb.train(name, out=tmp_path / "whole", modalities=MODALITIES, **settings)
    cut = wb.train(name, out=tmp_path / "cut", modalities=MODALITIES, **settings)
    cut.checkpoints[30].unlink()
    assert wb.train(name, out=tmp_path / "cut", modalities=MODALITIES, resume=True, **settings).metrics == whole.metrics
    # more keys, so a guess costs more
    assert whole.metrics[1]["loss"] > torch.tensor(64.0).log()
    with pytest.raises(wb.InputError, match="has no keys"):
        wb.train("siglip", out=tmp_path / "no", modalities=MODALITIES, **settings)


@pytest.mark.parametrize(("tower", "name"), [("characters:text", "bytes"), ("cnn1d:color", "signal")])
def test_other_towers(tmp_path, tower, name):
    run = wb.train("infonce", out=tmp_path / name, modalities=["text", "color"], tower=tower, **PLAIN)
    assert run.metrics[-1]["loss"] < run.metrics[0]["loss"]
    assert run.embed("test")["text"].shape[1] == 16


def test_a_module_of_ones_own_is_a_tower(tmp_path):
    mine = torch.nn.Sequential(torch.nn.Linear(512, 16), torch.nn.Tanh())
    run = wb.train("infonce", out=tmp_path / "r", modalities=["text", "color"], own={"text": mine}, **PLAIN)
    assert float(run.snapshot()["text"].abs().max()) <= 1.0
    with pytest.raises(wb.InputError, match="towers of your own"):
        run.embed("test")


def test_the_doctor_speaks_up_in_the_log(tmp_path):
    """Pairs dealt out at random cannot be learnt, and the log says so when it is clear."""
    es = wb.dataset("emoji").only(["text", "color"])
    order = torch.randperm(len(es), generator=torch.Generator().manual_seed(0))
    wrong = wb.EmbeddingSet({"text": es["text"], "color": es["color"][order]}, es.items)
    run = wb.train("infonce", out=tmp_path / "r", temperature=1.0, **(PLAIN | {"data": wrong, "lr": 1e-5}))
    events = [m for m in run.metrics if "event" in m]
    assert [e["event"] for e in events] == ["at_chance"]
    assert "learnt nothing" in events[0]["sentence"]


def test_a_run_killed_before_its_second_look_resumes_to_the_same_result(tmp_path):
    settings = SHORT | {"steps": 40, "evaluate": 40}
    whole = wb.train("infonce", out=tmp_path / "whole", modalities=["text", "color"], **settings)
    cut = str(tmp_path / "cut")
    script = f"import workbench as wb; wb.train('infonce', out={cut!r}, modalities=['text', 'color'], **{settings})"
    process = subprocess.Popen([sys.executable, "-c", script], env=os.environ | {"WORKBENCH_QUIET": "1"})
    log = tmp_path / "cut" / "metrics.jsonl"
    deadline = time.time() + 60
    while time.time() < deadline and not (log.exists() and '"step": 10' in log.read_text()):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert wb.Run(tmp_path / "cut").steps < 40, "the run ended before it was killed: the test would be vacuous"
    resumed = wb.train("infonce", out=tmp_path / "cut", modalities=["text", "color"], resume=True, **settings)
    assert resumed.metrics == whole.metrics


def test_chunks_of_accumulated_batches_have_the_gradients_of_whole_ones(tmp_path):
    """A norm that is clipped, and plain gradients of another size, would show at once."""
    settings = PLAIN | {"accumulate": 4, "clip": 0.05}
    a = wb.train("infonce", out=tmp_path / "a", modalities=["text", "color"], **settings)
    b = wb.train("infonce", out=tmp_path / "b", modalities=["text", "color"], chunk=16, **settings)
    for key, x in tensors(a).items():
        torch.testing.assert_close(tensors(b)[key], x, rtol=1e-3, atol=1e-5)


def test_a_watch_that_is_not_there_is_refused_and_less_loss_is_better(tmp_path):
    with pytest.raises(wb.InputError, match="no metric of the looks"):
        wb.train("infonce", out=tmp_path / "a", modalities=["text", "color"], watch="recall", patience=1, **SHORT)
    run = wb.train("infonce", out=tmp_path / "b", modalities=["text", "color"], watch="loss", patience=1, **SHORT)
    losses = [m["loss"] for m in run.metrics if "probe_recall_at_1" in m]
    assert losses[-1] < losses[0]
    assert run.steps == SHORT["steps"]


def test_a_mistake_leaves_no_folder_behind(tmp_path):
    for wrong in ({"tower": "foo"}, {"freeze": "nothing"}, {"label": "nothing"}):
        with pytest.raises(wb.InputError):
            wb.train("infonce", out=tmp_path / "a", modalities=["text", "color"], **(SHORT | wrong))
        assert not (tmp_path / "a").exists()


def test_a_log_that_was_cut_short_is_gone_on_with(tmp_path):
    from workbench.training.monitor import Monitor

    Monitor(tmp_path / "mine", steps=30).log(10, loss=1.0)
    with (tmp_path / "mine" / "metrics.jsonl").open("a") as f:
        f.write('{"step": 20, "lo')
    Monitor(tmp_path / "mine", steps=30).log(30, loss=0.5)
    assert [m["step"] for m in wb.Run(tmp_path / "mine").metrics] == [10, 30]


def test_modalities_may_have_any_name_and_share_a_tower(tmp_path):
    es = wb.dataset("emoji").only(["color", "sketch"]).take(range(200))
    both = wb.EmbeddingSet({"forward": es["color"], "a.b": es["sketch"]}, es.items)
    shared = torch.nn.Linear(es["color"].shape[1], SHORT["dim"])
    run = wb.train("infonce", out=tmp_path / "a", own={"forward": shared, "a.b": shared}, **(SHORT | {"data": both}))
    assert run.finished
    with pytest.raises(wb.InputError, match="own tower"):
        wb.train("infonce", out=tmp_path / "b", own={"zzz": shared}, **(SHORT | {"data": both}))


def test_a_sweep_keeps_its_cells_apart(tmp_path):
    from workbench.training.sweep import moved, sweep

    small = SHORT | {"steps": 4, "evaluate": 4}
    settings = small | {"modalities": ["text", "color"], "seeds": 1, "grid": {"tower": ["mlp", "cnn:color;mlp:text"]}}
    runs = sweep(["infonce", "siglip"], out=tmp_path, **settings)
    assert len(moved(runs)["run"].unique()) == 4
    with pytest.raises(wb.InputError, match="--seeds"):
        sweep(["infonce"], out=tmp_path / "x", grid={"seed": ["1"]}, **small)
    with pytest.raises(wb.InputError, match="did you mean 'mlp'"):
        sweep(["infonce"], out=tmp_path / "x", tower="mpl", **small)
    assert not (tmp_path / "x").exists()


def test_looks_say_how_far_each_tower_has_turned_and_nothing_of_a_frozen_one(tmp_path):
    es = wb.testing.planted(items=120)
    run = wb.train(
        "infonce", data=es, out=tmp_path / "a", steps=20, evaluate=10, batch=32, freeze="image", freeze_until=10
    )
    first, second, third = run.looks
    assert not any(key.startswith("moved") for key in first)
    assert {key for key in second if key.startswith("moved")} == {"moved text"}
    for m in ("image", "text"):
        x, y = (run.snapshot(step).unit(m).double().numpy() for step in (10, 20))
        by_hand = 1 - np.mean([float(a @ b) for a, b in zip(x, y, strict=True)])
        assert third[f"moved {m}"] == pytest.approx(by_hand, abs=1e-12)
