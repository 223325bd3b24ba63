"""The served application: which page a URL opens, on which address, and who may open it."""

from __future__ import annotations

import concurrent.futures
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.core.validation import silence
from bokeh.core.validation.warnings import FIXED_SIZING_MODE

from workbench.app.compare_page import comparing
from workbench.app.face import Face
from workbench.app.guard import guard
from workbench.app.library import KEPT, Library, Served, page_of
from workbench.app.runs_page import EVERY, FRESH, RunsScreen
from workbench.app.session import asked, caption, every_asked, scheduler
from workbench.errors import InputError, unknown
from workbench.explorer import cards
from workbench.explorer.inspection import SPLITS, Inspection
from workbench.workspace.panel import Around, discover
from workbench.workspace.visit import Visit

silence(FIXED_SIZING_MODE, True)  # a width is enough for what has text in it
ADDRESS = "127.0.0.1"
LOCAL = (ADDRESS, "localhost", "::1")
HEADER = (
    '<div style="font:600 15px system-ui,sans-serif;color:#0072B2;padding:6px 0;border-bottom:1px solid #dfe3e8">'
    "workbench</div><style>body{margin:0}</style>"
)
BARE = "<style>body{margin:0}</style>"
PATIENCE = 1.0  # seconds that a page waits for its report before it says that it does
UNUSED = 30_000  # milliseconds after which a session that nobody looks at is let go


def application(library: Library) -> Any:
    """A function that makes the page for one browser session, from the names in its URL."""
    pn.extension(sizing_mode="stretch_width")
    discover()

    def session() -> Any:
        entries = library.entries()
        name, pair = asked("run"), asked("compare")
        chosen = entries.get(name) if name else None
        if chosen is None and len(entries) == 1 and name is None and pair is None:
            chosen = next(iter(entries.values()))
        try:
            if pair is not None:
                title, body = "compare", _compare(entries, pair)
            elif chosen is not None:
                title, body = chosen.name, _when_read(library, chosen)
            else:
                title, body = "runs", _bare(RunsScreen(library, name).view())
        except InputError as e:
            title, body = "workbench", _headed(pn.Column(_back(), caption(escape(str(e)))))
        if pn.state.curdoc is not None:
            pn.state.curdoc.title = f"{title} – workbench"
        return body

    return session


def _bare(face: Any) -> Any:
    """A page that fills the window."""
    return pn.Column(pn.pane.HTML(BARE, height=0, margin=0), face, sizing_mode="stretch_both", margin=0)


def _headed(body: Any) -> Any:
    return pn.Column(pn.pane.HTML(HEADER), body, sizing_mode="stretch_width", margin=(0, 12))


def _back() -> Any:
    return pn.pane.HTML(cards.framed('<a href="?" target="_self">← all runs</a>'), width=90, sizing_mode="fixed")


def _compare(entries: dict[str, Served], pair: str) -> Any:
    found = [entries.get(name) for name in pair.split(",")]
    inspections = [e.inspection() for e in found if e is not None]
    if len(found) != 2 or len(inspections) != 2 or any(s is None for s in inspections):
        raise InputError(f"compare={pair}: give two runs or sets of this list that have a snapshot, comma between")
    framed = lambda body: _headed(pn.Column(_back(), body))  # noqa: E731
    page = comparing(inspections[0], inspections[1], framed)  # type: ignore[arg-type]
    return _bare(page)


def _when_read(library: Library, entry: Served) -> Any:
    """The workspace of a run or set; until its report is made, a page that says so and turns into it."""
    split = asked("split") or ""
    if split and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    waiting = library.later(page_of(split), entry, partial(entry.inspection, split), first=True)
    concurrent.futures.wait([waiting], PATIENCE)
    if waiting.done() or pn.state.curdoc is None:
        return _workspace(library, entry, waiting.result())
    begun = time.monotonic()
    said = pn.pane.HTML(cards.framed(_being_read(entry, 0)))
    page = pn.Column(_headed(pn.Column(_back(), said)), sizing_mode="stretch_both")

    def look() -> None:
        said.object = cards.framed(_being_read(entry, time.monotonic() - begun))
        if waiting.done():
            again.stop()
            try:
                page.objects = [_workspace(library, entry, waiting.result())]
            except InputError as e:
                page.objects = [_headed(pn.Column(_back(), caption(escape(str(e)))))]

    again = pn.state.add_periodic_callback(look, period=500)
    return page


def _being_read(entry: Served, seconds: float) -> str:
    return f"<b>{escape(entry.name)}</b> &nbsp; is being diagnosed: {seconds:.0f} s. This page opens by itself."


