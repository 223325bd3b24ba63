"""Measure everything, and write the README's table and docs/scaling.svg. Takes some ten minutes on two cores."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import batch, scan, terms
from benchmarks.drawing import log_log
from benchmarks.timing import machine

ROOT = Path(__file__).parent.parent


def table(rows: list[dict]) -> str:
    lines = ["| what | measured | target |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {r['what']} | {r['measured']} | {r['target']} |" for r in rows)])


def main() -> None:
    rows = []
    for part in (
        scan.suite,
        terms.uniformity,
        terms.volumes,
        terms.tiled_contrast,
        terms.loop_overhead,
        scan.ranks,
        batch.overhead,
    ):
        found = part()
        rows += found
        print(table(found), flush=True)
    lines = scan.scaling()
    (ROOT / "docs" / "scaling.svg").write_text(log_log(lines, "items", "seconds"))
    text = (ROOT / "README.md").read_text()
    new = f"<!-- benchmarks -->\n{table(rows)}\n\nOn {machine()}.\n<!-- end -->"
    (ROOT / "README.md").write_text(re.sub(r"<!-- benchmarks -->.*?<!-- end -->", lambda _: new, text, flags=re.S))


if __name__ == "__main__":
    main()
