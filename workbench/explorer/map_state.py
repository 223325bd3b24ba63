"""A map state: one person's look at an inspection. View, colour, selection, and what the map is told of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workbench.errors import InputError, unknown
from workbench.explorer import choice, colouring
from workbench.explorer import wire_format as wire
from workbench.explorer.choice import IDS, REPLACE, Step
from workbench.explorer.colouring import MODALITY, NO_COLOUR, REST
from workbench.explorer.inspection import Inspection, first_rows
from workbench.explorer.regions import regions
from workbench.sets.projection import Projection
from workbench.views.theme import HUES, SHAPES

JOINED = 200  # selected items up to which each pair has its line; above it lines cannot be read
CORNERS = 60  # of a polygon, as an address keeps it
MESSAGES = ("gesture", "asked", "clicked", "command")  # what a map says


class Look(NamedTuple):
    """What is looked at, as undo and redo bring it back."""

    view: str
    colour: str
    selected: np.ndarray
    steps: tuple[Step, ...]


class MapState:
    """State and its translation. Listeners are called with the map's changed columns, whatever face the map has."""

    def __init__(self, inspection: Inspection, *, view: str = "", colour: str = MODALITY) -> None:
        self.inspection = inspection
        self.view = view or inspection.first_view
        self.colour = colour
        self.height = 520
        self.pictured = False  # whether the map can draw nothing itself and takes a picture
        self.selected = np.zeros(len(inspection.es), dtype=bool)
        self.steps: tuple[Step, ...] = ()  # what made the selection
        self.ring = -1  # the item whose pair is shown
        self._past: list[Look] = []
        self._future: list[Look] = []
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        self._chosen: list[Callable[[], None]] = []
        self.projection: Projection = inspection.view(self.view)
        self.order = wire.fair_order(len(self.projection.xy))
        self.names = list(inspection.es.modalities)
        rows = [len(inspection.es[m]) for m in self.names]
        self.modality = np.repeat(np.arange(len(rows), dtype=np.uint8), rows)[self.order]
        self.item = self.projection.item[self.order]
        self.xy = self.projection.xy[self.order]
        self._codes, self._legend = self._colours()
        self._labels = self._names_of_groups()

    @property
    def views(self) -> list[str]:
        """The views that this set has: one modality alone has no gap."""
        return self.inspection.views

    def listen(self, told: Callable[[dict[str, Any]], None]) -> None:
        """Call `told` with every change of what the map shows."""
        self._listeners.append(told)

    def on_selection(self, f: Callable[[], None]) -> None:
        """Call `f` after every change of the selection."""
        self._chosen.append(f)

    def _send(self, **traits: Any) -> None:
        if self.pictured and not traits.keys() & {"tip", "png"}:
            traits["png"] = self.png()
        for f in self._listeners:
            f(traits)

    # -- what the map is told --------------------------------------------------------------------------------------

    def traits(self) -> dict[str, Any]:
        """Everything, for a map that has just been made."""
        return {
            "points": self.xy.astype("<f4").tobytes(),
            "modality": self.modality.tobytes(),
            "codes": self._codes.astype("<u2").tobytes(),
            **self._selection_traits(),
            "spec": self._spec(),
        }

    def _spec(self) -> dict[str, Any]:
        p = self.projection
        counts = np.bincount(self.modality, minlength=len(self.names))
        return {
            "modalities": [
                {"name": m, "hue": HUES[k % len(HUES)], "shape": SHAPES[k % len(SHAPES)], "count": int(counts[k])}
                for k, m in enumerate(self.names)
            ],
            "legend": self._legend,
            "axes": list(p.axes),
            "free": p.method == "gap_axis",  # its axes mean different things: each has a scale of its own
            "faith": f"neighbours kept {p.faithfulness:.0%} · trust {p.trustworthiness:.2f}"
            + (" · low: read no neighbourhoods off it" if p.low else ""),
            "faith_title": "Share of the ten nearest rows kept on this map, and trustworthiness (0.5: as by chance).",
            "low": bool(p.low),
            "items": len(self.inspection.es),
            "points": len(p.xy),
            "selected": f"{int(self.selected.sum()):,} selected" if self.selected.any() else "",
            "joined": int(self.selected.sum()) <= JOINED,
            "rung": self._rung(),
            "labels": self._labels,
            "ramp": wire.ramp(32)[::-1],
            "height": self.height,
        }

    def _rung(self) -> list[int]:
        return np.flatnonzero(self.item == self.ring).tolist() if self.ring >= 0 else []

    def _selection_traits(self) -> dict[str, Any]:
        pairs, strength = self._pairs()
        return {
            "mask": wire.bits(self.selected[self.item]) if self.selected.any() else b"",
            "pairs": pairs.astype("<u4").tobytes(),
            "pair_codes": strength.tobytes(),
        }

    def _colours(self) -> tuple[np.ndarray, dict[str, Any]]:
        """A code a point and the legend of those codes."""
        if self.colour == MODALITY:
            entries = [{"name": m, "count": 0, "color": HUES[k % len(HUES)]} for k, m in enumerate(self.names)]
            return self.modality.astype(np.uint16), {"kind": "modality", "title": MODALITY, "entries": entries}
        codes, legend = colouring.coded(self.inspection, self.colour)
        codes = codes[self.item]
        if (ranked := colouring.direction(self.colour)) in self.inspection.directions:
            # a rank is a query's: rows of other modalities have none
            asked = self.names.index(ranked[0])
            codes = np.where(self.modality == asked, codes, NO_COLOUR)
        return codes.astype(np.uint16), legend

    def _names_of_groups(self) -> list[dict[str, Any]]:
        """Names of the modalities or categories at the median of their points, the most frequent first."""
        if self._legend.get("kind") not in (MODALITY, "category"):
            return []
        frame = pd.DataFrame({"x": self.xy[:, 0], "y": self.xy[:, 1], "c": self._codes})
        middle = frame[frame["c"] != NO_COLOUR].groupby("c")[["x", "y"]].median()
        names = [e["name"] for e in self._legend["entries"]]
        said = [{"x": float(x), "y": float(y), "text": names[int(c)][:32]} for c, x, y in middle.head(60).itertuples()]
        return [*said, *regions(self.inspection, self.xy, self.item)] if self.colour == MODALITY else said

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Points to join, (k, 2), and how alike each pair is, as a byte: 255 for a cosine of one."""
        es = self.inspection.es
        items = np.flatnonzero(self.selected)
        if not len(items) or len(items) > JOINED or len(self.names) < 2:
            return np.zeros((0, 2), np.uint32), np.zeros(0, np.uint8)
        place = np.empty(len(self.order), dtype=np.int64)
        place[self.order] = np.arange(len(self.order))
        start = np.cumsum([0, *(len(es[m]) for m in self.names)])
        joined, alike = [], []
        first = {m: first_rows(es.item_of_row(m).numpy(), items) for m in self.names}
        for k, a in enumerate(self.names):
            for j, b in enumerate(self.names[k + 1 :], k + 1):
                both = (first[a] >= 0) & (first[b] >= 0)
                ra, rb = first[a][both], first[b][both]
                joined.append(np.stack([place[start[k] + ra], place[start[j] + rb]], 1))
                if es[a].shape[-1] == es[b].shape[-1]:
                    cosine = (self.inspection.unit(a)[ra] * self.inspection.unit(b)[rb]).sum(1).numpy()
                else:
                    cosine = np.zeros(len(ra))
                alike.append(np.clip((cosine + 1) * 127.5, 0, 255).astype(np.uint8))
        return np.concatenate(joined), np.concatenate(alike)

    # -- what can be asked -----------------------------------------------------------------------------------------

    @property
    def colours(self) -> list[str]:
        """What points can be coloured by: the modality, columns of the items, ranks."""
        return [MODALITY, *colouring.measures(self.inspection)]

    # -- what changes it -------------------------------------------------------------------------------------------

    def _remember(self) -> None:
        self._past = [*self._past[-49:], Look(self.view, self.colour, self.selected, self.steps)]
        self._future = []

    def show(self, view: str, *, remember: bool = True) -> None:
        """Another layout; the map glides there."""
        place = self.inspection.view(view)
        if remember and view != self.view:
            self._remember()
        self.view = view
        self.place(place)

    def place(self, projection: Projection) -> None:
        """The same points somewhere else: another layout, a snapshot, an intervention."""
        self.projection = projection
        self.xy = projection.xy[self.order]
        self._labels = self._names_of_groups()
        self._send(points=self.xy.astype("<f4").tobytes(), spec=self._spec())

    def paint(self, colour: str, *, remember: bool = True) -> None:
        """Colour the points by a column or a measure, one of `colours`."""
        if colour not in self.colours:
            raise unknown("colour", colour, self.colours)
        if remember and colour != self.colour:
            self._remember()
        self.colour = colour
        self._codes, self._legend = self._colours()
        self._labels = self._names_of_groups()
        self._send(codes=self._codes.astype("<u2").tobytes(), spec=self._spec())

    def choose(self, kind: str, *of: Any, how: str = REPLACE, remember: bool = True) -> None:
        """Select by what is asked for, which an address can name; `InputError` where it is not there."""
        step = Step(kind, of, how)
        mask = choice.merged(self.selected, choice.items(self.inspection, step), how)
        steps = (step,) if how == REPLACE else (*self.steps, step)
        if how != REPLACE and not self.steps and self.selected.any():
            steps = ()  # what was there before has no name, so neither has this
        self._select(mask, steps if mask.any() else (), remember)

    def select(self, items: Any, *, remember: bool = True) -> None:
        """Select items, by a mask (N,) or by positions."""
        items = np.asarray(items)
        mask = np.zeros(len(self.inspection.es), dtype=bool)
        if len(items) and (items.dtype != bool or len(items) == len(mask)):
            mask[items] = True
        count = int(mask.sum())
        ids = self.inspection.es.items["id"].astype(str).to_numpy()[mask].tolist() if 0 < count <= IDS else []
        self._select(mask, (Step("ids", tuple(ids)),) if ids else (), remember)

    def _select(self, mask: np.ndarray, steps: tuple[Step, ...], remember: bool) -> None:
        if np.array_equal(mask, self.selected):
            self.steps = steps or self.steps
            return
        if remember:
            self._remember()
        self.selected, self.steps = mask, steps
        self._told_of_selection()

    def _told_of_selection(self) -> None:
        if self.ring >= 0 and not self.selected[self.ring]:
            self.ring = -1
        self._send(**self._selection_traits(), spec=self._spec())
        for f in self._chosen:
            f()

    def ring_at(self, item: int) -> None:
        """Ring the points of one item, the one whose pair is shown; −1 rings none."""
        if item != self.ring:
            self.ring = item
            self._send(spec=self._spec())

    def undo(self) -> None:
        """Take back the last change of selection, view or colour."""
        self._travel(self._past, self._future)

    def redo(self) -> None:
        """Make again what was taken back."""
        self._travel(self._future, self._past)

    def _travel(self, there: list[Look], back: list[Look]) -> None:
        if not there:
            return
        back.append(Look(self.view, self.colour, self.selected, self.steps))
        look = there.pop()
        if look.view != self.view:
            self.show(look.view, remember=False)
        if look.colour != self.colour:
            self.paint(look.colour, remember=False)
        if not np.array_equal(look.selected, self.selected):
            self.selected, self.steps = look.selected, look.steps
            self._told_of_selection()

    @property
    def ids(self) -> list[str]:
        """The ids of the selected items."""
        return [str(i) for i in self.inspection.es.items["id"].to_numpy()[self.selected]]

    @property
    def frame(self) -> pd.DataFrame:
        """The selected items with their columns, and the rank of their match in each direction."""
        out = self.inspection.items[self.selected].copy()
        for a, b in self.inspection.directions:
            out[f"rank {a} → {b}"] = self.inspection.ranks(a, b)[self.selected]
        return out

    # -- what the map says -----------------------------------------------------------------------------------------

    def on_message(self, name: str, value: Any) -> None:
        """A message of the map: a gesture, a click, a hover, a command. What makes no sense is passed over."""
        if name == "asked":
            self._send(tip=self.tip(int(value)) if isinstance(value, int) else {})
        elif not isinstance(value, Mapping):
            return
        elif name == "gesture":
            self._gesture(value)
        elif name == "clicked":
            point = value.get("point", -1)
            if isinstance(point, int) and 0 <= point < len(self.item):
                found = str(self.inspection.es.items["id"].iloc[self.item[point]])
                self.choose("ids", found, how=_how(value))
        elif name == "command":
            if value.get("name") == "undo":
                self.undo()
            elif value.get("name") == "redo":
                self.redo()
            elif value.get("name") == "clear":
                self.select(np.zeros(len(self.selected), dtype=bool))
            elif value.get("name") == "picture":
                self.pictured = True
                self._send(png=b"")  # asked again, the last one did not arrive; an equal value is not sent twice
                self._send()

    def _gesture(self, value: Mapping[str, Any]) -> None:
        try:
            points = [(float(x), float(y)) for x, y in value.get("points") or []]
            off, hidden = int(value.get("off") or 0), np.asarray(value.get("hidden") or [], dtype=int)
        except (TypeError, ValueError):
            return
        how = _how(value)
        if self.projection is self.inspection.view(self.view):
            every = max(1, -(-len(points) // CORNERS))
            kept = [[float(f"{x:.8g}"), float(f"{y:.8g}")] for x, y in points[::every]]
            names = [e["name"] for e in self._legend.get("entries", [])]
            solo = [n for k, n in enumerate(names) if k not in set(hidden.tolist())] if len(hidden) else []
            self.choose("lasso", self.view, kept, off, self.colour if solo else "", solo, how=how)
            return
        hit = wire.inside(self.xy, points)  # the points have been moved: no address can say where to
        hit &= ((off >> self.modality.astype(int)) & 1) == 0
        if len(hidden):
            hit &= ~np.isin(self._codes, hidden)
        found = np.zeros(len(self.selected), dtype=bool)
        found[np.unique(self.item[hit])] = True
        self.select(choice.merged(self.selected, found, how))

    def tip(self, point: int) -> dict[str, Any]:
        """What a hover shows: name, modality, value of the colour, picture."""
        if not 0 <= point < len(self.item):
            return {}
        item, m = int(self.item[point]), self.names[self.modality[point]]
        row = self.inspection.items.iloc[item]
        lines = [m]
        if self.colour not in (MODALITY, "name"):
            lines.append(f"{self.colour}: {row[self.colour]}" if self.colour in row else "")
        for a, b in self.inspection.directions:
            if a == m and np.isfinite(rank := self.inspection.ranks(a, b)[item]):
                lines.append(f"→ {b}: rank {rank:,.0f}")
        image = row.get(f"{m}_png", next((row[c] for c in row.index if c.endswith("_png")), None))
        return {
            "point": point,
            "title": str(row["name"]),
            "lines": [x for x in lines if x],
            "image": wire.data_url(image),
        }

    def png(self, width: int = 900, height: int = 520) -> bytes:
        """The map as a picture, drawn here."""
        entries = self._legend.get("entries", [])
        hues = self._legend.get("colors") or [e["color"] or REST for e in entries] or [REST]
        rgb = np.array([[int(h[i : i + 2], 16) for i in (1, 3, 5)] for h in [*hues, REST]], dtype=np.uint8)
        at = np.minimum(self._codes, len(hues))
        if self.selected.any():
            chosen = self.selected[self.item]
            first = np.argsort(chosen, kind="stable")
            rgb_of = rgb[at]
            rgb_of[~chosen] = (rgb_of[~chosen].astype(int) + 2 * 225) // 3
            pairs, _ = self._pairs()
            lines = self.xy[pairs].reshape(-1, 4)
            return wire.png(self.xy[first], rgb_of[first], lines, width=width, height=height)
        return wire.png(self.xy, rgb[at], width=width, height=height)

    # -- where it stands, for a URL --------------------------------------------------------------------------------

    def state(self) -> dict[str, str]:
        """What a URL keeps: view, colour, and what made the selection."""
        return {"view": self.view, "colour": self.colour, "sel": choice.written(self.steps) if self.steps else ""}

    def restore(self, state: Mapping[str, str]) -> list[str]:
        """Take up a state from a URL; what could not be, in sentences."""
        missed = []
        for name, take in (("view", self.show), ("colour", self.paint)):
            if state.get(name) and state[name] != getattr(self, name):
                try:
                    take(state[name], remember=False)
                except InputError as e:
                    missed.append(str(e))
        if state.get("sel"):
            try:
                steps = choice.read(state["sel"])
                self._select(choice.made(self.inspection, steps), steps, remember=False)
            except InputError as e:
                missed.append(str(e))
        return missed


def _how(value: Mapping[str, Any]) -> str:
    """What a gesture makes of what was selected."""
    asked = str(value.get("op", REPLACE))
    return asked if asked in choice.HOW else REPLACE
