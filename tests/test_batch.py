"""Notebooks in batch: slots, and every way in which a notebook can end; all with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

import workbench as wb
from tests.browser import needs_browser, opened
from tests.notebooks import CELL, notebook
from workbench.batch import Manifest, batch
from workbench.batch.notebooks import to_html
from workbench.batch.slots import THREADS, slots
from workbench.disk import finite
from workbench.errors import InputError


def marked(out: Path) -> list[psutil.Process]:
    """Every process that a batch in this folder has started, wherever it hides."""
    found = []
    for p in psutil.process_iter():
        try:
            if p.status() != psutil.STATUS_ZOMBIE and str(out) in p.environ().get("WORKBENCH_RESULT", ""):
                found.append(p)
        except psutil.Error:
            continue
    return found


def eventually(true, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} seconds")


def held(folder: Path, *numbers: int) -> dict[str, str]:
    """The environment in which notebooks with these x wait where they are; each until its file is gone."""
    for x in numbers:
        (folder / f"hold-{x}").touch()
    return os.environ | {"HOLD": str(folder / "hold")}


def let_go(folder: Path) -> None:
    for file in folder.glob("hold-*"):
        file.unlink()


def command(*words: str, **env: str) -> list[str]:
    return [sys.executable, "-m", "workbench.cli", "batch", *words]


def number(out: Path, label: str, name: str) -> float:
    return json.loads((out / f"{label}.json").read_text())["numbers"][name]["value"]


# -- slots -------------------------------------------------------------------------------------------------------------


def test_a_page_shows_what_a_cell_says_and_no_bar_that_stands_still(tmp_path):
    bar = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "gram: 12%|#2   | 1/8"}
    cell = nbformat.v4.new_code_cell("1")
    cell.outputs = [
        nbformat.v4.new_output("display_data", bar),
        nbformat.v4.new_output("execute_result", {"text/plain": "42"}),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    page = to_html(tmp_path / "a.ipynb")
    assert "42" in page
    assert "12%" not in page


def test_slots_share_the_cores_and_have_a_gpu_each(monkeypatch):
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    cores = len(os.sched_getaffinity(0))
    for count in (1, 2, 64):
        every = slots(count)
        assert len(every) == count
        assert all(int(s[n]) >= 1 for s in every for n in THREADS)
        assert sum(int(s["OMP_NUM_THREADS"]) for s in every) <= max(cores, count)
    assert [s["CUDA_VISIBLE_DEVICES"] for s in slots(1, ["2", "5"])] == ["2", "5"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert slots(1)[0]["OMP_NUM_THREADS"] == "1"


def test_a_kernel_spec_for_a_gpu_is_a_kernel_like_any_other(tmp_path, monkeypatch):
    from workbench.batch.kernels import install_kernel

    name, place = install_kernel(gpu="3", prefix=str(tmp_path))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    assert name == "workbench-gpu3"
    assert (place / "kernel.json").exists()
    found = batch(notebook(tmp_path), tmp_path / "out", kernel=name)
    assert found.ok
    assert json.loads((tmp_path / "out" / "small.json").read_text())["about"]["gpu"] == "3"
    with pytest.raises(InputError, match="no kernel named 'none'"):
        batch(notebook(tmp_path), tmp_path / "out", kernel="none")


def test_what_looks_after_a_notebook_starts_quickly():
    code = "import sys, workbench.batch.worker; print([m for m in ('torch', 'pandas', 'lark') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# -- ways to end -------------------------------------------------------------------------------------------------------


def test_a_typo_is_refused_before_anything_starts(tmp_path):
    done = subprocess.run(
        command(str(notebook(tmp_path)), "--grid", "y=1,2", "-o", str(tmp_path / "out")), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no parameter of small.ipynb named 'y'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_each_way_to_fail_leaves_the_others_alone(tmp_path):
    out = tmp_path / "out"
    (tmp_path / "runs.yaml").write_text(
        "\n".join(f"- {{x: {k}, how: {how}}}" for k, how in enumerate(("well", "badly", "alone", "well"), 2))
    )
    words = (
        str(notebook(tmp_path)),
        "--list",
        str(tmp_path / "runs.yaml"),
        "-o",
        str(out),
        "--workers",
        "2",
        "--timeout",
        "15",
    )
    done = subprocess.run(command(*words), capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "2 done, 2 failed" in done.stdout
    entries = {e.parameters["x"]: e for e in Manifest(out).entries()}
    assert [entries[k].state for k in (2, 3, 4, 5)] == ["done", "failed", "failed", "done"]
    assert "ValueError: 3 went badly" in entries[3].error
    assert "longer than 15 seconds" in entries[4].error
    assert "cell 3 of 3" in entries[4].error
    for label in ("small-x=3-how=badly", "small-x=4-how=alone"):
        assert nbformat.read(out / f"{label}.ipynb", as_version=4).cells, "the partial notebook is kept"
    assert not marked(out), "nothing of the notebook that hung is left, nor what it had started elsewhere"
    assert number(out, "small-x=5-how=well", "square") == 25

    before = {e.label: e.began for e in Manifest(out).entries()}
    (tmp_path / "runs.yaml").write_text("- {x: 2, how: well}\n- {x: 3, how: badly}\n- {x: 5, how: well}\n")
    again = subprocess.run(command(*words), capture_output=True, text=True)
    assert again.returncode == 1
    assert "0 done, 2 done before, 1 failed" in again.stdout
    after = {e.label: e for e in Manifest(out).entries()}
    assert after["small-x=2-how=well"].began == before["small-x=2-how=well"]
    assert after["small-x=3-how=badly"].attempts == 2


def test_a_killed_kernel_and_a_killed_worker_are_said(tmp_path):
    out = tmp_path / "out"
    words = (str(notebook(tmp_path)), "--grid", "x=1,2,3", "-o", str(out), "--workers", "2")
    whole = subprocess.Popen(command(*words), env=held(tmp_path, 1, 2), stdout=subprocess.PIPE, text=True)

    def started(x, what):
        for p in marked(out):
            line = " ".join(p.cmdline())
            if f"x={x}." in p.environ()["WORKBENCH_RESULT"] and what in line:
                return p
        return None

    def runs(x):
        try:
            cells = json.loads((out / "running" / f"small-x={x}.ipynb").read_text())["cells"]
        except (OSError, ValueError):
            return False
        return cells[-1]["metadata"].get("papermill", {}).get("status") == "running"

    eventually(lambda: runs(1) and runs(2), 40)
    started(1, "ipykernel").kill()
    started(2, "workbench.batch.worker").kill()
    let_go(tmp_path)
    said, _ = whole.communicate(timeout=120)
    assert whole.returncode == 1
    entries = {e.parameters["x"]: e for e in Manifest(out).entries()}
    assert [entries[k].state for k in (1, 2, 3)] == ["failed", "failed", "done"], said
    assert "ernel died" in entries[1].error
    assert "killed by signal 9" in entries[2].error
    assert not marked(out)


@pytest.mark.slow
def test_nothing_outlives_a_batch_that_is_killed_and_the_next_one_goes_on(tmp_path):
    out = tmp_path / "out"
    words = (str(notebook(tmp_path)), "--grid", "x=1,2,3,4", "-o", str(out), "--workers", "2")
    whole = subprocess.Popen(command(*words), env=held(tmp_path, 2, 3, 4))
    eventually(lambda: [e for e in Manifest(out).entries() if e.state == "done"], 60)
    assert marked(out)
    whole.send_signal(signal.SIGKILL)
    whole.wait()
    eventually(lambda: not marked(out))
    before = {e.label: e.began for e in Manifest(out).entries() if e.state == "done"}
    assert len(before) == 1
    let_go(tmp_path)
    done = subprocess.run(command(*words), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(before)} done before" in done.stdout
    after = {e.label: e for e in Manifest(out).entries()}
    assert len(after) == 4
    assert all(e.state == "done" for e in after.values())
    assert {label: after[label].began for label in before} == before


def test_a_polite_end_stops_everything(tmp_path):
    out = tmp_path / "out"
    words = (str(notebook(tmp_path)), "--grid", "how=never", "--grid", "x=1,2", "-o", str(out), "--workers", "2")
    whole = subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True)
    eventually(lambda: len(marked(out)) >= 2, 40)
    whole.send_signal(signal.SIGTERM)
    _, said = whole.communicate(timeout=60)
    assert whole.returncode == 130
    assert "interrupted" in said
    assert not marked(out)
    assert all(e.state == "stopped" for e in Manifest(out).entries())


def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(tmp_path):
    # the system refuses files beyond a size, as it refuses any on a full disk
    out = tmp_path / "out"
    words = (str(notebook(tmp_path)), "--grid", "how=big,well", "-o", str(out))
    limit = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000,) * 2); "
    limited = [sys.executable, "-c", limit + "os.execv(sys.argv[1], sys.argv[1:])", *command(*words)]
    done = subprocess.run(limited, capture_output=True, text=True)
    entries = {e.parameters["how"]: e for e in Manifest(out).entries()}
    assert done.returncode == 1, done.stderr
    assert entries["well"].state == "done"
    assert entries["big"].state == "failed"
    assert "too large" in entries["big"].error


def test_two_batches_do_not_share_a_folder(tmp_path):
    out = tmp_path / "out"
    words = (str(notebook(tmp_path)), "-o", str(out))
    first = subprocess.Popen(command(*words), env=held(tmp_path, 1))
    eventually(lambda: Manifest(out).entries(), 40)
    with pytest.raises(InputError, match="another batch is at work"):
        batch(tmp_path / "small.ipynb", out)
    let_go(tmp_path)
    assert first.wait(60) == 0
    assert batch(tmp_path / "small.ipynb", out).skipped


def test_what_is_lost_or_forced_is_done_again(tmp_path):
    source, out = notebook(tmp_path), tmp_path / "out"
    assert batch(source, out).ok
    (out / "small.html").unlink()
    assert len(batch(source, out).entries) == 1
    assert len(batch(source, out).skipped) == 1
    assert len(batch(source, out, force=True).entries) == 1
    (out / "manifest" / "small.json").write_text("{")  # as a machine that went down may leave it
    assert len(batch(source, out).entries) == 1


def test_other_shared_parameters_are_other_results(tmp_path):
    source, out = notebook(tmp_path), tmp_path / "out"
    for how, ok in (("well", True), ("badly", False), ("well", True)):
        found = batch(source, out, grid={"x": [2]}, given={"how": how})
        assert found.ok is ok
    assert found.skipped, "the first is still there"
    assert sorted(e.state for e in Manifest(out).entries()) == ["done", "failed"]


def test_what_is_stopped_leaves_what_was_there(tmp_path):
    source, out = notebook(tmp_path), tmp_path / "out"
    assert batch(source, out).ok
    before = (out / "small.html").read_bytes()
    whole = subprocess.Popen(command(str(source), "-o", str(out), "--force"), env=held(tmp_path, 1))
    eventually(lambda: marked(out), 40)
    whole.send_signal(signal.SIGTERM)
    assert whole.wait(60) == 130
    let_go(tmp_path)
    assert (out / "small.html").read_bytes() == before
    assert Manifest(out).entry("small").state == "done"
    assert batch(source, out).skipped


def test_numbers_that_are_none_do_not_break_the_index(tmp_path):
    body = "from workbench.batch import record\nrecord(numbers={'a': {'value': float('nan'), 'high': float('inf')}})"
    out = tmp_path / "out"
    assert batch(notebook(tmp_path, CELL, body), out).ok
    data = (out / "index.html").read_text().split('id="data">')[1].split("</script>")[0]
    strict = json.loads(data, parse_constant=lambda x: pytest.fail(f"{x} is no JSON"))
    assert strict["rows"][0]["numbers"]["a"] == {"value": None, "high": None}


@pytest.mark.slow
def test_a_dask_cluster_does_the_same_jobs(tmp_path):
    from distributed import LocalCluster

    out = tmp_path / "out"
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, resources={"GPU": 1}, processes=True
    ) as cluster:
        found = batch(
            notebook(tmp_path),
            out,
            grid={"x": [1, 2, 3], "how": ["well"]},
            dask=cluster.scheduler_address,
            resources={"GPU": 1},
        )
        assert found.ok
        assert len(found.entries) == 3
        assert len({e.pid for e in found.entries}) == 2, "both workers took part"
        assert os.getpid() not in {e.pid for e in found.entries}
        assert batch(
            tmp_path / "small.ipynb", out, grid={"x": [1, 2, 3], "how": ["well"]}, dask=cluster.scheduler_address
        ).skipped
    assert number(out, "small-x=3-how=well", "square") == 9
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        batch(tmp_path / "small.ipynb", tmp_path / "other", dask="tcp://127.0.0.1:9")


# -- the index ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_twenty_four_reports_survive_a_kill_and_equal_the_diagnosis(tmp_path):
    out, names = tmp_path / "out", []
    for k in range(24):
        names.append(str(wb.testing.planted(items=60, gap=0.02 * k, seed=k).save(tmp_path / f"s{k:02}")))
    words = (
        "report",
        "--grid",
        f"set={','.join(names)}",
        "--set",
        "only=[recall_at_1, modality_gap, uniformity]",
        "-o",
        str(out),
        "--workers",
        "2",
    )
    whole = subprocess.Popen(command(*words), start_new_session=True)
    eventually(lambda: len([e for e in Manifest(out).entries() if e.state == "done"]) >= 8, 300)
    os.killpg(whole.pid, signal.SIGKILL)
    whole.wait()
    eventually(lambda: not marked(out))
    before = {e.label: e.began for e in Manifest(out).entries() if e.state == "done"}
    assert subprocess.run(command(*words)).returncode == 0
    after = {e.label: e for e in Manifest(out).entries()}
    assert len(after) == 24
    assert {label: after[label].began for label in before} == before
    with opened(tmp_path / "profile") as page:
        page.goto((out / "index.html").as_uri())
        assert page.locator("#rows tbody tr").count() == 24
        for e in list(after.values())[::5]:
            report = wb.diagnose(wb.load(e.parameters["set"]), only=["recall_at_1", "modality_gap", "uniformity"])
            for row in report.frame.to_dict("records"):
                name = " ".join([row["name"], *row["modalities"]])
                assert number(out, e.label, name) == pytest.approx(row["value"], abs=1e-12)
            row = page.locator("#rows tbody tr", has_text=e.parameters["set"]).inner_text()
            assert f"{report.value('modality_gap', 'image', 'text'):.3f}" in row


@pytest.mark.parametrize("_", [pytest.param(None, marks=needs_browser)])
def test_the_index_sorts_filters_and_compares(tmp_path, _):
    told: dict[float, dict] = {}
    kept = ("value", "low", "high", "null_low", "null_high")
    for x in (0.6, 0.1):
        report = wb.diagnose(wb.testing.planted(items=60, gap=x), only=["modality_gap", "recall_at_1"])
        rows = finite(report.to_dict())["results"]
        told[x] = {" ".join([r["name"], *r["modalities"]]): {k: r[k] for k in kept} for r in rows}
    cell = "x: float = 0  # <b>bold</b>\nname: str = ''\n"
    body = f"""
