"""Write what is generated: tables of the registries, the page of files, the output that the README shows."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import advice, coverage, doctor, lists, nulls, treatments
from docs import field
from tests.house import table
from workbench.cli.catalog import CATALOGS, markdown
from workbench.sets.formats.write import write
from workbench.sets.planted import planted, shuffled

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "workbench"
LINES = 40  # of the output: one screenful


def block(name: str, text: str) -> str:
    """What stands between the markers of `name` in a page."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n?<!-- end -->", text, re.S)
    if not found:
        raise ValueError(f"no block {name}")
    return found.group(1)


def filled(name: str, text: str, content: str) -> str:
    """The page with the block of `name` written anew."""
    block(name, text)
    whole = f"<!-- {name} -->\n{content}\n<!-- end -->"
    return re.sub(rf"<!-- {name} -->\n.*?<!-- end -->", lambda _: whole, text, flags=re.S)


def page_of(what: str) -> Path:
    """The page of the docs that holds the block of `what`."""
    pages = [p for p in sorted((ROOT / "docs").rglob("*.md")) if f"<!-- {what} -->" in p.read_text()]
    if len(pages) != 1:
        raise ValueError(f"one page of docs/ must hold <!-- {what} -->; {len(pages)} do")
    return pages[0]


def first_line(file: Path) -> str:
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]


def tree() -> str:
    """Every module under its room, by the first lines of their docstrings."""
    lines = ["| file | |", "|---|---|"]
    lines += [row(f) for f in sorted(PACKAGE.glob("*.py"))]
    for room in sorted(p.parent for p in PACKAGE.glob("*/__init__.py")):
        lines += ["", f"### {room.name}/", "", first_line(room / "__init__.py"), "", "| file | |", "|---|---|"]
        files = [f for f in sorted(room.rglob("*.py")) if f != room / "__init__.py"]
        lines += [row(f) for f in files]
    return "\n".join(lines)


def row(file: Path) -> str:
    return f"| `{file.relative_to(ROOT)}` | {first_line(file).replace('|', chr(92) + '|')} |"


def output() -> str:
    """What `workbench diagnose pairs.parquet` prints for a planted set, every fifth of its pairs wrong."""
    with tempfile.TemporaryDirectory() as scratch:
        es = shuffled(planted(600, 32, gap=0.6, seed=1), "text", 0.2, seed=1)
        write(es, Path(scratch) / "pairs.parquet", "parquet")
        words = [sys.executable, "-m", "workbench.cli", "diagnose", "pairs.parquet"]
        env = os.environ | {"COLUMNS": "110", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, cwd=scratch, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    lines = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
    shown = lines[:LINES] + (["…"] if len(lines) > LINES else [])
    return "\n".join(["```", "$ workbench diagnose pairs.parquet", *shown, "```"])


def main() -> None:
    for what in CATALOGS:
        page = page_of(what)
        page.write_text(filled(what, page.read_text(), markdown(what)))
    house = ROOT / "docs" / "house.md"
    house.write_text(filled("arrows", filled("tree", house.read_text(), tree()), table()))
    page = ROOT / "docs" / "nulls.md"
    page.write_text(filled("nulls", page.read_text(), nulls.table()))
    page = ROOT / "docs" / "coverage.md"
    page.write_text(filled("coverage", page.read_text(), coverage.table()))
    page = ROOT / "docs" / "doctor.md"
    page.write_text(filled("confusion", page.read_text(), doctor.confusion()))
    for name, block_name, source in (
        ("lists", "kept", lists),
        ("treat", "tested", treatments),
        ("advise", "advised", advice),
    ):
        page = ROOT / "docs" / f"{name}.md"
        page.write_text(filled(block_name, page.read_text(), source.table()))
    field.main()
    readme = ROOT / "README.md"
    readme.write_text(filled("output", readme.read_text(), output()))


if __name__ == "__main__":
    main()
