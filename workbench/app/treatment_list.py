"""The list on the screen *what if*: treatments measured on the items that are open; a click shows one on the map."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from threading import Thread
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui

from workbench.app.session import Session, caption
from workbench.errors import InputError
from workbench.explorer import cards
from workbench.progress import told
from workbench.treatments import GOALS, Candidate, Treated, treat
from workbench.treatments.base import CLASSES, SPACE

SMALL = ".tabulator { font-size: 12.5px !important; }"
GOAL_WORDS = {name: f"{name} ({g.unit})" for name, g in GOALS.items()}


class TreatmentList:
    """Asks for a goal, measures in the background, and shows the ranked list; `choose` gets what was clicked."""

    def __init__(self, session: Session, labels: list[str], choose: Callable[[Candidate | None], None]) -> None:
        self.session, self.choose = session, choose
        self.pair: tuple[str, str] = ("", "")
        self.found: Treated | None = None
        self.goal = pmui.Select(
            label="treat for", options={w: n for n, w in GOAL_WORDS.items()}, width=190, size="small"
        )
        self.classes = pmui.Select(label="by", options=labels, width=140, size="small", visible=False)
        self.go = pmui.Button(label="measure treatments", variant="outlined", size="small", width=190, height=38)
        self.said = pn.pane.HTML("")
        self.list = pn.Column(sizing_mode="stretch_width")
        self.goal.param.watch(self._aimed, "value")
        self.go.on_click(self._measure)

    def view(self) -> Any:
        """Pickers, what was found, the list."""
        return pn.Column(
            pn.Row(self.goal, self.classes, self.go, margin=(8, 0, 0, 0)),
            self.said,
            self.list,
            caption(
                "Fitted on one half of the families (or train), judged on the other (or validation). A click shows a "
                "treatment of the space on the map; workbench treat … -o FOLDER writes one for use."
            ),
        )

    def _aimed(self, event: Any) -> None:
        self.classes.visible = event.new == CLASSES

    def _measure(self, _: Any) -> None:
        es = self.session.inspection.es.only(list(self.pair))
        goal, label = self.goal.value, self.classes.value or ""
        document = pn.state.curdoc
        self.go.disabled = True
        self._say("measuring …")

        def step(what: str, done: int, total: int | None) -> None:
            if document is not None and what.startswith("treat"):
                document.add_next_tick_callback(partial(self._say, f"measuring: {done} of {total} treatments"))

        def work() -> None:
            try:
                with told(step):
                    found = treat(es, goal, label=label if goal == CLASSES else "")
                then = partial(self._ready, found)
            except InputError as e:
                then = partial(self._refused, str(e))
            if document is not None:
                document.add_next_tick_callback(then)
            else:
                then()

        Thread(target=work, daemon=True).start()

    def _say(self, text: str) -> None:
        self.said.object = cards.framed(f'<p class="caption">{escape(text)}</p>')

    def _refused(self, why: str) -> None:
        self.go.disabled = False
        self._say(why)

    def _ready(self, found: Treated) -> None:
        self.go.disabled = False
        self.found = found
        self.said.object = cards.framed("".join(f"<p>{escape(s)}</p>" for s in found.sentences))
        lines = [
            {
                "treatment": c.label,
                found.goal.unit: f"{c.value:.3f}",
                "change [95 %]": c.said_change,
                "p": c.said_p,
            }
            for c in self.shown
        ]
        table = pn.widgets.Tabulator(  # made once there is something in it: an empty one that was hidden stays empty
            pd.DataFrame(lines),
            show_index=False,
            disabled=True,
            selectable=1,
            sortable=False,
            height=min(60 + 30 * len(lines), 330),
            sizing_mode="stretch_width",
            widths={"treatment": "38%", found.goal.unit: "13%", "change [95 %]": "37%", "p": "12%"},
            stylesheets=[SMALL],
            configuration={"columnDefaults": {"headerSort": False}},
        )
        table.param.watch(self._clicked, "selection")
        self.list.objects = [table]

    @property
    def shown(self) -> list[Candidate]:
        """The candidates in the order of the table."""
        return [] if self.found is None else self.found.shown

    def _clicked(self, event: Any) -> None:
        chosen = [self.shown[k] for k in event.new if k < len(self.shown)]
        self.choose(chosen[0] if chosen and chosen[0].kind == SPACE else None)
        if chosen and chosen[0].kind != SPACE:
            self._say(f"{chosen[0].label} changes scores or codes, not the space: the map stays. {chosen[0].summary}")
        elif chosen:
            self._say(chosen[0].summary)
