"""Runs: the same seed gives the same run, a killed run resumes to the same result, settings are checked."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import workbench as wb
from workbench.training.loop import batch_index, embed, sort_settings

SHORT = {"steps": 30, "evaluate": 10, "batch": 64, "hidden": 32, "dim": 16}
MODALITIES = ["text", "color", "sketch"]


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
    seen = torch.cat([batch_index(step, 100, 25, seed=3) for step in range(1, 5)])
    assert sorted(seen.tolist()) == list(range(100))
    assert not torch.equal(batch_index(1, 100, 25, seed=3), batch_index(5, 100, 25, seed=3))


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
    assert embed(run, "test").items["split"].unique().tolist() == ["test"]


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
