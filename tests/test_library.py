"""What is served is read in the background: a list is there at once, and says what it still waits for."""

import os
import threading
import time

import pytest

from workbench.app.library import Library
from workbench.app.runs_page import WAITS, _row
from workbench.sets.planted import planted


@pytest.fixture
def folder(tmp_path):
    for name in ("one", "two"):
        planted(items=60, seed=len(name)).save(tmp_path / name)
    return tmp_path


def rows(library):
    return [_row(e, library) for e in library.entries().values()]


def steps(library):
    return [r.shown["steps"] for r in rows(library)]


def test_a_list_is_there_before_the_reports_and_takes_them_up_when_they_are(folder):
    library = Library([folder])
    begun, go = threading.Event(), threading.Event()
    library._background.submit(lambda: (begun.set(), go.wait(30)))
    begun.wait(30)
    assert steps(library) == [WAITS, WAITS]
    go.set()
    until = time.monotonic() + 60
    while WAITS in steps(library) and time.monotonic() < until:
        time.sleep(0.1)
    assert steps(library) == ["60 items"] * 2
    assert all("span" in r.shown["doctor"] for r in rows(library))
    library.close()


def test_a_page_does_not_wait_behind_the_list(folder):
    library = Library([folder])
    begun, go = threading.Event(), threading.Event()
    library._background.submit(lambda: (begun.set(), go.wait(60)))
    begun.wait(30)
    entry = library.entries()["one"]
    waiting = library.later("page", entry, entry.inspection)
    assert not waiting.done()
    found = library.later("page", entry, entry.inspection, first=True)
    assert found.result(60).report.about["items"] == 60
    assert waiting.cancelled()
    assert library.later("page", entry, entry.inspection) is found, "worked out once"
    go.set()
    library.close()


def test_what_changed_on_disk_is_worked_out_anew(folder):
    library = Library([folder / "one"])
    entry = library.entries()["one"]
    asked = []
    assert library.once("count", entry, lambda: asked.append(1) or "first") == "first"
    assert library.once("count", entry, lambda: asked.append(1) or "second") == "first"
    os.utime(entry.path, ns=(1, 1))
    assert library.made("count", entry) is None
    assert library.once("count", entry, lambda: asked.append(1) or "second") == "second"
    assert len(asked) == 2
    assert library.entries()["one"] is entry
    library.close()


def test_a_set_that_cannot_be_read_is_said_in_its_row_and_holds_nobody_up(folder):
    for file in (folder / "one").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-100])
    library = Library([folder])
    until = time.monotonic() + 60
    while WAITS in steps(library)[1:] and time.monotonic() < until:
        time.sleep(0.1)
    bad, good = rows(library)
    assert "cannot be read" in bad.shown["doctor"]
    assert "write the set again" in bad.shown["doctor"]
    assert good.shown["steps"] == "60 items"
    library.close()


def test_a_run_that_is_begun_anew_is_read_anew(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("recipe: infonce\n")
    library = Library([tmp_path])
    first = library.entries()["run"]
    assert library.entries()["run"] is first
    os.utime(tmp_path / "run" / "config.yaml", ns=(1, 1))
    assert library.entries()["run"] is not first
    library.close()


def test_a_run_that_was_begun_at_the_start_of_time_is_a_run(tmp_path):
    """As files are that came out of some archives."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "config.yaml").write_text("recipe: infonce")
    os.utime(tmp_path / "one" / "config.yaml", (0, 0))
    library = Library([tmp_path])
    assert library.entries()["one"].is_run
    library.close()
