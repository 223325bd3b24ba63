"""Compare: the workspace over two spaces of the same items; what is slow is worked out aside, once for all visitors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
from html import escape
from typing import Any

import panel as pn

from workbench.app.face import Face
from workbench.app.session import caption, every_asked, scheduler
from workbench.errors import InputError
from workbench.explorer.inspection import Inspection
from workbench.explorer.map_state import MapState
from workbench.progress import told
from workbench.workspace.pair import LOST, OUTCOME, WON, Pair
from workbench.workspace.panel import Around
from workbench.workspace.visit import Visit

POLL = 500  # milliseconds between looks at what is being worked out
QUICK = 0.3  # seconds that a page waits before it says what is being done


_WORKER = ThreadPoolExecutor(1, thread_name_prefix="compare")  # exact ranks of many items take all cores: one at a time


class _Work:
    """What two inspections have in common, worked out aside once for all sessions."""

    def __init__(self, a: Inspection, b: Inspection) -> None:
        self.at, self._pair = "waiting for another comparison", (a, b)
        self.future: Future[Pair] = _WORKER.submit(self._do)

    def _do(self) -> Pair:
        with told(self._send):
            found = Pair.of(*self._pair)
            self._send("map", 0, None)
            MapState(found)  # places its map, which the inspection keeps
        return found

    def _send(self, what: str, done: int, total: int | None) -> None:
        self.at = f"{what}, {done:,} of {total:,}" if total else what


_work = lru_cache(maxsize=16)(_Work)


def comparing(a: Inspection, b: Inspection, framed: Callable[[Any], Any]) -> Any:
    """The page, or what is being worked out until it is there."""
    work, body = _work(a, b), pn.Column(sizing_mode="stretch_both", margin=0)
    said = caption("")

    def show() -> bool:
        if not work.future.done():
            text = f"{len(a.es):,} and {len(b.es):,} items are compared exactly: {escape(work.at)}"
            said.object = caption(text).object
            return True
        try:
            body.objects = [_page(work.future.result())]
        except InputError as e:
            body.objects = [framed(caption(escape(str(e))))]
        return False

    wait((work.future,), timeout=QUICK)
    if show() and pn.state.curdoc is not None:
        body.objects = [framed(said)]

        def look() -> None:
            if not show():
                watch.stop()

        watch = pn.state.add_periodic_callback(look, period=POLL)
    return body


def _page(pair: Pair) -> Any:
    names = f"{pair.name},{pair.other.name}"
    around = Around(f"{pair.name} against {pair.other.name}", {"compare": names})
    first = next((c for c in pair.items if c.startswith(OUTCOME)), "modality")
    visit = Visit(pair, around=around, colour=first, schedule=scheduler())
    if first in pair.items:  # what differs is what one looks at first
        side = max((LOST, WON), key=lambda w: int((pair.items[first] == w).sum()))
        visit.map_state.choose("where", first, side, remember=False)
    visit.restore(every_asked())
    return Face(visit)
