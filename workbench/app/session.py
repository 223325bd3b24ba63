"""What pages ask of the URL, and small pieces of HTML that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn

from workbench.explorer import cards


def every_asked() -> dict[str, str]:
    """All that the URL gives."""
    given = pn.state.session_args or {}
    return {k: v[0].decode(errors="replace") for k, v in given.items() if v}


def asked(name: str) -> str | None:
    """What the URL gives for a name."""
    return every_asked().get(name)


def scheduler() -> Callable[[Callable[[], None]], None]:
    """Does things in the turn of the page that is being made, from whatever thread; at once where there is no page."""
    document = pn.state.curdoc

    def schedule(f: Callable[[], None]) -> None:
        document.add_next_tick_callback(f) if document is not None else f()

    return schedule


def caption(text: str) -> Any:
    """A quiet line of a page; `text` is HTML already."""
    return pn.pane.HTML(cards.framed(f'<p class="caption">{text}</p>'))
