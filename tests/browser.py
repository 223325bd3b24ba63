"""What browser tests share: Chromium, a served folder, a page that fails on any error in its console."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager

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
needs_browser = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]


@contextmanager
def serving(*arguments, env=None):
    """`workbench serve …` in its own process; yields its address and the process."""
    cache = tempfile.TemporaryDirectory()  # maps that an earlier test made would be there at once
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.cli", "serve", *map(str, arguments), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=(env or os.environ) | {"WORKBENCH_CACHE": cache.name},
    )
    said = []
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"http://[\w.]+:\d+", line):
            break
    else:
        raise AssertionError("".join(said))
    reader = threading.Thread(target=lambda: said.extend(process.stdout), daemon=True)
    reader.start()
    process.said = lambda: (reader.join(5), "".join(said))[1]  # all that it printed, once it has ended
    try:
        yield found.group(0), process
    finally:
        process.terminate()
        process.wait(20)
        reader.join(10)
        process.stdout.close()
        cache.cleanup()


@contextmanager
def chromium(profile, width=1600, height=1000):
    """A real Chromium with a profile of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        context = p.chromium.launch_persistent_context(
            str(profile), executable_path=CHROMIUM, args=FLAGS, viewport={"width": width, "height": height}
        )
        try:
            yield context
        finally:
            context.close()


@contextmanager
def watched(page, errors=True):
    """A page of a browser, closed at the end; leaving it fails where the console showed an error (`errors`)."""
    seen = []
    page.set_default_timeout(90_000)  # machines are slow when others work on them
    page.on("console", lambda m: seen.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: seen.append(str(e)))
    page.on("dialog", lambda d: seen.append(f"dialog {d.message}") or d.dismiss())
    try:
        yield page
    finally:
        page.close()
    if errors and seen:  # said in full: pytest explains no assertion of this file
        raise AssertionError("the page's console:\n" + "\n".join(seen))


@contextmanager
def opened(profile, width=1600, height=1000, errors=True):
    """A page of a real Chromium of its own, as `watched` gives it."""
    with chromium(profile, width, height) as context, watched(context.pages[0], errors) as page:
        yield page


def stage(page, k=0):
    """The k-th map of a page, once it has drawn everything."""
    found = page.locator(".stage").nth(k)
    found.wait_for(timeout=60_000)
    ready = "e => !!e.__map && e.__map.count() > 0 && !!e.__map.figures() && e.__map.figures().points > 0"
    end = time.monotonic() + 90
    while not found.evaluate(ready):  # asked of the page anew each time, which may have put the map there again
        assert time.monotonic() < end, "the map was not drawn"
        page.wait_for_timeout(100)
    return found


def at_rest(page, element):
    """Where an element is, once the page around it has stopped to grow."""
    box = None
    while box != (box := element.bounding_box()):
        page.wait_for_timeout(200)
    return box


def lasso(page, map_, left=0.25, top=0.2, right=0.75, bottom=0.8):
    """Draw around a part of the map, given in shares of its size."""
    map_.locator("xpath=..").get_by_role("button", name="select points (S)").click()
    box = at_rest(page, map_)  # the click may have scrolled to its button
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top + 0.02)]
    at = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
    page.mouse.move(*at[0])
    page.mouse.down()
    for spot in at[1:]:
        page.mouse.move(*spot, steps=4)
    page.mouse.up()
    page.wait_for_timeout(700)
