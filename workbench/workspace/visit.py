"""One person's visit: the map state, the panels around it, and what the page is told of both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from workbench.errors import InputError
from workbench.explorer import choice, meaning
from workbench.explorer.inspection import Inspection
from workbench.explorer.map_state import MapState
from workbench.workspace.acts import Heard
from workbench.workspace.panel import WORST, Around, Panel, panels
from workbench.workspace.queue import Queue

PLACES = ("top", "tools", "left", "right", "foot", "drawer")
T = TypeVar("T")


class Visit:
    """A map state with panels; `told` gets what changed, whatever face it has: a page, or a widget in a notebook."""

    def __init__(
        self,
        inspection: Inspection,
        *,
        around: Around | None = None,
        view: str = "",
        colour: str = "modality",
        height: int = 0,
        schedule: Callable[[Callable[[], None]], None] = lambda f: f(),
    ) -> None:
        self.inspection, self.around, self.height, self.schedule = inspection, around, height, schedule
        self.map_state = MapState(inspection, view=view, colour=colour)
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        self._said = ""
        self._busy = 0
        self._heard = Heard()
        self._files = 0
        self.drawer = False
        self.queue = Queue(self.map_state)
        self.panels: dict[str, Panel] = {}
        if inspection.directions and inspection.other is None:
            self.map_state.choose("worst", WORST, *inspection.directions[0], remember=False)
        for made in panels(inspection):
            self.panels[made.name] = made(self)
        if not view and self.map_state.view != inspection.views[0]:
            self._said = f"{self.map_state.view}: of the linear views it keeps most of the neighbourhoods"
        self.open = next((p.name for p in self.panels.values() if p.place == "right"), "")
        self.map_state.listen(self._send)
        self.map_state.on_selection(self.changed)

    # -- what the page is told -------------------------------------------------------------------------------------

    def listen(self, told: Callable[[dict[str, Any]], None]) -> None:
        """Call `told` with every change of what is shown."""
        self._listeners.append(told)

    def leave(self) -> None:
        """Nobody looks any more: nothing is told."""
        self._listeners.clear()

    def _send(self, traits: dict[str, Any]) -> None:
        for f in self._listeners:
            f(traits)

    def traits(self) -> dict[str, Any]:
        """Everything, for a page that has just been opened."""
        return {**self.map_state.traits(), **{p: self._html(p) for p in PLACES}, "page": self._page()}

    def _html(self, place: str) -> str:
        if place == "drawer" and not self.drawer:
            return ""
        here = [p for p in self.panels.values() if p.place == place]
        if place != "right":
            return "".join(p.html() for p in here)
        tabs = "".join(
            f'<button data-act="page.open" data-value="&quot;{p.name}&quot;" '
            f'aria-current="{str(p.name == self.open).lower()}">{p.name}</button>'
            for p in here
        )
        return f'<nav class="tabs" aria-label="panels">{tabs}</nav>{self.panels[self.open].html() if self.open else ""}'

    def redraw(self, *places: str) -> None:
        """Show some places anew, and what the page says and where it stands."""
        self._send({**{p: self._html(p) for p in places}, "page": self._page()})

    def changed(self) -> None:
        """Another selection: every panel that shows it follows."""
        self.redraw(*PLACES)

    def _page(self) -> dict[str, Any]:
        commands = [c for p in self.panels.values() for c in p.commands()]
        page: dict[str, Any] = {"said": self._said, "height": self.height, "commands": commands}
        if self.around is not None:
            page["url"] = urlencode(self.state())
            page["title"] = f"{self.around.name} · {self.open} – workbench"
        return page

    def say(self, text: str) -> None:
        """A sentence over the map; the next thing that a person does takes it away."""
        self._said = text
        self._send({"page": self._page()})

    def hand(self, name: str, mime: str, content: bytes) -> None:
        """Give the person a file."""
        self._files += 1
        self._send({"content": content})
        self._send({"file": {"name": name, "mime": mime, "seq": self._files}})

    # -- where it stands -------------------------------------------------------------------------------------------

    def state(self) -> dict[str, str]:
        """What an address holds: what is looked at, the open panel, and the map's view, colour and selection."""
        asked = dict(self.around.kept) if self.around is not None else {}
        drawer = {"drawer": "open"} if self.drawer else {}
        return {**asked, "panel": self.open, **drawer, **self.map_state.state()}

    def restore(self, asked: Mapping[str, str]) -> None:
        """Take up what an address asks for; what is not there is said."""
        if asked.get("panel") in self.panels and self.panels[asked["panel"]].place == "right":
            self.open = asked["panel"]
        self.drawer = asked.get("drawer") == "open"
        self._take_up(asked, self._awaited(asked))

    def _take_up(self, asked: Mapping[str, str], awaited: list[tuple[str, Callable[[], Any]]]) -> None:
        if awaited:
            (doing, work), *rest = awaited

            def tried() -> None:
                with suppress(InputError):  # said when it is taken up
                    work()

            self.aside(doing, tried, lambda _: self._take_up(asked, rest))
            self.redraw(*PLACES)
            return
        missed = self.map_state.restore(asked)
        self._said = " · ".join(missed) or self._said
        self.redraw(*PLACES)

    def _awaited(self, asked: Mapping[str, str]) -> list[tuple[str, Callable[[], Any]]]:
        """What an address asks for that takes its time, and what is to be done for it: views, searches by meaning."""
        steps: tuple[choice.Step, ...] = ()
        if asked.get("sel"):
            with suppress(InputError):
                steps = choice.read(asked["sel"])
        views = dict.fromkeys([asked.get("view", ""), *(str(s.of[0]) for s in steps if s.kind == "lasso" and s.of)])
        known, seen = self.inspection.views, self.inspection
        slow = [(f"{v} is being computed", partial(seen.view, v)) for v in views if v in known and not seen.has_view(v)]
        texts = [str(s.of[0]) for s in steps if s.kind == "meaning" and s.of]
        return slow + [(f"{t!r} is looked for", partial(meaning.nearest, seen, t)) for t in texts]

    @property
    def chosen_words(self) -> str:
        """What made the selection, in words."""
        return choice.said(self.map_state.steps)

    # -- what a person does ----------------------------------------------------------------------------------------

    def on_message(self, name: str, value: Any) -> None:
        """What the page says: an act, or something that the map takes. What makes no sense is passed over."""
        if name != "act":
            self._tried(partial(self.map_state.on_message, name, value))
            return
        for said in self._heard.new(value):
            self._act(said)

    def _act(self, value: Mapping[str, Any]) -> None:
        where, _, what = str(value.get("name")).partition(".")
        home: Any = self if where == "page" else self.panels.get(where)
        does = getattr(home, f"on_{what}", None) if what.isidentifier() else None
        if does is not None:
            if self._said and not self._busy and value.get("how") != "drag":
                self._said = ""
            self._tried(partial(does, value.get("value"), str(value.get("how"))))

    def _tried(self, does: Callable[[], None]) -> None:
        try:
            does()
        except (InputError, OSError) as e:
            self.say(str(e))
        except (TypeError, ValueError, KeyError, IndexError):
            # a value that no page of ours sends; the next message finds everything as it was
            logging.getLogger(__name__).exception("a message of the page could not be taken")
            self.say("that could not be done: the page sent something that is not understood; reload it")

    def aside(self, doing: str, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do slow work in a thread, so that nobody else waits; `then` gets what it found."""

        def finish(after: Callable[[], None]) -> None:
            self._busy -= 1
            self._said = ""
            self._tried(after)
            self._send({"page": self._page()})

        def run() -> None:
            try:
                after = partial(then, work())
            except (InputError, OSError) as e:
                after = partial(self.say, str(e))
            except RuntimeError as e:
                if str(e).startswith("cannot schedule new futures"):  # Python ends: nobody waits for an answer
                    return
                raise
            self.schedule(partial(finish, after))

        self._busy += 1
        self.say(f"{doing} …")
        # torch aborts a process that ends amid its work: a notebook waits, a server is told to end by its own means
        Thread(target=run, daemon=self.around is not None).start()

    def show(self, view: str) -> None:
        """Another view, computed aside where it is not there yet."""

        def then(_: Any = None) -> None:
            self.map_state.show(view)
            self.redraw("tools", "foot")

        if self.inspection.has_view(view):
            then()
        else:
            self.aside(f"{view} is being computed", partial(self.inspection.view, view), then)

    def on_open(self, value: Any, how: str) -> None:
        """Open a panel of the right side."""
        if value in self.panels and self.panels[value].place == "right":
            self.open = value
            self.redraw("right")

    def on_drawer(self, value: Any, how: str) -> None:
        """Open the table, or close it."""
        self.drawer = not self.drawer
        self.redraw("drawer", "tools")

    def on_undo(self, value: Any, how: str) -> None:
        """Take back the last change of selection, view or colour."""
        self.map_state.undo()
        self.redraw(*PLACES)

    def on_redo(self, value: Any, how: str) -> None:
        """Make it again."""
        self.map_state.redo()
        self.redraw(*PLACES)

    def on_clear(self, value: Any, how: str) -> None:
        """Select nothing."""
        self.map_state.select([])

    def on_address(self, value: Any, how: str) -> None:
        """The browser went back or forward."""
        asked = dict(parse_qsl(str(value).lstrip("?"), keep_blank_values=True))
        if not asked.get("sel"):
            self.map_state.select([], remember=False)
        self.restore(asked)
