"""Names for the regions of a large map: what the items of each have in common, in words of their own columns.

The points are parted by place, coarsely and finely; a region is named by the value or the word that is most
over-present among its items. What says nothing has no name.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from workbench.explorer.inspection import Inspection
from workbench.sets import columns

LEAST = 2_000  # items from which a map's regions are named
LEVELS = (14, 60)  # regions, coarsely and finely
SAMPLE = 20_000  # points that the regions are found by
ROUNDS = 12
SHARE = 0.15  # of a region's items that have the word, at least
TIMES = 2.0  # as frequent as among all
MOST_VALUES = 200  # of a column that names regions by its values
READ = 200_000  # items up to which texts are read for words
RARE = 10  # items that have a word, at least
WORD = re.compile(r"[^\W\d_]{3,}")
PLAIN = frozenset(
    "the and for with from that this are was has have not but its into over under about some one two".split()  # noqa: SIM905
)


def regions(inspection: Inspection, xy: np.ndarray, item: np.ndarray) -> list[dict[str, Any]]:
    """Labels `{x, y, text, level}` for points (n, 2) with their items (n,); none for a small map."""
    if len(inspection.es) < LEAST:
        return []
    terms = inspection.once("terms of regions", lambda: _terms(inspection))
    if not terms:
        return []
    draw = np.random.default_rng(3)
    at = draw.permutation(len(xy))[:SAMPLE]
    out, taken = [], set()
    for level, count in enumerate(LEVELS):
        code, centre = _parted(xy[at], count, draw)
        for text, k in _named(terms, item[at], code):
            if text not in taken or level == 0:
                taken.add(text)
                out.append({"x": float(centre[k, 0]), "y": float(centre[k, 1]), "text": text[:32], "level": level})
    return out


def _terms(inspection: Inspection) -> dict[str, np.ndarray]:
    """Which items have each term, (N,) bool: values of the columns with few, else words of the texts."""
    items = inspection.items
    found: dict[str, np.ndarray] = {}
    for c in items:
        x = items[c]
        if c in ("id", "split") or columns.holds_bytes(x) or x.dtype.kind in "fiub":
            continue
        text = columns.text(x)
        values = pd.unique(text[text != ""])
        if 2 <= len(values) <= MOST_VALUES:
            found |= {str(v): text == v for v in values}
    return found or words(inspection)


def words(inspection: Inspection) -> dict[str, np.ndarray]:
    """Which items have each word of the columns of texts, (N,) bool: words that some have and most have not."""
    return inspection.once("words", lambda: _words(inspection))


def _words(inspection: Inspection) -> dict[str, np.ndarray]:
    items = inspection.items
    n = len(items)
    if n > READ:
        return {}
    texts = []
    for c in items:
        x = items[c]
        if c in ("id", "name") or columns.holds_bytes(x) or x.dtype.kind in "fiub":
            continue
        text = columns.text(x)
        if len(pd.unique(text[text != ""])) > min(MOST_VALUES, n / 2):
            texts.append(text)
    lists = [sorted({w for t in texts for w in WORD.findall(str(t[i]).lower())} - PLAIN) for i in range(n)]
    counts = Counter(w for found in lists for w in found)
    kept = {w for w, c in counts.most_common(600) if RARE <= c <= 0.4 * n}
    had: dict[str, list[int]] = {w: [] for w in kept}
    for i, found in enumerate(lists):
        for w in found:
            if w in kept:
                had[w].append(i)
    out = {}
    for w, rows in had.items():
        mask = np.zeros(n, dtype=bool)
        mask[rows] = True
        out[w] = mask
    return out


def _parted(xy: np.ndarray, count: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The region of each point by Lloyd's rounds from points drawn by lot, and the regions' middles."""
    x = xy.astype(np.float32) / (xy.std(0).astype(np.float32) + 1e-9)
    centre = x[draw.permutation(len(x))[:count]]
    for _ in range(ROUNDS):
        code = ((x[:, None] - centre[None]) ** 2).sum(-1).argmin(1)
        size = np.bincount(code, minlength=len(centre))
        sums = np.stack([np.bincount(code, weights=x[:, d], minlength=len(centre)) for d in (0, 1)], 1)
        centre = np.where(size[:, None] > 0, sums / np.maximum(size, 1)[:, None], centre).astype(np.float32)
    code = ((x[:, None] - centre[None]) ** 2).sum(-1).argmin(1)
    return code, centre * (xy.std(0) + 1e-9)


def _named(terms: dict[str, np.ndarray], item: np.ndarray, code: np.ndarray) -> list[tuple[str, int]]:
    """The most over-present term of each region, with the region, the clearest first."""
    names = list(terms)
    has = np.stack([terms[t][item] for t in names], 1).astype(np.float32)
    size = np.bincount(code)
    inside = np.stack([has[code == k].mean(0) if size[k] else np.zeros(len(names)) for k in range(len(size))])
    everywhere = has.mean(0) + 1e-9
    score = inside * np.log(np.maximum(inside, 1e-9) / everywhere)
    score[(inside < SHARE) | (inside < TIMES * everywhere)] = 0
    best = score.argmax(1)
    found = [(float(score[k, best[k]]), names[best[k]], k) for k in range(len(size)) if score[k, best[k]] > 0]
    return [(name, k) for _, name, k in sorted(found, reverse=True)]
