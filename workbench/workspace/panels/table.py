"""The drawer: the selection as a table, worst match first; a click shows the pair, a word filters."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import pandas as pd

from workbench.explorer import colouring
from workbench.explorer.cards import media
from workbench.sets import columns
from workbench.views.document import number
from workbench.workspace.html import act, button
from workbench.workspace.panel import Host, Panel, panel

PAGE = 60  # rows at once
WIDTH = 8  # columns shown until others are chosen


@panel("table", "drawer")
class Table(Panel):
    """Rows of the selection, or of all items where none is selected."""

    def __init__(self, visit: Host) -> None:
        super().__init__(visit)
        self.by = ""  # the column that orders the rows, first the worst match
        self.down = True
        self.start = 0
        self.word = ""
        self.every = False  # all items, and not the selection alone
        self.shown = self._every()[:WIDTH]

    def _every(self) -> list[str]:
        """The columns there are: the ranks first, which one looks for."""
        items = self.inspection.items
        plain = [str(c) for c in items if not columns.holds_bytes(items[c])]
        ranks = [f"{colouring.RANK}{a} → {b}" for a, b in self.inspection.directions]
        first = [c for c in ("id", "name") if c in plain]
        return [*first, *ranks[:2], *(c for c in plain if c not in first), *ranks[2:]]

    def _rows(self) -> np.ndarray:
        """The items in the order of the table."""
        m = self.map_state
        some = m.selected.any() and not self.every
        at = np.flatnonzero(m.selected) if some else np.arange(len(m.selected))
        if self.word:
            at = at[self.inspection.find(self.word)[at]]
        if not self.by:
            return self.inspection.worst_first(at)
        given = pd.Series(colouring.values(self.inspection, self.by))[at]
        order = given.sort_values(ascending=not self.down, na_position="last", kind="stable")
        return order.index.to_numpy()

    def html(self) -> str:
        """The rows of this page."""
        rows = self._rows()
        self.start = min(self.start, max(0, (len(rows) - 1) // PAGE * PAGE))
        now = self.visit.queue.item
        body = "".join(self._row(int(i), now) for i in rows[self.start : self.start + PAGE])
        head = "".join(self._head(c) for c in self.shown)
        pictures = self._pictures()
        return f"{self._bar(len(rows))}<table><thead><tr>{'<th></th>' if pictures else ''}{head}</tr></thead><tbody>{body}</tbody></table>"

    def _pictures(self) -> bool:
        return any(str(c).endswith("_png") for c in self.inspection.items)

    def _bar(self, count: int) -> str:
        word = f'<input type="search" aria-label="filter the table" placeholder="{"of all items" if self.every else "of the selection"}, rows with …" value="{escape(self.word)}"{act("table.filter")}>'
        last = min(count, self.start + PAGE)
        place = f'<span class="quiet">{self.start + 1 if count else 0:,} to {last:,} of {count:,}</span>'
        back = button("‹", "table.page", -1, more='aria-label="rows before"' + ("" if self.start else " disabled"))
        on = button("›", "table.page", 1, more='aria-label="rows after"' + ("" if last < count else " disabled"))
        boxes = "".join(
            f'<label><input type="checkbox"{" checked" if c in self.shown else ""}{act("table.column", c)}> {escape(c)}</label> '
            for c in self._every()
        )
        all_ = button("all items", "table.all", pressed=self.every)
        return f'<div class="row">{word}{all_}{back}{on}{place}<details class="pick" data-key="columns"><summary>columns</summary><div>{boxes}</div></details></div>'

    def _head(self, c: str) -> str:
        mark = (" ↓" if self.down else " ↑") if c == self.by else ""
        more = 'class="bare" aria-label="' + escape(f"order by {c}") + '"'
        return f"<th>{button(c + mark, 'table.order', c, more=more)}</th>"

    def _row(self, i: int, now: int) -> str:
        row = self.inspection.items.iloc[i]
        cells = [f"<td>{media(row.to_dict())}</td>"] if self._pictures() else []
        for c in self.shown:
            ranked = colouring.direction(c)
            if c not in self.inspection.items and ranked in self.inspection.directions:
                rank = self.inspection.ranks(*ranked)[i]
                cells.append(f'<td class="num">{"–" if rank != rank else f"{rank:,.10g}"}</td>')
                continue
            value = row[c]
            gone = bool(columns.missing(pd.Series([value]))[0])
            if gone:
                cells.append('<td class="quiet">missing</td>')
            elif isinstance(value, float):
                cells.append(f'<td class="num">{number(value)}</td>')
            else:
                cells.append(f"<td>{escape(columns.as_text(value)[:80])}</td>")
        mark = " data-now" if i == now else ""
        return f'<tr tabindex="0" role="button" data-key="r{i}"{mark}{act("table.show", i)}>{"".join(cells)}</tr>'

    # -- what a person does ----------------------------------------------------------------------------------------

    def on_show(self, value: Any, how: str) -> None:
        """Show the pair of a row; what is not selected yet is selected."""
        i = int(value)
        if not self.map_state.selected[i]:
            self.map_state.select([i])
        self.visit.queue.go_to(i)
        self.visit.open = "item"
        self.visit.redraw("right", "drawer")

    def on_all(self, value: Any, how: str) -> None:
        """All items, or the selection again."""
        self.every, self.start = not self.every, 0
        self.redraw()

    def on_order(self, value: Any, how: str) -> None:
        """Order by a column; again, the other way round."""
        self.down = not self.down if value == self.by else True
        self.by, self.start = str(value), 0
        self.redraw()

    def on_page(self, value: Any, how: str) -> None:
        """The rows before or after."""
        self.start = max(0, self.start + PAGE * int(value))
        self.redraw()

    def on_filter(self, value: Any, how: str) -> None:
        """Only rows with a word."""
        self.word, self.start = str(value).strip(), 0
        self.redraw()

    def on_column(self, value: Any, how: str) -> None:
        """Show a column, or hide it."""
        name, wanted = value
        self.shown = [c for c in self._every() if (c == name and wanted) or (c != name and c in self.shown)]
        self.redraw()
