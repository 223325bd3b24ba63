"""Notebooks in batch: typed parameters, slots, and every way in which a notebook can end; all with real processes."""

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
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook

import workbench as wb
from tests.browser import needs_browser, opened
from workbench.batch import Manifest, batch, parameters, plan
from workbench.batch.jobs import fingerprint, read_grid, read_runs
from workbench.batch.parameters import Parameter
from workbench.batch.slots import THREADS, slots
from workbench.cli.batches import split
from workbench.disk import finite
from workbench.errors import InputError

CELL = """x: int = 1  # a number
how: str = "well"  # well, badly, never, or big
"""
BODY = """
import os, time
from workbench.batch import record
if how == "badly": raise ValueError(f"{x} went badly")
if how == "never": time.sleep(600)
if how == "big": print("#" * 3_000_000)
if how == "alone":
    import subprocess, sys
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    time.sleep(600)
while os.path.exists(f"{os.environ.get('HOLD')}-{x}"): time.sleep(0.05)
record(numbers={"square": x * x}, gpu=os.environ.get("CUDA_VISIBLE_DEVICES"))
print("square", x * x)
"""


def notebook(folder: Path, cell: str = CELL, *bodies: str, name: str = "small") -> Path:
    cells = [new_code_cell(cell, metadata={"tags": ["parameters"]}), *map(new_code_cell, bodies or (BODY,))]
    file = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells), str(file))
    return file


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


# -- parameters --------------------------------------------------------------------------------------------------------


def test_parameters_are_read_with_type_default_and_comment(tmp_path):
    cell = 'a: int | None = None  # how many\nb = "x # y"  # not a comment # inside\nc: float = 0.5\nd = f()\n'
    found = parameters(notebook(tmp_path, cell))
    assert found["a"] == Parameter("a", "int | None", None, "how many")
    assert found["b"] == Parameter("b", "str", "x # y", "not a comment # inside")
    assert found["c"].type == "float"
    assert found["d"].type == ""


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "3", 3),
        ("float", "3", 3),
        ("float", "1e-3", 0.001),
        ("str", "3", "3"),
        ("str", "null", "null"),
        ("int | None", "null", None),
        ("str | None", "a", "a"),
        ("bool", "true", True),
        ("list[str]", "[a, b]", ["a", "b"]),
        ("dict", "{a: 1}", {"a": 1}),
        ("Literal['a', 'b']", "b", "b"),
        ("Optional[int]", "4", 4),
        ("", "[1]", [1]),
        ("int", "010", 10),
        ("str", "010", "010"),
        ("str", "None", "None"),
        ("str | None", "None", None),
        ("str | None", "null", None),
        ("str | None", "", None),
        ("str | None", "no", "no"),
        ("str | None", "12:30", "12:30"),
        ("str | None", "1e-3", "1e-3"),
        ("float | None", "None", None),
        ("float | None", "1e-3", 0.001),
        ("int | str", "12:30", "12:30"),
        ("int | str", "7", 7),
        ("bool | None", "~", None),
        ("list[str]", "[010, no, 12:30, 1e-3]", ["010", "no", "12:30", "1e-3"]),
        ("list[int]", "[010, 2]", [10, 2]),
        ("list[float]", "[1e-3, 2.5]", [0.001, 2.5]),
        ("dict[str, int]", "{no: 010}", {"no": 10}),
        ("Optional[str]", "null", None),
        ("Literal[1, 2]", "2", 2),
        ("Union[int, None]", "null", None),
        ("", "010", 10),
        ("", "12:30", "12:30"),
        ("", "no", "no"),
        ("", "2020-01-01", "2020-01-01"),
        ("", "1e-3", 0.001),
    ],
)
def test_text_becomes_a_value_of_the_type(kind, text, value):
    found = Parameter("p", kind, None).read(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"), [("int", "a"), ("int", "1.5"), ("bool", "3"), ("list[int]", "[a]"), ("Literal['a']", "b")]
)
def test_text_of_another_type_is_refused(kind, text):
    with pytest.raises(InputError, match="parameter p is"):
        Parameter("p", kind, None, "what it is").read(text)


