"""Is B better? One sentence, a line a direction with its interval, won and lost that select; B's view of the item."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np

from workbench.errors import InputError
from workbench.explorer.inspection import Inspection
from workbench.explorer.views import GAP_AXIS
from workbench.report.comparison import HIT, SAME
from workbench.sets.projection import turned
from workbench.views import differences
from workbench.workspace.html import act, button, quiet
from workbench.workspace.pair import LOST, OUTCOME, RIGHT, WON, WRONG, Pair
from workbench.workspace.panel import Host, Panel, panel
from workbench.workspace.panels.item import Item

MOVED = 20
WIDE, HIGH = 250, 18


class OfPair(Panel):
    """A panel of two spaces."""

    inspection: Pair

    @classmethod
    def fits(cls, inspection: Inspection) -> bool:
        """Two spaces over the same items."""
        return inspection.other is not None


@panel("difference", "left")
class Difference(OfPair):
    """The sentence, the forest, who won and lost."""

    def html(self) -> str:
        """The answer first."""
        found = self.inspection.found
        rows = [r for r in found.paired.to_dict("records") if r["name"] == HIT] if len(found.paired) else []
        body = "".join(self._line(r, _reach(rows)) for r in rows)
        about = quiet(
            "R@1, B minus A over the same queries, with its 95 % interval over families; a click colours the map by it."
        )
        moved = "".join(
            button(f"the {MOVED} that moved most in {m}", "difference.moved", m, more='class="bare"')
            for m in self.inspection.es.modalities
            if f"changed {m}" in found.items
        )
        alike = f'<details data-key="alike"><summary>How alike the spaces are</summary>{differences.shared(found)}</details>'
        every = (
            f'<details data-key="every"><summary>Every paired measure</summary>{differences.paired(found)}</details>'
        )
        return f"<h2>{escape(differences.answer(rows))}</h2>{quiet(ONE_SEED)}{about}{body}{moved}{alike}{every}"

    def _line(self, r: Mapping[str, Any], reach: float) -> str:
        a, b = r["modalities"]
        column = f"{OUTCOME}{a} → {b}"
        tone = "quiet" if r["verdict"] == SAME else "good" if r["value"] > 0 else "bad"
        change = f"{r['value']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]"
        counts = self.inspection.items[column].value_counts()
        sides = " ".join(
            button(
                f"{counts.get(w, 0):,} {w}", "difference.side", [column, w], more="" if counts.get(w, 0) else "disabled"
            )
            for w in (WON, LOST, RIGHT, WRONG)
        )
        pressed = str(self.map_state.colour == column).lower()
        return (
            f'<div data-key="{escape(column)}" style="margin-bottom:8px"><button class="card" style="margin:0" '
            f'aria-pressed="{pressed}"{act("difference.turn", [a, b])}><b>{escape(a)} → {escape(b)}</b> '
            f'<span class="{tone}">{escape(str(r["verdict"]))}</span>{forest_line(r, reach)}<span class="num">{escape(change)}</span>'
            f'</button><div class="verdicts">{sides}</div></div>'
        )

    def on_turn(self, value: Any, how: str) -> None:
        """Colour by what became of the queries of a direction."""
        a, b = (str(x) for x in value)
        self.map_state.paint(f"{OUTCOME}{a} → {b}")
        self.visit.queue.turn(a, b)
        self.visit.redraw("left", "right", "tools")

    def on_side(self, value: Any, how: str) -> None:
        """The items that won, lost, or neither."""
        column, word = (str(x) for x in value)
        a, b = column.removeprefix(OUTCOME).split(" → ")
        self.on_turn([a, b], how)
        self.map_state.choose("where", column, word, how=how)

    def on_moved(self, value: Any, how: str) -> None:
        """The items whose neighbours changed most."""
        if value not in self.inspection.es.modalities:
            raise InputError(f"{value}: no such modality")
        ids = [str(i) for i in self.inspection.found.changed(str(value), MOVED)["id"]]
        self.map_state.choose("ids", *ids, how=how)


ONE_SEED = "One seed each: about these two runs, not their recipes. workbench compare A B --seed … sets the floor."


def _reach(rows: list[dict[str, Any]]) -> float:
    ends = [abs(float(x)) for r in rows for x in (r["low"], r["high"], r["value"]) if math.isfinite(x)]
    return max(ends, default=0.0) or 1.0


def forest_line(r: Mapping[str, Any], reach: float) -> str:
    """A difference and its interval against zero, on the scale of all directions."""

    def x(value: float) -> float:
        return WIDE / 2 + (WIDE / 2 - 5) * max(-1.0, min(1.0, value / reach))

    interval = ""
    if math.isfinite(r["low"]):
        interval = f'<line x1="{x(r["low"]):.1f}" x2="{x(r["high"]):.1f}" y1="9" y2="9" stroke="var(--accent)" stroke-width="2"/>'
    word = f"{r['value']:+.3f} on a scale from {-reach:.2f} to {reach:.2f}"
    return (
        f'<svg width="{WIDE}" height="{HIGH}" role="img" aria-label="{word}"><line x1="{WIDE / 2}" x2="{WIDE / 2}" y1="0" '
        f'y2="{HIGH}" stroke="var(--faint)" stroke-dasharray="2 2"/>{interval}'
        f'<circle cx="{x(r["value"]):.1f}" cy="9" r="4" fill="var(--accent)"/></svg>'
    )


@panel("in B", "right", 1)
class InB(Item):
    """The same item in B: the rank of its match there, and who took it."""

    def __init__(self, visit: Host) -> None:
        super().__init__(visit)
        assert self.inspection.other is not None
        self.inspection = self.inspection.other

    @classmethod
    def fits(cls, inspection: Inspection) -> bool:
        """Two spaces over the same items."""
        return inspection.other is not None

    def html(self) -> str:
        """B's ranks and rivals of the item that is shown."""
        item = self.visit.queue.item
        if item < 0:
            return quiet("Click a point: the pair stands here as B has it.")
        name = str(self.inspection.items["name"].iloc[item])
        return f'<div class="row"><h2 class="text">{escape(name[:200])} in B</h2></div>{self._meeting(item)}'


