"""A finding: one sentence of a diagnosis, the numbers it stands on, and what to try next."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

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
