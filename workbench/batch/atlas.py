"""The atlas: the verdicts of all papers that were run together, with Holm's correction across them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.disk import finite, write_text
from workbench.papers.base import RUNS, catalogue, keys, paper
from workbench.papers.evidence import Evidence, claims, holm, said

KEPT = Path(__file__).parent / "verdicts.json"  # what `make atlas` found, for the README's table


def judged(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The evidence of several papers (`Evidence.to_dict`), each with the verdict after Holm's correction.

    Papers of the atlas that were not run count among the tests: a part of it is never less strict than the whole.
    """
    gains = [Evidence.of(e) for e in found]
    ps = [_whole(e.difference.p) for e in gains]
    shorts = [_whole(e.difference.against(e.paper.least)) for e in gains]
    out = []
    for e, own, p, short in zip(found, gains, holm(ps, claims()), holm(shorts, claims()), strict=True):
        outcome, reason = own.judged(p, short)
        verdict = said(paper(e["key"]), outcome)
        out.append(dict(e) | {"p_corrected": p, "outcome": outcome, "verdict": verdict, "reason": reason})
    return out


def _whole(p: float) -> float:
    """A p-value that is a number: where a run gave none, nothing is shown."""
    return p if math.isfinite(p) else 1.0


def keep(rows: Sequence[Mapping[str, Any]], file: Path = KEPT) -> Path:
    """The numbers of an atlas without its runs, in the order of the catalogue."""
    order = {key: k for k, key in enumerate(catalogue())}
    plain = [
        {k: _rounded(v) for k, v in r.items() if k not in ("runs", "picture", "link", "seconds")}
        for r in sorted(rows, key=lambda r: order[r["key"]])
    ]
    write_text(file, json.dumps(finite(plain), ensure_ascii=False, indent=1) + "\n")
    return file


def kept() -> dict[str, dict[str, Any]]:
    """The verdicts of the last whole atlas by key; empty where none was made."""
    return {r["key"]: r for r in json.loads(KEPT.read_text())} if KEPT.exists() else {}


def _rounded(x: Any) -> Any:
    """Four digits that matter."""
    if isinstance(x, Mapping):
        return {k: _rounded(v) for k, v in x.items()}
    return float(f"{x:.4g}") if isinstance(x, float) and math.isfinite(x) else x


def gathered(out: Path) -> list[dict[str, Any]]:
    """The evidence that the paper notebooks of a batch left, each with the link to its report.

    Runs on a set of one's own are no part of it: they say nothing of the paper's data, and there may be several.
    """
    from workbench.batch.manifest import Manifest
    from workbench.batch.results import read

    found = []
    for entry in Manifest(out).entries():
        about = read(out / f"{entry.label}.json").get("about", {}) if entry.state == "done" else {}
        evidence = about.get("evidence")
        if isinstance(evidence, dict) and evidence["data"] == paper(evidence["key"]).data:
            found.append(_numbers(evidence) | {"link": f"{entry.label}.html", "picture": about.get("picture", "")})
    return judged(found)


def _numbers(e: dict[str, Any]) -> dict[str, Any]:
    """Evidence as it was before JSON took its NaN away."""
    return {k: math.nan if v is None and k in ("effect", "low", "high", "p") else v for k, v in e.items()}


def main(words: Sequence[str]) -> None:
    """Keep the verdicts of a whole atlas: python -m workbench.batch.atlas FOLDER."""
    found = gathered(Path(words[0]))
    missing = sorted(set(keys()) - {r["key"] for r in found if not r["quick"] and len(r["runs"]) >= RUNS})
    if missing:
        raise SystemExit(f"{words[0]}: not a whole atlas, without a verdict for {', '.join(missing)}")
    print(keep(found))


if __name__ == "__main__":
    main(sys.argv[1:])
