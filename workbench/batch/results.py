"""What a notebook hands on: a small file beside it, written by the notebook itself, never scraped from its outputs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.disk import finite, write_text

if TYPE_CHECKING:
    from workbench.report.report import Report

PLACE = "WORKBENCH_RESULT"  # where the file goes; a notebook opened by a person has no such place


def record(
    report: Report | None = None,
    *,
    numbers: Mapping[str, Any] | None = None,
    curves: Mapping[str, Sequence[float]] | None = None,
    **about: Any,
) -> None:
    """Hand on a report, single numbers, short curves and words to the index of a batch; elsewhere it does nothing.

    A number is a value, or a mapping with `value` and, where there are such, `low`, `high`, `null_low`, `null_high`.
    """
    place = os.environ.get(PLACE)
    if not place:
        return
    found: dict[str, Any] = {"about": about, "numbers": {}, "curves": {}, "findings": []}
    if report is not None:
        from workbench.diagnostics.scoped_name import ScopedName
        from workbench.views.figures import scope

        found["about"] = {k: report.about[k] for k in ("items", "fingerprint", "source") if k in report.about} | about
        found["findings"] = [{"severity": f.severity, "sentence": f.sentence} for f in report.findings]
        for row in report.to_dict()["results"]:
            if row["reason"] is None:
                kept = {k: row[k] for k in ("value", "low", "high", "null_low", "null_high")} | {"of": scope(row)}
                found["numbers"][str(ScopedName(row["name"], tuple(row["modalities"])))] = kept
    for name, value in (numbers or {}).items():
        found["numbers"][name] = dict(value) if isinstance(value, Mapping) else {"value": value}
    found["curves"] = {name: [float(x) for x in values] for name, values in (curves or {}).items()}
    write_text(Path(place), json.dumps(finite(found), ensure_ascii=False, allow_nan=False, default=str) + "\n")


def read(file: Path) -> dict[str, Any]:
    """What a notebook handed on, empty where it handed on nothing."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
