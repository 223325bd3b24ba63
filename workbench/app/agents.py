"""A door for agents and scripts: the sets and runs that are served, by the Model Context Protocol over stdio.

Every number comes with its interval and what chance gives. Nothing is changed but selections that are saved.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from workbench.app.library import Library, Served, page_of
from workbench.diagnostics.registry import diagnostics, headlines
from workbench.errors import InputError, unknown
from workbench.explorer.inspection import Inspection
from workbench.explorer.map_state import MapState
from workbench.lists import suspects as find_suspects
from workbench.lists import weak_slices
from workbench.report.finding import verdict
from workbench.sets import columns
from workbench.version import __version__

ABOUT = (
    "Embedding sets and training runs of multimodal contrastive models, with diagnostics. A number never stands alone: "
    "read its interval and what chance gives (null) before saying that it means something."
)
MOST = 50  # rows of an answer


class Door:
    """What can be asked of a library; each method is a tool by its name and its docstring."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def _served(self, name: str) -> Served:
        entries = self.library.entries()
        if name not in entries:
            raise unknown("run or set", name, entries)
        return entries[name]

    def _inspection(self, name: str) -> Inspection:
        found = self._served(name).inspection()
        if found is None:
            raise InputError(f"{name}: has no snapshot yet")
        return found

    def list_all(self) -> list[dict[str, Any]]:
        """The runs and sets there are: name, kind, recipe and step of a run, items and verdict where they are known."""
        out = []
        for name, e in self.library.entries().items():
            line: dict[str, Any] = {"name": name, "kind": "run" if e.is_run else "set"}
            if e.is_run:
                line |= {"recipe": e.run.config["recipe"], "step": e.run.steps, "finished": e.run.finished}
            known = self.library.made(page_of(), e)
            if known is not None:
                line |= {"items": len(known.es), "verdict": verdict(known.report.findings)}
            out.append(line)
        return out

    def findings(self, name: str) -> dict[str, Any]:
        """What the doctor says of a run or set: the verdict, each finding with its evidence and what to do."""
        report = self._inspection(name).report
        told = [f.to_dict() for f in report.findings]
        return {"verdict": verdict(report.findings), "findings": told, "about": report.about}

    def numbers(self, name: str, only: list[str] | None = None) -> list[dict[str, Any]]:
        """Diagnostics with interval, null band, unit and direction; the headline numbers unless others are named."""
        wanted = only or headlines()
        for n in wanted:
            if n not in diagnostics():
                raise unknown("diagnostic", n, diagnostics())
        frame = self._inspection(name).report.frame
        kept = ("name", "value", "low", "high", "null_low", "null_high", "unit", "better", "reason")
        out = []
        for r in frame[frame["name"].isin(wanted)].to_dict("records"):
            line = {k: _plain(r[k]) for k in kept if k in r}
            out.append(
                line | {"of": list(r["modalities"]), "queries": int(r["n_query"]), "gallery": int(r["n_gallery"])}
            )
        return out

    def worst_pairs(self, name: str, query: str = "", key: str = "", count: int = 20) -> list[dict[str, Any]]:
        """The items whose match ranks worst in a direction, with what ranks before it and the cosines."""
        s = self._inspection(name)
        a, b = _direction(s, query, key)
        out = []
        for i in s.worst(min(count, MOST), (a, b)):
            m = s.query_result(int(i), a, b)
            if m is not None:
                nearest = [
                    {"id": str(r["id"]), "name": str(r["name"]), "cosine": round(float(r["cosine"]), 4)}
                    for r in m.nearest.to_dict("records")
                ]
                out.append(
                    {
                        **_item(s, int(i)),
                        "rank": m.rank,
                        "rank_back": m.back,
                        "margin": _plain(m.margin),
                        "nearest": nearest,
                    }
                )
        return out

    def find(self, name: str, text: str, count: int = 20) -> dict[str, Any]:
        """The items that have a text in a column, and in which columns it lies."""
        s = self._inspection(name)
        at = s.find(text).nonzero()[0]
        return {
            "items": len(at),
            "columns": s.found_in(text),
            "first": [_item(s, int(i)) for i in at[: min(count, MOST)]],
        }

    def slices(self, name: str) -> dict[str, Any]:
        """Where retrieval is lower than elsewhere, over columns, pairs of columns and clusters; false discoveries at 5 %."""
        found = weak_slices(self._inspection(name).whole)
        return {"sentences": found.sentences, "slices": found.frame.to_dict("records")}

    def suspects(self, name: str, count: int = 20) -> dict[str, Any]:
        """Probably wrong pairs, leaks, duplicates, false negatives and outliers, each with its reason."""
        found = find_suspects(self._inspection(name).whole)
        return {"sentences": found.sentences, "first": found.frame.head(min(count, MOST)).to_dict("records")}

    def picture(self, name: str, view: str = "", colour: str = "modality", ids: list[str] | None = None) -> bytes:
        """The map as PNG, by a view and a colour, with these items picked out."""
        s = self._inspection(name)
        state = MapState(s, view=view)
        state.paint(colour)
        if ids:
            state.choose("ids", *ids)
        return state.png()

    def save_selection(self, name: str, selection: str, ids: list[str]) -> str:
        """Keep items by a name, for the dashboard and for `workbench report NAME --selection`; the only thing written."""
        s = self._inspection(name)
        s.places(ids)  # an id that is not there is said
        return str(s.save_selection(selection, ids, by="an agent"))


def _plain(x: Any) -> Any:
    return None if isinstance(x, float) and not math.isfinite(x) else x


def _item(s: Inspection, i: int) -> dict[str, Any]:
    """An item's columns without pictures and sounds."""
    row = s.items.iloc[i]
    return {str(c): columns.as_text(row[c]) for c in s.items if not columns.holds_bytes(s.items[c])}


def _direction(s: Inspection, query: str, key: str) -> tuple[str, str]:
    if not s.directions:
        raise InputError(f"{s.name}: no two modalities of one width, so nothing ranks")
    if not query and not key:
        return s.directions[0]
    if (query, key) not in s.directions:
        raise unknown("direction", f"{query} → {key}", [f"{a} → {b}" for a, b in s.directions])
    return query, key


def server(paths: Sequence[Path], split: str = "validation") -> Any:
    """An MCP server over runs and sets; `.run()` speaks on stdin and stdout until its client leaves."""
    try:
        from mcp.server.mcpserver import Image, MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError:
        raise InputError("workbench mcp needs the MCP SDK: pip install 'workbench[mcp]'") from None
    door = Door(Library(paths, split))
    made = MCPServer("workbench", instructions=ABOUT, version=__version__, log_level="WARNING")

    def told(tool: Callable[..., Any]) -> Callable[..., Any]:
        """The same tool, whose errors of the input are told to the agent; others are not."""

        @functools.wraps(tool)
        def asked(*args: Any, **kwargs: Any) -> Any:
            try:
                return tool(*args, **kwargs)
            except InputError as e:
                raise ToolError(str(e)) from None

        return asked

    def map_(name: str, view: str = "", colour: str = "modality", ids: list[str] | None = None) -> Any:
        return Image(data=door.picture(name, view, colour, ids), format="png")

    for tool in (door.list_all, door.findings, door.numbers, door.worst_pairs, door.find, door.slices, door.suspects):
        made.tool()(told(tool))
    made.tool()(told(door.save_selection))
    made.tool(name="map", description=door.picture.__doc__, structured_output=False)(told(map_))

    return made