@panel("between", "foot")
class Between(OfPair):
    """A slider from A to B; B is turned onto A in the full space, so that what moves has changed."""

    share = 0.0

    def __init__(self, visit: Host) -> None:
        super().__init__(visit)
        self._there: dict[str, np.ndarray] = {}

    def html(self) -> str:
        """The slider."""
        where = "A" if self.share == 0 else "B" if self.share == 1 else f"{self.share:.0%} of the way to B"
        return (
            f'<div class="scrub"><span>{button("A", "between.go", 0)} {button("B", "between.go", 1)}</span>'
            f'<input type="range" min="0" max="1" step="0.05" value="{self.share}" aria-label="from A to B" '
            f'aria-valuetext="{escape(where)}"{act("between.scrub", 0)}></div>'
            f'<p class="quiet">the map shows {escape(where)}; B is turned onto A in the full space, what still moves has changed</p>'
        )

    def on_go(self, value: Any, how: str) -> None:
        """All the way."""
        self._go(float(value))

    def on_scrub(self, value: Any, how: str) -> None:
        """Some of the way."""
        self._go(float(value[1]))

    def _go(self, share: float) -> None:
        m = self.map_state
        if self.inspection.view(m.view).frame is None:
            self.visit.show(GAP_AXIS if GAP_AXIS in m.views else "PCA")
        view, self.share = m.view, min(max(share, 0.0), 1.0)

        def then(there: np.ndarray) -> None:
            self._there[view] = there
            like = self.inspection.view(view)
            xy = (1 - self.share) * like.xy + self.share * there
            m.place(like if self.share == 0 else replace(like, xy=xy))
            self.redraw()

        if view in self._there:
            then(self._there[view])
        else:
            self.visit.aside("B is turned onto A", lambda: self._turned(view), then)

    def _turned(self, view: str) -> np.ndarray:
        frame, other = self.inspection.view(view).frame, self.inspection.other
        assert frame is not None
        try:
            return turned(frame, self.inspection.es, other.es)
        except (InputError, RuntimeError):
            raise InputError("A and B have rows of other modalities or widths: one cannot become the other") from None
