"""Reductions of a tile as compiled loops: a row of it stays in the first cache while all is taken from it, no copy of
the tile is made, and the interpreter is left to other threads.

Rows and columns of a tile are the queries of its two sides. `first` and `last` (n,) bound, for each row, the columns
of its own item; empty arrays where no column is.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from workbench.disk import cache_folder


def _cache() -> None:
    """Compiled code is kept beside the package; where that cannot be written, in the user's cache or a scratch one."""
    if os.environ.get("NUMBA_CACHE_DIR") or os.access(Path(__file__).parent, os.W_OK):
        return
    home = cache_folder() / "numba"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError:
        home = Path(tempfile.gettempdir()) / f"workbench-numba-{os.getuid()}"
    os.environ["NUMBA_CACHE_DIR"] = str(home)


_cache()
from numba import njit  # noqa: E402 (reads the folder of the cache as it is imported)

FAR = np.float32(-4.0)  # below any cosine
LANES = 16  # columns, or rows, whose maxima give a first threshold for the best k
WORD = 8  # scores whose comparisons, a byte each, are looked at together before any is alone
LEAST, TINY, HUGE = np.float32(-87.0), np.float32(1e-25), np.float32(1e25)  # what float32 holds of exp
FLUSH = 64  # rows that float32 sums before float64 takes over

_fast = njit(fastmath=True, nogil=True, cache=True, boundscheck=False)


@njit(fastmath=True, inline="always")
def _exp(v):  # type: ignore[no-untyped-def]
    """exp of −87 … 0 as a fraction and a power of two; the fraction to 1e-7."""
    z = v * np.float32(1.4426950408889634)
    k = np.floor(z + np.float32(0.5))
    f = z - k
    p = np.float32(1.5403530e-4)
    p = p * f + np.float32(1.3333558e-3)
    p = p * f + np.float32(9.6181291e-3)
    p = p * f + np.float32(5.5504109e-2)
    p = p * f + np.float32(2.4022651e-1)
    p = p * f + np.float32(6.9314718e-1)
    p = p * f + np.float32(1.0)
    return p, np.int32(k)


@_fast
def potentials(s, scale, same, rows, columns):  # type: ignore[no-untyped-def]
    """Into `rows` (n,) and `columns` (m,): sums of exp(scale (s − 1)), but for column `same` (n,) of a row."""
    n, m = s.shape
    e, part = np.empty(m, np.float32), np.zeros(m, np.float32)
    bits = e.view(np.int32)
    for i in range(n):
        for j in range(m):
            p, k = _exp((s[i, j] - np.float32(1.0)) * scale)
            e[j] = p
            bits[j] += k << 23
        if len(same) and same[i] >= 0:
            e[same[i]] = np.float32(0.0)
        total = np.float32(0.0)
        for j in range(m):
            total += e[j]
        rows[i] = total
        for j in range(m):
            part[j] += e[j]
        if i % FLUSH == FLUSH - 1 or i == n - 1:
            for j in range(m):
                columns[j] += part[j]
                part[j] = np.float32(0.0)


@_fast
def above_rows(s, thresholds, first, last, count):  # type: ignore[no-untyped-def]
    """Into `count` (T, n): how many of a row of s are above each of its `thresholds` (T, n)."""
    n, m = s.shape
    for i in range(n):
        for t in range(len(thresholds)):
            edge = thresholds[t, i]
            c = np.int32(0)
            for j in range(m):
                c += np.int32(s[i, j] > edge)
            if len(first):
                for j in range(first[i], last[i]):
                    c -= np.int32(s[i, j] > edge)
            count[t, i] = c


@_fast
def above_columns(s, thresholds, first, last, count):  # type: ignore[no-untyped-def]
    """The same of columns: into `count` (T, m)."""
    n, m = s.shape
    for i in range(n):
        for t in range(len(thresholds)):
            for j in range(m):
                count[t, j] += np.int32(s[i, j] > thresholds[t, j])
            if len(first):
                for j in range(first[i], last[i]):
                    count[t, j] -= np.int32(s[i, j] > thresholds[t, j])


@_fast
def between_rows(s, low, high, counted, first, last, at):  # type: ignore[no-untyped-def]
    """Into `at` (N, 2): row and column of scores above `low` and not above `high`, `counted` (n,) of a row."""
    n, m = s.shape
    room, found = _padded(m), 0
    there, words, place = _marks(room)
    every = np.empty(0, np.bool_)
    for i in range(n):
        if counted[i] == 0:
            continue
        row = _row(s, i, first, last, every, room)
        lowest, highest = low[i], high[i]
        for j in range(len(row)):
            there[j] = np.uint8(row[j] > lowest) & np.uint8(row[j] <= highest)
        for j in place[: _held(there, words, place)]:
            at[found, 0], at[found, 1] = i, j
            found += 1


