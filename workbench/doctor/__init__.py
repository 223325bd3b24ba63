"""The doctor: rules that read a report, or a run's metrics, and say in plain sentences what is wrong and what is not.

A rule is a generator of findings. A report that is healthy gets information only; a rule that could cry wolf says in
its docstring what keeps it quiet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.report import Report

SEVERITIES = ("fault", "warning", "info")
MARKS = {"fault": "●", "warning": "○", "info": "·"}


@dataclass(frozen=True)
class Finding:
    """One sentence of a diagnosis, the numbers it stands on, and what to try next."""

    rule: str
    severity: str
    sentence: str
    evidence: list[dict[str, Any]] = field(default_factory=list)
    next: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Rule:
    """A generator of findings, and the names of those that are faults or warnings."""

    function: Callable[..., Iterable[Finding]]
    finds: tuple[str, ...]

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        return self.function.__doc__ or ""

    def __call__(self, *read: Any) -> Iterable[Finding]:
        return self.function(*read)


RULES: list[Rule] = []
RUN_RULES: list[Rule] = []


def rule(*finds: str) -> Callable[[Callable[[Report], Iterable[Finding]]], Rule]:
    """A rule over a report."""

    def register(f: Callable[[Report], Iterable[Finding]]) -> Rule:
        RULES.append(Rule(f, finds))
        return RULES[-1]

    return register


def run_rule(*finds: str) -> Callable[[Callable[..., Iterable[Finding]]], Rule]:
    """A rule over the lines that a run logged when it looked at its probe, and the loss of a guess if there is one."""

    def register(f: Callable[..., Iterable[Finding]]) -> Rule:
        RUN_RULES.append(Rule(f, finds))
        return RUN_RULES[-1]

    return register


def measured() -> dict[str, Any]:
    """What `python -m benchmarks.doctor` found: false alarms over healthy runs, power against planted faults."""
    return json.loads(Path(__file__).with_name("measured.json").read_text())


def examine(report: Report) -> list[Finding]:
    """Every rule on a report, worst first."""
    from workbench.doctor import reports  # noqa: F401 - its rules register themselves

    found = [finding for r in RULES for finding in r(report)]
    known = set(report.frame.loc[report.frame["reason"].isna(), "name"])
    looked = {"uniformity", "recall_at_10"} <= known
    if looked and not any(f.severity in ("fault", "warning") for f in found):
        found.append(
            Finding("healthy", "info", "No sign of collapse, of pairs at chance, or of tuples that agree only in part.")
        )
    return sorted(found, key=lambda f: SEVERITIES.index(f.severity))


def examine_run(metrics: Sequence[dict[str, Any]], uninformed: float | None = None) -> list[Finding]:
    """Rules over a run's metrics, one dict an evaluation, in order of steps; `uninformed` is the loss of a guess."""
    from workbench.doctor import runs  # noqa: F401 - its rules register themselves

    rows = [m for m in metrics if "probe_recall_at_1" in m]
    if len(rows) < 2:
        return []
    return [finding for r in RUN_RULES for finding in r(rows, uninformed)]
