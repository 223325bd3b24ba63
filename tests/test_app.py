"""The dashboard in a real browser: what a person sees, and no error in the console."""

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
]
SHOT = os.environ.get("WORKBENCH_SHOT")  # where the README's picture is written, when asked for

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]


@pytest.fixture(scope="module")
def server(demo_runs):
    folder = next(iter(demo_runs.values())).path.parent
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.cli", "serve", str(folder), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            break
    yield found.group(0)
    process.terminate()
    process.wait(10)
    process.stdout.close()


@pytest.fixture
def page(server, tmp_path):
    from playwright.sync_api import sync_playwright

    errors = []
    with sync_playwright() as p:
        context = p.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=CHROMIUM, args=FLAGS, viewport={"width": 1440, "height": 1000}
        )
        page = context.pages[0]
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        yield page
        context.close()
    assert errors == []


def test_landing_lists_the_runs_and_a_click_opens_one(page, server, demo_runs):
    page.goto(server)
    page.wait_for_selector("text=smallest and largest")
    assert page.locator("tr:has(a)").count() == len(demo_runs)
    page.click("a:text('infonce')")
    page.wait_for_selector("text=Pair card")
    assert "run=infonce" in page.url


def test_run_screen_shows_the_reports_numbers(page, server, demo_runs):
    page.goto(f"{server}/?run=infonce")
    page.wait_for_selector("text=Numbers")
    run = demo_runs["infonce"]
    split = "test" if (run.path / "reports" / "test" / "report.json").exists() else "validation"
    value = run.report(split).value("recall_at_1", "sketch", "color")
    of = page.get_by_text("sketch → color", exact=True)
    row = page.locator("tr", has_text="recall_at_1").filter(has=of).first
    assert f"{value:.3f}" in row.inner_text()
    page.wait_for_selector("text=neighbours kept")
    assert page.locator(".js-plotly-plot").count() == 3


def test_pointing_at_a_mark_fills_the_pair_card(page, server):
    page.goto(f"{server}/?run=infonce")
    page.wait_for_selector(".scatterlayer .point")
    page.wait_for_timeout(1000)
    page.locator(".scatterlayer .trace .point").nth(20).hover(force=True)
    page.wait_for_selector("text=rank")
    card = page.locator("h4:text('Pair card') >> xpath=..")
    card.locator("img").first.wait_for()
    assert "⇄" in card.inner_text()
    assert card.locator("img").count() >= 12
    if SHOT:
        page.wait_for_timeout(500)
        page.screenshot(path=SHOT)


def test_another_view_redraws_the_map(page, server):
    page.goto(f"{server}/?run=gram")
    page.wait_for_selector("text=component 1")
    page.get_by_role("button", name="gap axis").click()
    page.wait_for_selector("text=first shared direction")
    page.get_by_role("button", name="UMAP").click()
    page.wait_for_selector("text=UMAP 1", timeout=60_000)


def test_only_this_machine_is_served(server):
    port = int(server.rsplit(":", 1)[1])
    table = Path("/proc/net/tcp").read_text()
    listening = [line.split()[1] for line in table.splitlines()[1:] if line.split()[3] == "0A"]
    assert f"0100007F:{port:04X}" in listening
    assert urllib.request.urlopen(server, timeout=10).status == 200
