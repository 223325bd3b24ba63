"""The verdicts that were kept: the numbers of a paper in a file each, judged together when they are read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.diagnostics.intervals import holm
from workbench.disk import finite, write_text
from workbench.papers.catalogue import catalogue, entry
from workbench.papers.difference import AGAIN, Difference
from workbench.papers.rule import level, looked, rule, within
from workbench.papers.wording import claims, said

KEPT = Path(__file__).parent / "verdicts"  # KEY.json each, as `make atlas` leaves them
# what a run of the experiment found; all else follows from it and the entry
FOUND = (*("key", "data", "quick", "n"), *("effect", "sd", "min_effect"), *("baseline", "mechanism"))
TWO = ("control", "positive")


def judged(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The evidence of several papers (`Evidence.to_dict`), each with the verdict after Holm's correction.

    Papers of the catalogue that were not run count among the tests: a part is never less strict than the whole.
    """
    rows = [dict(e) for e in found]
    gains = [Difference(_number(r["effect"]), _number(r["sd"]), r["n"], AGAIN) for r in rows]
    none = holm([_whole(looked(d.p, d.n)) for d in gains], claims())
    least = holm(
        [_whole(looked(d.against(entry(r["key"]).min_effect), d.n)) for r, d in zip(rows, gains, strict=True)], claims()
    )
    for r, d, p, q in zip(rows, gains, none, least, strict=True):
        control, moved = (Difference(_number(r[k]["difference"]), _number(r[k]["sd"]), d.n) for k in TWO)
        control = replace(control, level=level(d.n))
        known = entry(r["key"])
        outcome, reason = rule(
            known, quick=r["quick"], baseline=r["baseline"], gain=d, p=p, least=q, control=control, moved=moved
        )
        r |= {"low": d.low, "high": d.high, "p_corrected": p, "outcome": outcome, "reason": reason}
        r["verdict"] = said(known, outcome)
        r["control"] = r["control"] | control.to_dict() | {"equivalent": within(known, control)}
        r["positive"] = r["positive"] | moved.to_dict()
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
        two = {k: {x: r[k][x] for x in ("difference", "sd")} for k in TWO}
        plain = _rounded({k: r[k] for k in FOUND} | two | {"also": r["also"]})
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
