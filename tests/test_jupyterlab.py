"""A real JupyterLab, one server and one kernel: what objects look like as the result of a cell, and the explorer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

import workbench as wb
from tests.browser import lasso, needs_browser, opened, stage
from workbench.sets.planted import planted

pytestmark = needs_browser
TOKEN = "only-for-this-test"
SETUP = """
import workbench as wb
a, b = wb.load('a'), wb.load('b')
report, found, run = wb.diagnose(a), wb.compare(a, b), wb.Run('run')
paper = wb.paper('gram'); evidence = paper.run(quick=True)
from workbench.views import page
from workbench.views.cell import show
"""
# the result of a cell, and what must be seen in it
RESULTS = {
    "a": ".wb-set table",
    "report": ".wb-card .verdict, .wb-card svg circle.mark-value",
    "found": ".wb-card table td",
    "run": ".wb-card svg circle.mark-value",
    "paper": ".wb-card .verdict",
    "evidence": ".wb-card .verdict",
    "show(page.evidence(report, 'retrieval'))": ".jp-RenderedPlotly > *",  # saved with the notebook, it is a picture
}


def write(path, cells):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, path)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a notebook on a server over a folder with a set and a notebook; and the folder."""
    root = tmp_path_factory.mktemp("lab")
    planted(items=300).save(root / "a")
    write(
        root / "look.ipynb",
        [
            "import workbench as wb\nex = wb.explore('a')\nex",
            "print('chosen', len(ex.selection))",
            "ex.select(['i1', 'i2', 'i3']); print('set', len(ex.selection))",
        ],
    )
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--ServerApp.port_retries=0"]
    command += ["--LabApp.expose_app_in_browser=True", f"--IdentityProvider.token={TOKEN}", "--allow-root"]
    own = tmp_path_factory.mktemp("settings")  # what is open and which theme: not those of whoever runs the tests
    command += [f"--LabApp.workspaces_dir={own / 'workspaces'}", f"--LabApp.user_settings_dir={own / 'settings'}"]
    process = subprocess.Popen(
        [*command, f"--ServerApp.root_dir={root}"], cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.time() + 60
    while time.time() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={TOKEN}", timeout=2)
            break
        except OSError:
            time.sleep(0.3)
    # each notebook in a workspace of its own, where no other is opened again
    yield lambda name: f"http://127.0.0.1:{port}/lab/workspaces/{name.split('.')[0]}/tree/{name}?token={TOKEN}", root
    process.terminate()
    process.wait(20)


@pytest.fixture
def results(lab):
    """The address of a notebook that shows two sets, what is found in them, and a run."""
    address, root = lab
    planted(items=300, gap=0.4, seed=1).save(root / "b")
    wb.train("infonce", data=str(root / "a"), out=root / "run", steps=4, batch=16, evaluate=2)
    write(root / "results.ipynb", [SETUP, *RESULTS])
    return address("results.ipynb")


def command(page, name, **given):
    page.evaluate("([name, given]) => window.jupyterapp.commands.execute(name, given)", [name, given])


def seen(page):
    """Every result is drawn: it is there, has a size, and its text can be told from what lies behind it."""
    for k, (source, wanted) in enumerate(RESULTS.items(), 1):
        cell = page.locator(".jp-CodeCell").nth(k)
        cell.scroll_into_view_if_needed()
        for part in wanted.split(", "):
            found = cell.locator(f".jp-OutputArea {part}").first
            found.wait_for(state="visible", timeout=60_000)
            box = found.bounding_box()
            assert box["width"] > 4, (source, part)
            assert box["height"] > 4, (source, part)
        height = cell.locator(".jp-OutputArea").first.bounding_box()["height"]
        assert height < (4_000 if source.startswith("show") else 1_000), f"{source} is {height:.0f} px high"
    # the figure is alive, or the picture of it that was saved with the notebook
    page.wait_for_function(
        """() => document.querySelectorAll('.js-plotly-plot .scatterlayer .point').length > 0
            || document.querySelector('img.plot-img')?.naturalWidth > 100"""
    )
    contrast = page.evaluate(
        """() => {
        const linear = x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
        const light = c => {
            const [r, g, b] = c.match(/[\\d.]+/g).map(x => linear(x / 255));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b };
        const back = light(getComputedStyle(document.querySelector('.jp-Notebook')).backgroundColor);
        return [...document.querySelectorAll('.wb-card td, .wb-card li, .wb-set td')].map(e => {
            const text = light(getComputedStyle(e).color);
            return (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05) }) }"""
    )
    assert min(contrast) > 4.5, "text that can be read"


@pytest.mark.slow  # on a busy machine a notebook takes its time; run by make test-all
def test_each_result_is_seen_light_dark_and_after_the_notebook_was_closed(results, tmp_path):
    with opened(tmp_path / "profile", height=4_500, errors=False) as page:  # cells out of sight are not drawn
        page.set_default_timeout(60_000)
        failed = []
        page.on("pageerror", lambda e: failed.append(str(e)))
        page.goto(results)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.context?.sessionContext?.session?.kernel?.status === 'idle'"
        )
        command(page, "notebook:run-all-cells")
        last = page.locator(".jp-CodeCell").nth(len(RESULTS)).locator(".jp-OutputArea-output").first
        try:
            last.wait_for(timeout=90_000)
        except Exception:
            raise AssertionError(page.locator(".jp-Notebook").inner_text()[-3_000:]) from None
        seen(page)
        command(page, "apputils:change-theme", theme="JupyterLab Dark")
        page.wait_for_selector("body[data-jp-theme-light='false']", state="attached")
        seen(page)
        page.screenshot(path=tmp_path / "dark.png")
        page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
        assert failed == []
    with opened(tmp_path / "again", height=4_500, errors=False) as page:  # a browser that has seen nothing of it
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda e: failed.append(str(e)))
        page.goto(results)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        seen(page)
        assert failed == []


def test_a_lasso_in_a_notebook_is_a_frame_in_the_kernel(lab, tmp_path):
    with opened(tmp_path / "profile", errors=False) as page:
        page.goto(lab[0]("look.ipynb"))
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        page.wait_for_timeout(3_000)
        page.locator(".jp-CodeCell").first.click()
        page.keyboard.press("Shift+Enter")
        map_ = stage(page)
        page.wait_for_selector(".chosen:has-text('20 of 300 selected')")
        assert page.get_by_text("1 of 20, worst match first").count() == 1
        lasso(page, map_)
        page.wait_for_selector(".why:has-text('drawn on')")
        count = int(page.locator(".chosen .num").first.inner_text())
        if shots := os.environ.get("WORKBENCH_SHOT"):
            page.screenshot(path=f"{shots}/lab.png")
        assert count != 20
        page.locator(".jp-CodeCell").nth(1).locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_selector(f"text=chosen {count}")
        page.keyboard.press("Shift+Enter")
        page.wait_for_selector("text=set 3")
        page.wait_for_selector(".chosen:has-text('3 of 300 selected')")
        assert map_.evaluate("e => e.__map.picked()") == 6
