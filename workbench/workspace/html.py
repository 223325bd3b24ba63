"""Small pieces of the panels' HTML; every text that comes from data is escaped here."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from workbench.sets import columns
from workbench.views.document import band, number

WIDE, HIGH = 250, 20  # of the bar of a number and its null


def act(name: str, value: Any = None) -> str:
    """The attributes that make an element do something."""
    carried = "" if value is None else f' data-value="{escape(json.dumps(value, ensure_ascii=False))}"'
    return f' data-act="{escape(name)}"{carried}'


def button(label: str, name: str, value: Any = None, *, pressed: bool | None = None, more: str = "") -> str:
    """A button; the label is text."""
    state = "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
    return f"<button{act(name, value)}{state} {more}>{escape(label)}</button>"


def select(
    label: str, name: str, options: Iterable[Any] | Mapping[Any, str], chosen: Any, *, shown: bool = True
) -> str:
    """A picker with its label, which is read aloud where it is not `shown`."""
    words = options if isinstance(options, Mapping) else {o: str(o) for o in options}
    inside = "".join(
        f'<option value="{escape(str(v))}"{" selected" if v == chosen else ""}>{escape(str(w))}</option>'
        for v, w in words.items()
    )
    said = f"<span>{escape(label)}</span>" if shown else ""
    return f'<label>{said}<select aria-label="{escape(label)}"{act(name)}>{inside}</select></label>'


def quiet(text: str) -> str:
    """A quiet line; the text is escaped."""
    return f'<p class="quiet">{escape(text)}</p>'


def told(row: Mapping[Any, Any], column: str) -> str:
    """What a column says of an item, else its name; not escaped yet."""
    value = row.get(column)
    return columns.as_text(value if value is not None and value == value else row["name"])[:160]


def cosine_bar(cosine: float) -> str:
    """A cosine as a bar with its number; nothing where it is not known."""
    if cosine != cosine:
        return ""
    wide = max(0.0, min(1.0, float(cosine))) * 70
    return f'<span class="cosine" style="width:{wide:.0f}px"></span> <span class="num">{cosine:.2f}</span>'


def null_bar(row: Mapping[str, Any]) -> str:
    """A number on a line with its interval, and what chance gives as a band behind it; words for who cannot see it."""
    ends = [row["value"], row["low"], row["high"], row["null_low"], row["null_high"], 0.0]
    known = [float(x) for x in ends if x is not None and math.isfinite(x)]
    low, high = min(known), max(known)
    if high <= low or not math.isfinite(row["value"]):
        return ""

    def x(value: float) -> float:
        return 4 + (WIDE - 8) * (value - low) / (high - low)

    parts = [f'<line x1="4" x2="{WIDE - 4}" y1="10" y2="10" stroke="var(--line)"/>']
    if math.isfinite(row["null_low"]):
        a, b = x(row["null_low"]), x(row["null_high"])
        parts.append(
            f'<rect x="{a:.1f}" y="3" width="{max(2.0, b - a):.1f}" height="14" fill="var(--fill)" opacity=".55"/>'
        )
    if math.isfinite(row["low"]):
        a, b = x(row["low"]), x(row["high"])
        parts.append(f'<line x1="{a:.1f}" x2="{b:.1f}" y1="10" y2="10" stroke="var(--accent)" stroke-width="2"/>')
    parts.append(f'<circle cx="{x(row["value"]):.1f}" cy="10" r="4" fill="var(--accent)"/>')
    return (
        f'<svg width="{WIDE}" height="{HIGH}" role="img" aria-label="{escape(in_words(row))}">{"".join(parts)}</svg>'
        f'<span class="num">{escape(in_words(row))}</span>'
    )


def in_words(row: Mapping[str, Any]) -> str:
    """A number with its interval and what chance gives."""
    text = number(row["value"])
    if math.isfinite(row["low"]):
        text += f" [{number(row['low'])}, {number(row['high'])}]"
    chance = f"chance {between}".replace(" ", "\u00a0") if (between := band(row)) else ""
    return f"{text} · {chance}" if chance else text
