"""The strip under the map: loss, R@1 and gap over the steps; scrub, and the map shows the snapshot in one frame."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Any

from workbench.diagnostics.gap import modality_gap
from workbench.diagnostics.scoped_name import ScopedName
from workbench.explorer.inspection import Inspection
from workbench.explorer.views import GAP_AXIS
from workbench.explorer.views import method as method_of
from workbench.sets.projection import LINEAR_VIEWS, Projection, faithfulness, turned
from workbench.sets.run_folder import CHANCE, RECALL
from workbench.views.document import number
from workbench.workspace.html import act, button
from workbench.workspace.panel import Host, Panel, panel

WIDE, HIGH = 300, 34


@panel("checkpoints", "foot")
class Checkpoints(Panel):
    """A slider over the snapshots of a run."""

    def __init__(self, visit: Host) -> None:
        super().__init__(visit)
        assert self.inspection.run is not None
        self.run = self.inspection.run
        self.steps = sorted(self.run.snapshots)
        self.at = self.steps[-1]
        self._placed: dict[tuple[str, int], Projection] = {}

    @classmethod
    def fits(cls, inspection: Inspection) -> bool:
        """Runs with a way to look back on, by their probe's items."""
        run = inspection.run
        return (
            inspection.other is None and run is not None and inspection.split == "validation" and len(run.snapshots) > 1
        )

    def html(self) -> str:
        """Three curves and the slider."""
        at = self.steps.index(self.at)
        play = button("◂", "checkpoints.move", -1, more='aria-label="step before"')
        play += button("▸", "checkpoints.move", 1, more='aria-label="step after"')
        slider = (
            f'<input type="range" min="0" max="{len(self.steps) - 1}" value="{at}" aria-label="step"'
            f' aria-valuetext="step {self.at:,}"{act("checkpoints.scrub")}>'
        )
        gap = next(iter(ScopedName.of(self.run.looks[-1], modality_gap.__name__).values()), "")
        curves = [("loss", "loss", ""), ("mean R@1", RECALL, CHANCE)]
        if gap:
            curves.append((f"gap, {' · '.join(ScopedName.parse(gap).scope)}", gap, ""))
        drawn = "".join(self._curve(*c) for c in curves)
        events = [m["sentence"] for m in self.run.metrics if m.get("sentence") and m["step"] <= self.at]
        said = f'<p class="quiet">⚑ {escape(events[-1])}</p>' if events else ""
        if self.at != self.steps[-1]:
            of = f"the map shows step {self.at:,}; findings, ranks and cards are of step {self.steps[-1]:,}"
            said = f'<p class="quiet">{of}</p>{said}'
        return (
            f'<div class="scrub"><span>{play} step <span class="num">{self.at:,}</span></span>{slider}</div>'
            f'<div class="sparks">{drawn}</div>{said}'
        )

    def _curve(self, name: str, key: str, null: str) -> str:
        points = [(m["step"], float(m[key])) for m in self.run.metrics if key in m]
        if len(points) < 2:
            return ""
        last = max(s for s, _ in points) or 1
        values = [v for _, v in points]
        low = 0.0 if key == RECALL else min(values)
        high = 1.0 if key == RECALL else max(values)
        span = (high - low) or 1.0

        def place(step: int, value: float) -> str:
            return f"{WIDE * step / last:.1f},{HIGH - 2 - (HIGH - 4) * (value - low) / span:.1f}"

        band = ""
        if null and (chance := [m[null] for m in self.run.looks if null in m]):
            top = (HIGH - 4) * min(1.0, max(chance)) / span
            band = f'<rect x="0" width="{WIDE}" y="{HIGH - 2 - top:.1f}" height="{max(1.0, top):.1f}" fill="var(--fill)" opacity=".6"/>'
        path = " ".join(place(s, v) for s, v in points)
        here = min(points, key=lambda p: abs(p[0] - self.at))[1]
        x = WIDE * self.at / last
        ends = f"{number(low)} to {number(high)}"
        return (
            f'<figure><figcaption>{escape(name)} <span class="num">{number(here)}</span><span class="quiet">'
            f"{', grey: chance' if band else ''}</span></figcaption>"
            f'<svg viewBox="0 0 {WIDE} {HIGH}" preserveAspectRatio="none" role="img" aria-label="{escape(name)} over the steps, '
            f'now {number(here)}, {ends}">{band}<polyline points="{path}" fill="none" stroke="var(--accent)" '
            f'vector-effect="non-scaling-stroke" stroke-width="1.5"/><line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HIGH}" '
            f'stroke="var(--ink)" stroke-dasharray="2 2" vector-effect="non-scaling-stroke"/></svg></figure>'
        )

    # -- what a person does ----------------------------------------------------------------------------------------

    def on_scrub(self, value: Any, how: str) -> None:
        """The snapshot at a place of the slider."""
        place = value[1] if isinstance(value, list) else value
        self._go(int(place))

    def on_move(self, value: Any, how: str) -> None:
        """The snapshot before or after."""
        self._go(self.steps.index(self.at) + int(value))

    def _go(self, at: int) -> None:
        self.at = self.steps[min(max(at, 0), len(self.steps) - 1)]
        view = self.map_state.view
        if method_of(view, self.inspection.es.modalities)[0] not in LINEAR_VIEWS:
            self.map_state.show(GAP_AXIS if GAP_AXIS in self.map_state.views else "PCA", remember=False)
            self.visit.say(f"{view} has no common frame for all steps; {self.map_state.view} is shown instead")
            view = self.map_state.view
        self.redraw()
        if (view, self.at) in self._placed:
            self.map_state.place(self._placed[view, self.at])
            return
        step = self.at

        def then(found: Projection) -> None:
            self._placed[view, step] = found
            if self.at == step and self.map_state.view == view:
                self.map_state.place(found)

        self.visit.aside(f"step {step:,} is being placed", lambda: self._place(view, step), then)

    def _place(self, view: str, step: int) -> Projection:
        like = self.inspection.view(view)
        if step == self.steps[-1] or like.frame is None:
            return like
        there = self.run.snapshot(step)
        xy = turned(like.frame, self.inspection.es, there)
        kept, trust = faithfulness(there, xy)
        return replace(like, xy=xy, faithfulness=kept, trustworthiness=trust)
