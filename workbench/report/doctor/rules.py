"""What a rule is: a generator of findings that registers itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.report.finding import Finding
from workbench.report.report import Report


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
