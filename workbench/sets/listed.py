"""Items that a file lists: to be left out, or to be kept alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workbench.errors import InputError, listed
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats.plain import cells


def ids_in(file: Path) -> set[str]:
    """The ids of a file: its column `id`, or its only column; a .txt is an id a line."""
    if not file.is_file():
        raise InputError(f"{file}: no such file of ids")
    if file.suffix.lower() == ".txt":
        return {line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()}
    table = cells(file, [])
    if "id" not in table and len(table) != 1:
        raise InputError(f"{file}: no column 'id' among {listed(table)}; it names the items")
    values = table["id"] if "id" in table else next(iter(table.values()))
    return {str(v).strip() for v in values if v is not None and str(v).strip()}


def chosen(es: EmbeddingSet, drop: Path | None = None, keep: Path | None = None) -> tuple[EmbeddingSet, list[str]]:
    """The set without the items of one file, and with those of the other alone; and in words what that left.

    An id that the set does not have is no fault, for lists outlive splits; a file none of whose ids are there is one.
    """
    said = []
    for file, leave in ((drop, True), (keep, False)):
        if file is None:
            continue
        wanted = ids_in(Path(file))
        has = np.array([i in wanted for i in columns.text(es.items["id"])], dtype=bool)
        if wanted and not has.any():
            ids = columns.text(es.items["id"])
            raise InputError(
                f"{file}: none of its {len(wanted):,} ids is in {es.source} (it has {listed(ids[:3])} …; {file} has "
                f"{listed(sorted(wanted)[:3])} …)"
            )
        at = ~has if leave else has
        if not at.any():
            raise InputError(f"{file}: leaves no item of {es.source}")
        es = es.take(at)
        said.append(f"{int((~at).sum()):,} items left out by {file}, {int(at.sum()):,} kept")
    return es, said
