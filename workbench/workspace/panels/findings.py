"""What the doctor says: one line, then a card a finding; a click shows the pair and the items that it is about."""

from __future__ import annotations

from html import escape
from typing import Any

from workbench.diagnostics.registry import diagnostics, headlines, questions
from workbench.explorer.cards import measured
from workbench.explorer.colouring import MODALITY, RANK
from workbench.explorer.inspection import Inspection
from workbench.explorer.views import GAP_AXIS, gap_axis_of
from workbench.report.finding import MARKS, Finding, verdict
from workbench.views import figures
from workbench.workspace.html import act, null_bar, quiet
from workbench.workspace.panel import WORST, Panel, panel


@panel("findings", "left")
class Findings(Panel):
    """The verdict, the findings worst first, the headline numbers folded."""

    shown = -1  # the finding that was clicked last

    @classmethod
    def fits(cls, inspection: Inspection) -> bool:
        """One space; of two the differences stand there."""
        return inspection.other is None

    def html(self) -> str:
        """The cards."""
        if not self.inspection.diagnosed:
            return '<h2>Findings</h2><p class="quiet">The doctor is reading the set …</p>'
        found = self.inspection.report.findings
        loud = [k for k, f in enumerate(found) if f.alarm]
        rest = [k for k, f in enumerate(found) if not f.alarm]
        cards = "".join(self._card(k, found[k]) for k in loud)
        fine = "".join(self._card(k, found[k]) for k in rest)
        if not loud:
            body = f'<ul class="cards">{fine}</ul>'
        else:
            word = f"{len(rest)} to know" if rest else ""
            body = f'<ul class="cards">{cards}</ul>'
            body += (
                f'<details open data-key="fine"><summary>{word}</summary><ul class="cards">{fine}</ul></details>'
                if rest
                else ""
            )
        return f"<h2>{escape(verdict(found).capitalize())}</h2>{body}{self._numbers()}"

    def _card(self, k: int, f: Finding) -> str:
        tone = "bad" if f.alarm else "quiet"
        row = self._row(f)
        bar = null_bar(row) if row is not None else ""
        after = f'<span class="next">{escape(f.next)}</span>' if f.next and f.alarm else ""
        inside = f'<span class="{tone}">{MARKS[f.severity]}</span> {escape(f.sentence)}{bar}{after}'
        if not f.evidence:
            return f'<li data-key="f{k}"><div class="card">{inside}</div></li>'
        pressed = str(k == self.shown).lower()
        return f'<li data-key="f{k}"><button class="card" aria-pressed="{pressed}"{act("findings.show", k)}>{inside}</button></li>'

    def _row(self, f: Finding) -> dict[str, Any] | None:
        """The number that a finding stands on, where it is one number of the report."""
        if not f.evidence:
            return None
        first = f.evidence[0]
        frame = self.inspection.report.frame
        same = (frame["name"] == first["diagnostic"]) & frame["reason"].isna()
        same &= frame["modalities"].map(lambda m: list(m) == list(first["modalities"]))
        rows = frame[same].to_dict("records")
        return rows[0] if rows else None

    def _numbers(self) -> str:
        rows, f = [], self.inspection.report.frame
        for row in f[f["name"].isin(headlines()) & f["reason"].isna()].to_dict("records"):
            scope = f'<br><span class="quiet">{escape(figures.scope(row))}</span>'
            rows.append(f"<tr><td>{escape(row['name'])}{scope}</td><td>{measured(row)}</td></tr>")
        about = quiet("value [95 % interval]; null: what chance alone gives, in a gallery of this size")
        return f'<details data-key="numbers"><summary>Headline numbers</summary>{about}<table>{"".join(rows)}</table></details>'

    def on_show(self, value: Any, how: str) -> None:
        """View, colour and items that let one see what a finding says."""
        f = self.inspection.report.findings[int(value)]
        self.shown = int(value)
        shown = max(f.evidence, key=lambda e: len(e["modalities"]))
        pair = tuple(shown["modalities"][:2])
        view = questions()[diagnostics()[shown["diagnostic"]].question].view
        modalities = self.inspection.es.modalities
        m = self.map_state
        if pair in self.inspection.directions and not view:
            colour = RANK + " → ".join(pair)
            m.paint(colour)
            m.choose("worst", WORST, *pair)
            self.visit.queue.turn(*pair)
            self.visit.say(f"selected: {self.visit.chosen_words}; coloured by that rank")
        else:
            m.paint(MODALITY)
            if view == GAP_AXIS and len(pair) == 2 and set(pair) <= set(modalities):
                view = gap_axis_of(modalities, pair)
            self.visit.say(f"{view or m.view}, coloured by modality; the selection stays as it was")
        self.redraw()
        if view and view != m.view:
            self.visit.show(view)
        self.visit.redraw("tools", "left", "right")

    def commands(self) -> list[dict[str, Any]]:
        """Every finding that can be shown."""
        if not self.inspection.diagnosed:
            return []
        found = enumerate(self.inspection.report.findings)
        return [{"say": f"show: {f.sentence[:70]}", "act": "findings.show", "value": k} for k, f in found if f.evidence]
