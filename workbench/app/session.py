"""What pages ask of the URL, and small pieces of HTML that they share."""

from __future__ import annotations

from typing import Any

import panel as pn

from workbench.explorer import cards


def asked(name: str) -> str | None:
    """What the URL gives for a name."""
    values = (pn.state.session_args or {}).get(name, [])
    return values[0].decode(errors="replace") if values else None


def every_asked() -> dict[str, str]:
    """All that the URL gives."""
    given = pn.state.session_args or {}
    return {k: v[0].decode(errors="replace") for k, v in given.items() if v}


def head(text: str) -> Any:
    """A small heading of a page; `text` is HTML already."""
    return pn.pane.HTML(cards.framed(f"<h4>{text}</h4>"))


def caption(text: str) -> Any:
    """A quiet line of a page; `text` is HTML already."""
    return pn.pane.HTML(cards.framed(f'<p class="caption">{text}</p>'))
