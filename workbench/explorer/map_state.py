"""A map state: one person's look at an inspection. View, colour, selection, and what the map is told of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError, unknown
from workbench.explorer import wire_format as wire
from workbench.explorer.inspection import Inspection, first_rows
from workbench.sets import columns
from workbench.sets.projection import Projection
from workbench.views.theme import HUES, SHAPES

VIEWS = {
    "gap axis": "gap_axis",
    "SVD, uncentred": "svd",
    "PCA, gap removed": "centred_pca",
    "PCA": "pca",
    "UMAP": "umap",
}
MODALITY = "modality"
COLOURED = 8  # categories with a colour of their own; the others share one and are found by search
CATEGORIES = 5_000  # values of a column that is still a legend
LINES = 2_000  # pairs of the selection that are joined
NO_COLOUR = 65_535
REST = "#8a949e"
MESSAGES = ("gesture", "asked", "clicked", "command")  # what a map says


class MapState:
    """State and its translation. Listeners are called with the map's changed columns, whatever face the map has."""

    def __init__(self, inspection: Inspection, *, view: str = "", colour: str = MODALITY) -> None:
        self.inspection = inspection
        self.view = view or ("gap axis" if len(inspection.es.modalities) > 1 else "PCA")
        self.colour = colour
        self.height = 520
        self.pictured = False  # whether the map can draw nothing itself and takes a picture
        self.selected = np.zeros(len(inspection.es), dtype=bool)
        self._past: list[np.ndarray] = []
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        self._chosen: list[Callable[[], None]] = []
        if self.view not in VIEWS:
            raise unknown("view", self.view, VIEWS)
        self.projection: Projection = inspection.map(VIEWS[self.view])
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
        return [v for v, m in VIEWS.items() if m != "gap_axis" or len(self.names) > 1]

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
            "labels": self._labels,
            "ramp": wire.ramp(32)[::-1],
            "height": self.height,
        }

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
        values = self.column(self.colour)
        if values.dtype.kind == "f":
            known = np.isfinite(values.astype(float))
            if not known.any():
                return np.full(len(self.item), NO_COLOUR, np.uint16), {"kind": "value", "title": self.colour}
            low, high = np.quantile(values[known].astype(float), [0.01, 0.99])
            scaled = np.clip((values.astype(float) - low) / (high - low or 1), 0, 1)
            code = np.where(known, np.nan_to_num(scaled) * 255, NO_COLOUR).astype(np.uint16)
            legend = {"kind": "value", "title": self.colour, "colors": wire.ramp(), "low": f"{low:.3g}"}
            return code[self.item], legend | {"high": f"{high:.3g}", "rest": REST}
        codes, names, counts = self._categories(values)
        entries = [
            {"name": str(n), "count": int(c), "color": HUES[k] if k < COLOURED else ""}
            for k, (n, c) in enumerate(zip(names, counts, strict=True))
        ]
        return codes[self.item].astype(np.uint16), {
            "kind": "category",
            "title": self.colour,
            "entries": entries,
            "rest": REST,
        }

    def _categories(self, values: np.ndarray) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Codes by falling frequency, names and counts; an item of which nothing is said has no colour."""
        text = pd.Series(values)
        counts = text[text != ""].value_counts()
        place = pd.Series(np.arange(len(counts)), index=counts.index)
        return place.reindex(text, fill_value=NO_COLOUR).to_numpy(), list(counts.index), counts.to_numpy()

    def _names_of_groups(self) -> list[dict[str, Any]]:
        """Names of the modalities or categories at the median of their points, the most frequent first."""
        if self._legend.get("kind") not in (MODALITY, "category"):
            return []
        frame = pd.DataFrame({"x": self.xy[:, 0], "y": self.xy[:, 1], "c": self._codes})
        middle = frame[frame["c"] != NO_COLOUR].groupby("c")[["x", "y"]].median()
        names = [e["name"] for e in self._legend["entries"]]
        return [{"x": float(x), "y": float(y), "text": names[int(c)][:32]} for c, x, y in middle.head(60).itertuples()]

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Points to join, (k, 2), and how alike each pair is, as a byte: 255 for a cosine of one."""
        es = self.inspection.es
        items = np.flatnonzero(self.selected)[:LINES]
        if not len(items) or len(self.names) < 2:
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
        items, out = self.inspection.items, [MODALITY]
        for c in items:
            x = items[c]
            if c == "id" or columns.holds_bytes(x):
                continue
            if x.dtype.kind in "fiu" or x.nunique() <= CATEGORIES and x.nunique() < len(x):
                out.append(c)
        return out + [f"rank {a} → {b}" for a, b in self.inspection.directions]

    def column(self, name: str) -> np.ndarray:
        """The value of each item (N,) under one of `colours`."""
        if name.startswith("rank ") and name not in self.inspection.items:
            a, b = name.removeprefix("rank ").split(" → ")
            return np.log10(self.inspection.ranks(a, b))
        if name not in self.inspection.items:
            raise unknown("colour", name, self.colours)
        values = self.inspection.items[name]
        if values.dtype.kind in "fiu":
            return values.to_numpy(dtype=np.float64, na_value=np.nan)
        return columns.text(values)

    # -- what changes it -------------------------------------------------------------------------------------------

    def show(self, view: str) -> None:
        """Another layout; the map glides there."""
        if view not in VIEWS:
            raise unknown("view", view, VIEWS)
        self.view = view
        self.place(self.inspection.map(VIEWS[view]))

    def place(self, projection: Projection) -> None:
        """The same points somewhere else: another layout, a snapshot, an intervention."""
        self.projection = projection
        self.xy = projection.xy[self.order]
        self._labels = self._names_of_groups()
        self._send(points=self.xy.astype("<f4").tobytes(), spec=self._spec())

    def paint(self, colour: str) -> None:
        """Colour the points by a column or a measure, one of `colours`."""
        self.colour = colour
        self._codes, self._legend = self._colours()
        self._labels = self._names_of_groups()
        self._send(codes=self._codes.astype("<u2").tobytes(), spec=self._spec())

    def select(self, items: Any, *, remember: bool = True) -> None:
        """Select items, by a mask (N,) or by positions."""
        items = np.asarray(items)
        mask = np.zeros(len(self.inspection.es), dtype=bool)
        mask[items if items.dtype != bool or len(items) == len(mask) else []] = True
        if np.array_equal(mask, self.selected):
            return
        if remember:
            self._past = [*self._past[-49:], self.selected]
        self.selected = mask
        self._send(**self._selection_traits(), spec=self._spec())
        for f in self._chosen:
            f()

    def undo(self) -> None:
        """Take back the last change of the selection."""
        if self._past:
            self.select(self._past.pop(), remember=False)

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
                self._merge(np.array([self.item[point]]), str(value.get("op", "replace")))
        elif name == "command":
            if value.get("name") == "undo":
                self.undo()
            elif value.get("name") == "clear":
                self.select(np.zeros(len(self.selected), dtype=bool))
            elif value.get("name") == "picture":
                self.pictured = True
                self._send(png=b"")  # asked again, the last one did not arrive; an equal value is not sent twice
                self._send()

    def _gesture(self, value: Mapping[str, Any]) -> None:
        try:
            hit = wire.inside(self.xy, value.get("points") or [])
            off, hidden = int(value.get("off") or 0), np.asarray(value.get("hidden") or [], dtype=int)
        except (TypeError, ValueError):
            return
        hit &= ((off >> self.modality.astype(int)) & 1) == 0
        if len(hidden):
            hit &= ~np.isin(self._codes, hidden)
        self._merge(np.unique(self.item[hit]), str(value.get("op", "replace")))

    def _merge(self, items: np.ndarray, how: str) -> None:
        mask = np.zeros(len(self.selected), dtype=bool)
        mask[items] = True
        self.select(self.selected | mask if how == "add" else self.selected & ~mask if how == "remove" else mask)

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
        """What a URL keeps: view, colour, and a selection of at most 50 ids."""
        chosen = self.ids
        return {"view": self.view, "colour": self.colour, "ids": ",".join(chosen) if len(chosen) <= 50 else ""}

    def restore(self, state: Mapping[str, str]) -> None:
        """Take up a state from a URL; parts that make no sense here are passed over."""
        if state.get("view") in VIEWS and state["view"] != self.view:
            self.show(state["view"])
        if state.get("colour") in self.colours and state["colour"] != self.colour:
            self.paint(state["colour"])
        if state.get("ids"):
            try:
                self.select(self.inspection.places(state["ids"].split(",")))
            except InputError:
                return
