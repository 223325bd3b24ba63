"""A set as the result of a notebook's cell: what it holds, in a few lines of HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any


def set_card(about: Mapping[str, Any], columns: Mapping[str, str], missing: Mapping[str, int]) -> str:
    """`about` as `EmbeddingSet.describe` gives it; columns with their type; how many items lack each modality."""
    line = "var(--jp-border-color2, rgba(128, 138, 148, 0.4))"
    cell = f'style="text-align:left !important;padding:2px 14px 2px 0;border-bottom:1px solid {line}"'
    rows = "".join(
        f'<tr style="background:transparent"><td {cell}>{escape(m)}</td><td {cell}>{v["rows"]:,}×{v["dimensions"]}</td>'
        f"<td {cell}>{escape(v['dtype'])}</td><td {cell}>{missing.get(m, 0) or ''}</td></tr>"
        for m, v in about["modalities"].items()
    )
    head = "".join(f"<th {cell}>{h}</th>" for h in ("modality", "rows", "dtype", "items without"))
    parts = [f"{about['items']:,} items", f"{about['families']:,} families", f"paired by {about['pairing']}"]
    parts += [f"{n:,} {split}" for split, n in about["split"].items()]
    named = ", ".join(f"{escape(c)} <span style='opacity:.7'>{escape(t)}</span>" for c, t in columns.items())
    return (
        f'<div class="wb-set" style="font-size:13px;line-height:1.45"><b>{escape(str(about["source"]))}</b><br>'
        f'{escape(" · ".join(parts))}<table style="border-collapse:collapse;margin:6px 0"><tr>{head}</tr>{rows}</table>'
        f"columns: {named}</div>"
    )
