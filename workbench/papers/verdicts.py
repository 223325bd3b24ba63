"""The verdicts that were kept: the numbers of a paper in a file each, judged together when they are read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.diagnostics.intervals import holm
from workbench.disk import finite, write_text
from workbench.papers.catalogue import catalogue, entry
from workbench.papers.rule import rule
from workbench.papers.wording import claims, said

KEPT = Path(__file__).parent / "verdicts"  # KEY.json each, as `make atlas` leaves them
# what a run of the experiment found; all else follows from it and the entry
FOUND = (
    *("key", "data", "quick", "n"),
    *("effect", "low", "high", "p", "min_effect", "p_short"),
    *("baseline", "mechanism", "control", "positive", "also"),
)


def judged(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The evidence of several papers (`Evidence.to_dict`), each with the verdict after Holm's correction.

    Papers of the catalogue that were not run count among the tests: a part is never less strict than the whole.
    """
    rows = [dict(e) | {k: _number(e[k]) for k in ("effect", "low", "high", "p", "p_short")} for e in found]
    corrected = holm([_whole(r["p"]) for r in rows], claims())
    short = holm([_whole(r["p_short"]) for r in rows], claims())
    for r, p, s in zip(rows, corrected, short, strict=True):
        outcome, reason = rule(
            entry(r["key"]),
            quick=r["quick"],
            n=r["n"],
            gain=(r["effect"], r["low"]),
            p=p,
            short=s,
            control=(_number(r["control"]["low"]), _number(r["control"]["high"])),
            moved=_number(r["positive"]["low"]),
        )
        r |= {"p_corrected": p, "outcome": outcome, "reason": reason, "verdict": said(entry(r["key"]), outcome)}
    return rows


def _number(x: float | None) -> float:
    """JSON's nothing is NaN again."""
    return math.nan if x is None else x


def _whole(p: float) -> float:
    """A p-value that is a number: where a run gave none, nothing is shown."""
    return p if math.isfinite(p) else 1.0


def keep(rows: Sequence[Mapping[str, Any]], folder: Path = KEPT) -> list[Path]:
    """Write what was found of each paper, without a verdict: that depends on what else was tested."""
    made = []
    for r in rows:
        made.append(folder / f"{r['key']}.json")
        plain = {k: _rounded(r[k]) for k in FOUND}
        write_text(made[-1], json.dumps(finite(plain), ensure_ascii=False, indent=1) + "\n")
    return made


def kept(folder: Path = KEPT) -> dict[str, dict[str, Any]]:
    """What was kept, by key in the order of the catalogue, with the verdicts of all of it together."""
    files = [folder / f"{key}.json" for key in catalogue()]
    return {r["key"]: r for r in judged([json.loads(f.read_text()) for f in files if f.exists()])}


def _rounded(x: Any) -> Any:
    """Four digits that matter."""
    if isinstance(x, Mapping):
        return {k: _rounded(v) for k, v in x.items()}
    return float(f"{x:.4g}") if isinstance(x, float) and math.isfinite(x) else x
