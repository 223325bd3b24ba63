"""Threads that share the cores: each works with operations of one thread, so that none waits for the others.

An operation on all cores waits for its last part; beside another busy program that part comes late, thousands of times.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

_here = threading.local()  # how many threads there are for whom this thread has given up its own


def give_back() -> None:
    """Memory that was freed goes back to the system, where its C library can: between what stays of thousands of tiles,
    however little, glibc would keep the room of all that came and went, gigabytes after a million rows."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def threads(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """As many as torch has, on a CPU; another device works on one thing at a time. Inside, also who waits for them
    works with operations of one thread; one of these threads that asks for threads gets itself."""
    if device.type != "cpu":
        with ThreadPoolExecutor(1, "workbench") as pool:
            yield pool
        return
    outer = getattr(_here, "count", None)
    count = outer or torch.get_num_threads()
    _here.count = count
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(count, "workbench", torch.set_num_threads, (1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        if outer is None:
            torch.set_num_threads(count)
            del _here.count
