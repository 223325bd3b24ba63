"""Counts by cell and diagnostic that a benchmark takes: kept in a file as they come, and shown as a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.diagnostics.registry import Diagnostic, diagnostics
from workbench.disk import write_text

Counts = dict[str, list[int]]  # by diagnostic: how many there were, how many too low or above, too high or below


def measured(out: Path) -> dict[str, Counts]:
    """What has been measured so far, by cell."""
    return json.loads(out.read_text()) if out.exists() else {}


def measure(out: Path, names: Sequence[str], count: Callable[[str], Counts]) -> None:
    """Count what is not yet measured, cell by cell; a killed run goes on where it was."""
    known = measured(out)
    for name in names:
        if name not in known:
            known[name] = count(name)
            known = {n: known[n] for n in names if n in known}
            write_text(out, json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def table(known: dict[str, Counts], shown: Callable[[list[int]], str], **also: Callable[[Diagnostic], str]) -> str:
    """A line a diagnostic, a column a cell; `also`: columns before these."""
    lines = [f"| {' | '.join(['diagnostic', *also, *known])} |", "|---" * (1 + len(also) + len(known)) + "|"]
    for name, d in diagnostics().items():
        counts = [c.get(name) for c in known.values()]
        if any(counts):
            cells = [*(fact(d) for fact in also.values()), *(shown(c) if c else "–" for c in counts)]
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)
