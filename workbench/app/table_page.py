"""The selection as a table with pictures; saved by name, exported, and the selections that were saved."""

from __future__ import annotations

import io
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from workbench.app.screens import screen
from workbench.app.session import Session, caption
from workbench.errors import InputError
from workbench.explorer import cards
from workbench.sets.columns import holds_bytes

PAGE = 12  # rows fetched at once, pictures and all


@screen("table", 5)
class TableScreen:
    """The items as a table, linked with the map: sort, filter, save a selection, download."""

    def __init__(self, session: Session) -> None:
        self.session, self.inspection = session, session.inspection
        self.said, self.count = pn.pane.HTML(""), pn.pane.HTML("")
        self.table = pn.widgets.Tabulator(
            self._frame(),
            pagination="remote",
            page_size=PAGE,
            show_index=False,
            disabled=True,
            formatters={"picture": {"type": "html"}},
            sizing_mode="stretch_width",
            layout="fit_data",
            height=640,
        )
        self.name = pmui.TextInput(label="save the selection as", width=220, size="small")
        self.keep = pmui.Button(
            label="save", variant="outlined", size="small", height=38, width=70, sizing_mode="fixed"
        )
        self.kept = pmui.Select(
            label="saved selections", options=["", *self.inspection.selections], width=220, size="small"
        )
        outlined: dict[str, Any] = {"variant": "outlined", "size": "small", "height": 38, "sizing_mode": "fixed"}
        self.csv = pmui.FileDownload(
            callback=self._csv, filename=f"{self.inspection.name}.csv", label="CSV", width=110, **outlined
        )
        self.parquet = pmui.FileDownload(
            callback=self._parquet, filename=f"{self.inspection.name}.parquet", label="Parquet", width=130, **outlined
        )
        self.keep.on_click(self._save)
        self.kept.param.watch(self._open, "value")
        session.map_state.on_selection(self._chosen)

    def view(self) -> Any:
        """The page: the table, and what can be done with the selected rows."""
        self._chosen()
        bar = pn.Row(self.csv, self.parquet, self.name, self.keep, self.kept)
        return pn.Column(bar, self.count, self.said, self.table, sizing_mode="stretch_width")

    def _plain(self) -> pd.DataFrame:
        """The selection without pictures and sounds."""
        frame = self.session.map_state.frame
        return frame[[c for c in frame if not holds_bytes(frame[c])]]

    def _frame(self) -> pd.DataFrame:
        frame = self._plain()
        if len(frame) and any(str(c).endswith(cards.MEDIA) for c in self.inspection.items):
            chosen = self.inspection.items.iloc[np.flatnonzero(self.session.map_state.selected)]
            pictures = [cards.media(row) for row in chosen.to_dict("records")]
            if any(pictures):
                frame.insert(0, "picture", pictures)
        # what one looks for first: what it is, and how well it is found
        first = [c for c in ("picture", "id", "name") if c in frame]
        first += [c for c in frame if str(c).startswith("rank ")]
        return frame[[*first, *(c for c in frame if c not in first)]].reset_index(drop=True)

    def _chosen(self) -> None:
        self.table.value = self._frame()
        chosen, every = int(self.session.map_state.selected.sum()), len(self.inspection.es)
        text = (
            f"The selection: {chosen:,} of {every:,} items." if chosen else f"Nothing is selected: all {every:,} items."
        )
        self.count.object = caption(text).object

    def _csv(self) -> io.BytesIO:
        return io.BytesIO(self._plain().to_csv(index=False).encode())

    def _parquet(self) -> io.BytesIO:
        out = io.BytesIO()
        self._plain().to_parquet(out, index=False)
        out.seek(0)
        return out

    def _save(self, _: Any) -> None:
        map_state = self.session.map_state
        try:
            file = self.inspection.save_selection(
                self.name.value, map_state.ids, view=map_state.view, colour=map_state.colour
            )
        except (InputError, OSError) as e:
            self.said.object = caption(escape(str(e))).object
            return
        self.kept.options = ["", *self.inspection.selections]
        use = f"workbench report {self.inspection.home} --selection '{file.stem}'"
        self.said.object = caption(f"saved {len(map_state.ids):,} items; <span class='num'>{escape(use)}</span>").object

    def _open(self, event: Any) -> None:
        if event.new:
            ids = set(self.inspection.selections.get(event.new, []))
            self.session.map_state.select(self.inspection.es.items["id"].astype(str).isin(ids).to_numpy())
