"""Who is served what: hostile texts, paths, addresses, websockets from elsewhere, many sessions."""

import os
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import workbench as wb
from tests.browser import needs_browser, opened, serving
from workbench.sets.planted import planted

pytestmark = needs_browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a set whose texts are hostile, and beside it a file that is nobody's business."""
    root = tmp_path_factory.mktemp("serving")
    bad = '"><script>document.title="owned";alert(1)</script><img src=x onerror=alert(2)>'
    es = planted(items=60)
    items = es.items.assign(name=bad, tags=bad, kind=[bad, "b"] * 30)
    wb.EmbeddingSet({m: es[m] for m in es.modalities}, items).save(root / "served" / "hostile")
    (root / "secret.txt").write_text("not for you")
    return root / "served"


@pytest.fixture(scope="module")
def server(folder):
    with serving(folder) as (url, _):
        yield url


def test_text_of_items_is_never_code_and_no_path_is_read(tmp_path, server):
    with opened(tmp_path / "profile") as page:
        for screen in ("run", "what if", "clusters", "table"):
            page.goto(f"{server}/?run=hostile&screen={screen}&colour=kind")
            page.wait_for_selector(".tabulator-row" if screen == "table" else ".stage")
            page.wait_for_timeout(1500)
            assert page.title() != "owned"
        for asked in ("../secret.txt", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "<script>alert(1)</script>"):
            page.goto(f"{server}/?run={asked}")
            page.wait_for_selector("text=There is no run or set named")
            assert "not for you" not in page.content()
        for path in ("/../secret.txt", "/static/..%2f..%2f..%2fsecret.txt", "/hostile/items.parquet"):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(server + path, timeout=10)


def test_only_this_machine_is_served(server):
    port = int(server.rsplit(":", 1)[1])
    table = Path("/proc/net/tcp").read_text()
    listening = [line.split()[1] for line in table.splitlines()[1:] if line.split()[3] == "0A"]
    assert f"0100007F:{port:04X}" in listening
    assert urllib.request.urlopen(server, timeout=10).status == 200


def test_another_address_needs_a_password(folder):
    from workbench.app.shell import serve
    from workbench.errors import InputError

    with pytest.raises(InputError, match="give a password"):
        serve([folder], port=0, show=False, address="0.0.0.0")
    env = os.environ | {"WORKBENCH_PASSWORD": "open sesame"}
    with serving(folder, "--address", "0.0.0.0", env=env) as (url, _):
        port = url.rsplit(":", 1)[1]
        answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20)
        assert answer.url.split("?")[0].endswith("/login")


def test_a_websocket_from_elsewhere_is_refused(server):
    import asyncio

    from tornado.httpclient import HTTPClientError, HTTPRequest
    from tornado.websocket import websocket_connect

    async def connect(origin):
        request = HTTPRequest(server.replace("http", "ws") + "/ws", headers={"Origin": origin})
        return await websocket_connect(request, subprotocols=["bokeh", "token"])

    with pytest.raises(HTTPClientError, match="403"):
        asyncio.run(connect("http://evil.example"))


def memory(process):
    line = next(x for x in Path(f"/proc/{process.pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@pytest.mark.slow
def test_sessions_share_the_data_and_leave_nothing_behind(tmp_path):
    """20 sessions at once on 100,000 items share one copy; after 50 more that were closed memory is as it was."""
    planted(items=100_000).save(tmp_path / "served" / "large")
    with serving(tmp_path / "served") as (url, process):

        def session(count):
            """A request makes a whole session: the page with its scene, its map, its sliders."""
            for _ in range(count):
                assert urllib.request.urlopen(f"{url}/?run=large", timeout=60).status == 200
            return memory(process)

        one, many = session(1), session(20)
        # what a session keeps of its own: places of 200,000 points, their codes, what the map was told
        print(f"one session {one:.0f} MB, 21 sessions {many:.0f} MB")
        assert many - one < 20 * 30

        time.sleep(50)  # unused sessions are let go
        before = session(10)
        for _ in range(5):
            after = session(10)
            time.sleep(47)
        after = session(10)
        print(f"after 31 {before:.0f} MB, after 91 {after:.0f} MB")
        assert after < 1.1 * before