@pytest.mark.parametrize("text", ["010", "12:30", "1e-3", "no", "0x1F", "2020-01-01", "7", "2.5", "true", "~", "a: b"])
def test_a_grid_file_and_the_command_line_read_a_value_alike(text, tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text(f"x: [{text}]\n" if ": " not in text else f"x: ['{text}']\n")
    from_file, typed = read_grid(file)["x"][0], Parameter("x", "", None).read(text)
    assert ": " in text or (from_file == typed and type(from_file) is type(typed))


@given(st.integers(), st.text(), st.booleans())
def test_what_a_default_shows_is_the_type_that_is_asked_for(i, s, b):
    for value, other in ((i, s), (s, i), (b, s)):
        p = Parameter("p", type(value).__name__, value)
        assert p.check(value) is value
        with pytest.raises(InputError):
            p.check(other)


def test_a_typo_is_refused_before_anything_starts(tmp_path):
    done = subprocess.run(
        command(str(notebook(tmp_path)), "--grid", "y=1,2", "-o", str(tmp_path / "out")), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no parameter of small.ipynb named 'y'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_values_part_at_commas_outside_brackets():
    assert split("a,[b,c],'d,e',{f: 1, g: 2}") == ["a", "[b,c]", "d,e", "{f: 1, g: 2}"]


def test_grids_and_lists_from_files(tmp_path):
    (tmp_path / "g.yaml").write_text("x: [1, 2]\nhow: well\n")
    (tmp_path / "l.yaml").write_text("- {x: 1}\n- {x: 7, how: badly}\n")
    (tmp_path / "one.json").write_text('{"x": 9}')
    (tmp_path / "no.yaml").write_text("- 3")
    assert read_grid(tmp_path / "g.yaml") == {"x": [1, 2], "how": ["well"]}
    assert read_runs([tmp_path / "l.yaml", tmp_path / "one.json"]) == [{"x": 1}, {"x": 7, "how": "badly"}, {"x": 9}]
    with pytest.raises(InputError, match=r"no\.yaml"):
        read_runs([tmp_path / "no.yaml"])


def test_a_job_is_known_by_notebook_parameters_and_data(tmp_path):
    source = notebook(tmp_path, "set: str = ''\n", "pass")
    data = wb.testing.planted(items=40).save(tmp_path / "set")

    def key():
        return plan(source, tmp_path / "out", given={"set": str(data)})[0].key

    first = key()
    assert key() == first
    (tmp_path / "set" / "selections").mkdir()
    (tmp_path / "set" / "selections" / "a.json").write_text('{"ids": []}')
    second = key()
    assert second != first, "another selection is other data"
    notebook(tmp_path, "set: str = ''\n", "pass  # changed")
    assert key() != second
    assert fingerprint("no such thing") == ""
    assert fingerprint(str(tmp_path)) == ""


def test_a_file_that_is_no_notebook_is_one_sentence(tmp_path):
    (tmp_path / "bad.ipynb").write_text("{")
    for name in ("bad.ipynb", "none.ipynb"):
        with pytest.raises(InputError, match=name):
            parameters(tmp_path / name)


# -- slots -------------------------------------------------------------------------------------------------------------


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
                "rows => rows.map(r => r.cells[6].firstChild.textContent)"
            )
        ]
        assert gaps == sorted(gaps)
        assert gaps[0] < gaps[-1]
        page.get_by_role("button", name="modality_gap").click()
        page.get_by_label("filter rows").fill("plain")
        assert rows.count() == 2
        for k in (0, 1):
            rows.nth(k).get_by_role("checkbox").check()
        difference = page.locator("#difference tr", has_text="modality_gap").inner_text()
        assert "-0." in difference, "the first row has the larger gap"
        assert page.locator("#rows svg").count() == 2
        if shots := os.environ.get("WORKBENCH_SHOT"):
            page.screenshot(path=f"{shots}/index.png")
