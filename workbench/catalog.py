"""The catalogue: what the registries hold, as plain rows, for the command line and the README's tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.errors import unknown


def _diagnostics() -> list[dict[str, Any]]:
    from workbench.diagnostics.registry import diagnostics

    return [
        {
            "name": d.name,
            "family": d.family,
            "summary": d.summary,
            "on": d.on,
            "better": d.better or "neither",
            "null": d.null.kind,
            "interval": d.interval.split(":")[0],
            "unit": d.unit,
            "cost": d.cost,
            "params": ", ".join(f"{k}={v!r}" for k, v in d.params.items()),
        }
        for d in diagnostics().values()
    ]


def _recipes() -> list[dict[str, Any]]:
    from workbench.objectives.recipes import RECIPES

    return [
        {
            "name": e.name,
            "family": e.family,
            "summary": e.summary,
            "paper": e.paper,
            "modalities": e.modalities,
            "cost": e.cost,
            "minimum": e.minimum,
            "settings": ", ".join(f"{k}={v!r}" for k, v in e.settings.items()),
        }
        for e in RECIPES.values()
    ]


CATALOGS: dict[str, Callable[[], list[dict[str, Any]]]] = {"diagnostics": _diagnostics, "recipes": _recipes}
COLUMNS = {
    "diagnostics": ("name", "summary", "on", "better", "null", "cost"),
    "recipes": ("name", "summary", "paper", "modalities", "minimum"),
}


def catalog(what: str) -> list[dict[str, Any]]:
    """Every diagnostic, or every recipe, as a list of plain dicts."""
    if what not in CATALOGS:
        raise unknown("catalog", what, CATALOGS)
    return CATALOGS[what]()


def markdown(what: str) -> str:
    """The README's table of a catalogue."""
    columns = COLUMNS[what]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in catalog(what):
        cells = [f"`{row[c]}`" if c == "name" else str(row[c]).replace("|", "\\|") for c in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
