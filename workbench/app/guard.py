"""What every answer carries, and who is not answered: security headers, foreign hosts, logins in a hurry."""

from __future__ import annotations

import logging
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import Application, OutputTransform, RequestHandler

# Bokeh's pages carry their own scripts, and compile; modules of panels come as blobs. Nothing comes from elsewhere.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' ws: wss: data: blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}
TRIES, WITHIN = 5, 60.0  # logins from one address in so many seconds


class _Headers(HTTPHeaders):
    """Headers whose cookies no script reads and no other site sends."""

    def add(self, name: str, value: str, **more: Any) -> None:
        """Add a header; a cookie gets what it lacks."""
        if name.lower() == "set-cookie":
            low = value.lower()
            value += "" if "httponly" in low else "; HttpOnly"
            value += "" if "samesite" in low else "; SameSite=Lax"
        super().add(name, value, **more)


class _Guarded(OutputTransform):
    """Puts the headers on every answer."""

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """The same answer with the headers."""
        kept = _Headers(headers)
        for name, value in HEADERS.items():
            kept[name] = value
        return status_code, kept, chunk


class _Foreign(Matcher):
    """Requests that name a host which is not served here, as a page elsewhere does by rebinding a name."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self.hosts = {h.lower() for h in hosts}

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Whether the request is such a one."""
        return None if request.host_name.lower() in self.hosts else {}


class _Hurried(Matcher):
    """Logins after too many in a short time from one address."""

    def __init__(self) -> None:
        self.seen: defaultdict[str, deque[float]] = defaultdict(deque)

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Whether the request is such a one."""
        if request.method != "POST" or not request.path.endswith("/login"):
            return None
        now, times = time.monotonic(), self.seen[str(request.remote_ip)]
        while times and now - times[0] > WITHIN:
            times.popleft()
        times.append(now)
        return {} if len(times) > TRIES else None


class _Refused(RequestHandler):
    """An answer with a status and one sentence."""

    def initialize(self, status: int, said: str) -> None:
        """What is answered."""
        self.status, self.said = status, said

    def prepare(self) -> None:
        """Answer, whatever was asked."""
        self.set_status(self.status)
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(self.said + "\n")

    def check_xsrf_cookie(self) -> None:
        """Nothing is done here that another site could want."""


class _OneLine(logging.Filter):
    """A websocket whose token is none is one line in the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the line, not the traceback."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and "/ws" in record.getMessage():
            record.msg, record.args, record.exc_info = f"a websocket was refused: {error}", (), None
        return True


def guard(application: Application, hosts: Iterable[str]) -> None:
    """Guard a tornado application: its answers, the hosts that it answers for (none given: any), its logins."""
    application.add_transform(_Guarded)
    rules = application.default_router.rules
    rules.insert(0, Rule(_Hurried(), _Refused, {"status": 429, "said": "too many logins: wait a minute"}))
    known = list(hosts)
    if known:
        said = f"this host is not served here; say --origin HOST:PORT for another than {', '.join(known)}"
        rules.insert(0, Rule(_Foreign(known), _Refused, {"status": 403, "said": said}))
    logging.getLogger("tornado.application").addFilter(_OneLine())
