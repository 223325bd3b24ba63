"""Clusters: own class against the nearest centroid, cells that select; measures with their nulls; layers, and roles."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd

from workbench.diagnostics.registry import asked, diagnostics
from workbench.diagnostics.scope import ROLES
from workbench.errors import InputError
from workbench.explorer.cards import measured
from workbench.explorer.inspection import Inspection
from workbench.report.diagnose import diagnose
from workbench.report.slices import layers
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.views.document import number
from workbench.workspace.classes import Nearest, labels, nearest
from workbench.workspace.html import button, quiet, select
from workbench.workspace.panel import Host, Panel, panel

CELLS = 14  # classes of the matrix; the rest is reached by the table
ROLE_WORDS = ("safe", "harm", "jailbreak", "attack", "refus", "benign", "toxic")


@panel("clusters", "right", 3)
class Clusters(Panel):
    """Groups of a column: are they apart, and which items stand in the wrong one?"""

    def __init__(self, visit: Host) -> None:
        super().__init__(visit)
        self.columns = self.inspection.once("labels", lambda: labels(self.inspection))
        self.label, self.modality = self.columns[0], self.inspection.es.modalities[0]
        self.measures: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.layered: dict[tuple[str, str], pd.DataFrame] = {}
        self.roles: dict[str, str] = {}
        self.safety = ""

    @classmethod
    def fits(cls, inspection: Inspection) -> bool:
        """Sets with a column that could be classes."""
        return bool(inspection.once("labels", lambda: labels(inspection)))

    def html(self) -> str:
        """The matrix, the measures, the layers, the roles."""
        pickers = select("classes", "clusters.by", self.columns, self.label)
        if len(self.inspection.es.modalities) > 1:
            pickers += select("modality", "clusters.of", self.inspection.es.modalities, self.modality)
        found = nearest(self.inspection, self.label, self.modality)
        wrong = int((found.own != found.near).sum())
        all_wrong = button("select them", "clusters.cell", ["", ""], more="" if wrong else "disabled")
        said = (
            f'<p><span class="num">{wrong:,}</span> of <span class="num">{len(found.own):,}</span> rows lie nearer to another '
            f"class's centroid than to their own; nearest-centroid accuracy {number(found.accuracy)}. {all_wrong}</p>"
        )
        return f'<div class="row">{pickers}</div>{said}{self._matrix(found)}{self._measures()}{self._layers()}{self._roles()}'

    def _matrix(self, found: Nearest) -> str:
        counts = found.matrix
        names = list(counts.index)[:CELLS]
        head = "".join(
            f'<th title="{escape(n)}" aria-label="{escape(n)}" scope="col">{escape(n[:4])}</th>' for n in names
        )
        rows = []
        for own in names:
            total = max(1, int(counts.loc[own].sum()))
            cells = []
            for near in names:
                n = int(counts.loc[own, near])
                share = n / total
                back = "var(--good)" if own == near else "var(--bad)"
                shade = f"background:color-mix(in srgb,{back} {45 * share:.0f}%,transparent)"
                word = f"{own}, nearest to {near}: {n:,}"
                if n:
                    more = f'style="{shade}" aria-label="{escape(word)}"'
                    cells.append(f"<td>{button(f'{n:,}', 'clusters.cell', [own, near], more=more)}</td>")
                else:
                    cells.append("<td></td>")
            one = button(own, "clusters.cell", [own, ""], more='class="bare" style="text-align:left"')
            rows.append(f'<tr><th scope="row" title="{escape(own)}">{one}</th>{"".join(cells)}</tr>')
        more = f"the {CELLS} largest of {len(counts)} classes; " if len(counts) > CELLS else ""
        about = quiet(
            f"{more}own class down, nearest centroid across; a cell selects its items, a name those that stray"
        )
        return f'<div class="wide"><table class="matrix"><tr><th></th>{head}</tr>{"".join(rows)}</table></div>{about}'

    def _measures(self) -> str:
        key = (self.label, self.modality)
        if key not in self.measures:
            return button("measure how far they are apart", "clusters.measure")
        lines = "".join(f"<tr><td>{escape(r['name'])}</td><td>{measured(r)}</td></tr>" for r in self.measures[key])
        return f"<h3>How far apart</h3><table>{lines}</table>"

    def _layers(self) -> str:
        if self.inspection.layered is None:
            return ""
        key = (self.label, self.modality)
        if key not in self.layered:
            return " " + button("layer by layer", "clusters.by_layer")
        frame = self.layered[key]
        known = diagnostics()
        at = sorted(frame["layer"].unique())
        head = "".join(f'<th class="num">{k}</th>' for k in at)
        rows = []
        for name, part in frame.groupby("name", sort=False):
            value = part.set_index("layer")["value"]
            null = part.set_index("layer")[["null_low", "null_high"]]
            better = {"higher": " ↑", "lower": " ↓"}.get(known[str(name)].better or "", "")
            cells = []
            for k in at:
                inside = bool(null.loc[k, "null_low"] <= value[k] <= null.loc[k, "null_high"])
                cells.append(f'<td class="num{" quiet" if inside else ""}">{number(value[k])}</td>')
            rows.append(f"<tr><td>{escape(str(name))}{better}</td>{''.join(cells)}</tr>")
        about = quiet("↑ higher is better, ↓ lower; pale: within what chance gives")
        return f"<h3>Layer by layer</h3><table><tr><th>layer</th>{head}</tr>{''.join(rows)}</table>{about}"

    def _roles(self) -> str:
        values = columns.codes(self.inspection.items[self.label])[1]
        if len(values) < 3 or not any(w in v.lower() for v in values for w in ROLE_WORDS):
            return ""
        some = {"": "–", **{v: v for v in values}}
        pickers = "".join(select(r, f"clusters.role_{r}", some, self.roles.get(r, "")) for r in ROLES)
        return f'<h3>Roles</h3><div class="row">{pickers}{button("AVQI", "clusters.avqi")}</div>{self.safety}'

    # -- what a person does ----------------------------------------------------------------------------------------

    def on_by(self, value: Any, how: str) -> None:
        """Classes by another column."""
        if value in self.columns:
            self.label, self.roles, self.safety = str(value), {}, ""
            self.map_state.paint(self.label)
            self.visit.redraw("right", "tools")

    def on_of(self, value: Any, how: str) -> None:
        """Another modality."""
        if value in self.inspection.es.modalities:
            self.modality = str(value)
            self.redraw()

    def on_cell(self, value: Any, how: str) -> None:
        """The items of a cell of the matrix."""
        own, near = (str(x) for x in value)
        if self.map_state.colour != self.label:
            self.map_state.paint(self.label)
        self.map_state.choose("cluster", self.label, self.modality, own, near, how=how)

    def _labelled(self) -> EmbeddingSet:
        es = self.inspection.es.only([self.modality])
        text = columns.text(self.inspection.items[self.label])
        rows = {} if es.aligned(self.modality) else {self.modality: es.item_of_row(self.modality)}
        items = es.items.assign(**{self.label: pd.Series(text).where(pd.Series(text) != "").to_numpy()})
        return EmbeddingSet({self.modality: es[self.modality]}, items, rows=rows, source=es.source)

    def on_measure(self, value: Any, how: str) -> None:
        """Work out the indices of the clusters."""
        key = (self.label, self.modality)

        def work() -> list[dict[str, Any]]:
            report = diagnose(self._labelled(), label=key[0], only=[d.name for d in asked("labels")])
            return [r for r in report.frame.to_dict("records") if r["reason"] is None]

        def then(found: list[dict[str, Any]]) -> None:
            self.measures[key] = found
            self.redraw()

        self.visit.aside("the clusters are measured", work, then)

    def on_by_layer(self, value: Any, how: str) -> None:
        """Each measure at each layer."""
        key = (self.label, self.modality)
        if self.inspection.layered is None:
            raise InputError("these rows have no layers")
        one = self.inspection.layered.only([self.modality])
        spread = [n for n, d in diagnostics().items() if d.layered and not d.labelling]
        names = [*(d.name for d in asked("labels") if d.layered), *spread]

        def then(found: pd.DataFrame) -> None:
            self.layered[key] = found
            self.redraw()

        self.visit.aside("every layer is measured", lambda: layers(one, label=key[0], only=names), then)

    def _take_role(self, role: str, value: Any) -> None:
        self.roles[role] = str(value)

    def on_role_safe(self, value: Any, how: str) -> None:
        """Which value is safe."""
        self._take_role("safe", value)

    def on_role_unsafe(self, value: Any, how: str) -> None:
        """Which value is unsafe."""
        self._take_role("unsafe", value)

    def on_role_jailbreak(self, value: Any, how: str) -> None:
        """Which value is a jailbreak."""
        self._take_role("jailbreak", value)

    def on_avqi(self, value: Any, how: str) -> None:
        """The Adversarial Vulnerability Quality Index of the roles; of each layer where there are layers."""
        given = {r: [self.roles[r]] for r in ROLES if self.roles.get(r)}
        if len({v[0] for v in given.values()}) < len(ROLES):
            raise InputError(f"choose three different values for {', '.join(ROLES)}")
        label, names = self.label, [d.name for d in asked("clusters")]
        whole = self.inspection.layered if self.inspection.layered is not None else self.inspection.es
        one = whole.only([self.modality])

        def work() -> pd.DataFrame:
            if one.layers:
                return layers(one, label=label, roles=given, only=names)
            return diagnose(one, label=label, roles=given, only=names).frame.assign(layer=0)

        def then(frame: pd.DataFrame) -> None:
            rows = "".join(
                f"<tr><td>{escape(r['name'])}</td><td>{r['layer'] if one.layers else ''}</td>"
                f"<td>{measured(r) if r['reason'] is None else escape(r['reason'])}</td></tr>"
                for r in frame.to_dict("records")
            )
            self.safety = f"<table>{rows}</table>"
            self.redraw()

        self.visit.aside("the roles are measured", work, then)