from workbench.batch import record
record(numbers={told!r}[x], curves={{"R@1": [0, 0.2, x]}})
"""
    out = tmp_path / "out"
    found = batch(
        notebook(tmp_path, cell, body),
        out,
        grid={"x": [0.6, 0.1], "name": ["<script>alert(1)</script>", "plain"]},
        workers=2,
    )
    assert found.ok, [e.error for e in found.failed]
    with opened(tmp_path / "profile") as page:
        page.goto((out / "index.html").as_uri())
        rows = page.locator("#rows tbody tr")
        assert rows.count() == 4
        assert "4 notebooks · 4 done · 0 failed" in page.locator("#count").inner_text()
        assert "<script>alert(1)</script>" in page.locator("#rows").inner_text(), "shown, not run"
        page.get_by_role("button", name="modality_gap").click()
        gaps = [
            float(t)
            for t in page.locator("#rows tbody tr").evaluate_all(
                "rows => rows.map(r => r.cells[7].firstChild.textContent)"
            )
        ]
        assert gaps == sorted(gaps)
        assert gaps[0] < gaps[-1]
        page.get_by_role("button", name="modality_gap").click()
        page.get_by_label("filter rows").fill("plain")
        assert rows.count() == 2
        for k in (0, 1):
            rows.nth(k).get_by_role("checkbox").check()
        difference = page.locator("#difference tr", has_text="modality gap").inner_text()
        assert "-0." in difference, "the first row has the larger gap"
        assert page.locator("#rows svg").count() == 2
        if shots := os.environ.get("WORKBENCH_SHOT"):
            page.screenshot(path=f"{shots}/index.png")
