"""The served application: which page a URL opens, on which address, and who may open it."""

from __future__ import annotations

import concurrent.futures
import os
import secrets
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
from bokeh.core.validation import silence
from bokeh.core.validation.warnings import FIXED_SIZING_MODE

from workbench.app.compare_page import comparing
from workbench.app.library import KEPT, Library, Served
from workbench.app.plots import SCRIPT
from workbench.app.runs_page import RunsScreen
from workbench.app.screens import discover, screens
from workbench.app.session import Session, caption
from workbench.errors import InputError
from workbench.explorer import cards
from workbench.sets.shipped import ATTRIBUTION

silence(FIXED_SIZING_MODE, True)  # a width is enough for what has text in it
ADDRESS = "127.0.0.1"
LOCAL = (ADDRESS, "localhost", "::1")
HEADER = (
    '<div style="font:600 15px system-ui,sans-serif;color:#0072B2;padding:6px 0;border-bottom:1px solid #dfe3e8">'
    "workbench</div><style>body{margin:0}</style>"
    f"<script>{SCRIPT}</script>"
)
PATIENCE = 1.0  # seconds that a page waits for its report before it says that it does
UNUSED = 30_000  # milliseconds after which a session that nobody looks at is let go


def application(library: Library) -> Any:
    """A function that makes the page for one browser session, from the names in its URL."""
    pn.extension("plotly", "tabulator", sizing_mode="stretch_width")
    discover()

    def session() -> Any:
        entries = library.entries()
        asked, pair = _asked("run"), _asked("compare")
        chosen = entries.get(asked) if asked else None
        if chosen is None and len(entries) == 1 and asked is None and pair is None:
            chosen = next(iter(entries.values()))
        try:
            if pair is not None:
                title, body = "compare", _compare(entries, pair)
            elif chosen is not None:
                title, body = chosen.name, _when_read(library, chosen, alone=len(entries) == 1)
            else:
                title, body = "runs", RunsScreen(library, asked).view()
        except InputError as e:
            title, body = "workbench", pn.Column(_back(), caption(escape(str(e))))
        # not pmui.Page, which keeps every document that was ever shown (panel-material-ui 0.16)
        if pn.state.curdoc is not None:
            pn.state.curdoc.title = f"workbench – {title}"
        return pn.Column(pn.pane.HTML(HEADER), body, sizing_mode="stretch_width", margin=(0, 12))

    return session


def _back() -> Any:
    return pn.pane.HTML(cards.framed('<a href="?" target="_self">← all runs</a>'), width=90, sizing_mode="fixed")


def _compare(entries: dict[str, Served], pair: str) -> Any:
    found = [entries.get(name) for name in pair.split(",")]
    inspections = [e.inspection() for e in found if e is not None]
    if len(found) != 2 or len(inspections) != 2 or any(s is None for s in inspections):
        raise InputError(f"compare={pair}: give two runs or sets of this list that have a snapshot, comma between")
    return pn.Column(_back(), comparing(*inspections))  # type: ignore[arg-type]


def _when_read(library: Library, entry: Served, *, alone: bool) -> Any:
    """The page of a run or set; until its report is made, a page that says so and turns into it."""
    waiting = library.later("page", entry, entry.inspection, first=True)
    concurrent.futures.wait([waiting], PATIENCE)
    if waiting.done() or pn.state.curdoc is None:
        waiting.result()
        return _study(entry, alone=alone)
    begun = time.monotonic()
    said = pn.pane.HTML(cards.framed(_being_read(entry, 0)))
    page = pn.Column(*([] if alone else [_back()]), said, sizing_mode="stretch_width")

    def look() -> None:
        said.object = cards.framed(_being_read(entry, time.monotonic() - begun))
        if waiting.done():
            again.stop()
            try:
                page.objects = [_study(entry, alone=alone)]
            except InputError as e:
                page.objects = [_back(), caption(escape(str(e)))]

    again = pn.state.add_periodic_callback(look, period=500)
    return page


def _being_read(entry: Served, seconds: float) -> str:
    return f"<b>{escape(entry.name)}</b> &nbsp; is being diagnosed: {seconds:.0f} s. This page opens by itself."


def _study(entry: Served, *, alone: bool) -> Any:
    s = entry.inspection()
    if s is None:
        raise InputError(f"{entry.name} has no snapshot yet: reload when it has trained a little")
    session = Session(s)
    about = s.report.about
    kind = f"recipe {escape(s.run.config['recipe'])} · step {s.run.steps:,}" if s.run else "set"
    split = f" of the {s.split} split" if s.split else ""
    said = (
        f"<b>{escape(entry.name)}</b> &nbsp; {kind} · {about['items']:,} items{split} · "
        f"data <span class='num'>{escape(about['fingerprint'])}</span>"
    )
    names = list(shown := screens(s))
    first = _asked("screen") or names[0]
    made: dict[str, Any] = {}
    holders = {n: pn.Column(sizing_mode="stretch_width") for n in names}
    tabs = pmui.Tabs(*((n, holders[n]) for n in names), sizing_mode="stretch_width")

    def open_screen(name: str) -> None:
        # one map a page: a screen is made when it is first opened, and taken off the page when another is
        for other, holder in holders.items():
            if other != name:
                holder.objects = []
        if name not in made:
            made[name] = shown[name].make(session)
        holders[name].objects = [made[name].view()]
        if pn.state.location is not None:
            state: dict[str, Any] = {"screen": name}
            pn.state.location.update_query(**state)

    tabs.param.watch(lambda e: open_screen(names[e.new]), "active")
    start = first if first in names else names[0]
    tabs.active = names.index(start)
    open_screen(start)
    credit = caption(escape(ATTRIBUTION)) if "color_png" in s.items else ""
    top = pn.Row(*([] if alone else [_back()]), pn.pane.HTML(cards.framed(said)))
    return pn.Column(top, tabs, credit, sizing_mode="stretch_width")


def _asked(name: str) -> str | None:
    values = (pn.state.session_args or {}).get(name, [])
    return values[0].decode(errors="replace") if values else None


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
        library.later("page", e, e.inspection)
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
        pn.serve(
            {"/": application(library)},
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
    except OSError as e:
        raise InputError(f"port {port} on {address} is not free ({e.strerror}); choose another with --port") from None
    finally:
        library.close()
