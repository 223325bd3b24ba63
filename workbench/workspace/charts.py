"""Counts of every column, the selection against all; and in which columns a selection is unusual, tested."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.special import gammaln

from workbench.diagnostics.intervals import false_discovery
from workbench.explorer import colouring
from workbench.explorer.inspection import Inspection
from workbench.explorer.regions import words

BINS = 24
WORD = "the word"  # what stands for a column where a word of a text is unusual
VALUES = 8  # of a column, shown by default
MANY = 200  # values of a column: more is a text, which is charted by its words
RATE = 0.05  # false discoveries among what is called unusual
FEW = 5  # families below which nothing is called unusual


@dataclass(frozen=True)
class Column:
    """A column as codes: a bin or a value each item, −1 where it is missing."""

    name: str
    codes: np.ndarray  # (N,)
    names: list[str]  # of values; empty for numbers
    edges: np.ndarray  # (bins + 1,) of numbers; empty for values
    all: np.ndarray  # (codes,) how many items have each

    def counts(self, selected: np.ndarray) -> np.ndarray:
        """How many of the selected items have each code."""
        codes = self.codes[selected]
        return np.bincount(codes[codes >= 0], minlength=len(self.all))

    @property
    def missing(self) -> int:
        """Items of which nothing is said."""
        return int((self.codes < 0).sum())


def column(inspection: Inspection, name: str) -> Column:
    """A column of an inspection, counted once."""
    return inspection.once(("column", name), lambda: _counted(inspection, name))


def _counted(inspection: Inspection, name: str) -> Column:
    given = colouring.values(inspection, name)
    if given.dtype.kind != "f":
        codes, names, counts = colouring.categories(given)
        codes = np.where(codes == colouring.NO_COLOUR, -1, codes).astype(np.int64)
        return Column(name, codes, names, np.zeros(0), counts)
    known = np.isfinite(given)
    if not known.any():
        return Column(name, np.full(len(given), -1), [], np.array([0.0, 1.0]), np.zeros(1, dtype=np.int64))
    low, high = float(given[known].min()), float(given[known].max())
    if colouring.direction(name) is not None and name not in inspection.items:
        edges = np.unique(np.round(np.geomspace(1, max(2.0, high), BINS + 1) * 2) / 2)  # ranks may end in a half
        edges[-1] = max(edges[-1], high)
    else:
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    codes = np.where(known, np.clip(np.searchsorted(edges, given, side="right") - 1, 0, len(edges) - 2), -1)
    counts = np.bincount(codes[codes >= 0], minlength=len(edges) - 1)
    return Column(name, codes.astype(np.int64), [], edges, counts)


@dataclass(frozen=True)
class Unusual:
    """A value that is more or less frequent in a selection than elsewhere."""

    column: str
    value: str
    share: float
    elsewhere: float
    q: float

    @property
    def sentence(self) -> str:
        """What is unusual, in words."""
        return f"{self.column} {self.value}: {self.share:.0%} of the selection, {self.elsewhere:.0%} of the rest"


def unusual(inspection: Inspection, selected: np.ndarray, names: list[str]) -> list[Unusual]:
    """The values whose share of a selection differs, at a false discovery rate of 5 %, most certain first.

    Shares are of items, the test is Fisher's exact one over families: the items of one family are no independent
    witnesses, so each counts once, in the selection if any of its items is. Of numbers the upper half is asked for.
    """
    family = pd.factorize(inspection.es.families)[0]
    first = np.unique(family, return_index=True)[1]
    in_ = np.zeros(int(family.max()) + 1, dtype=bool)
    in_[family[selected]] = True
    inside, outside = int(in_.sum()), int((~in_).sum())
    if min(inside, outside) < FEW:
        return []
    found: list[tuple[str, str, float, float, float]] = []
    for name, value, has in _asked(inspection, names, first):
        of = has[first]
        a, b = int((of & in_).sum()), int((of & ~in_).sum())
        p = _fisher(a, inside, a + b, inside + outside)
        found.append((name, value, float(has[selected].mean()), float(has[~selected].mean()), p))
    if not found:
        return []
    q = false_discovery(torch.tensor([f[-1] for f in found], dtype=torch.float64)).tolist()
    kept = [Unusual(*f[:4], rate) for f, rate in zip(found, q, strict=True) if rate <= RATE]
    return sorted(kept, key=lambda u: u.q)


def _asked(inspection: Inspection, names: list[str], first: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """What a selection may have more or less of than the rest: column, value, and which items have it, (N,) bool."""
    for name in names:
        c = column(inspection, name)
        if len(c.edges):
            known = c.codes[first]
            known = known[known >= 0]
            if len(known):
                middle = float(np.median(known))
                yield name, f"above {c.edges[int(middle) + 1]:,.4g}", c.codes > middle
        elif len(c.names) <= MANY:  # of a text the words are asked for
            yield from ((name, value, c.codes == code) for code, value in enumerate(c.names))
    yield from ((WORD, word, has) for word, has in words(inspection).items())


def _fisher(a: int, inside: int, hits: int, n: int) -> float:
    """The two-sided p of Fisher's exact test: as many hits or fewer likely counts among those inside.

    >>> round(_fisher(3, 4, 4, 8), 4)
    0.4857
    """
    low, high = max(0, inside + hits - n), min(inside, hits)
    k = np.arange(low, high + 1)

    def choose(top: int, of: np.ndarray) -> np.ndarray:
        return gammaln(top + 1) - gammaln(of + 1) - gammaln(top - of + 1)

    log = choose(hits, k) + choose(n - hits, inside - k)
    p = np.exp(log - log.max())
    p /= p.sum()
    return float(min(1.0, p[p <= p[a - low] * (1 + 1e-7)].sum()))
