"""The top bar: where one is, what is selected, undo; and the tools over the map: view, colour, search, table."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import urlencode

from workbench.errors import InputError
from workbench.report.finding import verdict
from workbench.workspace.html import act, button, select
from workbench.workspace.panel import Panel, panel


@panel("bar", "top")
class Bar(Panel):
    """Run, split and state; the verdict; how much is selected and by what."""

    def html(self) -> str:
        """The bar."""
        return self._where() + self._selected()

    def _where(self) -> str:
        s, around = self.inspection, self.visit.around
        count = f'<span class="num">{len(s.es):,}</span> items'
        if around is not None and s.other is not None:
            home = '<nav aria-label="where"><a href="?">← all runs</a></nav>'
            swap = urlencode({"compare": f"{s.other.name},{s.name}"})
            names = f"<b>A</b> {escape(s.name)} against <b>B</b> {escape(s.other.name)}"
            title = f'<h1 style="font-size:14px;margin:0;font-weight:400">{names}</h1>'
            return f'{home}{title}<span>{count} in both</span><a href="?{escape(swap)}">swap A and B</a>'
        if around is None:
            return f"<b>{escape(s.name)}</b><span>{count}</span>{self._verdict()}"
        home = (
            '<nav aria-label="where"><a href="?">← all runs</a></nav>' if len(around.others) > 1 else "<b>workbench</b>"
        )
        runs = {urlencode({"run": n}): n for n in around.others}
        here = urlencode({"run": around.name})
        name = f'<h1 style="font-size:14px;margin:0">{escape(around.name)}</h1>'
        picker = select("run", "page.go", runs, here, shown=False) if len(runs) > 1 else name
        splits = {urlencode({"run": around.name, "split": x}): x for x in around.splits}
        chosen = urlencode({"run": around.name, "split": s.split})
        split = select("split", "page.go", splits, chosen) if splits else ""
        recipe = f"{escape(s.run.config['recipe'])}, step {s.run.steps:,}" if s.run else "set"
        live = around.live()
        state = f'<span class="bad">{escape(live)}</span>' if live else ""
        return f"{home}{picker}{split}<span>{recipe} · {count}</span>{state}{self._verdict()}"

    def _verdict(self) -> str:
        s = self.inspection
        if s.other is not None:
            return ""
        if not s.diagnosed:
            return '<span class="quiet">being diagnosed …</span>'
        word = verdict(s.report.findings)
        tone = "good" if word == "healthy" else "bad"
        return f'<span class="{tone}">{escape(word)}</span>'

    def _selected(self) -> str:
        count = int(self.map_state.selected.sum())
        words = self.visit.chosen_words
        said = f'<span class="num">{count:,}</span> of <span class="num">{len(self.inspection.es):,}</span> selected'
        why = f'<span class="quiet why" title="{escape(words)}">{escape(words)}</span>' if words else ""
        clear = f'<button class="bare" aria-label="clear the selection"{act("page.clear")}>✕</button>' if count else ""
        undo = button("↶", "page.undo", more='aria-label="undo"') + button("↷", "page.redo", more='aria-label="redo"')
        return f'<span class="push chosen">{said}</span>{why}{clear}{undo}{button("Ctrl K", "page.palette")}'

    def commands(self) -> list[dict[str, Any]]:
        """Undo and its kin, and every panel."""
        said = {"page.undo": "undo", "page.redo": "redo", "page.clear": "clear the selection", "page.drawer": "table"}
        plain = [{"say": say, "act": name, "value": None} for name, say in said.items()]
        right = [p.name for p in self.visit.panels.values() if p.place == "right"]
        return plain + [{"say": f"open {n}", "act": "page.open", "value": n} for n in right]


@panel("tools", "tools")
class Tools(Panel):
    """View, colour, search, and the table."""

    def html(self) -> str:
        """One row."""
        m = self.map_state
        find = '<input type="search" aria-label="find" placeholder="find in any column"' + act("tools.find") + ">"
        table = button("table", "page.drawer", pressed=self.visit.drawer)
        return (
            select("view", "tools.view", m.views, m.view) + select("colour", "tools.colour", m.colours, m.colour) + find
        ) + table

    def on_view(self, value: Any, how: str) -> None:
        """Another view."""
        self.visit.show(str(value))

    def on_colour(self, value: Any, how: str) -> None:
        """Another colour."""
        self.map_state.paint(str(value))
        self.redraw()

    def on_find(self, value: Any, how: str) -> None:
        """Select what has a text; what selects nothing changes nothing."""
        text = str(value).strip()
        if not text:
            return
        if not self.inspection.find(text).any():
            raise InputError(f"no item has {text!r} in any column; the selection stays as it was")
        self.map_state.choose("find", text)
        where = self.inspection.found_in(text)
        self.visit.say(f"{int(self.map_state.selected.sum()):,} items with {text!r}, in {', '.join(where)}")

    def commands(self) -> list[dict[str, Any]]:
        """Every view and every colour."""
        views = [{"say": f"view: {v}", "act": "tools.view", "value": v} for v in self.map_state.views]
        colours = [{"say": f"colour by {c}", "act": "tools.colour", "value": c} for c in self.map_state.colours]
        return views + colours
