"""Advice as the result of a notebook's cell."""

from __future__ import annotations

from html import escape

from workbench.advice.advised import Advised, Finalist
from workbench.advice.aims import MOVED
from workbench.views.card import framed


def advised_card(found: Advised) -> str:
    """What was found, the last few recipes, and why they were tried."""
    said = "".join(f"<div class='verdict'>{escape(s)}</div>" for s in found.sentences)
    names = ("", "temperature", found.aim.unit, "gain [95 %]", "p", *MOVED, "evidence")
    head = f"<tr>{''.join(f'<th>{escape(n)}</th>' for n in names)}</tr>"
    lines = "".join(_line(f, f is found.baseline) for f in (found.baseline, *found.finalists))
    return framed(f"{said}<table>{head}{lines}</table><div class='quiet'>{escape(found.command)}</div>")


def _line(f: Finalist, plain: bool) -> str:
    gain, p, why = ("", "", "") if plain else (f.said_gain, f.said_p, f.candidate.reason)
    numbers = [f"{f.temperature:g}", f"{f.value:.3f}", gain, p, *(f.said(name) for name in MOVED)]
    cells = "".join(f"<td class='n'>{escape(x)}</td>" for x in numbers)
    return f"<tr><td>{escape(f.recipe)}</td>{cells}<td>{escape(why)}</td></tr>"


# what a notebook's cell shows, registered here
Advised._repr_html_ = advised_card  # type: ignore[attr-defined]
