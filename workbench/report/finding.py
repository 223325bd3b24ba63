"""A finding: one sentence of a diagnosis, the numbers it stands on, and what to try next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Severity = Literal["fault", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # worst first
FAULT, WARNING, INFO = SEVERITIES
MARKS: dict[str, str] = {FAULT: "●", WARNING: "○", INFO: "·"}


@dataclass(frozen=True, repr=False)
class Finding:
    """One sentence of a diagnosis, the numbers it stands on, and what to try next."""

    rule: str
    severity: Severity
    sentence: str
    evidence: list[dict[str, Any]] = field(default_factory=list)
    next: str = ""

    def __repr__(self) -> str:
        return f"{MARKS[self.severity]} {self.sentence}"

    @property
    def alarm(self) -> bool:
        """Whether something may be wrong: a fault or a warning, and no mere information."""
        return self.severity != INFO

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain data."""
        return asdict(self)


def verdict(findings: Iterable[Finding]) -> str:
    """The findings in three words: how many faults and warnings, or that there are none.

    >>> verdict([])
    'healthy'
    >>> verdict([Finding("collapse", "fault", "…"), Finding("hubs", "warning", "…"), Finding("gap", "info", "…")])
    '1 fault, 1 warning'
    """
    severities = [f.severity for f in findings]
    counts = {s: severities.count(s) for s in SEVERITIES[:2]}
    return ", ".join(f"{n} {s}{'s' * (n > 1)}" for s, n in counts.items() if n) or "healthy"
