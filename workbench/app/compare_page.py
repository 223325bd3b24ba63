"""Screen 5, compare: two spaces over the same items, side by side, with one selection; differences with intervals."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import lru_cache, partial
from html import escape
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from workbench.app.map import Map
from workbench.app.plots import plot
from workbench.app.session import caption, head
from workbench.errors import InputError
from workbench.explorer import cards
from workbench.explorer.inspection import Inspection
from workbench.explorer.map_state import VIEWS, MapState
from workbench.progress import told
from workbench.report.comparison import Comparison, compare
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.projection import LINEAR_VIEWS, turned
from workbench.views import differences

MOST = 20
ALIKE = "<h4>How alike the spaces are, in all their dimensions</h4>"
POLL = 500  # milliseconds between looks at what is being worked out
QUICK = 0.3  # seconds that a page waits before it says what is being done


_WORKER = ThreadPoolExecutor(1, thread_name_prefix="compare")  # exact ranks of many items take all cores: one at a time


class _Work:
    """What two inspections have in common, worked out aside once for all sessions."""

    def __init__(self, a: Inspection, b: Inspection) -> None:
        self.at, self._pair = "waiting for another comparison", (a, b)
        self.future: Future[tuple[Comparison, Inspection, Inspection]] = _WORKER.submit(self._do)

    def _do(self) -> tuple[Comparison, Inspection, Inspection]:
        a, b = self._pair
        with told(self._send):
            found = compare(a.es, b.es)
            both = _common(a, b), _common(b, a)
            for s in both:
                self._send("map", 0, None)
                MapState(s)  # places its map, which the inspection keeps
        return found, *both

    def _send(self, what: str, done: int, total: int | None) -> None:
        self.at = f"{what}, {done:,} of {total:,}" if total else what


_work = lru_cache(maxsize=16)(_Work)


def comparing(a: Inspection, b: Inspection) -> Any:
    """The screen, or what is being worked out until it is there."""
    work, body = _work(a, b), pn.Column(sizing_mode="stretch_width")

    def show() -> bool:
        if not work.future.done():
            said.object = caption(
                f"{len(a.es):,} and {len(b.es):,} items are compared exactly: {escape(work.at)}"
            ).object
            return True
        try:
            body.objects = [CompareScreen(*work.future.result()).view()]
        except InputError as e:
            body.objects = [caption(escape(str(e)))]
        return False

    said = caption("")
    wait((work.future,), timeout=QUICK)
    if show() and pn.state.curdoc is not None:
        body.objects = [pmui.LinearProgress(variant="indeterminate", width=400), said]

        def look() -> None:
            if not show():
                watch.stop()

        watch = pn.state.add_periodic_callback(look, period=POLL)
    return body


class CompareScreen:
    """Both maps show the items that both have; a selection on one is a selection on the other, by id."""

    def __init__(self, found: Comparison, a: Inspection, b: Inspection) -> None:
        self.found = found
        self.a, self.b = MapState(a), MapState(b)
        for one, other in ((self.a, self.b), (self.b, self.a)):
            one.height = 420
            one.on_selection(partial(_follow, one, other))
        views = [v for v, m in VIEWS.items() if m in LINEAR_VIEWS]
        self.view_picker = pmui.Select(label="view of both", options=views, value=self.a.view, width=180, size="small")
        self.view_picker.param.watch(self._show, "value")
        directions = [f"{x} → {y}" for x, y in self.a.inspection.directions]
        self.direction = pmui.Select(label="direction", options=directions, width=180, size="small")
        self.drift = pmui.Button(
            label=f"select the {MOST} items that moved most",
            variant="outlined",
            size="small",
            width=280,
            sizing_mode="fixed",
        )
        self.flips = pmui.Button(
            label="select the items won and lost", variant="outlined", size="small", width=240, sizing_mode="fixed"
        )
        self.morph = pmui.Button(label="A becomes B", variant="outlined", size="small", width=130, sizing_mode="fixed")
        self.morph.on_click(self._morph)
        self.card = pn.pane.HTML("")
        self.drift.on_click(self._drifted)
        self.flips.on_click(self._flipped)
        self.a.on_selection(self._chosen)
        self._drifted(None)

    def view(self) -> Any:
        """The page: both maps under one selection, the sentences, won and lost queries."""
        names = self.a.inspection.name, self.b.inspection.name
        title = head(f"A {escape(names[0])} &nbsp; against &nbsp; B {escape(names[1])}")
        about = caption(
            f"{self.found.about['items']:,} items in both{self._split()}. Differences are B minus A over the same items, intervals over families. "
            "One seed each says nothing of the recipes: <span class='num'>workbench compare A B --seed …</span> sets the floor."
        )
        bar = pn.Row(self.view_picker, self.direction, self.drift, self.flips, self.morph)
        maps = pn.Row(
            *(pn.Column(head(n), Map.of(s), margin=(0, 10)) for n, s in zip(names, (self.a, self.b), strict=True))
        )
        left = pn.Column(
            pn.pane.HTML(cards.framed(differences.verdicts(self.found))),
            about,
            pn.pane.HTML(cards.framed(differences.paired(self.found))),
        )
        right = pn.Column(
            pn.pane.HTML(cards.framed(ALIKE + differences.shared(self.found))),
            plot(differences.moved_most(self.found), height=300),
        )
        for column, width in ((left, 520), (right, 440), (self.card, 420)):
            column.sizing_mode, column.width = "fixed", width
        under = pn.FlexBox(left, right, self.card, margin=(14, 0, 0, 0), gap="24px")
        return pn.Column(title, bar, maps, under, sizing_mode="stretch_width")

    def _split(self) -> str:
        splits = {s.inspection.split for s in (self.a, self.b) if s.inspection.split}
        return f", of the {' and '.join(sorted(splits))} split" if splits else ""

    # -- events ----------------------------------------------------------------------------------------------------

    def _morph(self, _: Any) -> None:
        """The first map glides to where B has the same rows, turned onto A in the full space, and back."""
        like = self.a.inspection.map(VIEWS[self.a.view])
        if self.a.projection is not like:
            self.a.place(like)
        elif like.frame is not None:
            try:
                xy = turned(like.frame, self.a.inspection.es, _in_order(self.b.inspection, self.a.inspection))
            except (InputError, RuntimeError):
                self.card.object = caption(
                    "A and B have rows of other modalities or widths: one cannot become the other."
                ).object
                return
            self.a.place(replace(like, xy=xy))
        self.morph.label = "A becomes B" if self.a.projection is like else "back to A"

    def _show(self, event: Any) -> None:
        for map_state in (self.a, self.b):
            map_state.show(event.new)

    def _drifted(self, _: Any) -> None:
        m = next((m for m in self.a.inspection.es.modalities if f"changed {m}" in self.found.items), None)
        if m is not None:
            self.a.select(self.a.inspection.places(self.found.changed(m, MOST)["id"]))

    def _flipped(self, _: Any) -> None:
        x, y = self.direction.value.split(" → ")
        self.a.select(self.a.inspection.places(self.found.flipped(x, y)["id"]))

    def _chosen(self) -> None:
        chosen = np.flatnonzero(self.a.selected)
        rows, items = [], self.found.items.set_index(self.found.items["id"].astype(str))
        ranks = [c.removeprefix("rank A ") for c in items if c.startswith("rank A ")][:2]
        for i in chosen[:MOST]:
            item = self.a.inspection.items.iloc[i].to_dict()
            row = items.loc[str(self.a.inspection.es.items["id"].iloc[i])]
            there = " · ".join(f"{escape(d)} {row[f'rank A {d}']:,.0f} → {row[f'rank B {d}']:,.0f}" for d in ranks)
            rows.append(
                f"<tr><td>{cards.media(item)}</td><td>{escape(str(item['name'])[:60])}<br><span class='num null'>rank {there}</span></td></tr>"
            )
        more = f"<p class='caption'>the first {MOST} of {len(chosen):,}</p>" if len(chosen) > MOST else ""
        self.card.object = cards.framed(
            f"<h4>Selected items, rank in A → in B</h4><table>{''.join(rows)}</table>{more}"
        )


def _common(inspection: Inspection, other: Inspection) -> Inspection:
    """The inspection of the items that the other has too."""
    keep = inspection.es.items["id"].astype(str).isin(set(other.es.items["id"].astype(str))).to_numpy()
    return (
        inspection
        if keep.all()
        else Inspection(inspection.es.take(keep), name=inspection.name, items=inspection.items[keep])
    )


def _in_order(inspection: Inspection, like: Inspection) -> EmbeddingSet:
    """The items of an inspection in another's order."""
    return inspection.es.take(inspection.places(like.es.items["id"]))


def _follow(one: MapState, other: MapState) -> None:
    other.select(other.inspection.places(one.ids))
