"""Search by meaning: a text goes through what made the set, and stands among the items of every modality."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import Any

from workbench.explorer import meaning
from workbench.explorer.cards import media
from workbench.explorer.inspection import Inspection
from workbench.workspace.html import act, cosine_bar, quiet, told
from workbench.workspace.panel import Host, Panel, panel

HINT = "Type what you look for; it need not be a word of any column."


@panel("search", "right", 5)
class Search(Panel):
    """The nearest items to a text, a list a modality."""

    def __init__(self, visit: Host) -> None:
        super().__init__(visit)
        self.text = ""

    @classmethod
    def fits(cls, inspection: Inspection) -> bool:
        """Sets and runs that a text can be put into."""
        return inspection.other is None and meaning.can_be_asked(inspection)

    def html(self) -> str:
        """The text and what is nearest to it."""
        box = (
            '<input type="search" aria-label="search by meaning" placeholder="a text …" style="flex:1" '
            f'value="{escape(self.asked)}"{act("search.ask")}>'
        )
        if not self.asked:
            return f'<div class="row">{box}</div>{quiet(HINT)}'
        found = meaning.nearest(self.inspection, self.asked)
        shown = self.visit.queue.item
        lists = "".join(
            f"<h3>in {escape(m)}</h3>{''.join(self._line(m, i, cosine, shown) for i, cosine in items)}"
            for m, items in found.items()
        )
        return f'<div class="row">{box}</div>{lists}'

    @property
    def asked(self) -> str:
        """The text that the selection is of, else the last one that was typed."""
        texts = [str(s.of[0]) for s in self.map_state.steps if s.kind == "meaning"]
        return texts[-1] if texts else self.text

    def _line(self, modality: str, item: int, cosine: float, shown: int) -> str:
        row = self.inspection.items.iloc[item].to_dict()
        said = told(row, f"{modality}_text")
        tone = " now" if item == shown else ""
        name = f'<button class="bare text two"{act("search.show", item)}>{escape(said)}</button>'
        return (
            f'<div class="meet{tone}" data-key="{escape(modality)}{item}">{media(row, modality)}<div class="what">{name}'
            f"<div>{cosine_bar(cosine)}</div></div></div>"
        )

    # -- what a person does ----------------------------------------------------------------------------------------

    def on_ask(self, value: Any, how: str) -> None:
        """Look for a text; the encoder may have to be read first."""
        text = str(value).strip()
        if not text:
            return

        def then(_: Any) -> None:
            self.text = text
            self.map_state.choose("meaning", text)
            self.redraw()

        self.visit.aside(f"{text!r} is looked for", partial(meaning.nearest, self.inspection, text), then)

    def on_show(self, value: Any, how: str) -> None:
        """Ring one of the items, whose pair then stands under `item`."""
        item = int(value)
        if not self.map_state.selected[item]:
            self.map_state.select([item])
        self.visit.queue.go_to(item)
        self.map_state.ring_at(item)
        self.redraw()

    def commands(self) -> list[dict[str, Any]]:
        """Where it is."""
        return [{"say": "search by meaning", "act": "page.open", "value": self.name}]
