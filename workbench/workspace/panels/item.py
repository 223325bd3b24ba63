"""The item: a query, its match, who ranks before it, and what a person says of them; 1 2 3 judge, J and K go on."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from workbench.errors import InputError
from workbench.explorer.cards import media
from workbench.explorer.inspection import QueryResult
from workbench.sets import columns
from workbench.sets.run_folder import VERDICTS
from workbench.views.document import number
from workbench.workspace.html import button, cosine_bar, quiet, select, told
from workbench.workspace.panel import Host, Panel, panel

LINES = 4  # text columns of the item
HELD = "Held out of training: a verdict is for evaluation, no training can use it."
TRAINS = "Of the train split: workbench train … --set pairs=FILE uses what is judged."


@panel("item", "right", 1)
class Item(Panel):
    """One item of the selection after another, worst match first."""

    def __init__(self, visit: Host) -> None:
        super().__init__(visit)
        self.text = self._told_by()  # the column that stands beside each rival
        self._last: list[tuple[int, int]] = []  # what was judged here, for one to take back

    @property
    def direction(self) -> tuple[str, str]:
        """The direction that is looked in."""
        return self.visit.queue.direction

    def result(self, item: int) -> QueryResult | None:
        """How the item's query meets its match, worked out once."""
        if self.direction not in self.inspection.directions:
            return None
        a, b = self.direction
        return self.inspection.once(("query", item, a, b), lambda: self.inspection.query_result(item, a, b))

    # -- what it shows ---------------------------------------------------------------------------------------------

    def html(self) -> str:
        """The item and its rivals."""
        queue = self.visit.queue
        item = queue.item
        self.map_state.ring_at(item)
        if item < 0:
            return quiet("Click a point, or draw around some: the pair stands here, with who beats it.")
        place = f'<span class="quiet">{queue.at + 1:,} of {len(queue.items):,}, worst match first</span>'
        back = button("‹ K", "item.step", -1, more='aria-label="previous item"')
        on = button("J ›", "item.step", 1, more='aria-label="next item"')
        pickers = f'<div class="row">{back}{on}{place}</div><div class="row">{self._direction()}{self._columns()}</div>'
        return pickers + self._about(item) + self._meeting(item)

    def _direction(self) -> str:
        every = {f"{a} → {b}": f"{a} → {b}" for a, b in self.inspection.directions}
        return select("pair", "item.turn", every, " → ".join(self.direction)) if len(every) > 1 else ""

    def _texts(self) -> list[str]:
        """The columns with words: what tells items apart first."""
        items = self.inspection.items
        return [str(c) for c in items if c != "name" and not columns.holds_bytes(items[c])]

    def _told_by(self) -> str:
        """Where an item has no name, the first column with words that differ from item to item."""
        items = self.inspection.items
        if not (items["name"] == items["id"]).all():
            return ""
        head = items.head(200)
        for c in self._texts():
            words = columns.text(head[c])
            if c != "id" and head[c].dtype.kind not in "fiub" and len(set(words)) > len(head) / 4:
                return c
        return ""

    def _columns(self) -> str:
        return select("beside each", "item.beside", {"": "name", **{c: c for c in self._texts()}}, self.text)

    def _about(self, item: int) -> str:
        row = self.inspection.items.iloc[item].to_dict()
        said = []
        for c in self._texts():
            value = columns.as_text(row[c]) if row.get(c) is not None and row[c] == row[c] else ""
            value = number(row[c]) if value and isinstance(row[c], float) else value
            if value and value != str(row["name"]):
                said.append(f'<p class="text two"><span class="quiet">{escape(c)}</span> {escape(value[:300])}</p>')
        more = "".join(said[LINES:])
        rest = (
            f'<details data-key="more"><summary>{len(said) - LINES} more columns</summary>{more}</details>'
            if more
            else ""
        )
        near = "".join(
            button(f"nearest in {m}", "item.near", m, more='class="bare"') for m in self.inspection.es.modalities
        )
        return (
            f'<div class="row"><h2 class="text">{escape(str(row["name"])[:200])}</h2></div>'
            f'{"".join(said[:LINES])}{rest}<div class="row">{near}</div>'
        )

    def _meeting(self, item: int) -> str:
        if self.direction not in self.inspection.directions:
            return quiet("There are no two modalities of one width here, so nothing ranks.")
        a, b = self.direction
        m = self.result(item)
        if m is None:
            return quiet(f"{a} or {b} is missing for this item.")
        gallery = len(self.inspection.es[b])
        margin = "" if m.margin != m.margin else f" · margin {m.margin:+.2f}"
        head = (
            f"<h3>{escape(a)} → {escape(b)}: its match ranks {number(m.rank) if m.rank % 1 else f'{m.rank:,.0f}'} of "
            f"{gallery:,}</h3>" + quiet(f"back {m.back:,.0f}{margin}; chance would be {(gallery + 1) / 2:,.0f}")
        )
        row = self.inspection.items.iloc[item].to_dict()
        asked = self._line(row | {"cosine": float("nan")}, a, "the query", "")
        near = m.nearest.to_dict("records")
        beaten, now = True, self._next_rival(item, m)
        lines = []
        for r in near:
            other = int(r["item"])
            if other == item:
                beaten = False
                lines.append(self._line(r, b, "the match", " match"))
            else:
                verdicts = self._verdicts(item, other) if beaten and self.inspection.home else ""
                lines.append(self._line(r, b, "before it" if beaten else "", " now" if other == now else "", verdicts))
        if beaten:
            own = float(self._own(m))
            lines.append(self._line(row | {"cosine": own}, b, f"the match, at rank {m.rank:,.0f}", " match"))
        return head + asked + "".join(lines) + self._judged()

    def _own(self, m: QueryResult) -> float:
        """The cosine of the match: its margin over the best non-match, which is the first that is not the item."""
        others = [r["cosine"] for r in m.nearest.to_dict("records") if r["item"] != m.item]
        return m.margin + others[0] if others else float("nan")

    def _line(self, row: Mapping[Any, Any], modality: str, role: str, tone: str, more: str = "") -> str:
        said = told(row, self.text or f"{modality}_text")
        who = f' <span class="quiet">{escape(role)}</span>' if role else ""
        return (
            f'<div class="meet{tone}">{media(row, modality)}<div class="what"><div class="text two">{escape(said)}</div>'
            f"{cosine_bar(row['cosine'])}{who}{more}</div></div>"
        )

    def _verdicts(self, item: int, other: int) -> str:
        known, ids = self.inspection.judgements, self.inspection.es.items["id"].astype(str)
        same = known[(known["id"] == ids.iloc[item]) & (known["other"] == ids.iloc[other])]
        said = same["verdict"].iloc[0] if len(same) else ""
        buttons = "".join(
            button(f"{k + 1} {v}", "item.judge", [k, item, other], pressed=v == said) for k, v in enumerate(VERDICTS)
        )
        return f'<div class="verdicts">{buttons}</div>'

    def _judged(self) -> str:
        s = self.inspection
        if self.visit.inspection.other is not None:
            return ""
        if s.home is None:
            return quiet("This set is in memory only: save it to keep verdicts with it.")
        known = s.judgements
        item = self.visit.queue.item
        learns = bool(s.trainable[item])
        use = TRAINS if learns else HELD
        around = self.visit.around
        train = ""
        if not learns and s.run is not None and around is not None:
            train = f' <a href="?run={escape(around.name)}&amp;split=train">judge train items</a>'
        count = ""
        if len(known):
            usable = len(s.usable)
            count = f"<p>{len(known):,} judged{button('take back the last (U)', 'item.unjudge', more='class=bare')}</p>"
            if usable:
                command = f"workbench train … --set pairs={s.home}/judgements/pairs.csv"
                count += f'<p class="quiet">{usable:,} of train items: <span class="num" style="white-space:normal;overflow-wrap:anywhere">{escape(command)}</span></p>'
        return f'<p class="quiet">{escape(use)}{train}</p>{count}'

    # -- what a person does ----------------------------------------------------------------------------------------

    def _rivals(self, m: QueryResult | None) -> list[int]:
        """The non-matches among those shown that rank before the match, nearest first."""
        out: list[int] = []
        for other in m.nearest["item"] if m is not None and m.rank > 1 else ():
            if int(other) == m.item:  # type: ignore[union-attr]
                break
            out.append(int(other))
        return out

    def _next_rival(self, item: int, m: QueryResult | None) -> int:
        """The nearest rival that nothing is said of yet, −1 where there is none."""
        known, ids = self.inspection.judgements, self.inspection.es.items["id"].astype(str)
        said = set(known.loc[known["id"] == ids.iloc[item], "other"])
        return next((r for r in self._rivals(m) if ids.iloc[r] not in said), -1)

    def on_step(self, value: Any, how: str) -> None:
        """The next item, or the one before."""
        self.visit.queue.step(int(value))
        self.visit.redraw("right", "drawer")

    def on_turn(self, value: Any, how: str) -> None:
        """Another direction."""
        a, _, b = str(value).partition(" → ")
        self.visit.queue.turn(a, b)
        self.redraw()

    def on_beside(self, value: Any, how: str) -> None:
        """Another column beside each rival."""
        self.text = str(value) if value in self._texts() else ""
        self.redraw()

    def on_near(self, value: Any, how: str) -> None:
        """Select the items nearest to this one; it stays the one that is shown."""
        shown = self.visit.queue.item
        self.map_state.choose("near", str(self.inspection.es.items["id"].iloc[shown]), str(value))
        self.visit.queue.go_to(shown)
        self.redraw()

    def on_judge(self, value: Any, how: str) -> None:
        """Say what a rival is: a button names both, a key means the next rival and goes on to the next item."""
        if isinstance(value, list):
            verdict, item, other = VERDICTS[int(value[0])], int(value[1]), int(value[2])
            self._write(item, other, verdict)
            self.redraw()
            return
        item = self.visit.queue.item
        other = self._next_rival(item, self.result(item)) if item >= 0 else -1
        if other < 0:
            self.visit.say("nothing ranks before this item's match, or all of it is judged; J goes on")
            return
        self._write(item, other, VERDICTS[int(value)])
        names = self.inspection.items["name"].astype(str)
        self.visit.say(f"{names.iloc[item]} / {names.iloc[other]}: {VERDICTS[int(value)]} · U takes it back")
        self.visit.queue.step(1)
        self.visit.redraw("right", "drawer")

    def _write(self, item: int, other: int, verdict: str) -> None:
        self.inspection.judge(item, other, verdict, *self.direction)
        self._last.append((item, other))

    def on_unjudge(self, value: Any, how: str) -> None:
        """Take back the last verdict that was given here, and show its item."""
        if not self._last:
            raise InputError("nothing was judged on this page yet")
        item, other = self._last.pop()
        self.inspection.unjudge(item, other)
        self.visit.queue.go_to(item)
        self.visit.redraw("right", "drawer")