@_fast
def between_columns(s, low, high, counted, first, last, at):  # type: ignore[no-untyped-def]
    """The same with limits of columns; column and row."""
    n, m = s.shape
    room, found = _padded(m), 0
    there, words, place = _marks(room)
    every = np.empty(0, np.bool_)
    lows, highs = np.full(len(room), FAR, np.float32), np.full(len(room), FAR, np.float32)
    for j in range(m):
        if counted[j]:
            lows[j], highs[j] = low[j], high[j]
    for i in range(n):
        row = _row(s, i, first, last, every, room)
        for j in range(len(row)):
            there[j] = np.uint8(row[j] > lows[j]) & np.uint8(row[j] <= highs[j])
        for j in place[: _held(there, words, place)]:
            at[found, 0], at[found, 1] = j, i
            found += 1


@njit(inline="always")
def _insert(score, at, i, filled, value, place):  # type: ignore[no-untyped-def]
    """Into row i of lists that descend; equals keep their order. How many it holds now."""
    k = score.shape[1]
    if filled == k:
        if value <= score[i, k - 1]:
            return filled
        filled -= 1
    p = filled
    while p > 0 and score[i, p - 1] < value:
        score[i, p], at[i, p] = score[i, p - 1], at[i, p - 1]
        p -= 1
    score[i, p], at[i, p] = value, place
    return filled + 1


@njit(inline="always")
def _most(row, lane):  # type: ignore[no-untyped-def]
    """The largest of a row, and in `lane` those of parts of it: side by side, as one maximum is not vectorised."""
    m, width = len(row), len(lane)
    for j in range(width):
        lane[j] = row[j] if j < m else FAR
    whole = m // width * width
    for start in range(width, whole, width):
        for j in range(width):
            lane[j] = max(lane[j], row[start + j])
    for j in range(max(whole, width), m):
        lane[j - whole] = max(lane[j - whole], row[j])
    most = FAR
    for j in range(width):
        most = max(most, lane[j])
    return most


@njit(inline="always")
def _at_least(values, k):  # type: ignore[no-untyped-def]
    """The k-th largest value: fewer than k are above it. In counts, which are vectorised, where a sort is not."""
    found = np.float32(2.0)
    for i in range(len(values)):
        v = values[i]
        c = np.int32(0)
        for j in range(len(values)):
            c += np.int32(values[j] > v)
        if c < k and v < found:
            found = v
    return found


