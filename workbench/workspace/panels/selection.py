"""The selection: every column, the selection against all, click or drag to select; what is unusual; saved, exported."""

from __future__ import annotations

import io
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError, unknown
from workbench.explorer import choice, colouring
from workbench.explorer.inspection import Inspection
from workbench.explorer.regions import words
from workbench.lists.suspects import Suspects
from workbench.lists.suspects import suspects as find_suspects
from workbench.lists.weak import Weak, weak_slices
from workbench.sets import columns
from workbench.workspace import charts
from workbench.workspace.charts import WORD, Column, Unusual
from workbench.workspace.html import act, button, quiet, select
from workbench.workspace.panel import Host, Panel, panel

WORDS = 12  # of the texts, shown
NAMES = 40  # values of a column when all are asked for


@panel("selection", "right", 2)
class Selection(Panel):
    """Counts and histograms of every column, what is unusual, and lists that become selections."""

    def __init__(self, visit: Host) -> None:
        super().__init__(visit)
        self.long: set[str] = set()  # columns whose every value is shown
        self.weak: Weak | None = None
        self.suspects: Suspects | None = None

    def html(self) -> str:
        """All charts."""
        names = colouring.measures(self.inspection)
        told = [charts.column(self.inspection, n) for n in names]
        told = [c for c in told if ((c.all > 0).sum() > 1 or c.missing) and len(c.names) <= charts.MANY]
        told.sort(key=lambda c: len(c.names))  # numbers first, then what has few values
        drawn = "".join(self._chart(c) for c in told) + self._words()
        how = quiet(
            "Blue: the selection, grey: all. Click a value, or drag over bins; Ctrl adds, Shift narrows, Alt takes away."
        )
        return self._keep() + self._unusual(names) + self._lists() + (how if names else "") + drawn

    # -- what it shows ---------------------------------------------------------------------------------------------

    def _keep(self) -> str:
        saved = self.inspection.selections
        some = self.map_state.selected.any()
        held = "" if some else "disabled"
        keep = '<input aria-label="name of the selection" placeholder="name, Enter saves"' + act("selection.save") + ">"
        opened = (
            select("saved", "selection.open", {"": "saved …", **{n: n for n in saved}}, "", shown=False)
            if saved
            else ""
        )
        files = button("CSV", "selection.csv", more=held) + button("Parquet", "selection.parquet", more=held)
        keep = keep if self.inspection.home is not None else ""
        return f'<div class="row">{keep}{opened}{files}</div>'

    def _unusual(self, names: list[str]) -> str:
        m = self.map_state
        if not m.selected.any() or m.selected.all():
            return ""
        # what it was chosen by is no news: neither the ranks of the worst, nor the column that was clicked
        by = {str(x) for s in m.steps for x in s.of if isinstance(x, str)}
        ranked = any(s.kind in ("worst", "near", "lasso") for s in m.steps)
        asked = [n for n in names if n not in by and not (ranked and colouring.direction(n))]
        found = [u for u in charts.unusual(self.inspection, m.selected, asked) if u.value not in by]
        if not found:
            return "<h3>Unusual about it</h3>" + quiet(
                "nothing that chance would not explain (false discovery rate 5 %)"
            )
        lines = "".join(
            f'<li><button class="value" style="display:block"{_asked(u)}>{escape(u.sentence)}</button></li>'
            if not u.value.startswith("above ")
            else f"<li>{escape(u.sentence)}</li>"
            for u in found[:6]
        )
        return f'<h3>Unusual about it</h3><ul class="cards">{lines}</ul>'

    def _lists(self) -> str:
        if not self.inspection.directions:
            return ""
        weak = button("find weak slices", "selection.find_weak")
        odd = button("find suspects", "selection.find_suspects")
        said = ""
        if self.weak is not None:
            lines = [
                f'<li><button class="card"{act("selection.slice", k)}>{escape(s)}</button></li>'
                for k, s in enumerate(self.weak.sentences)
                if len(self.weak.frame)
            ]
            said += f'<ul class="cards">{"".join(lines)}</ul>'
            said += "" if lines else "".join(quiet(s) for s in self.weak.sentences)
        if self.suspects is not None:
            kinds = list(dict.fromkeys(self.suspects.frame["kind"]))
            lines = [
                f'<li><button class="card"{act("selection.suspect", kind)}>{escape(s)}</button></li>'
                for kind, s in zip(kinds, self.suspects.sentences, strict=False)
            ]
            said += f'<ul class="cards">{"".join(lines)}</ul>' if lines else quiet("no suspects")
        return f'<h3>Lists</h3><div class="row">{weak}{odd}</div>{said}'

    def _chart(self, c: Column) -> str:
        chosen = c.counts(self.map_state.selected)
        missing = f"{c.missing:,} missing" if c.missing else ""
        head = f'<h3>{escape(c.name)}<span class="quiet">{missing}</span></h3>'
        body = self._bins(c, chosen) if len(c.edges) else self._values(c, chosen)
        return f'<section class="chart" data-key="{escape(c.name)}">{head}{body}</section>'

    def _words(self) -> str:
        """The words that the selection has more than its share of; without one, the most frequent."""
        selected = self.map_state.selected
        found = words(self.inspection)
        if not found:
            return ""
        counted = [(w, int(has.sum()), int(has[selected].sum())) for w, has in found.items()]
        counted.sort(key=lambda x: (-(x[2] ** 2) / x[1], -x[1]) if selected.any() else (0.0, -x[1]))
        top = max(n for _, n, _ in counted[:WORDS])
        rows = "".join(
            f'<button class="value"{act("selection.word", w)} data-key="{escape(w)}"><span class="name">{escape(w)}</span>'
            f'<span class="all" style="width:{100 * n / top:.1f}%"><span class="part" style="width:{100 * part / n:.1f}%">'
            f'</span></span><span class="num">{part:,} / {n:,}</span></button>'
            for w, n, part in counted[:WORDS]
        )
        return f'<section class="chart" data-key="words"><h3>words</h3>{rows}</section>'

    def _values(self, c: Column, chosen: np.ndarray) -> str:
        if not len(c.all):
            return quiet("no values")
        order = np.argsort(-chosen, kind="stable") if chosen.any() else np.arange(len(c.all))
        most = NAMES if c.name in self.long else charts.VALUES
        top = float(c.all.max())
        rows = []
        for k in order[:most]:
            k = int(k)
            all_, part = 100 * c.all[k] / top, 100 * chosen[k] / top
            rows.append(
                f'<button class="value"{act("selection.value", [c.name, c.names[k]])} data-key="{escape(c.names[k])}">'
                f'<span class="name">{escape(c.names[k][:60])}</span><span class="all" style="width:{all_:.1f}%">'
                f'<span class="part" style="width:{100 * part / max(all_, 1e-9):.1f}%"></span></span>'
                f'<span class="num">{chosen[k]:,} / {c.all[k]:,}</span></button>'
            )
        if len(c.all) > charts.VALUES:
            word = (
                "fewer" if c.name in self.long else f"{min(len(c.all), NAMES) - charts.VALUES:,} more of {len(c.all):,}"
            )
            rows.append(button(word, "selection.unfold", c.name, more='class="bare"'))
        return "".join(rows)

    def _bins(self, c: Column, chosen: np.ndarray) -> str:
        top = float(np.sqrt(c.all.max())) or 1.0  # heights by the root, so that small counts are seen
        cells = []
        for k, (n, part) in enumerate(zip(c.all.tolist(), chosen.tolist(), strict=True)):
            low, high = c.edges[k], c.edges[k + 1]
            said = f"{c.name} {low:,.4g} to {high:,.4g}: {part:,} of {n:,} selected"
            cells.append(
                f'<button class="bin" data-bin aria-label="{escape(said)}"{act("selection.bins", [c.name, k, k])}>'
                f'<i style="height:{100 * n**0.5 / top:.0f}%"></i><i style="height:{100 * part**0.5 / top:.0f}%"></i></button>'
            )
        ends = f'<div class="ends"><span>{c.edges[0]:,.4g}</span><span>{c.edges[-1]:,.4g}</span></div>'
        return f'<div class="bins">{"".join(cells)}</div>{ends}'

    # -- what a person does ----------------------------------------------------------------------------------------

    def on_value(self, value: Any, how: str) -> None:
        """The items with a value."""
        name, said = value
        self.map_state.choose("where", str(name), str(said), how=how)

    def on_word(self, value: Any, how: str) -> None:
        """The items that have a word in a text."""
        self.map_state.choose("word", str(value), how=how)

    def on_bins(self, value: Any, how: str) -> None:
        """The items in some bins, the first and the last of them given."""
        name, first, last = str(value[0]), int(value[1]), int(value[2])
        c = charts.column(self.inspection, name)
        low, high = float(c.edges[first]), float(c.edges[last + 1])
        if last + 1 < len(c.edges) - 1:
            high = float(np.nextafter(high, -np.inf))  # a bin has its lower end and not its upper one
        self.map_state.choose("between", name, low, high, how=how)

    def on_unfold(self, value: Any, how: str) -> None:
        """All values of a column, or a few again."""
        self.long ^= {str(value)}
        self.redraw()

    def on_save(self, value: Any, how: str) -> None:
        """Keep the selection by a name."""
        name = str(value).strip()
        if not name:
            return
        m = self.map_state
        if not m.selected.any():
            raise InputError("nothing is selected, so there is nothing to save")
        file = self.inspection.save_selection(name, m.ids, view=m.view, colour=m.colour, by=self.visit.chosen_words)
        self.visit.say(f"saved {len(m.ids):,} items: workbench report {self.inspection.home} --selection '{file.stem}'")
        self.redraw()

    def on_open(self, value: Any, how: str) -> None:
        """A selection that was saved."""
        if value:
            self.map_state.choose("saved", str(value))

    def _plain(self) -> pd.DataFrame:
        frame = self.map_state.frame
        plain = frame[[c for c in frame if not columns.holds_bytes(frame[c])]].reset_index(drop=True)
        known = self.inspection.judgements
        said = known.groupby("id")["verdict"].agg("; ".join)
        return plain.assign(verdict=plain["id"].astype(str).map(said).fillna("")) if len(known) else plain

    def on_csv(self, value: Any, how: str) -> None:
        """The selection as CSV, ranks and verdicts with it."""
        self.visit.hand(f"{self.inspection.name}.csv", "text/csv", self._plain().to_csv(index=False).encode())

    def on_parquet(self, value: Any, how: str) -> None:
        """The selection as Parquet."""
        out = io.BytesIO()
        self._plain().to_parquet(out, index=False)
        self.visit.hand(f"{self.inspection.name}.parquet", "application/octet-stream", out.getvalue())

    def on_find_weak(self, value: Any, how: str) -> None:
        """Look for slices that are found less well."""

        def then(found: Weak) -> None:
            self.weak = found
            self.redraw()

        self.visit.aside("weak slices are looked for", lambda: weak_slices(self.inspection.whole), then)

    def on_find_suspects(self, value: Any, how: str) -> None:
        """Look for pairs that are probably wrong, and their kin."""

        def then(found: Suspects) -> None:
            self.suspects = found
            self.redraw()

        self.visit.aside("suspects are looked for", lambda: find_suspects(self.inspection.whole), then)

    def on_slice(self, value: Any, how: str) -> None:
        """The items of a weak slice."""
        if self.weak is not None:
            self._select(self.weak.ids(int(value)), how)

    def on_suspect(self, value: Any, how: str) -> None:
        """The items of a kind of suspects."""
        if self.suspects is not None:
            frame = self.suspects.frame
            self._select(frame.loc[frame["kind"] == value, "id"].unique().tolist(), how)

    def _select(self, ids: list[str], how: str) -> None:
        new = np.zeros(len(self.map_state.selected), dtype=bool)
        new[self.inspection.places(ids)] = True
        self.map_state.select(choice.merged(self.map_state.selected, new, how))


def _asked(u: Unusual) -> str:
    """The act that selects what is unusual."""
    return act("selection.word", u.value) if u.column == WORD else act("selection.value", [u.column, u.value])


@choice.kind("word", lambda word: f"with the word {word!r} in a text")
def word(inspection: Inspection, asked: str) -> np.ndarray:
    """The items that have a whole word in one of their texts."""
    found = words(inspection)
    if asked not in found:
        raise unknown("word of the texts", asked, found)
    return found[asked]
