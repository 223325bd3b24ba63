"""The catalogue: what the registries hold, as plain rows, for the command line and the tables of the docs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from workbench.errors import unknown


def _diagnostics() -> list[dict[str, Any]]:
    from workbench.diagnostics.registry import diagnostics

    return [
        {
            "name": d.name,
            "question": d.question,
            "summary": d.summary,
            "on": d.on,
            "better": d.better or "neither",
            "null": d.null.kind + (" (reference)" if d.null.reference else ""),
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
            "topic": e.topic,
            "summary": e.summary,
            "paper": e.paper,
            "modalities": e.modalities,
            "needs": ", ".join(e.needs),
            "cost": e.cost,
            "minimum": e.minimum,
            "settings": ", ".join(f"{k}={v!r}" for k, v in e.settings.items()),
        }
        for e in RECIPES.values()
    ]


def _rules() -> list[dict[str, Any]]:
    """The doctor's rules, with what the benchmark measured of them."""
    from workbench.report.doctor import RULES, RUN_RULES, SET_RULES, measured
    from workbench.report.finding import INFO

    figures = measured()
    count = figures["healthy_runs"]
    rows = []
    for kind, rules in (("report", RULES), ("set", SET_RULES), ("run", RUN_RULES)):
        for rule in rules.values():
            power = figures["power"].get(rule.name, {})
            missing = "–" if rule.severity == INFO else "not measured"
            rows.append(
                {
                    "name": rule.name,
                    "reads": kind,
                    "severity": rule.severity,
                    "summary": " ".join((inspect.getdoc(rule) or "").split()),
                    "false alarms": f"{figures['false_alarms'].get(rule.name, 0)} of {count}" if power else missing,
                    "power": "; ".join(f"{label}: {seen:.0%}" for label, seen in power.items()) or missing,
                }
            )
    return rows


def _interventions() -> list[dict[str, Any]]:
    from workbench.interventions import INTERVENTIONS

    return [
        {
            "name": name,
            "summary": " ".join((inspect.getdoc(make) or "").split()),
            "settings": ", ".join(f"{k}={p.default!r}" for k, p in inspect.signature(make).parameters.items()),
        }
        for name, make in INTERVENTIONS.items()
    ]


def _treatments() -> list[dict[str, Any]]:
    from workbench.treatments import METHODS

    return [
        {
            "name": m.name,
            "changes": m.kind,
            "goals": ", ".join(m.goals),
            "summary": m.summary,
            "tried": "; ".join(", ".join(f"{k} {v:g}" for k, v in s.items()) for s in m.grid if len(m.grid) < 9),
        }
        for m in METHODS.values()
    ]


def _fits() -> list[dict[str, Any]]:
    from workbench.training.compatibility import table

    return [{"name": r["data"], "summary": r["recipes"]} for r in table()]


def _formats() -> list[dict[str, Any]]:
    """Formats that are read, told by content, and those that are written."""
    from workbench.sets.formats import READERS, WRITERS

    names = list(dict.fromkeys([*READERS, *WRITERS]))
    return [
        {
            "name": n,
            "summary": (READERS[n] if n in READERS else WRITERS[n]).summary,
            "read": "yes" if n in READERS else "",
            "written": "yes" if n in WRITERS else "",
        }
        for n in names
    ]


def _papers() -> list[dict[str, Any]]:
    """Every paper with its verdict in the last atlas; the command is what gives a row's numbers."""
    from workbench.papers.catalogue import catalogue
    from workbench.papers.verdicts import kept
    from workbench.papers.wording import NOT_YET

    last, rows = kept(), []
    for p in catalogue().values():
        v = last.get(p.key)
        rows.append(
            {
                "name": p.key,
                "topic": p.topic,
                "title": p.title,
                "form": p.form,
                "summary": p.claim,
                "verdict": v["verdict"] if v else NOT_YET,
                "gain": f"{v['effect']:.3g} [{v['low']:.3g}, {v['high']:.3g}]" if v else "",
                "worth having": f"{p.min_effect:g}",
                "command": f"workbench papers {p.key} --run",
            }
        )
    return rows


CATALOGS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "diagnostics": _diagnostics,
    "rules": _rules,
    "interventions": _interventions,
    "treatments": _treatments,
    "fits": _fits,
    "recipes": _recipes,
    "formats": _formats,
    "papers": _papers,
}
COLUMNS = {
    "rules": ("name", "severity", "summary", "false alarms", "power"),
    "interventions": ("name", "summary", "settings"),
    "treatments": ("name", "changes", "goals", "summary", "tried"),
    "fits": ("name", "summary"),
    "diagnostics": ("name", "summary", "on", "better", "null", "cost"),
    "recipes": ("name", "summary", "paper", "modalities", "minimum"),
    "formats": ("name", "summary", "read", "written"),
    "papers": ("name", "title", "form", "summary", "verdict", "gain", "worth having"),
}


HEADS = {
    ("papers", "summary"): "claim",
    ("papers", "name"): "paper",
    ("fits", "name"): "what data you have",
    ("fits", "summary"): "recipes that it makes possible",
}


def catalog(what: str) -> list[dict[str, Any]]:
    """Every diagnostic, or every recipe, as a list of plain dicts."""
    if what not in CATALOGS:
        raise unknown("catalog", what, CATALOGS)
    return CATALOGS[what]()


def markdown(what: str) -> str:
    """A catalogue as the table that the docs show."""
    columns = COLUMNS[what]
    lines = ["| " + " | ".join(HEADS.get((what, c), c) for c in columns) + " |", "|" + "---|" * len(columns)]
    for row in catalog(what):
        cells = [f"`{row[c]}`" if c == "name" and what != "fits" else str(row[c]).replace("|", "\\|") for c in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
