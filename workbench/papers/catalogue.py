"""The catalogue: every paper of `papers.csv` with what its file in `entries/` says and does."""

from __future__ import annotations

import csv
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from workbench.errors import unknown
from workbench.papers.paper import Experiment, Paper

HERE = Path(__file__).parent
SECTIONS = {
    "Maths": "maths",
    "Carried by": "carrier",
    "Code read": "code",
    "Deviations": "deviations",
    "Data": "data",
    "What must move": "quantity",
    "Control": "control",
    "Positive control": "positive",
    "At this size": "small",
    "Own data": "alone",
    "Try it": "yours",
}
_entries: dict[str, dict[str, Any]] = {}


def experiment(**facts: Any) -> Callable[[Experiment], Experiment]:
    """Declare the experiment of the paper whose key is the file's name.

    The facts are fields of `Paper`; the prose stands in the file's docstring, the function's own says how it goes.
    """

    def register(f: Experiment) -> Experiment:
        module = inspect.getmodule(f)
        assert module is not None
        _entries[module.__name__.rpartition(".")[2]] = facts | prose(module.__doc__ or "") | {"experiment": f}
        return f

    return register


def prose(text: str) -> dict[str, str]:
    """The claim and the sections of an entry's docstring, each as one line.

    >>> prose("It helps.\\n\\nData\\n----\\ndigits,\\nleft halves\\n")
    {'claim': 'It helps.', 'data': 'digits, left halves'}
    """
    found: dict[str, list[str]] = {"claim": []}
    name, lines = "claim", inspect.cleandoc(text).splitlines()
    for k, line in enumerate(lines):
        under = lines[k + 1] if k + 1 < len(lines) else ""
        if under and under == "-" * len(line):
            if line not in SECTIONS:
                raise KeyError(f"section {line!r}: known are {', '.join(SECTIONS)}")
            name = SECTIONS[line]
            found[name] = []
        elif not (line and line == "-" * len(line)):
            found[name].append(line)
    return {k: " ".join(" ".join(v).split()) for k, v in found.items()}


@cache
def catalogue() -> dict[str, Paper]:
    """Every paper by key, in the order of the list, with its experiment."""
    with (HERE / "papers.csv").open(newline="") as f:
        rows = [dict(r) for r in csv.DictReader(f)]
    for module in pkgutil.iter_modules([str(HERE / "entries")]):
        importlib.import_module(f"workbench.papers.entries.{module.name}")
    found = {}
    for r in rows:
        plain: dict[str, Any] = r | {"number": int(r["number"]), "year": int(r["year"])}
        found[r["key"]] = replace(Paper(**plain), **_entries.get(r["key"], {}))
    for key in _entries:
        if key not in found:
            raise unknown("paper", key, found)
    return found


def entry(key: str) -> Paper:
    """What is known of a paper, by its key; raises `InputError` with the nearest key where there is none."""
    if key not in catalogue():
        raise unknown("paper", key, catalogue())
    return catalogue()[key]


def keys() -> list[str]:
    """The keys of the papers, in the order of the list.

    >>> "gram" in keys()
    True
    """
    return list(catalogue())
