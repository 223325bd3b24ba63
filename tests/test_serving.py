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
        for panel in ("item", "what if", "clusters", "selection"):
            page.goto(f"{server}/?run=hostile&panel={panel}&drawer=open&colour=kind")
            page.wait_for_selector(".stage")
            page.wait_for_timeout(1500)
            assert page.title() != "owned"
            assert page.locator("img[src=x]").count() == 0
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


def test_every_answer_is_guarded(server):
    with urllib.request.urlopen(server, timeout=20) as answer:
        told = answer.headers
    policy = told["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'self'" in policy
    assert told["X-Content-Type-Options"] == "nosniff"
    assert told["X-Frame-Options"] == "SAMEORIGIN"
    assert told["Referrer-Policy"] == "same-origin"


def test_a_foreign_host_is_refused(server):
    for path in ("/", "/static/js/bokeh.min.js"):
        request = urllib.request.Request(server + path, headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        with refused.value as answer:
            assert answer.code == 403
            assert "not served here" in answer.read().decode()


def test_a_malformed_token_is_one_line(folder):
    import asyncio

    from tornado.httpclient import HTTPRequest
    from tornado.websocket import websocket_connect

    with serving(folder) as (url, process):

        async def connect():
            request = HTTPRequest(url.replace("http", "ws") + "/ws", headers={"Origin": url})
            made = await websocket_connect(request, subprotocols=["bokeh", "no token at all"])
            said = await made.read_message()
            made.close()
            return said

        assert asyncio.run(connect()) is None, "closed"
        time.sleep(0.5)
        process.terminate()
        process.wait(20)
        said = process.said()
    assert "a websocket was refused" in said
    assert "Traceback" not in said


def test_logins_are_slowed_and_their_cookies_guarded(folder):
    import http.cookiejar
    import urllib.parse

    env = os.environ | {"WORKBENCH_PASSWORD": "open sesame"}
    with serving(folder, env=env) as (url, _):
        seen = []

        class Watch(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, req, fp, code, msg, headers, newurl):
                seen.extend(headers.get_all("Set-Cookie") or [])
                return super().redirect_request(req, fp, code, msg, headers, newurl)

        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        opener = urllib.request.build_opener(jar, Watch)

        def login(password):
            told = urllib.parse.urlencode({"username": "workbench", "password": password}).encode()
            opener.open(f"{url}/login", told, timeout=20).close()

        login("open sesame")
        mine = [c for c in seen if c.startswith("user=")]
        assert mine
        assert all("HttpOnly" in c and "SameSite=Lax" in c for c in seen)
        for _ in range(4):
            login("wrong")
        with pytest.raises(urllib.error.HTTPError) as refused:
            login("open sesame")
        with refused.value as answer:
            assert answer.code == 429


def memory(process):
    line = next(x for x in Path(f"/proc/{process.pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def at_rest(process):
    """Its memory, once a quarter of a minute went by in which it did next to nothing."""
    while True:
        before = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:15]
        time.sleep(15)
        after = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:15]
        if sum(map(int, after)) - sum(map(int, before)) < 100:  # hundredths of a second
            return memory(process)


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

        session(1)
        one = at_rest(process)  # the first makes what all share: the map, its regions, the findings
        many = session(20)
        # what a session keeps of its own: places of 200,000 points, their codes, what the map was told
        print(f"one session {one:.0f} MB, 21 sessions {many:.0f} MB")
        assert many - one < 20 * 15

        time.sleep(50)  # unused sessions are let go
        before = session(10)
        for _ in range(5):
            after = session(10)
            time.sleep(47)
        after = session(10)
        print(f"after 31 {before:.0f} MB, after 91 {after:.0f} MB")
        assert after < 1.1 * before
