"""One progress bar for everything that may take longer than a person waits without wondering."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 2.0  # seconds: shorter work shows nothing


def progress(things: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield `things`, showing a bar on stderr once they take more than two seconds."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    return iter(
        tqdm(
            things,
            desc=what,
            total=total,
            delay=PATIENCE,
            disable=bool(os.environ.get("WORKBENCH_QUIET")),
            leave=False,
            # a log file gets a line every ten seconds, a terminal moves ten times a second
            mininterval=0.1 if terminal else 10.0,
            dynamic_ncols=terminal,
        )
    )