@_fast
def _padded(m):  # type: ignore[no-untyped-def]
    """Room for a row of m scores and for what fills its last word: out of reach."""
    return np.full((m + WORD - 1) // WORD * WORD, FAR, np.float32)


@_fast
def _marks(room):  # type: ignore[no-untyped-def]
    """A byte for each score of such a row, the same bytes in words, and room for the places of those that are set."""
    there = np.zeros(len(room), np.uint8)
    return there, there.view(np.uint64), np.empty(len(room), np.int64)


@njit(inline="always")
def _held(there, words, place):  # type: ignore[no-untyped-def]
    """Into `place`, ascending, where a byte is set; how many are."""
    held = 0
    for w in range(len(words)):
        if words[w]:
            for j in range(WORD * w, WORD * (w + 1)):
                if there[j]:
                    place[held] = j
                    held += 1
    return held


@njit(inline="always")
def _row(s, i, first, last, allowed, room):  # type: ignore[no-untyped-def]
    """A row of the tile that fills whole words; its own item's columns, and those not allowed, out of reach."""
    own = len(first) > 0 and first[i] < last[i]
    if not own and len(allowed) == 0 and len(room) == s.shape[1]:
        return s[i]
    for j in range(s.shape[1]):
        room[j] = s[i, j]
    if own:
        for j in range(first[i], last[i]):
            room[j] = FAR
    if len(allowed):
        for j in range(s.shape[1]):
            room[j] = room[j] if allowed[j] else FAR
    return room


@_fast
def best_rows(s, index, allowed, first, last, edge, score, at):  # type: ignore[no-untyped-def]
    """Into `score` and `at` (n, k): the largest of each row that are not below its `edge`, and their `index` (m,)."""
    n, m = s.shape
    k = score.shape[1]
    room, lane = _padded(m), np.empty(LANES, np.float32)
    there, words, place = _marks(room)
    for i in range(n):
        row = _row(s, i, first, last, allowed, room)
        if edge[i] <= FAR and k <= LANES and m >= 2 * LANES:
            # the k-th largest of the maxima of disjoint columns is no more than the k-th largest of all
            _most(row, lane)
            edge[i] = _at_least(lane, k)
        limit, filled = edge[i], 0
        for j in range(len(row)):
            there[j] = np.uint8(row[j] >= limit) & np.uint8(row[j] > FAR)
        for j in place[: _held(there, words, place)]:
            filled = _insert(score, at, i, filled, row[j], index[j])
        if filled == k:
            edge[i] = max(limit, score[i, k - 1])


@_fast
def best_columns(s, index, allowed, first, last, edge, score, at):  # type: ignore[no-untyped-def]
    """The same of columns, with the `index` (n,) of rows."""
    n, m = s.shape
    k = score.shape[1]
    room, limit, filled = _padded(m), _padded(m), np.zeros(m, np.int64)
    there, words, place = _marks(room)
    every = np.empty(0, np.bool_)  # a column has all of the rows that are allowed
    cold = False
    for j in range(m):
        limit[j] = edge[j]
        cold = cold or edge[j] <= FAR
    if cold and k <= LANES and n >= 2 * LANES:
        lanes = np.full((LANES, len(room)), FAR, np.float32)
        for i in range(n):
            if len(allowed) == 0 or allowed[i]:
                row = _row(s, i, first, last, every, room)
                lane = lanes[i % LANES]
                for j in range(len(room)):
                    lane[j] = max(lane[j], row[j])
        across = np.ascontiguousarray(lanes.T)
        for j in range(m):
            limit[j] = max(limit[j], _at_least(across[j], k))
    limit[m:] = np.float32(2.0)  # above any cosine
    for i in range(n):
        if len(allowed) and not allowed[i]:
            continue
        row = _row(s, i, first, last, every, room)
        for j in range(len(row)):
            there[j] = np.uint8(row[j] >= limit[j]) & np.uint8(row[j] > FAR)
        for j in place[: _held(there, words, place)]:
            filled[j] = _insert(score, at, j, filled[j], row[j], index[i])
            if filled[j] == k:
                limit[j] = max(limit[j], score[j, k - 1])
    for j in range(m):
        edge[j] = limit[j]


@_fast
def histogram(s, first, last, count):  # type: ignore[no-untyped-def]
    """Into `count` (bins,): scores from −1 to 1 in bins of one width."""
    n, m = s.shape
    bins = len(count)
    half = np.float32(bins / 2)
    place = np.empty(m, np.int32)
    for i in range(n):
        for j in range(m):
            place[j] = min(max(np.int32((s[i, j] + np.float32(1.0)) * half), 0), bins - 1)
        for j in range(m):
            count[place[j]] += 1
        if len(first):
            for j in range(first[i], last[i]):
                count[place[j]] -= 1


@_fast
def shifted(s, add, divide, own_add, own_divide, edge, temperature, first, last, above, others):  # type: ignore[no-untyped-def]
    """Into `above` and `others` (T, n): what `plain.shifted` gives."""
    n, m = s.shape
    e, lane = np.empty(m, np.float32), np.empty(LANES, np.float32)
    bits = e.view(np.int32)
    inverse = np.float32(1.0 / temperature)
    for i in range(n):
        most = _most(s[i], lane)
        for t in range(len(add)):
            plus, times, limit = own_add[t, i], own_divide[t, i], edge[t, i]
            keys, lengths = add[t], divide[t]
            # exponents are taken from a value near the largest: that of the shift before, until it is too far off
            for attempt in range(2):
                c = np.int32(0)
                for j in range(m):
                    v = (s[i, j] + plus + keys[j]) * lengths[j] * times
                    c += np.int32(v > limit)
                    p, k = _exp(min(max((v - most) * inverse, LEAST), -LEAST))
                    e[j] = p
                    bits[j] += k << 23
                if len(first):
                    for j in range(first[i], last[i]):
                        v = (s[i, j] + plus + keys[j]) * lengths[j] * times
                        c -= np.int32(v > limit)
                        e[j] = np.float32(0.0)
                total = np.float32(0.0)
                for j in range(m):
                    total += e[j]
                if attempt == 1 or TINY < total < HUGE:
                    break
                for j in range(m):
                    e[j] = (s[i, j] + plus + keys[j]) * lengths[j] * times
                if len(first):
                    for j in range(first[i], last[i]):
                        e[j] = FAR
                most = _most(e, lane)
            above[t, i] = c
            others[t, i] = total * np.exp((np.float64(most) - 1.0) / temperature)


@_fast
def by_class(d, a, b, same, radius, most, most_at, count, least, least_at):  # type: ignore[no-untyped-def]
    """Into the last five what `plain.by_class` gives."""
    n, m = d.shape
    bins = count.shape[1]
    for i in range(n):
        c = a[i]
        narrow = bins / (2 * radius[c]) if radius[c] > 0 else 0.0  # without bins nothing is spread
        for j in range(m):
            v = d[i, j]
            if b[j] != c:
                if bins and v < least[c, b[j]]:
                    least[c, b[j]] = v
                    least_at[c, b[j], 0], least_at[c, b[j], 1] = i, j
                continue
            if v > most[c] or most_at[c, 0] < 0:
                most[c] = v
                most_at[c, 0], most_at[c, 1] = i, j
            if narrow > 0.0 and j != same[i]:
                count[c, min(int(np.sqrt(v) * narrow), bins - 1)] += 1.0


def compiled_before() -> bool:
    """Whether compiled code of these loops lies in the cache, so that the first call takes no time."""
    place = getattr(getattr(potentials, "_cache", None), "cache_path", None)
    return place is not None and any(Path(place).glob("loops.*.nbi"))


@_fast
def dots(x, i, y, j, out):  # type: ignore[no-untyped-def]
    """Into `out` (n,): float64 inner products of rows `i` of x with rows `j` of y, both float32."""
    for p in range(len(i)):
        a, b = x[i[p]], y[j[p]]
        total = 0.0
        for k in range(len(a)):
            total += np.float64(a[k]) * np.float64(b[k])
        out[p] = total
