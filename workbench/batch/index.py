"""`out/index.html`: one self-contained page over all jobs of a folder, drawn from the manifest and the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from workbench.batch.manifest import JobRecord, Manifest
from workbench.batch.results import read
from workbench.disk import write_text


def write_index(out: Path) -> Path:
    """A row a job: parameters, headline numbers, the doctor's mark, curves, links; sort, filter, compare two."""
    from workbench.report.finding import MARKS

    entries = Manifest(out).entries()
    rows = [_row(out, e) for e in entries]
    atlas = _cards(out) if any("evidence" in r["about"] for r in rows) else ""
    for r in rows:  # what the atlas has drawn, the table need not carry
        for name in ("evidence", "picture"):
            r["about"].pop(name, None)
    names = list(dict.fromkeys(name for r in rows for name in r["numbers"]))
    data = {
        "rows": rows,
        "parameters": _varied(entries),
        "shared": _shared(entries),
        "names": names,
        "shown": _headlines(names),
        "marks": MARKS,
    }
    import workbench.views

    env = Environment(loader=FileSystemLoader(Path(workbench.views.__file__).parent), autoescape=True)
    # inside a script element only the end of the element has to be kept out
    text = json.dumps(data, ensure_ascii=False, default=str).replace("<", "\\u003c")
    file = out / "index.html"
    write_text(file, env.get_template("batch.html.j2").render(title=out.name, data=text, cards=atlas))
    return file


def _cards(out: Path) -> str:
    """The atlas, where the notebooks put papers to the test."""
    from workbench.batch.atlas import gathered
    from workbench.papers.page import cards

    return cards(gathered(out))


def _row(out: Path, e: JobRecord) -> dict[str, Any]:
    found = read(out / f"{e.label}.json") if e.state == "done" else {}
    links = {kind: f"{e.label}.{end}" for kind, end in LINKS.items() if (out / f"{e.label}.{end}").is_file()}
    return {
        "label": e.label,
        "parameters": e.parameters,
        "state": e.state,
        "error": e.error,
        "seconds": e.seconds,
        "began": e.began,
        "about": found.get("about", {}),
        "numbers": found.get("numbers", {}),
        "curves": found.get("curves", {}),
        "findings": found.get("findings", []),
        "links": links,
    }


LINKS = {"report": "html", "PDF": "pdf", "notebook": "ipynb", "log": "log"}


def _varied(entries: list[JobRecord]) -> list[str]:
    """Parameters that differ between jobs; all of them where there is one job."""
    names = list(dict.fromkeys(n for e in entries for n in e.parameters))
    if len(entries) < 2:
        return names
    return [n for n in names if len({json.dumps(e.parameters.get(n), default=str) for e in entries}) > 1]


def _shared(entries: list[JobRecord]) -> list[tuple[str, Any]]:
    """Parameters that all jobs have alike, where they are not empty."""
    if len(entries) < 2:
        return []
    varied = set(_varied(entries))
    return [(n, v) for n, v in entries[0].parameters.items() if n not in varied and v not in ("", [], {}, None)]


def _headlines(names: list[str]) -> list[str]:
    """The first scope of each headline diagnostic, both directions of retrieval; else the first few numbers."""
    from workbench.diagnostics.registry import diagnostics, headlines
    from workbench.diagnostics.scoped_name import ScopedName

    found = []
    known = diagnostics()
    for name in headlines():
        scopes = [key for m, key in ScopedName.of(names, name).items() if not m.fused]
        found += scopes[: 2 if known[name].on == "direction" else 1]
    return found or names[:6]