def _workspace(library: Library, entry: Served, inspection: Inspection | None) -> Any:
    """The workspace of an inspection, at the place that the URL asks for."""
    if inspection is None:
        raise InputError(f"{entry.name} has no snapshot yet: reload when it has trained a little")
    splits = SPLITS if entry.is_run else ()
    shown = {"split": inspection.split} if inspection.split not in ("", library.split) else {}
    kept = {"run": entry.name, **shown}
    around = Around(entry.name, kept, tuple(library.entries()), splits, partial(_live, entry, inspection))
    visit = Visit(inspection, around=around, schedule=scheduler())
    visit.restore(every_asked())
    face = Face(visit)
    if entry.is_run and not entry.run.finished and pn.state.curdoc is not None:
        pn.state.add_periodic_callback(_Following(library, entry, face).look, period=EVERY)
    return _bare(face)


def _live(entry: Served, inspection: Inspection) -> str:
    """What is to be said of a run that is not finished."""
    run = entry.run if entry.is_run else None
    if run is None or run.finished:
        return ""
    fresh = time.time() - entry.state[0] / 1e9 < FRESH
    step = max(run.snapshots, default=0)
    return f"{'training' if fresh else 'stopped'} at step {run.steps:,}, shown as of {step:,}"


class _Following:
    """The page of a run in training: its strip moves with the log, the map takes up each new snapshot."""

    def __init__(self, library: Library, entry: Served, face: Face) -> None:
        self.library, self.entry, self.face = library, entry, face
        self.step, self.seen = max(entry.run.snapshots), entry.state

    def look(self) -> None:
        """Show what is new."""
        if self.seen == self.entry.state:
            return
        self.seen = self.entry.state
        visit, newest = self.face.visit, max(self.entry.run.snapshots)
        split = visit.inspection.split
        if newest == self.step:
            visit.redraw("top", "foot")
            return
        made = self.library.later(page_of(split), self.entry, partial(self.entry.inspection, split), first=True)
        made.add_done_callback(lambda found: visit.schedule(partial(self._take, newest, found)))

    def _take(self, step: int, made: concurrent.futures.Future[Inspection | None]) -> None:
        if step <= self.step or made.exception() is not None:
            return
        self.step = step
        old, inspection = self.face.visit, made.result()
        if inspection is not None and old.around is not None:
            around = replace(old.around, live=partial(_live, self.entry, inspection))
            self.face.take(Visit(inspection, around=around, schedule=old.schedule))


def serve(
    paths: Sequence[Path],
    *,
    port: int,
    show: bool,
    address: str = ADDRESS,
    password: str = "",
    oauth: str = "",
    no_auth: bool = False,
    origins: Sequence[str] = (),
    split: str = "validation",
) -> None:
    """Serve until interrupted. Beyond this machine only with a password, with OAuth, or where --no-auth is said."""
    library = Library(paths, split)  # a folder with nothing in it is said before a port is taken
    password = password or os.environ.get("WORKBENCH_PASSWORD", "")
    if address not in LOCAL and not (password or oauth or no_auth):
        raise InputError(
            f"--address {address} opens the dashboard to others: give a password in WORKBENCH_PASSWORD, --oauth with a "
            "provider that Panel knows, or say --no-auth"
        )
    entries = library.entries()
    for e in list(entries.values())[:KEPT]:  # the port does not wait for them, and perhaps no visitor has to
        library.later(page_of(), e, e.inspection)
    names = list(entries)
    print(f"{len(names)} to see: {', '.join(names[:12])}{' …' if len(names) > 12 else ''}", flush=True)
    settings: dict[str, Any] = {}
    if password:
        settings |= {"basic_auth": {"workbench": password}, "cookie_secret": secrets.token_hex(32)}
        print("user workbench, with the password given", flush=True)
    if oauth:
        settings |= {
            "oauth_provider": oauth,
            "oauth_key": os.environ.get("PANEL_OAUTH_KEY"),
            "oauth_secret": os.environ.get("PANEL_OAUTH_SECRET"),
            "cookie_secret": os.environ.get("PANEL_COOKIE_SECRET") or secrets.token_hex(32),
        }
    hosts = [*LOCAL[:2], *([address] if address not in (*LOCAL, "0.0.0.0", "::") else [])]
    allowed = [*origins, *(f"{host}:{port}" for host in hosts)]
    try:
        server = pn.serve(
            {"/": application(library)},
            start=False,
            address=address,
            port=port,
            show=show,
            title="workbench",
            verbose=True,
            websocket_origin=allowed if port or origins else None,
            unused_session_lifetime_milliseconds=UNUSED,
            check_unused_sessions_milliseconds=UNUSED // 2,
            **settings,
        )
        served = [*LOCAL, address, *(o.rsplit(":", 1)[0] for o in origins)]
        anywhere = address in ("0.0.0.0", "::") and not origins  # by which name is not known
        guard(server._tornado, [] if anywhere else served)
        server.start()
        server.io_loop.start()
    except OSError as e:
        raise InputError(f"port {port} on {address} is not free ({e.strerror}); choose another with --port") from None
    finally:
        library.close()
