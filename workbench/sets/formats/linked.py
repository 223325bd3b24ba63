"""One file of JSON with several tables that name each other's rows: pictures, and the captions of each, as COCO has."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.sets.formats.delimited import text_of
from workbench.sets.formats.plain import gathered, table_of
from workbench.sets.formats.source import Table

LIKE = re.compile(r'_id" ?:')  # what names a row of another table is called so


def tables_in(file: Path) -> dict[str, Table]:
    """The two tables of a file where rows of one name rows of the other; nothing where it is one table, or no JSON.

    Of several tables that are named so it is the longest: pictures, and not their licences or categories.
    """
    if file.suffix.lower() != ".json" or not file.is_file():
        return {}
    try:
        text = text_of(file, [])
        found = json.loads(text) if text.lstrip()[:1] == "{" and LIKE.search(text) else None
    except (InputError, ValueError, RecursionError):
        return {}  # whoever reads it says what is wrong
    if not isinstance(found, dict):
        return {}
    records = {str(k): v for k, v in found.items()
               if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)}  # fmt: skip
    links = [(a, b) for a in records for b in records if a != b and _names(records[b][0], a, records[a][0])]
    if not links:
        return {}
    of, by = max(links, key=lambda link: len(records[link[0]]))
    return {n: table_of(gathered(records[n]), f"{n} of {file.name}") for n in (of, by)}


def _names(row: Mapping[str, Any], table: str, of: Mapping[str, Any]) -> bool:
    """Whether a row says which row of a table it belongs to: image_id, of images with an id."""
    return "id" in of and f"{table.removesuffix('s')}_id" in row
