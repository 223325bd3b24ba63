"""Screen 4, checkpoints: the map through training in one frame, with all metrics beside it and events as flags."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from workbench.app.plots import plot
from workbench.app.screens import screen
from workbench.app.session import Session, caption
from workbench.explorer import cards
from workbench.explorer.map_state import VIEWS
from workbench.sets.projection import LINEAR_VIEWS, Projection, faithfulness, turned
from workbench.sets.run_folder import RECALL
from workbench.views import figures


@screen("checkpoints", 3, lambda s: s.run is not None and s.split == "validation")  # snapshots are of the probe
class CheckpointsScreen:
    """The map at every snapshot of a run in one frame, with the curves of its log beside it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        run = session.inspection.run
        assert run is not None
        self.run = run
        self.steps = sorted(run.snapshots)
        self._placed: dict[tuple[str, int], Projection] = {}
        self.player = pn.widgets.DiscretePlayer(
            options=self.steps,
            value=self.steps[-1],
            interval=900,
            loop_policy="once",
            show_loop_controls=False,
            visible_buttons=["previous", "next"],
        )
        self.said = pn.pane.HTML("")
        self.play = pmui.Button(label="▶ play", variant="outlined", size="small", width=90, sizing_mode="fixed")
        self.play.on_click(self._play)
        self.plot = plot(self._metrics(), height=430)
        self.player.param.watch(lambda _: self._show(), "value")
        self.plot.param.watch(self._clicked, "click_data")
        self.last = pmui.Button(label="last step", variant="outlined", size="small", width=90, sizing_mode="fixed")
        self.last.on_click(lambda _: setattr(self.player, "value", self.steps[-1]))
        self._send()

    def view(self) -> Any:
        """The page: map, player, curves, and what happened up to this step."""
        hint = caption(
            "One frame for all steps: each snapshot is turned onto the last one in the full space, so what moves has "
            "changed and not only turned. A click on a metric goes there; flags are the doctor's events."
        )
        left = pn.Column(
            self.session.picture(),
            pn.Row(self.player, self.play, self.last, margin=(12, 0, 0, 0)),
            hint,
            sizing_mode="stretch_width",
        )
        if self.player.value != self.steps[-1]:
            self._show()
        return pn.Row(left, pn.Column(self.said, self.plot, width=560))

    def _metrics(self) -> Any:
        fig = figures.metrics({self.run.name: self.run.metrics}, height=430)
        fig.add_vline(x=self.player.value, line={"color": "#8a949e", "width": 1, "dash": "dot"}, row="all", col="all")
        for event in (m for m in self.run.metrics if "event" in m):
            fig.add_annotation(
                x=event["step"], y=1, yref="y domain", text="⚑", showarrow=False, hovertext=event.get("sentence", "")
            )
        return fig

    def _play(self, _: Any) -> None:
        """From the first step where the last is shown; a focused button takes space and Enter."""
        if self.player.value == self.steps[-1]:
            self.player.value = self.steps[0]
        self.player.direction = 0 if self.player.direction else 1

    def _show(self) -> None:
        view = self.session.map_state.view
        if VIEWS[view] not in LINEAR_VIEWS:
            self.session.say("this view has no common frame for checkpoints; the gap axis is shown instead")
            self.session.look("gap axis")
            view = self.session.map_state.view
        self.session.map_state.place(self._place(view, self.player.value))
        self.plot.object = self._metrics()
        self._send()

    def _place(self, view: str, step: int) -> Projection:
        key = (view, step)
        if key not in self._placed:
            inspection = self.session.inspection
            like = inspection.map(VIEWS[view])
            assert like.frame is not None
            reference = self.run.snapshot()
            there = self.run.snapshot(step)
            frame = like.frame if inspection.split == "validation" else LINEAR_VIEWS[VIEWS[view]](reference)
            xy = turned(frame, reference, there)
            if len(xy) != len(like.xy):
                return like
            kept, trust = faithfulness(there, xy)
            self._placed[key] = replace(like, xy=xy, faithfulness=kept, trustworthiness=trust)
        return self._placed[key]

    def _clicked(self, event: Any) -> None:
        points = (event.new or {}).get("points", [])
        if points:
            asked = points[0].get("x", self.steps[-1])
            self.player.value = min(self.steps, key=lambda s: abs(s - asked))

    def _send(self) -> None:
        at = next((m for m in self.run.looks if m["step"] == self.player.value), {})
        told = [m.get("sentence", "") for m in self.run.metrics if "event" in m and m["step"] <= self.player.value]
        numbers = " · ".join(
            f"{name} <span class='num'>{at[key]:.3f}</span>"
            for name, key in (("loss", "loss"), ("probe R@1", RECALL), ("temperature", "temperature"))
            if key in at
        )
        events = "".join(f"<li>⚑ {escape(t)}</li>" for t in told)
        self.said.object = cards.framed(f"<h4>step {self.player.value:,}</h4><p>{numbers}</p><ul>{events}</ul>")
