"""What a page says, in order and each once: messages that follow each other fast arrive as one list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Heard:
    """The messages of one page that are new.

    >>> heard = Heard()
    >>> heard.new({"seq": 2, "last": [{"name": "a", "seq": 1}, {"name": "b", "seq": 2}]})
    [{'name': 'a', 'seq': 1}, {'name': 'b', 'seq': 2}]
    >>> heard.new({"seq": 3, "last": [{"name": "b", "seq": 2}, {"name": "c", "seq": 3}]})
    [{'name': 'c', 'seq': 3}]
    """

    def __init__(self) -> None:
        self.seen = 0

    def new(self, value: Any) -> list[Mapping[str, Any]]:
        """Those of a message that were not heard before; what is none of ours is passed over."""
        if not isinstance(value, Mapping):
            return []
        last = value.get("last")
        told = [m for m in last if isinstance(m, Mapping)] if isinstance(last, list) else [value]
        fresh = [m for m in told if not isinstance(m.get("seq"), int) or m["seq"] > self.seen]
        self.seen = max([self.seen, *(m["seq"] for m in fresh if isinstance(m.get("seq"), int))])
        return fresh
