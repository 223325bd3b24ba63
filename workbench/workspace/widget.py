"""The workspace in a notebook: `wb.explore`.

>>> import workbench as wb
>>> ex = wb.explore(wb.testing.planted(items=60))
>>> len(ex.selection)
20
>>> ex.select(["i3", "i5"]).selection["id"].tolist()
['i3', 'i5']
"""

from __future__ import annotations

import base64
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import traitlets as t

from workbench.explorer.cards import framed, sentences
from workbench.explorer.inspection import inspection
from workbench.explorer.map_state import MapState
from workbench.explorer.static_map import still
from workbench.explorer.widgets import MapTraits
from workbench.workspace.assets import MESSAGES, module
from workbench.workspace.visit import Visit

HEIGHT = 640


class Explorer(MapTraits):
    """The workspace of a set or a run as a widget; `selection` is a frame, both ways.

    `observe(f, names=["chosen"])` calls `f` when the selection changes; `chosen` is how many items it has.
    """

    _esm = module()
    content = t.Bytes(b"").tag(sync=True)
    act = t.Dict().tag(sync=True)
    page = t.Dict().tag(sync=True)
    file = t.Dict().tag(sync=True)
    top = t.Unicode("").tag(sync=True)
    tools = t.Unicode("").tag(sync=True)
    left = t.Unicode("").tag(sync=True)
    right = t.Unicode("").tag(sync=True)
    foot = t.Unicode("").tag(sync=True)
    drawer = t.Unicode("").tag(sync=True)
    chosen = t.Int(0)

    def __init__(self, visit: Visit) -> None:
        super().__init__(**visit.traits())
        self.visit = visit
        visit.listen(self._told)
        self.observe(self._said, names=list(MESSAGES))
        visit.map_state.on_selection(self._counted)
        self._counted()
        if not visit.inspection.diagnosed:
            visit.aside("the doctor is reading the set", lambda: visit.inspection.report, lambda _: visit.changed())

    def _said(self, change: Any) -> None:
        self.visit.on_message(change["name"], change["new"])

    def _counted(self) -> None:
        self.chosen = int(self.map_state.selected.sum())

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live widget, and beside it what stays where no widget runs: an exported notebook is never blank."""
        live = super()._repr_mimebundle_(**kwargs)
        data, about = live if isinstance(live, tuple) else (live, {})
        known = self.map_state.inspection.diagnosed
        said = framed(sentences(self.map_state.inspection.report.findings)) if known else ""
        picture = base64.b64encode(self.map_state.png()).decode()
        return {**(data or {}), "image/png": picture, "text/html": said + still(self.map_state)}, about

    # -- the selection ---------------------------------------------------------------------------------------------

    @property
    def map_state(self) -> MapState:
        """What is looked at: view, colour, selection."""
        return self.visit.map_state

    @property
    def scene(self) -> MapState:
        """What 0.1 called `map_state`; this name goes with 0.3."""
        warnings.warn("Explorer.scene is Explorer.map_state since 0.2", DeprecationWarning, stacklevel=2)
        return self.map_state

    @property
    def selection(self) -> pd.DataFrame:
        """The selected items: their columns, and the rank of their match in each direction."""
        return self.map_state.frame

    def select(self, ids: Any) -> Explorer:
        """Select items by id, or the ids of a frame; map, item and charts follow."""
        ids = ids["id"] if isinstance(ids, pd.DataFrame) else ids
        self.map_state.select(self.map_state.inspection.places(ids))
        return self

    def filter(self, **values: Any) -> Explorer:
        """Select the items whose columns have these values; a pair of numbers is a range, both ends included."""
        how = "replace"
        for name, value in values.items():
            if isinstance(value, tuple) and len(value) == 2:
                self.map_state.choose("between", name, float(value[0]), float(value[1]), how=how)
            else:
                self.map_state.choose("where", name, str(value), how=how)
            how = "within"
        return self

    def search(self, text: str) -> Explorer:
        """Select the items nearest to a text in meaning, in each modality; see the panel `search` for their cosines.

        Raises `InputError` where nothing that made the set reads texts: `workbench embed` keeps the encoder's name.
        """
        self.map_state.choose("meaning", text)
        return self

    def show(self, view: str = "", colour: str = "", panel: str = "") -> Explorer:
        """Another view, colour or panel."""
        if view:
            self.visit.show(view)
        if colour:
            self.map_state.paint(colour)
        if panel:
            self.visit.on_open(panel, "")
        self.visit.redraw("tools")
        return self

    def save(self, name: str) -> Path:
        """Keep the selection by name in the run or beside the set, for the dashboard and for reports."""
        return self.map_state.inspection.save_selection(
            name, self.map_state.ids, view=self.map_state.view, colour=self.map_state.colour
        )


def explore(data: Any, *, view: str = "", colour: str = "modality", split: str = "validation") -> Explorer:
    """The workspace of a set, a run, a path or plain arrays, in a notebook; the 20 worst pairs are selected.

    The same as `workbench serve` shows, as high as a notebook's cell. `.selection` is a frame of the selected items;
    `.select(ids)`, `.filter(column=value)` and `.search("a text")` move the map, `.observe(f, names=["chosen"])` hears
    of every change, `.show(panel="what if")` opens a panel, `.save(name)` keeps the selection in the run. Of a run the
    validation items; `split="train"` those that it learnt from, `split="test"` the test items, which is counted.

    >>> import workbench as wb
    >>> explore(wb.testing.planted(items=60)).map_state.view
    'gap axis'
    """
    return Explorer(Visit(inspection(data, split), view=view, colour=colour, height=HEIGHT))
