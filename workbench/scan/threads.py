"""Threads that share the cores: each works with operations of one thread, so that none waits for the others.

An operation on all cores waits for its last part; beside another busy program that part comes late, thousands of times.
Of little work threads make more: each of its thousands of small operations hands the interpreter on, and waits for it.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context
from typing import Protocol, TypeVar

import torch

In = TypeVar("In")
Out = TypeVar("Out")

_here = threading.local()  # the team of this thread


def give_back() -> None:
    """Memory that was freed goes back to the system, where its C library can: between what stays of thousands of tiles,
    however little, glibc would keep the room of all that came and went, gigabytes after a million rows."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Team(Protocol):
    """Who does work: a thread or several."""

    def map(self, work: Callable[[In], Out], things: Iterable[In], /) -> Iterator[Out]:
        """What the work gives for each thing, in their order."""


class Alone:
    """A team of the thread itself: one thing after another, each with a context of its own, as it has in a thread."""

    def map(self, work: Callable[[In], Out], things: Iterable[In], /) -> Iterator[Out]:
        return (Context().run(work, thing) for thing in things)


@contextmanager
def threads(device: torch.device, *, worthwhile: bool = True) -> Iterator[Team]:
    """As many as torch has, on a CPU, where the work is `worthwhile`; another device works on one thing at a time.

    Inside, also who waits for them works with operations of one thread. Who asks again gets the same, and one of these
    threads that asks gets itself.
    """
    if device.type != "cpu":
        with ThreadPoolExecutor(1, "workbench") as pool:
            yield pool
        return
    mine = getattr(_here, "team", None)
    if mine is not None:
        yield mine
        return
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(count, "workbench", _join)
    _here.team = pool if worthwhile and count > 1 else Alone()
    try:
        yield _here.team
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(count)
        del _here.team


def _join() -> None:
    torch.set_num_threads(1)
    _here.team = Alone()
