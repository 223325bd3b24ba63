"""The explorer in a real JupyterLab: a notebook is run in the browser, the map is drawn on, the kernel knows."""

import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

from tests.browser import lasso, needs_browser, opened, stage
from workbench.sets.planted import planted

pytestmark = needs_browser
TOKEN = "only-for-this-test"
PORT = 18_943


@pytest.fixture
def lab(tmp_path):
    planted(items=300).save(tmp_path / "set")
    cells = [
        "import workbench as wb\nex = wb.explore('set')\nex",
        "print('chosen', len(ex.selection))",
        "ex.select(['i1', 'i2', 'i3']); print('set', len(ex.selection))",
    ]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, tmp_path / "look.ipynb")
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={PORT}", "--ServerApp.port_retries=0"]
    process = subprocess.Popen(
        [*command, f"--IdentityProvider.token={TOKEN}", "--allow-root", f"--ServerApp.root_dir={tmp_path}"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.time() + 60
    while time.time() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/api?token={TOKEN}", timeout=2)
            break
        except OSError:
            time.sleep(0.3)
    yield f"http://127.0.0.1:{PORT}/lab/tree/look.ipynb?token={TOKEN}"
    process.terminate()
    process.wait(20)


def test_a_lasso_in_a_notebook_is_a_frame_in_the_kernel(lab, tmp_path):
    with opened(tmp_path / "profile", errors=False) as page:
        page.goto(lab)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        page.wait_for_timeout(3_000)
        page.locator(".jp-CodeCell").first.click()
        page.keyboard.press("Shift+Enter")
        map_ = stage(page)
        page.wait_for_selector(".chip:has-text('20 selected')")
        assert page.get_by_text("1 of 20, worst match first").count() == 1
        lasso(page, map_)
        count = int(page.locator(".chip").inner_text().split()[1])
        assert count != 20
        page.locator(".jp-CodeCell").nth(1).locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_selector(f"text=chosen {count}")
        page.keyboard.press("Shift+Enter")
        page.wait_for_selector("text=set 3")
        page.wait_for_selector(".chip:has-text('3 selected')")
        assert map_.evaluate("e => e.__map.picked()") == 6
