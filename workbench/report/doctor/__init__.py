"""The doctor: rules that read a report, or a run's metrics, and say in plain sentences what is wrong and what is not.

A rule is a generator of findings. A report that is healthy gets information only; a rule that could cry wolf says in
its docstring what keeps it quiet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from workbench.report.doctor import (  # noqa: F401 - their rules register themselves
    class_rules,
    label_rules,
    order_rules,
    pairing_rules,
    report_rules,
    run_rules,
    strength_rules,
    vector_rules,
)
from workbench.report.doctor.rules import RULES, RUN_RULES, SET_RULES, Fault, Rule, measured, rule, run_rule, set_rule
from workbench.report.doctor.specimen import Specimen
from workbench.report.finding import INFO, SEVERITIES, Finding
from workbench.report.report import Report
from workbench.scan.threads import threads
from workbench.sets.run_folder import RECALL

__all__ = [
    "RULES",
    "RUN_RULES",
    "SET_RULES",
    "Fault",
    "Rule",
    "Specimen",
    "examine",
    "examine_run",
    "measured",
    "rule",
    "run_rule",
    "set_rule",
]


def examine(report: Report, specimen: Specimen | None = None) -> list[Finding]:
    """Every rule on a report, and on rows of the set where there are any, worst first; symptoms of what was found
    are left out."""
    asked: list[tuple[Rule, Any]] = [(r, report) for r in RULES.values()]
    asked += [(r, specimen) for r in SET_RULES.values()] if specimen is not None else []
    with threads(torch.device("cpu")) as pool:
        found = [finding for said in pool.map(lambda x: list(x[0](x[1])), asked) for finding in said]
    rules = RULES | SET_RULES
    found = [f for f in found if not any(f.rule in rules[g.rule].explains and _of_the_same(f, g) for g in found)]
    known = set(report.frame.loc[report.frame["reason"].isna(), "name"])
    looked = {"uniformity", "recall_at_10"} <= known
    if looked and not any(f.alarm for f in found):
        found.append(Finding("healthy", INFO, _healthy(found, specimen)))
    return sorted(found, key=lambda f: SEVERITIES.index(f.severity))


def _of_the_same(symptom: Finding, cause: Finding) -> bool:
    """Whether two findings are of the same modalities, or one's are among the other's."""
    some, other = ({m for e in f.evidence for m in e["modalities"]} for f in (symptom, cause))
    return some <= other or other <= some


def _healthy(found: Sequence[Finding], specimen: Specimen | None) -> str:
    """What has been looked for and not seen, and what would have been seen in as many pairs as there are."""
    said = "No sign of collapse, of pairs at chance, or of tuples that match only in part."
    least = 0
    if specimen is not None:
        least = min((len(specimen.items(a, b)) for a, b in pairing_rules.pairs(specimen)), default=0)
    if any(f.rule == "weak_pairs" for f in found):
        return f"{said} But little could be seen where pairs match so weakly."
    if not least:
        return said
    seen = f"With {least:,} pairs, fewer than {pairing_rules.visible(least):.0%} wrong ones may go unnoticed"
    return f"{said} {seen}; workbench suspects lists the likely ones."


def examine_run(metrics: Sequence[dict[str, Any]], uninformed: float | None = None) -> list[Finding]:
    """Rules over a run's metrics, one dict an evaluation, in order of steps; `uninformed` is the loss of a guess."""
    rows = [m for m in metrics if RECALL in m]
    if len(rows) < 2:
        return []
    return [finding for r in RUN_RULES.values() for finding in r(rows, uninformed)]
