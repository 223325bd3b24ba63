"""Arrays and tables side by side: by a key that both have, else by row order, and never without a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError, listed
from workbench.sets import columns
from workbench.sets.formats.guess import words
from workbench.sets.formats.keys import INDEXES, Key, Names, called_key, keys, names_in
from workbench.sets.formats.source import Arrays


@dataclass
class Part:
    """What one file brings: arrays, columns of the items, and which item each row of an array is."""

    name: str
    arrays: Mapping[str, Any]
    columns: pd.DataFrame | None = None
    rows: Mapping[str, Any] = field(default_factory=dict)
    items: int | None = None

    @property
    def count(self) -> int | None:
        """How many items it has."""
        if self.columns is not None:
            return len(self.columns)
        return self.items if self.items is not None else next((len(x) for x in self.arrays.values()), None)

    @cached_property
    def names(self) -> list[Names]:
        """The columns that may say which item a row is."""
        return [] if self.columns is None else list(names_in(self.columns))

    @property
    def words(self) -> set[str]:
        """What its names say it is: image, of img_emb.npy and of images.parquet."""
        said = {w for name in (self.name.rpartition(".")[0] or self.name, *self.arrays) for w in words(name)}
        said |= {w.removesuffix("s") for w in said}
        return said | ({"image"} if said & {"img", "picture", "photo"} else set())


def joined(parts: Sequence[Part], source: str) -> Arrays:
    """One source of several parts; raises `InputError` where their rows cannot be the same items."""
    said: list[str] = []
    lacking: list[str] = []
    there = [p for p in parts if p.count is not None]
    wholes = _in_rows(there, said)
    while (found := _likeliest(wholes)) is not None:
        a, b, key = found
        both = _by_key(a, b, key, said, lacking)
        wholes = [both if p is a else p for p in wholes if p is not b]
    whole = wholes[0]
    for part in wholes[1:]:
        whole = _by_order(whole, part)
        said.append(f"{part.name} is joined by row order")
    order = [k for p in there for k in p.arrays]
    arrays = {k: whole.arrays[k] for k in order}
    return Arrays(arrays, source, whole.columns, whole.rows, said, lacking[0] if lacking else "")


def _in_rows(parts: Sequence[Part], said: list[str]) -> list[Part]:
    """Arrays without columns go with the table of as many rows that is called as they are, else the first of these."""
    homes = [p for p in parts if p.columns is not None] or [parts[0]]
    out = {id(h): h for h in homes}
    bare = [h for h in homes if not h.arrays] or homes  # a table with vectors of its own says nothing of others
    for k, part in enumerate(parts):
        if part.columns is not None or part is homes[0]:
            continue
        fitting = [h for h in bare if h.count == part.count]
        home = max(fitting, key=lambda h: len(part.words & h.words), default=None)
        if home is None:
            before = any(p is bare[0] for p in parts[:k])
            raise _uneven(*((bare[0], part) if before else (part, bare[0])))
        _in_order(home)
        out[id(home)] = _both(out[id(home)], part)
        if home.columns is not None and (line := f"{home.name} is joined by row order") not in said:
            said.append(line)
    return list(out.values())


def _likeliest(parts: Sequence[Part]) -> tuple[Part, Part, Key] | None:
    """The two tables to join next, and by which key: those whose rows go one to one before those where they do not.

    Raises `InputError` where two keys of two tables are as likely and pair other rows.
    """
    found = []
    for one, two in combinations(parts, 2):
        ways = []
        for a, b in ((one, two), (two, one)):
            for k in keys(a.names, b.names, a.words):
                if k.once or b.arrays or (called_key(k.first) and called_key(k.second)):
                    ways.append((a, b, k))
        ways.sort(key=lambda w: w[2].rank)
        for a, b, k in ways[1:]:
            if k.rank[:2] == ways[0][2].rank[:2] and a is ways[0][0] and not k.agrees(ways[0][2]):
                raise InputError(
                    f"{a.name} and {b.name} could be joined by {ways[0][2]} or by {k}, which pair other rows; take "
                    "the column away, or rename it, that is no key"
                )
        first = [w for w in ways if w[0] is one and (w[2].first, w[2].second) == (ways[0][2].second, ways[0][2].first)]
        found += first[:1] if first and ways[0][2].once else ways[:1]  # the items are those of the one that came first
    return min(found, key=lambda w: (not w[2].once, w[2].rank), default=None)


def _by_key(a: Part, b: Part, key: Key, said: list[str], lacking: list[str]) -> Part:
    """Two tables as one whose items are those of the first; raises `InputError` for what has no place.

    `lacking` gets a sentence where the second does not name all items.
    """
    assert a.columns is not None
    assert b.columns is not None
    for part, column, name in ((a, a.columns, key.first), (b, b.columns, key.second)):
        gone = columns.missing(column[name])
        if gone.any():
            lacking.append(
                f"{part.name}: column {name!r}, which joins it, is empty at row {int(gone.argmax())} "
                f"({int(gone.sum()):,} of {len(gone):,} are); fill it in, or leave these rows out: --drop-missing"
            )
    if not key.once and not b.arrays:
        ids = columns.text(b.columns[key.second])
        odd = ids[pd.Series(ids).duplicated().to_numpy()][0]
        raise InputError(f"{b.name}: column {key.second!r} has {odd!r} twice, so that it joins no table; ids must be "
                         "unique")  # fmt: skip
    named, first = np.unique(key.owner[key.owner >= 0], return_index=True)
    if len(named) < len(a.columns):
        gone = ~np.isin(np.arange(len(a.columns)), named)
        odd = columns.text(a.columns[key.first])[gone][0]
        known = "" if key.first == key.second else f", where it is {key.second}"
        known += f", such as {columns.text(b.columns[key.second])[0]!r} there" if not len(named) else ""
        lacking.append(
            f"{b.name} lacks {key.first} {odd!r} of {a.name}{known} ({int(gone.sum()):,} of {len(gone):,} are "
            "missing); give it those rows"
            + (", or take the rows away" if not len(named) else ", or let them be missing: --drop-missing")
        )
        if not len(named):
            raise InputError(lacking[-1])
    again = (
        f": {(key.owner >= 0).sum() / len(named):.3g} rows an item on average, of which the other columns are those "
    )
    said.append(f"{b.name} is joined to {a.name} by {key}" + ("" if key.once else f"{again}of the first"))
    there = np.full(len(a.columns), -1)
    there[named] = np.flatnonzero(key.owner >= 0)[first]
    owner, count = key.owner, len(a.columns)
    if (more := np.flatnonzero(owner < 0)).size:
        either = len(named) < count and key.once and b.arrays  # it lacks some of the other's, which may be missing
        said.append(f"{b.name} has {len(more):,} rows more, which {a.name} does not name: "
                    + (f"items without {listed(a.arrays)}" if either else "left out"))  # fmt: skip
        if either:
            a = _longer(a, b, key, more)
            owner, there = owner.copy(), np.r_[there, more]
            owner[more] = count + np.arange(len(more))
    arrays, rows = _moved(b, owner, len(there))
    held = b.columns.reset_index(drop=True)
    gone = there < 0
    if gone.any():
        held = held.astype({c: "Int64" for c in held if held[c].dtype.kind in "iu"})  # whole numbers stay whole
    frame = held.reindex(there).reset_index(drop=True)
    ours = a.columns
    assert ours is not None
    for c in [c for c in frame if gone.any() and c in ours]:
        frame[c] = frame[c].astype(object).where(~gone, ours[c].reset_index(drop=True).astype(object))
    own = [c for c in frame if c in ours and c != key.second and _of_its_own(a, b, str(c), key)]
    if own:
        said.append(f"{', '.join(map(str, own))} of {b.name} is left out: {a.name} has its own")
        frame = frame.drop(columns=own)
    shared = [c for c in frame if c in ours and c != key.second]
    for c in [c for c in shared if _measured(ours[c], b.columns[c], frame[c])]:
        called = f"{b.name.rpartition('.')[0] or b.name}.{c}"
        said.append(f"{c} of {b.name} is another one than that of {a.name}: it is called {called}")
        frame = frame.rename(columns={c: called})
    if key.second in ours:  # the same, or what the other calls by another name
        frame = frame.drop(columns=key.second)
    return _both(a, replace(b, arrays=arrays, rows=rows, columns=frame))


def _measured(first: pd.Series, second: pd.Series, seen: pd.Series) -> bool:
    """Whether two columns hold numbers, and not the same, `seen` as they were joined: what each file counts."""
    numbers = all(c.dtype.kind in "iuf" and not columns.missing(c).all() for c in (first, second))
    return numbers and bool((columns.text(first) != columns.text(seen)).any())


def _longer(a: Part, b: Part, key: Key, more: np.ndarray) -> Part:
    """A part with the items that only the other one has after its own, and no rows of theirs."""
    assert a.columns is not None
    assert b.columns is not None
    own, other = a.columns.reset_index(drop=True), b.columns.iloc[more].reset_index(drop=True)
    added = other[[c for c in other if c in own and c != key.first]].assign(**{key.first: other[key.second]})
    whole = {c: "Int64" for c in own if c not in added and own[c].dtype.kind in "iu"}  # whole numbers stay whole
    frame = pd.concat([own.astype(whole), added], ignore_index=True)
    rows = {k: np.asarray(a.rows.get(k, np.arange(len(x)))) for k, x in a.arrays.items()}
    return replace(a, columns=frame, rows=rows, items=len(frame))


def _of_its_own(a: Part, b: Part, column: str, key: Key) -> bool:
    """Whether a column that both have names the rows of each: of captions and of pictures, or of either file."""
    if not called_key(column):
        return False
    counted = all(n.counted for p in (a, b) for n in p.names if n.column == column)
    return counted or key.first != key.second or not key.once


def _moved(part: Part, owner: np.ndarray, items: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays in the order of the items that they join, of so many, and the item of each row where it is not all."""
    arrays, rows = {}, {}
    for k, x in part.arrays.items():
        to = owner[np.asarray(part.rows.get(k, np.arange(len(owner))))]
        kept = np.flatnonzero(to >= 0)
        kept = kept[np.argsort(to[kept], kind="stable")]
        as_it_is = np.array_equal(kept, np.arange(len(to)))
        arrays[k] = x if as_it_is else (x if hasattr(x, "detach") else np.asarray(x))[kept]
        if not np.array_equal(to[kept], np.arange(items)):
            rows[k] = to[kept]
    return arrays, rows


