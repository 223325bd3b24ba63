"""Criteria: what failing items have in common, as rules on their columns, mined on some and kept if others agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.errors import InputError

CUTS = (0.2, 0.4, 0.6, 0.8)  # quantiles that numbers and lengths are cut at
VALUES, SHARE = 40, 0.02  # a column of more values is no category; a value of fewer items is no rule
PASSED = ("id", "family", "split")  # who an item is, which says nothing of what it is


@dataclass(frozen=True)
class Criterion:
    """A rule on one column: `words` for people, and for which items it holds (N,). `sign` 1: those fail more often."""

    words: str
    holds: np.ndarray
    sign: int = 1

    def excess(self, failed: np.ndarray, among: np.ndarray) -> float:
        """How much more of the failed than of the others it holds for, among some items: -1 … 1; NaN without both."""
        yes, no = self.holds[among & failed], self.holds[among & ~failed]
        return float(yes.mean() - no.mean()) if len(yes) and len(no) else float("nan")


def criteria(items: pd.DataFrame) -> list[Criterion]:
    """Every rule that the columns allow: a category's values, a number above a quantile, a text longer than one.

    >>> found = criteria(pd.DataFrame({"kind": ["a", "a", "b", "b"], "size": [1, 2, 3, 4]}))
    >>> [c.words for c in found][:3]
    ["kind is 'a'", "kind is 'b'", 'size above 1.6']
    """
    return [c for name in items if name not in PASSED for c in _of_column(str(name), items[name])]


def _of_column(name: str, column: pd.Series) -> Iterator[Criterion]:
    """The rules of one column; bytes and columns of one value have none."""
    there = column.dropna()
    if not len(there) or isinstance(there.iloc[0], bytes | bytearray | list | dict | np.ndarray):
        return
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        yield from _above(f"{name} above", column.astype(float).to_numpy())
        return
    text = column.astype(str).where(column.notna(), "")
    counts = text.value_counts()
    if len(counts) <= VALUES:
        for value in sorted(counts.index[counts >= max(2, SHARE * len(text))]):
            yield Criterion(f"{name} is {value!r}", (text == value).to_numpy())
    else:
        yield from _above(f"letters of {name} above", text.str.len().to_numpy(float))


def _above(words: str, x: np.ndarray) -> Iterator[Criterion]:
    for cut in np.unique(np.nanquantile(x, CUTS)) if np.isfinite(x).any() else ():
        holds = x > cut
        if 0 < holds.sum() < len(x):
            yield Criterion(f"{words} {cut:.4g}", holds)


def mined(rules: list[Criterion], failed: np.ndarray, among: np.ndarray) -> list[Criterion]:
    """The rules with the sign that some items give them, the largest excess first; those that say nothing are left out.

    `failed`, `among` (N,) booleans. Raises where none of those items failed, or all.
    """
    if not 0 < int(failed[among].sum()) < int(among.sum()):
        raise InputError("criteria need items that failed and items that did not")
    found = [(c.excess(failed, among), k, c) for k, c in enumerate(rules)]
    found = sorted((f for f in found if f[0]), key=lambda f: (-abs(f[0]), f[1]))
    return [Criterion(c.words, c.holds, 1 if e > 0 else -1) for e, _, c in found]


def consistent(rules: list[Criterion], failed: np.ndarray, among: np.ndarray) -> list[Criterion]:
    """Those that other items agree with: the excess among them has the same sign."""
    return [c for c in rules if c.sign * c.excess(failed, among) > 0]


def votes(rules: list[Criterion], count: int) -> np.ndarray:
    """How many of the rules speak against each of `count` items, less those that speak for it, (N,)."""
    return sum((c.sign * c.holds.astype(int) for c in rules), np.zeros(count, int))
