"""A report in the terminal: a screenful by default, every number where that is asked for."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from workbench.diagnostics.registry import diagnostics, headlines, questions
from workbench.diagnostics.scope import class_columns
from workbench.errors import listed
from workbench.report.finding import MARKS, verdict
from workbench.report.report import Report
from workbench.views.document import in_words
from workbench.views.figures import scope

MOST = 20  # headline rows: three modalities and more have many pairs


def summary(report: Report, items: pd.DataFrame, said: Sequence[str] = (), words: str = "") -> list[str]:
    """What was read, the verdict, the findings with what to do, the headline numbers, and the next commands.

    `said`: what was assumed while reading; `words`: the command's arguments and options, to be kept in what is next.
    """
    out = [read(report, said), *(f"  {line}" for line in said), ""]
    out.append(verdict(report.findings) if paired(report) else "nothing is paired, so no pair can be judged")
    out += [*findings(report), *unpaired(report)]
    rows = [r for n in headlines() for r in known(report) if r["name"] == n]
    if rows:
        wide = max(len(scope(r)) for r in rows[:MOST]) + 2
        out += ["", f"  {'':<22} {'':<{wide}}{'value [95 % interval]':<26}{'by chance':<20}queries of gallery"]
        out += lines(rows[:MOST], wide)
        if len(rows) > MOST:
            out.append(f"  … {len(rows) - MOST} more with --all")
    return [*out, "", *following(report, items, words)]


def read(report: Report, said: Sequence[str] = ()) -> str:
    """One line of what was diagnosed; `said`: what was assumed while it was read, such as how tables were joined."""
    a = report.about
    keys = [re.sub(r": [\d.]+ rows an item.*", "", s.rpartition(" by ")[2]) for s in said if " is joined to " in s]
    by = listed(dict.fromkeys(keys)) or a["pairing"]
    shape = ", ".join(f"{m} {v['rows']:,}×{v['dimensions']}" for m, v in a["modalities"].items())
    layer = "" if a.get("layer") is None else f" · layer {a['layer']}"
    return f"{a['source']}   {a['items']:,} items · {shape} · paired by {by}{layer}"


def findings(report: Report) -> list[str]:
    """The doctor's sentences, worst first, each with what to try."""
    out = []
    for f in report.findings:
        out.append(f"  {MARKS[f.severity]}  {f.sentence}")
        if f.next and f.alarm:
            out.append(f"     → {f.next}")
    return out


def known(report: Report) -> list[dict[str, Any]]:
    """The rows that have a value."""
    return [r for r in report.frame.to_dict("records") if math.isfinite(r["value"])]


def lines(rows: Sequence[dict[str, Any]], wide: int) -> list[str]:
    """Values with their interval, what chance gives, and n; a name that goes on is not said again."""
    out, last = [], ""
    for r in rows:
        value, null, n = in_words(r)
        name = "" if r["name"] == last else r["name"]
        last = r["name"]
        out.append(f"  {name:<22} {scope(r):<{wide}}{value:<26}{null:<20}{n}".rstrip())
    return out


def everything(report: Report) -> list[str]:
    """Every number, by the question it answers, and why the others are not there."""
    declared, asked, rows = diagnostics(), questions(), known(report)
    wide = max((len(scope(r)) for r in rows), default=0) + 2
    out = []
    for question, part in itertools.groupby(rows, lambda r: declared[r["name"]].question):
        out += [f"\n{asked[question].text}", *lines(list(part), wide)]
    silent = missing(report)
    return [*out, *(["\nWithout a value", *silent] if silent else [])]


def missing(report: Report) -> list[str]:
    """What has no value, by the reason."""
    reasons: dict[str, list[str]] = {}
    for r in report.frame.to_dict("records"):
        if not math.isfinite(r["value"]) and r["name"] not in reasons.setdefault(str(r["reason"]), []):
            reasons[str(r["reason"])].append(r["name"])
    return [f"  {why}: {', '.join(names)}" for why, names in reasons.items()]


def paired(report: Report) -> bool:
    """Whether any row could ask for its match."""
    declared = diagnostics()
    return any(declared[r["name"]].per_query for r in known(report))


def unpaired(report: Report) -> list[str]:
    """Why pairs could not be looked at, and how that is mended."""
    modalities = list(report.about["modalities"])
    if len(modalities) == 1:
        return [f"  →  there is only {modalities[0]}; give its partner too: workbench diagnose image.npy text.npy"]
    reasons = [r["reason"] for r in report.frame.to_dict("records") if len(r["modalities"]) > 1 and r["reason"]]
    apart = dict.fromkeys(x for x in reasons if x.startswith(("different spaces", "only ", "needs at least two items")))
    return [f"  →  {why}" for why in apart]


def following(report: Report, items: pd.DataFrame, words: str) -> list[str]:
    """The next commands, with the options that were given; and the label that the set seems to have."""
    out = [f"next  workbench diagnose {words} --all      every number, by question"]
    out.append(f"      workbench diagnose {words} --html report.html")
    columns = [] if report.about.get("label") else class_columns(items)
    more = {r["name"] for r in report.frame.to_dict("records") if str(r["reason"]).startswith("needs a label (")}
    if columns and more:
        out.append(f"      --label {columns[0]} adds {len(more)} more, about the classes of that column")
    return out