def _by_order(whole: Part, part: Part) -> Part:
    if whole.count != part.count:
        raise _uneven(whole, part)
    _in_order(whole)
    _in_order(part)
    return _both(whole, part)


def _in_order(part: Part) -> None:
    """Refuse to join a table by row order whose own index says that its rows are in another one."""
    held = part.columns
    for n in () if held is None else names_in(held[[c for c in held if str(c).lower() in INDEXES]]):
        if n.whole and n.once and not n.counted:
            raise InputError(
                f"{part.name} has an index of pandas that is not in order ({listed(n.values, 3)}), and no column by "
                "which it joins the other file: give both an id, or reset both indexes if the rows are in one order"
            )


def _uneven(first: Part, part: Part) -> InputError:
    both = "" if first.columns is None or part.columns is None else " and no column of one names the rows of the other"
    return InputError(
        f"{part.name} has {part.count:,} rows but {first.name} has {first.count:,}{both}; files side by side need one "
        "row an item, in the same order, or a column id in both"
    )


def _both(whole: Part, part: Part) -> Part:
    """Arrays and columns of both, whose items are the same in the same order."""
    for name in part.arrays:
        if name in whole.arrays:
            raise InputError(
                f"{part.name} has an array named {name!r}, and so has {whole.name}: where it is more rows of it, "
                "number the files (rank_0, rank_1, …); where it is another modality, rename the array"
            )
    frame = whole.columns if part.columns is None else part.columns.reset_index(drop=True)
    if whole.columns is not None and part.columns is not None:
        frame = _with(whole.columns, part.columns.reset_index(drop=True), whole.name, part.name)
    return replace(whole, arrays={**whole.arrays, **part.arrays}, columns=frame, rows={**whole.rows, **part.rows})


def _with(frame: pd.DataFrame, more: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Both tables; a column that both have must say the same."""
    for name in more.columns:
        if name not in frame:
            continue
        odd = (columns.text(frame[name]) != columns.text(more[name])).nonzero()[0]
        if len(odd):
            key = "give both a column that names each row once, or say which do so together (--id a,b)"
            mend = f"rename the one that is of something else, or {key}" if called_key(str(name)) else "rename one"
            if sorted(columns.text(frame[name])) == sorted(columns.text(more[name])):
                mend = f"they are the same in another order, so the rows are not the same: {key}"
            raise InputError(
                f"column {name!r} is in {first} and in {second}, with other values at row {int(odd[0])}; {mend}"
            )
    return pd.concat([frame, more[[c for c in more if c not in frame]]], axis=1)
