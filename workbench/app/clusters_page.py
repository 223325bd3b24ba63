"""Screen 6, clusters and safety: how far groups are apart, layer by layer, and which items sit in the wrong one."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
import torch

from workbench.app.plots import plot
from workbench.app.screens import screen
from workbench.app.session import Session, caption
from workbench.app.whatif_page import labels
from workbench.diagnostics.registry import asked, diagnostics
from workbench.diagnostics.scope import ROLES
from workbench.errors import InputError
from workbench.explorer import cards
from workbench.report.diagnose import diagnose
from workbench.report.slices import layers
from workbench.sets.columns import text as words
from workbench.sets.embeddings import EmbeddingSet
from workbench.views import figures

WRONG = 200  # items listed


@screen("clusters", 4)
class ClustersScreen:
    """Groups of a column: are they apart, and which items stand in the wrong one?"""

    def __init__(self, session: Session) -> None:
        self.session, self.inspection = session, session.inspection
        columns = labels(session)
        self.label = pmui.Select(label="classes", options=columns, width=180, size="small")
        self.modality = pmui.Select(
            label="modality", options=list(self.inspection.es.modalities), width=150, size="small"
        )
        self.roles = {r: pmui.Select(label=r, options=[], width=140, size="small") for r in ROLES}
        self.compute = pmui.Button(
            label="AVQI of these roles", variant="outlined", size="small", height=38, width=170, sizing_mode="fixed"
        )
        self.show = pmui.Button(
            label="show them on the map", variant="outlined", size="small", width=190, sizing_mode="fixed"
        )
        self.body = pn.Column(sizing_mode="stretch_width")
        self.safety = pn.Column()
        self.wrong = np.arange(0)
        for w in (self.label, self.modality):
            w.param.watch(lambda _: self.update(), "value")
        self.compute.on_click(self._avqi)
        self.show.on_click(lambda _: self.session.look(colour=self.label.value, items=self.wrong))
        if columns:
            self.update()

    def view(self) -> Any:
        """The page: pickers, indices with their nulls, the items in a wrong cluster."""
        if not self.label.options:
            return caption(
                "No column of the items has 2 to 50 values with several items each: there are no groups to see."
            )
        roles = pn.Row(*self.roles.values(), self.compute)
        left = pn.Column(self.session.picture(), sizing_mode="stretch_width")
        right = pn.Column(pn.Row(self.label, self.modality), self.body, roles, self.safety, width=620)
        return pn.Row(left, right, sizing_mode="stretch_width")

    def update(self) -> None:
        """Work out the indices for the chosen column and layer."""
        label, m = self.label.value, self.modality.value
        text = pd.Series(words(self.inspection.items[label]))
        classes = list(text[text != ""].value_counts().index)
        for k, (_, picker) in enumerate(self.roles.items()):
            picker.options = classes
            picker.value = classes[min(k, len(classes) - 1)]
        es = self.inspection.es.only([m])
        items = es.items.assign(**{label: text.to_numpy()})
        rows = {} if es.aligned(m) else {m: es.item_of_row(m)}
        labelled = EmbeddingSet({m: es[m]}, items, rows=rows, source=es.source)
        report = diagnose(labelled, label=label, only=[d.name for d in asked("labels")])
        said = [r for r in report.frame.to_dict("records") if r["reason"] is None]
        table = "".join(f"<tr><td>{escape(r['name'])}</td><td>{cards.measured(r)}</td></tr>" for r in said)
        rows_known = (text.to_numpy() != "")[es.item_of_row(m).numpy()]
        of = es.item_of_row(m).numpy()[rows_known]
        own = text.to_numpy()[of]
        near, matrix = centroids(self.inspection.unit(m)[torch.from_numpy(rows_known)], own)
        self.wrong = np.unique(of[near != own])
        listed = "".join(
            f"<tr><td>{escape(str(self.inspection.items['name'].iloc[i])[:60])}</td><td>{escape(text.iloc[i])}</td><td>{escape(str(n))}</td></tr>"
            for i, n in _first_wrong(of, near, own)
        )
        head = "<tr><th>item</th><th>its class</th><th>nearest centroid</th></tr>"
        self.body.objects = [
            pn.pane.HTML(cards.framed(f"<table>{table}</table>")),
            plot(figures.heat(matrix, "cosine of the classes' centroids"), height=380),
            pn.Row(
                caption(
                    f"{len(self.wrong):,} of {len(np.unique(of)):,} items lie nearer to another class's centroid (a row's own part in its centroid left out)"
                ),
                self.show,
            ),
            pn.pane.HTML(
                cards.framed(f"<div style='max-height:260px;overflow:auto'><table>{head}{listed}</table></div>")
            ),
        ]

    def _avqi(self, _: Any) -> None:
        given = {r: [p.value] for r, p in self.roles.items()}
        if len({v[0] for v in given.values()}) < 3:
            self.safety.objects = [caption("Choose three different classes for safe, unsafe and jailbreak.")]
            return
        measures = [d.name for d in asked("clusters")]
        try:
            if self.inspection.layered is not None:
                spread = [n for n, d in diagnostics().items() if d.layered and not d.labelling]
                one = self.inspection.layered.only([self.modality.value])
                frame = layers(one, label=self.label.value, roles=given, only=[*measures, *spread])
                wide = frame.pivot_table(index="name", columns="layer", values="value", sort=False)
                self.safety.objects = [
                    plot(
                        figures.heat(wide, "each measure by layer, from its least to its largest", scale=True),
                        height=320,
                    )
                ]
                return
            report = diagnose(
                self.inspection.es.only([self.modality.value]), label=self.label.value, roles=given, only=measures
            )
        except InputError as e:
            self.safety.objects = [caption(escape(str(e)))]
            return
        rows = "".join(
            f"<tr><td>{escape(r['name'])}</td><td>{cards.measured(r) if r['reason'] is None else escape(r['reason'])}</td></tr>"
            for r in report.frame.to_dict("records")
        )
        self.safety.objects = [
            pn.pane.HTML(cards.framed(f"<h4>Adversarial Vulnerability Quality Index</h4><table>{rows}</table>"))
        ]


def centroids(x: torch.Tensor, classes: np.ndarray) -> tuple[np.ndarray, pd.DataFrame]:
    """The class of the nearest centroid (by cosine) of each row, its own row left out, and the centroids' cosines."""
    codes, names = pd.factorize(classes, sort=True)
    at = torch.from_numpy(codes)
    total = torch.zeros(len(names), x.shape[1]).index_add_(0, at, x)
    unit = torch.nn.functional.normalize(total, dim=1)
    cosine = x @ unit.T
    without = torch.nn.functional.normalize(total[at] - x, dim=1)
    cosine[torch.arange(len(x)), at] = (x * without).sum(1)
    matrix = (unit @ unit.T).numpy()
    return np.asarray(names)[cosine.argmax(1).numpy()], pd.DataFrame(matrix, index=names, columns=names)


def _first_wrong(rows: np.ndarray, near: np.ndarray, own: np.ndarray) -> list[tuple[int, Any]]:
    at = np.flatnonzero(near != own)[:WRONG]
    return list(zip(rows[at].tolist(), near[at], strict=True))
