"""Mappings in a file of JSON that are items by id, and not columns by name: told by their values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workbench.sets.formats.guess import AXES, KINDS, says_vector, words

MANY = 8  # lists of numbers by name that are vectors of items, not columns


def vectors(found: Mapping[str, Sequence[Any]]) -> bool:
    """Whether `{name: list}` is a vector an item: many lists of one length, all of floating numbers.

    >>> vectors({f"{k}.jpg": [0.5, 1.0] for k in range(8)}), vectors({f"dim_{k}": [0.5, 1.0] for k in range(8)})
    (True, False)
    """
    if len(found) < MANY or len({len(v) for v in found.values()}) > 1:
        return False
    if not all(len(v) > 1 and all(isinstance(x, float | int) and not isinstance(x, bool) for x in v)
               and any(isinstance(x, float) for x in v) for v in found.values()):  # fmt: skip
        return False
    return not all(says_vector(k) or set(words(k)) & AXES for k in found)


def records(found: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether `{a: {b: value}}` is a record an item, and not rows by column as pandas writes it.

    Values of one column are alike: where those of one `b` are more alike than those of one `a`, `b` names columns.

    >>> records({"p": {"image": [0.5, 1.0], "n": 1}}), records({"image": {"0": [0.5, 1.0]}, "n": {"0": 1}})
    (True, False)
    """
    inner: dict[str, list[Any]] = {}
    for row in found.values():
        for key, value in row.items():
            inner.setdefault(key, []).append(value)
    if not inner:
        return False
    within, across = _kinds(row.values() for row in found.values()), _kinds(inner.values())
    if within != across:
        return within > across
    if not any(isinstance(v, list) for values in inner.values() for v in values):
        return False
    named = [bool(set(words(k)) & KINDS) or says_vector(k) for k in (*inner, *found)]
    mine, other = any(named[: len(inner)]), any(named[len(inner) :])
    return mine if mine != other else len(found) > len(inner)


def _kinds(groups: Iterable[Iterable[Any]]) -> float:
    """How many kinds of values a group holds, on average; lists of two lengths are two kinds."""
    counts = [len({_kind(v) for v in group if v is not None}) for group in groups]
    return sum(counts) / max(len(counts), 1)


def _kind(value: Any) -> Any:
    if isinstance(value, list):
        return len(value)
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
