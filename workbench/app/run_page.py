"""Screen 2, the run: sentences left, the map in the middle, evidence and the pair card right."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from workbench.app.plots import plot
from workbench.app.screens import screen
from workbench.app.session import WORST, Session, caption, head
from workbench.diagnostics.registry import diagnostics, headlines, questions
from workbench.errors import InputError
from workbench.explorer import cards
from workbench.explorer.inspection import QueryResult
from workbench.report.finding import Finding
from workbench.sets.run_folder import VERDICTS
from workbench.views import figures

SHARES = "solid: matched, dotted: mismatched; share of pairs by cosine"

HELD_OUT = "This item is held out of training: a verdict on it is for evaluation, no training can use it."


@screen("run", 1)
class RunScreen:
    """Findings, map, evidence, pair card; the item whose card is shown is the first of the selection."""

    def __init__(self, session: Session) -> None:
        self.session, self.inspection = session, session.inspection
        self.item = -1
        self.at = 0
        self.card = pn.pane.HTML("")
        self.place = pn.pane.HTML("", width=170)
        self.back = pmui.Button(label="‹", variant="outlined", size="small", width=44, sizing_mode="fixed")
        self.on = pmui.Button(label="›", variant="outlined", size="small", width=44, sizing_mode="fixed")
        self.back.on_click(lambda _: self._step(-1))
        self.on.on_click(lambda _: self._step(1))
        self.rival = pmui.Select(label="nearer than its match", options={}, width=170, size="small")
        self.verdict = pmui.Select(label="it is", options=list(VERDICTS), width=120, size="small")
        self.write = pmui.Button(
            label="judge", variant="outlined", size="small", height=38, width=70, sizing_mode="fixed"
        )
        self.write.on_click(self._judge)
        self.purpose = pn.pane.HTML("")
        self.judged = pn.pane.HTML("")
        self.back_off = pmui.Button(
            label="take back", variant="text", size="small", width=90, sizing_mode="fixed", visible=False
        )
        self.back_off.on_click(self._unjudge)
        session.map_state.on_selection(self._chosen)
        self._chosen()

    def view(self) -> Any:
        """The page: findings, the map, the pair card, the evidence behind a finding."""
        left = pn.Column(
            head("Findings"),
            *[self._finding(f) for f in self.inspection.report.findings],
            width=310,
            sizing_mode="fixed",
        )
        left.append(pn.pane.HTML(cards.framed(self._numbers())))
        evidence = pmui.Tabs(
            ("pairs", pn.Column(caption(SHARES), plot(self._histogram(), height=420))),
            ("ranks", plot(figures.rank_curve(self.inspection.report), height=340)),
            ("spectrum", plot(figures.spectra(self.inspection.report), height=340)),
            dynamic=True,
        )
        judge = pn.Row(self.rival, self.verdict, self.write) if self.inspection.home else pn.Row()
        right = pn.Column(
            pn.Row(self.back, self.on, self.place),
            self.card,
            *([self.purpose] if self.inspection.home else []),
            judge,
            self.judged,
            self.back_off,
            evidence,
            width=420,
            sizing_mode="fixed",
        )
        return pn.Row(left, self.session.picture(), right, sizing_mode="stretch_width")

    def _histogram(self) -> Any:
        return figures.similarities(self.inspection.report, stacked=True).update_layout(showlegend=False, height=420)

    def _numbers(self) -> str:
        rows, f = [], self.inspection.report.frame
        for row in f[f["name"].isin(headlines()) & f["reason"].isna()].to_dict("records"):
            name = f"{escape(row['name'])}<br><span class='null'>{escape(figures.scope(row))}</span>"
            rows.append(f"<tr><td>{name}</td><td>{cards.measured(row)}</td></tr>")
        about = (
            "value [95 % interval]; null: what chance alone gives, as with pairs dealt at random for "
            "retrieval, on an even sphere for uniformity and rank"
        )
        return f"<h4>Numbers</h4><p class='caption'>{about}</p><table>{''.join(rows)}</table>"

    # -- findings --------------------------------------------------------------------------------------------------

    def _finding(self, f: Finding) -> Any:
        text = pn.pane.HTML(cards.framed(f"<ul>{cards.sentence(f)}</ul>"), width=235, sizing_mode="fixed")
        if not f.evidence:
            return text
        button = pmui.Button(label="show", variant="text", size="small", width=50, sizing_mode="fixed")
        button.on_click(lambda _: self.show(f))
        return pn.Row(text, button, sizing_mode="fixed", width=300)

    def show(self, f: Finding) -> None:
        """View, colour and selection that let one see what a finding says."""
        shown = max(f.evidence, key=lambda e: len(e["modalities"]))
        view = questions()[diagnostics()[shown["diagnostic"]].question].view
        direction = tuple(shown["modalities"][:2])
        colour, items = "modality", None
        said = "coloured by modality; the selection stays as it was"
        if direction in self.inspection.directions and not view:
            colour, items = "rank " + " → ".join(direction), self.inspection.worst(WORST, direction)
            said = (
                f"selected: the {WORST} items whose match ranks worst, {' → '.join(direction)}; coloured by that rank"
            )
        self.session.look(view or self.session.view.value, colour, items)
        self.session.say(said)

    # -- the pair card ---------------------------------------------------------------------------------------------

    def _chosen(self) -> None:
        self.items, self.at = self.inspection.worst_first(np.flatnonzero(self.session.map_state.selected)).tolist(), 0
        self._draw()

    def _step(self, by: int) -> None:
        if self.items:
            self.at = (self.at + by) % len(self.items)
            self._draw()

    def _draw(self) -> None:
        if not self.items:
            hint = "Click a point on the map, or draw around some: the pair stands here, with who beats it."
            self.card.object = cards.framed(f'<h4>Pair card</h4><p class="caption">{hint}</p>')
            self.place.object = self.purpose.object = ""
            self.rival.options, self.back_off.visible = {}, False
            return
        self.item = self.session.item = self.items[self.at]
        said = f"{self.at + 1:,} of {len(self.items):,}, worst match first"
        self.place.object = cards.framed(f'<span class="caption">{said}</span>')
        meetings = self.inspection.meetings(self.item)
        self.card.object = cards.framed(cards.card(self.inspection, self.item, meetings))
        self.rival.options = self._rivals(meetings)
        held = "" if self.inspection.trainable[self.item] else HELD_OUT
        self.purpose.object = cards.framed(f'<p class="caption">{held}</p>')
        self._verdicts()

    def _rivals(self, meetings: Mapping[tuple[str, str], QueryResult | None]) -> dict[str, tuple[int, str, str]]:
        """The non-matches that rank before the match, by direction."""
        out = {}
        for (a, b), m in meetings.items():
            if m is None or m.rank == 1:
                continue
            for r in m.nearest.to_dict("records"):
                if r["item"] == self.item:
                    break
                out[f"{r['name']} ({a} → {b})"] = (int(r["item"]), a, b)
        return out

    def _judge(self, _: Any) -> None:
        if not self.rival.value:
            return
        other, a, b = self.rival.value
        try:
            self.inspection.judge(self.item, other, self.verdict.value, a, b)
        except (InputError, OSError) as e:
            self.judged.object = cards.framed(escape(str(e)))
            return
        self._verdicts()

    def _unjudge(self, _: Any) -> None:
        try:
            self.inspection.unjudge(self.item)
        except (InputError, OSError) as e:
            self.judged.object = cards.framed(escape(str(e)))
            return
        self._verdicts()

    def _verdicts(self) -> None:
        known = self.inspection.judgements
        ids = self.inspection.es.items["id"].astype(str)
        mine = known[known["id"] == ids.iloc[self.item]]
        self.back_off.visible = bool(len(mine))
        if not len(known):
            self.judged.object = ""
            return
        names = dict(zip(ids, self.inspection.items["name"].astype(str), strict=True))
        said = "".join(
            f"<li>{escape(names.get(r['other'], r['other']))}: {escape(r['verdict'])}</li>"
            for r in mine.to_dict("records")
        )
        count = f"{len(known)} judged in all"
        if usable := len(self.inspection.usable):
            use = f"workbench train … --set pairs={self.inspection.home}/judgements/pairs.csv"
            count += f", {usable} of training items: <span class='num' style='white-space:normal;overflow-wrap:anywhere'>{escape(use)}</span>"
        self.judged.object = cards.framed(f"<ul>{said}</ul><p class='caption'>{count}</p>")
