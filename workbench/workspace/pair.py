"""Two spaces over the same items as one inspection: A's, what became of each query in B as columns of its items."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.explorer.inspection import Inspection
from workbench.report.comparison import Comparison, compare
from workbench.sets.embeddings import EmbeddingSet

WON, LOST, RIGHT, WRONG = "won", "lost", "both right", "both wrong"
HUES = {LOST: "#D55E00", WON: "#0072B2", RIGHT: "#86bfa8", WRONG: "#8a949e"}
OUTCOME = "outcome "


class Pair(Inspection):
    """A's inspection of the items that both have; `other` is B's, `found` what differs between them."""

    def __init__(self, a: Inspection, b: Inspection, found: Comparison) -> None:
        ids = found.items["id"].astype(str)
        es = a.es.take(a.places(ids))
        items = a.items.iloc[a.places(ids)].reset_index(drop=True)
        outcomes = {}
        for direction in directions(found):
            x, y = (found.items[f"rank {s} {direction}"].to_numpy() for s in "AB")
            outcomes[OUTCOME + said(direction)] = outcome(x, y)
            outcomes[f"rank in B {said(direction)}"] = y
        super().__init__(es, name=a.name, items=items.assign(**outcomes), split=a.split)
        self.found = found
        self.hues = {c: HUES for c in outcomes if c.startswith(OUTCOME)}
        other: EmbeddingSet = b.es.take(b.places(ids))
        self.other: Inspection = Inspection(other, name=b.name, items=b.items.iloc[b.places(ids)], split=b.split)

    @classmethod
    def of(cls, a: Inspection, b: Inspection) -> Pair:
        """The pair of two inspections, compared exactly."""
        return cls(a, b, compare(a.es, b.es))


def directions(found: Comparison) -> list[str]:
    """The directions that both have ranks in, as the comparison writes them."""
    return [c.removeprefix("rank A ") for c in found.items if c.startswith("rank A ")]


def said(direction: str) -> str:
    """A direction as people read it.

    >>> said("image→text")
    'image → text'
    """
    return " → ".join(direction.split("→"))


def outcome(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """What became of each query by its ranks in A and B: won, lost, both right, both wrong; empty without a rank.

    >>> outcome(np.array([1.0, 1.0, 4.0, 2.0, np.nan]), np.array([1.0, 3.0, 1.0, 2.0, 1.0])).tolist()
    ['both right', 'lost', 'won', 'both wrong', '']
    """
    x, y = before == 1, after == 1
    words = np.select([x & y, x & ~y, ~x & y], [RIGHT, LOST, WON], WRONG).astype(object)
    words[~(np.isfinite(before) & np.isfinite(after))] = ""
    return pd.Series(words, dtype=object).to_numpy()
