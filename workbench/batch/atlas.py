"""The atlas: the verdicts of all papers that a batch of paper notebooks ran, judged together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.batch.manifest import Manifest
from workbench.batch.results import read
from workbench.papers.catalogue import entry
from workbench.papers.rule import LOOKS
from workbench.papers.verdicts import judged, keep


def gathered(out: Path) -> list[dict[str, Any]]:
    """The evidence that the paper notebooks of a batch left, each with the link to its report.

    Runs on a set of one's own are no part of it: they say nothing of the paper's data, and there may be several.
    """
    found = []
    for record in Manifest(out).entries():
        about = read(out / f"{record.label}.json").get("about", {}) if record.state == "done" else {}
        evidence = about.get("evidence")
        if isinstance(evidence, dict) and evidence["data"] == entry(evidence["key"]).data:
            found.append(evidence | {"link": f"{record.label}.html", "picture": about.get("picture", "")})
    return judged(found)


def main(words: Sequence[str]) -> None:
    """Keep what the papers of a batch found: python -m workbench.batch.atlas FOLDER."""
    whole = [
        r for r in gathered(Path(words[0])) if not r["quick"] and (r["n"] >= min(LOOKS) or r["outcome"] == "not judged")
    ]
    if not whole:
        raise SystemExit(f"{words[0]}: no paper with {min(LOOKS)} runs here; make some with 'make atlas'")
    for file in keep(whole):
        print(file)


if __name__ == "__main__":
    main(sys.argv[1:])
