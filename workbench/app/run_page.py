"""One run: sentences left, the map in the middle, the evidence and the pair card right, metrics over steps below."""

from __future__ import annotations

from functools import partial
from html import escape
from threading import Thread
from typing import Any

import panel as pn
import panel_material_ui as pmui

from workbench.app.cards import five, framed, legend, measured, picture, said
from workbench.app.data import Study, study
from workbench.datasets import ATTRIBUTION
from workbench.report import HEADLINES
from workbench.training.run import Run
from workbench.views import figures
from workbench.views.theme import style

VIEWS = {"PCA": "pca", "gap axis": "gap_axis", "centred PCA": "centred_pca", "UMAP": "umap"}
SHARES = '<span class="caption">solid: matched, dotted: mismatched; share of pairs by cosine</span>'
PLOT = {"displayModeBar": False, "responsive": True}


def run_page(run: Run, *, alone: bool) -> pn.viewable.Viewable:
    s = study(run)
    if s is None:
        return pn.pane.HTML(
            framed(f"<p>{escape(run.name)} has no snapshot yet: reload when it has trained a little.</p>")
        )
    return _Screen(s, alone).view()


class _Screen:
    """The state of one session on one run: which view, which item."""

    def __init__(self, s: Study, alone: bool) -> None:
        self.s, self.alone = s, alone
        self.view_picker = pmui.RadioButtonGroup(options=list(VIEWS), value="PCA", size="small")
        self.map = pn.pane.Plotly(self._map("pca"), config=PLOT, height=480)
        self.legend = framed(legend(s.es.modalities))
        self.status = pn.pane.HTML(self.legend, height=22)
        self.card = pn.pane.HTML(self._hint())
        self.view_picker.param.watch(self._choose, "value")
        self.map.param.watch(self._point, "click_data")
        self.map.param.watch(self._point, "hover_data")

    def view(self) -> pn.viewable.Viewable:
        s, a = self.s, self.s.report.about
        back = "" if self.alone else '<a href="?">← all runs</a> &nbsp; '
        head = (
            f"{back}<b>{escape(s.run.name)}</b> &nbsp; recipe {escape(s.run.config['recipe'])} · step {s.run.steps} · "
            f"{a['items']:,} items of the {s.split} split · data <span class='num'>{escape(a['fingerprint'])}</span>"
        )
        credit = f'<p class="caption">{escape(ATTRIBUTION)}</p>' if "color_png" in s.items else ""
        left = pn.Column(
            pn.pane.HTML(framed("<h4>Findings</h4>" + said(s.report.findings) + self._numbers())), width=400
        )
        metrics = pn.pane.Plotly(figures.metrics({s.run.name: s.run.metrics}), config=PLOT, height=420)
        middle = pn.Column(
            self.view_picker,
            self.status,
            self.map,
            pn.pane.HTML(framed("<h4>During training, on the validation split</h4>" + said(s.run.findings))),
            metrics,
            min_width=460,
        )
        right = pn.Column(
            self.card,
            pn.pane.HTML(framed("<h4>Matched and mismatched pairs</h4>" + SHARES)),
            pn.pane.Plotly(self._histogram(), config=PLOT, height=480),
            width=420,
        )
        return pn.Column(pn.pane.HTML(framed(head)), pn.Row(left, middle, right), pn.pane.HTML(framed(credit)))

    # -- parts -----------------------------------------------------------------------------------------------------

    def _numbers(self) -> str:
        rows = []
        f = self.s.report.frame
        for row in f[f["name"].isin(HEADLINES) & f["reason"].isna()].to_dict("records"):
            rows.append(
                f"<tr><td>{escape(row['name'])}<br><span class='null'>{escape(figures.subject(row))}</span></td><td>{measured(row)}</td></tr>"
            )
        return f"<h4>Numbers</h4><table>{''.join(rows)}</table>"

    def _histogram(self) -> Any:
        fig = figures.similarities(self.s.report, stacked=True)
        return fig.update_layout(showlegend=False)

    def _map(self, method: str) -> Any:
        fig = figures.scatter(self.s.map(method), list(self.s.items["name"]), height=480)
        return fig.update_layout(showlegend=False)

    def _hint(self) -> str:
        return framed(
            '<h4>Pair card</h4><p class="caption">Point at a mark on the map: its drawing, its ranks and the keys nearest to it stand here.</p>'
        )

    # -- events ----------------------------------------------------------------------------------------------------

    def _choose(self, event: Any) -> None:
        method = VIEWS[event.new]
        if method in self.s.maps or method != "umap":
            self.status.object = self.legend
            self.map.object = self._map(method)
            return
        self.status.object = framed(
            '<span class="caption">UMAP is being computed; the map changes when it is ready …</span>'
        )
        document = pn.state.curdoc

        def work() -> None:
            self.s.map(method)
            if document is not None:
                document.add_next_tick_callback(partial(self._ready, event.new))

        Thread(target=work, daemon=True).start()

    def _ready(self, name: str) -> None:
        if self.view_picker.value == name:
            self.status.object = self.legend
            self.map.object = self._map(VIEWS[name])

    def _point(self, event: Any) -> None:
        points = (event.new or {}).get("points", [])
        if not points:
            return
        projection = self.s.map(VIEWS[self.view_picker.value])
        names = list(style(dict.fromkeys(projection.modality)))
        modality = names[points[0]["curveNumber"]]
        within = points[0].get("pointIndex", points[0].get("pointNumber", 0))
        item = int(projection.item[projection.modality == modality][within])
        self.card.object = framed(self._pair_card(modality, item))

    def _pair_card(self, modality: str, item: int) -> str:
        row = self.s.items.iloc[item]
        drawings = picture(row.get("color_png")) + picture(row.get("sketch_png"))
        parts = [
            f"<h4>Pair card</h4>{drawings} <b>{escape(str(row['name']))}</b> <span class='caption'>{escape(modality)}</span>"
        ]
        ranks = self.s.report.items
        for other in self.s.es.modalities:
            if other == modality:
                continue
            there, here = (ranks.get(f"median_rank {a}→{b}") for a, b in ((modality, other), (other, modality)))
            if there is None or here is None:
                continue
            parts.append(
                f"<h4>{escape(modality)} ⇄ {escape(other)}: rank <span class='num'>{there[item]:,.0f} ⇄ {here[item]:,.0f}</span> "
                f"of {len(self.s.es):,}</h4>" + five(self.s.nearest(item, modality, other).to_dict("records"), other)
            )
        return "".join(parts)
