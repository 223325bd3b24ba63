"""Measure everything, and write the tables of docs/speed.md and docs/scale.md and docs/scaling.svg. Some twenty
minutes on two cores, and 8 GB.

`python -m benchmarks suite` measures one part, and puts its rows in the place of those that stand there; the parts
`scale` and `scaling` are the page of large sets and the figure.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import batch, scale, scan, serve, terms
from benchmarks.drawing import log_log
from benchmarks.pages import put
from benchmarks.timing import machine

ROOT = Path(__file__).parent.parent


def table(rows: list[dict]) -> str:
    lines = ["| what | measured | target |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {r['what']} | {r['measured']} | {r['target']} |" for r in rows)])


PARTS = {
    "suite": scan.suite,
    "middle": scan.middle,
    "tile": scan.tile,
    "widths": scan.widths,
    "classes": scan.classes,
    "start": scan.start,
    "uniformity": terms.uniformity,
    "volumes": terms.volumes,
    "tiled": terms.tiled_contrast,
    "loop": terms.loop_overhead,
    "ranks": scan.ranks,
    "compare": scan.compare,
    "serve": serve.serving,
    "batch": batch.overhead,
}


def standing(page: str) -> dict[str, dict]:
    """The rows of the table as it stands, by what they measure."""
    inside = page.partition("<!-- benchmarks -->")[2].partition("<!-- end -->")[0]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in inside.splitlines() if line.startswith("| ")]
    return {c[0]: dict(zip(("what", "measured", "target"), c, strict=True)) for c in cells[1:]}


def large() -> None:
    """The part that has a page of its own."""
    rows, paper = scale.scale()
    page = ROOT / "docs" / "scale.md"
    put(page, "measured", f"{table(rows)}\n\nOn {machine()}.")
    put(page, "paper", paper)
    print(table(rows), paper, sep="\n\n", flush=True)


def figure() -> None:
    """Seconds against items, drawn."""
    (ROOT / "docs" / "scaling.svg").write_text(log_log(scan.scaling(), "items", "seconds"))


ELSEWHERE = {"scale": large, "scaling": figure}


def main(asked: list[str]) -> None:
    """Measure the parts that are asked for, or all."""
    if wrong := [name for name in asked if name not in (*PARTS, *ELSEWHERE)]:
        sys.exit(f"no benchmark named {wrong[0]!r}: there are {', '.join((*PARTS, *ELSEWHERE))}")
    for name, make in ELSEWHERE.items():
        if not asked or name in asked:
            make()
    page = ROOT / "docs" / "speed.md"
    rows = standing(page.read_text()) if asked else {}
    for name in [a for a in asked if a in PARTS] if asked else PARTS:
        found = PARTS[name]()
        rows |= {r["what"]: r for r in found}
        print(table(found), flush=True)
        put(page, "benchmarks", f"{table(list(rows.values()))}\n\nOn {machine()}.")


if __name__ == "__main__":
    main(sys.argv[1:])
