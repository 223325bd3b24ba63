"""The key that two tables share: told by what their columns hold, and among several by how they are called."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations

import numpy as np
import pandas as pd

from workbench.sets import columns
from workbench.sets.formats.guess import words

INDEXES = ("index", "unnamed: 0")  # what pandas calls the index of a frame in a file
KEYS = (
    *("id", "ids", "uid", "key", "keys", "_id", "item_id", "image_path", "path", "paths", "file_name", "filename"),
    *("filenames", "file", "url", *INDEXES, "image_id", "sample_id"),
)  # columns that name every item, likeliest first
COUNTS = ("id", "ids", "key", "_id", *INDEXES)  # that may as well count the rows of their own table
MOST = 0.5  # of the values of the smaller side: as many are no accident
SOME = 0.05  # … and of two columns that are called keys as few as these say that they name the same things
COUNTED = 9  # the level of a key that counts the rows of both: it says nothing of them
LOOKED = 20  # values that tell raw bytes from names
SMALL = 100  # times the rows: smaller whole numbers are counts, classes and places unless their column is called a key


def plainly(value: str) -> str:
    """One spelling of what can be written in several: é as one letter or as an e and an accent, blanks around, the
    midnight of a date."""
    return (value if value.isascii() else unicodedata.normalize("NFC", value)).strip().removesuffix(" 00:00:00")


def stem(value: str, folders: int = 0) -> str:
    """The name of a file without its ending and but for so many folders, in small letters, no zeros before a number.

    >>> stem("val/000139.jpg"), stem("139"), stem("a.b"), stem("x/Cat/0.JPG?w=3", 1)
    ('139', '139', 'a.b', 'cat/0')
    """
    parts = re.split(r"[\\/]", value.partition("?")[0].casefold())
    name = re.sub(r"\.[a-z][a-z0-9]{1,4}$", "", parts[-1])
    return "/".join([*parts[:-1][-folders:], _number(name)] if folders else [_number(name)])


def _number(name: str) -> str:
    return (name.lstrip("0") or "0") if name.isdecimal() else name


def last_number(value: str) -> str:
    """The number at the end of a file's name: of COCO_val2014_000000000012.jpg it is 12."""
    found = re.search(r"\d+$", stem(value))
    return _number(found[0]) if found else value


SPELLINGS: tuple[tuple[str, Callable[[str], str], float], ...] = (
    (" (without folders and endings)", stem, 0.5),
    (" (without endings, one folder)", partial(stem, folders=1), 0.5),
    (" (without endings, two folders)", partial(stem, folders=2), 0.5),
    (" (the numbers at their ends)", last_number, 0.9),
)  # tried in turn where names as they are have too little in common; the last: what share must then agree


@dataclass(frozen=True)
class Names:
    """A column that may say which item a row is: its values in words, empty where it says nothing."""

    column: str
    values: pd.Index
    called: bool  # a key, by its name

    @cached_property
    def there(self) -> pd.Index:
        """Those that say something."""
        return self.values[self.values != ""]

    @cached_property
    def distinct(self) -> pd.Index:
        """Each of them once."""
        return self.there.unique()

    @property
    def once(self) -> bool:
        """Whether no two rows have the same."""
        return len(self.distinct) == len(self.there)

    @cached_property
    def whole(self) -> bool:
        """Whether all are whole numbers."""
        return all(v.removeprefix("-").isdecimal() for v in self.distinct)

    @cached_property
    def counted(self) -> bool:
        """Whether they are the numbers of the rows, in order."""
        first = self.values[0]
        return first in ("0", "1") and self.values.tolist() == [str(int(first) + k) for k in range(len(self.values))]

    @cached_property
    def padded(self) -> bool:
        """Whether they are whole numbers with zeros before them: names, and no counts."""
        return self.whole and any(v[0] == "0" and len(v) > 1 for v in self.distinct)

    @property
    def small(self) -> bool:
        """Whether they are whole numbers that a count, a class or a place could be."""
        return (
            self.whole
            and not self.called
            and not self.padded
            and max(abs(int(v)) for v in self.distinct) < SMALL * len(self.values)
        )

    def common(self, other: Names) -> int:
        """How many of them the other has too."""
        return len(self.distinct.intersection(other.distinct))

    def spelt(self, how: Callable[[str], str]) -> Names | None:
        """The same in another spelling, where that keeps them apart."""
        other = Names(self.column, pd.Index([v and how(v) for v in self.values], dtype=object), self.called)
        return other if len(other.distinct) == len(self.distinct) else None


@dataclass(frozen=True)
class Key:
    """Two columns that name the same items: for each row of the second table its row in the first, or -1.

    `once`: no two rows of the second are of one item; `rank`: the likeliest has the lowest.
    """

    first: str
    second: str
    owner: np.ndarray
    once: bool
    rank: tuple[float, int, int]
    how: str = ""

    def __str__(self) -> str:
        return (self.first if self.first == self.second else f"{self.first} = {self.second}") + self.how

    def agrees(self, other: Key) -> bool:
        """Whether both pair the same rows, as far as both pair them."""
        both = (self.owner >= 0) & (other.owner >= 0)
        return bool((self.owner[both] == other.owner[both]).all())


