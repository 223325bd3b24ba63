"""Advice as the result of a notebook's cell."""

from __future__ import annotations

from html import escape

from workbench.advice.advised import Advised, Finalist
from workbench.advice.aims import MOVED
from workbench.views.card import framed

NOTE = (
    "[95 %]: where the gain on one new division lies; p: of the mean gain, after Holm; "
    "↑ ↓: differs from the baseline's (p &lt; 0.05, each alone)."
)


def advised_card(found: Advised) -> str:
    """What was found, the last few recipes, and why they were tried."""
    said = "".join(f"<div class='verdict'>{escape(s)}</div>" for s in found.sentences)
    names = ("", "temperature", found.aim.unit, "gain [95 %]", "p", *MOVED)
    head = f"<tr>{''.join(f'<th>{escape(n)}</th>' for n in names)}</tr>"
    lines = "".join(_line(f, f is found.baseline) for f in (found.baseline, *found.finalists))
    a = found.about
    what = f"{a['source']} · {a['items']:,} items · {found.aim.unit}, {found.aim.says} · {a['steps']} steps"
    known = "".join(f"<li>{escape(f.recipe)}: {escape(f.candidate.reason)}</li>" for f in found.finalists)
    others = [r for r in found.tried if r not in {f.recipe for f in (found.baseline, *found.finalists)}]
    rest = "".join(f"<li>{escape(k)}: {escape(v)}</li>" for k, v in found.left_out.items())
    less = f"tried for less: {escape(', '.join(others))}" if others else ""
    more = f"<details><summary>{len(found.left_out)} not tried</summary><ul>{rest}</ul></details>" if rest else ""
    parts = [
        f"{said}<div class='quiet'>{escape(what)}</div><table>{head}{lines}</table><div class='quiet'>{NOTE}</div>",
        f"<ul>{known}</ul><div class='quiet'>{less}</div>{more}<div class='quiet'>{escape(found.command)}</div>",
    ]
    return framed("".join(parts))


def _line(f: Finalist, plain: bool) -> str:
    gain, p = ("", "") if plain else (f.said_gain, f.said_p)
    numbers = [f"{f.temperature:g}", f"{f.value:.3f}", gain, p, *(f.said(name) for name in MOVED)]
    cells = "".join(f"<td class='n'>{escape(x)}</td>" for x in numbers)
    return f"<tr><td>{escape(f.recipe)}</td>{cells}</tr>"


# what a notebook's cell shows, registered here
Advised._repr_html_ = advised_card  # type: ignore[attr-defined]
