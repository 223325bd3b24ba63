"""One progress bar for everything that may take longer than a person waits without wondering."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
Listener = Callable[[str, int, int | None], None]  # what, how many are done, of how many

PATIENCE = 2.0  # seconds: shorter work shows nothing

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def told(listener: Listener) -> Iterator[None]:
    """Tell a function of every step made inside, as a page does that has no terminal."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def _telling(things: Iterable[T], what: str, total: int | None, listener: Listener) -> Iterator[T]:
    for done, thing in enumerate(things):
        listener(what, done, total)
        yield thing


def _noted(bar: Any, note: Callable[[], str]) -> Iterator[Any]:
    for thing in bar:
        yield thing
        bar.set_postfix_str(note(), refresh=False)


def progress(
    things: Iterable[T], what: str, total: int | None = None, note: Callable[[], str] | None = None
) -> Iterator[T]:
    """Yield `things`, showing a bar once they take more than two seconds: a widget in a notebook, else on stderr.

    `note` says what stands behind the bar, asked after each thing.
    """
    from tqdm.auto import tqdm  # a widget in a notebook, a line in a terminal

    listener = _listener.get()
    if listener is not None:
        things = _telling(things, what, total, listener)
    lively = sys.stderr.isatty() or "ipykernel" in sys.modules
    bar = tqdm(
        things,
        desc=what,
        total=total,
        delay=PATIENCE,
        disable=bool(os.environ.get("WORKBENCH_QUIET")),
        leave=False,
        # a log file gets a line every ten seconds, what a person watches moves ten times a second
        mininterval=0.1 if lively else 10.0,
        dynamic_ncols=lively,
    )
    return iter(bar) if note is None or bar.disable else _noted(bar, note)


def note(text: str) -> None:
    """A line on stderr before something that takes long and shows no bar."""
    if not os.environ.get("WORKBENCH_QUIET"):
        print(text, file=sys.stderr, flush=True)