def called_key(name: str) -> bool:
    """Whether a column is called as one that names items."""
    return name.lower() in KEYS or (words(name)[-1:] or [""])[0] in ("id", "ids", "uid", "uuid", "key")


def names_in(frame: pd.DataFrame) -> Iterator[Names]:
    """The columns that may say which item a row is; a.jpg#0, a.jpg#1 also without what tells captions of one item."""
    for c in frame:
        column, called = frame[c], called_key(str(c))
        gone = columns.missing(column)
        if gone.all() or (gone.mean() > MOST and not called) or not _of_names(column[~gone], called):
            continue
        found = [plainly(v) for v in columns.text(column)]
        if all(re.fullmatch(r"-?\d+\.0", v) for v in found if v):
            found = [v.removesuffix(".0") for v in found]  # whole numbers that once had a gap
        yield Names(str(c), pd.Index(found, dtype=object), called)
        if all(re.search(r".#\d+$", v) for v in found):
            yield Names(str(c), pd.Index([v[: v.rindex("#")] for v in found], dtype=object), called)


def _of_names(column: pd.Series, called: bool) -> bool:
    """Whether values are words or whole numbers; decimal ones only where they once had a gap."""
    kind = column.dtype.kind
    if any(isinstance(v, bytes) and b"\0" in v for v in column.head(LOOKED)):
        return False  # pictures and sounds: to spell them in one way would take longer than to read them
    if pd.api.types.is_bool_dtype(column.dtype) or kind == "f":
        return kind == "f" and called and bool((column % 1 == 0).all())
    return kind in "iuM" or pd.api.types.is_string_dtype(column.dtype) or {*map(type, column)} <= {str, int}


def keys(a: Sequence[Names], b: Sequence[Names], named: Collection[str]) -> list[Key]:
    """Every key of two tables whose first says each item once; `named`: what the first one holds, in words."""
    pairs = ((x, y) for x in a if x.once for y in b)
    return [key for x, y in pairs if (key := _key(x, y, named)) is not None]


def _key(x: Names, y: Names, named: Collection[str]) -> Key | None:
    same = x.column == y.column
    claimed = x.called and (same or y.called)
    if not claimed and ((x.small and not y.padded) or (y.small and not x.padded)):
        return None
    if not claimed and len(x.there) + len(y.there) < len(x.values) + len(y.values) and x.values.equals(y.values):
        return None  # with holes, and in one order: nothing is to be joined by it
    how, common = "", x.common(y)
    counted = any(n.counted and n.column.lower() in COUNTS for n in (x, y))
    for said, spelling, part in SPELLINGS:
        if spelling is last_number and counted:
            break  # the rows of one are counted, and names of the other end in numbers
        if common >= MOST * min(len(x.distinct), len(y.distinct)):
            break
        one, two = x.spelt(spelling), y.spelt(spelling)
        if one is not None and two is not None and one.common(two) >= part * min(len(x.distinct), len(y.distinct)):
            x, y, common, how = one, two, one.common(two), said
    least = min(len(x.distinct), len(y.distinct))
    partly = claimed and common >= SOME * least and not (x.whole and (x.counted or y.counted))
    usual = same and x.column.lower() in KEYS
    if not (usual or partly or (common >= MOST * least and common > 1) or common == least):
        return None
    owner = pd.Series(np.arange(len(x.there)), index=x.there).reindex(y.values).fillna(-1).to_numpy().astype(np.int64)
    owner = np.where(owner >= 0, np.flatnonzero(x.values != "")[owner], -1)
    points = y.called and not same and bool(set(words(y.column)[:-1]) & set(named))
    level = [points, same and x.called, claimed, same, True].index(True) + (2 if how else 0)
    level = COUNTED if x.counted and y.counted else level
    order = KEYS.index(x.column.lower()) if x.column.lower() in KEYS else len(KEYS)
    alike = common / (len(x.distinct) + len(y.distinct) - common)
    return Key(x.column, y.column, owner, y.once, (-round(alike, 1), level, order), how)


def crossed(frame: pd.DataFrame, modalities: Collection[str]) -> tuple[str, str, str, str] | None:
    """Two modalities whose ids stand beside each other in another order: (modality, its column) of each.

    Such as image_id and text_id, that hold the same values, and not in the same rows.
    """
    said = {m: {*words(m)} for m in modalities}
    owner = {c: [m for m in said if said[m] & {*words(str(c))[:-1]}] for c in frame}
    meant = [c for c, own in owner.items() if len(own) == 1]  # by their names, before a value of them is looked at
    if len({owner[c][0] for c in meant}) < 2:
        return None
    of: dict[str, Names] = {}
    for n in names_in(frame[meant]):
        if n.once and len(n.there) == len(n.values):
            of.setdefault(owner[n.column][0], n)
    for (a, x), (b, y) in combinations(of.items(), 2):
        if x.common(y) >= MOST * len(x.values) and (x.values != y.values).any():
            return a, x.column, b, y.column
    return None
