"""Bringing a source in: guesses said aloud, little memory for any size, several files side by side."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.errors import InputError
from workbench.sets.columns import settled
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import wide
from workbench.sets.formats.arrays import npy, npz, safetensors, torch_file
from workbench.sets.formats.assemble import Reading, of_arrays, of_table, stacked
from workbench.sets.formats.columnar import parquet
from workbench.sets.formats.delimited import bare
from workbench.sets.formats.folders import of_splits
from workbench.sets.formats.folders import together as shard_folder
from workbench.sets.formats.guess import KINDS, means_only_vector, words
from workbench.sets.formats.joins import Part, joined
from workbench.sets.formats.keys import COUNTED, KEYS, MOST, Names, called_key, keys, names_in
from workbench.sets.formats.kinds import kind_of, named, told
from workbench.sets.formats.linked import tables_in
from workbench.sets.formats.plain import TEXT, TEXT_TABLE, read_columns, to_frame
from workbench.sets.formats.registry import READERS, Reader
from workbench.sets.formats.scientific import hdf5
from workbench.sets.formats.shards import grouped, in_order, splits
from workbench.sets.formats.source import Arrays, Table
from workbench.sets.formats.tidy import tidy
from workbench.sets.formats.uneven import following
from workbench.sets.grouping import composed
from workbench.sets.manifest import check_place

__all__ = ["COLUMNS", "import_set", "load_together", "read_columns"]

ALIKE = {"images": "image", "img": "image", "imgs": "image", "picture": "image", "photo": "image", "texts": "text"}
ALIKE |= {"txt": "text", "caption": "text", "captions": "text", "doc": "document"}
TABLES = (".parquet", ".arrow", ".feather")
ARCHIVES = {r.name for r in READERS.values() if r.read in (npz, safetensors, torch_file, hdf5)}  # of several arrays
FEW = 6  # tables that may each hold a modality of the same items
COLUMNS = TEXT  # columns of the items beside arrays


def import_set(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    reading: Reading | None = None,
) -> tuple[EmbeddingSet, list[str]]:
    """Bring files of any format into a saved set at `out`; returns it, and what was guessed in plain words.

    Several tables of one schema follow each other; several arrays are the modalities of the same items; a table
    without vectors (or .csv, .tsv, .json, .jsonl) beside them holds the columns. Tables are read in batches: vectors
    go through a file beside `out`, so that memory does not grow with them.
    """
    paths = [Path(s) for s in sources]
    if not paths:
        raise InputError("nothing to import: name a file or a folder")
    out = Path(out)
    check_place(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    said: list[str] = []
    with tempfile.TemporaryDirectory(prefix=".import-", dir=out.parent) as scratch:
        reading = reading or Reading()
        found = _together(paths, reading)
        if isinstance(found, Table):
            es = of_table(found, reading, Path(scratch), short=True)
        else:
            es = of_arrays(found, reading, short=True)
        said += found.said
        if not reading.item and not reading.id and not _has_id(found):
            es = _with_id(es, said)
        es.save(out)
    return EmbeddingSet.load(out), said


def load_together(
    sources: Sequence[str | os.PathLike[str]], reading: Reading | None = None
) -> tuple[EmbeddingSet, list[str]]:
    """Several files as one set in memory, as `import_set` takes them; with what was guessed in plain words."""
    reading = reading or Reading()
    found = _together([Path(s) for s in sources], reading)
    if isinstance(found, Table):
        return of_table(found, reading, short=True), found.said
    return of_arrays(found, reading, short=True), found.said


def _together(paths: Sequence[Path], reading: Reading) -> Arrays | Table:
    """One source of several paths; the reading says which columns name an item, or a row."""
    item = reading.item
    paths = _inside(paths[0]) if len(paths) == 1 else paths
    kinds = {p: _kind(p) for p in paths}
    opened = cache(lambda p: READERS[kinds[p]].read(p))  # a table of text is read whole
    linked = {p: tables for p in paths if (tables := tables_in(p))}
    every = set(kinds.values())
    several = READERS[kinds[paths[0]]].several if len(every) == 1 and not linked else None
    if several is not None and len(paths) > 1:
        groups = _by_modality(paths)
        if not groups and not _apart(paths, opened):
            return _following(paths, several)
        if groups and any(len(g) > 1 for g in groups.values()):
            said: list[str] = []
            parts = [_part(Path(f"{name}.files"), _following(g, several), said, item) for name, g in groups.items()]
            found = joined(parts, " + ".join(groups))
            found.said[:0] = said
            return found
    if len(paths) > 1 and every <= ARCHIVES and _in_series(paths):
        files = in_order(paths)
        return following([f for f in map(opened, files) if isinstance(f, Arrays)], files, str(paths[0].parent))
    if len(paths) == 1 and not linked:
        return _at(paths[0], kinds[paths[0]], reading)
    if npy.__name__ in every <= {npy.__name__, TEXT_TABLE, parquet.__name__} and not linked:
        held = [p for p in paths if kinds[p] == npy.__name__]
        if (of_names := of_splits(paths[0].parent, held, [p for p in paths if p not in held])) is not None:
            return of_names
    arrays = _numbered([p for p in paths if kinds[p] == npy.__name__])
    plain = [p for p in paths if kinds[p] in (parquet.__name__, TEXT_TABLE) and p not in linked]
    lists_of = _numbered([p for p in plain if _plain(opened(p))])
    shards = {f for g in [*arrays.values(), *lists_of.values()] for f in g.values()}
    parts, said = [], []
    if shards:
        some = shard_folder(paths[0].parent, arrays, lists_of)
        said += some.said
        parts += [Part(f"shards of {b}", {b: x}) for b, x in some.arrays.items()]
        parts += [] if some.columns is None else [Part(f"shards of {next(iter(lists_of))}", {}, some.columns)]
    for path in paths:
        if path in shards:
            continue
        if path in linked:
            parts += [_part(Path(f"{name} of {path.name}"), table, said, item) for name, table in linked[path].items()]
        else:
            parts.append(_part(path, opened(path), said, item))
    keyed = [_keyed(p, reading.id) for p in parts]
    found = joined(_told_apart(keyed), " + ".join(p.name for p in paths))
    found.said[:0] = said
    return replace(found, columns=_unkeyed(found.columns, zip(parts, keyed, strict=True), reading.id))


def found_at(path: Path, reading: Reading) -> Arrays | Table:
    """What is at one path: a file, or a folder with all of its files."""
    inside = _inside(path)
    return _at(path, kind_of(path), reading) if inside == [path] else _together(inside, reading)


def _keyed(part: Part, name: str) -> Part:
    """A part whose rows several columns name together, with these as one more column, by which it is joined."""
    some = name.split(",")
    if len(some) < 2 or part.columns is None or any(c not in part.columns for c in some):
        return part
    return replace(part, columns=part.columns.assign(**{name: composed(part.columns, name)}).drop(columns=some[-1]))


def _unkeyed(columns: Any, parts: Iterable[tuple[Part, Part]], name: str) -> Any:
    """The columns with those that name a row together as they were, once all parts are joined."""
    if columns is None or "," not in name or name not in columns:
        return columns
    last = name.split(",")[-1]
    held: dict[Any, Any] = {}
    for part, keyed in parts:
        if keyed is not part and keyed.columns is not None and part.columns is not None:
            held |= dict(zip(keyed.columns[name], part.columns[last], strict=True))
    whole = columns[name].map(held)
    return columns.drop(columns=last, errors="ignore").rename(columns={name: last}).assign(**{last: whole})


def _inside(path: Path) -> Sequence[Path]:
    """The files of a folder that is of no format itself; else the path."""
    if not path.is_dir() or told(path):
        return [path]
    return [f for f in sorted(path.iterdir()) if f.is_file() and f.name[0] not in "._" and (told(f) or named(f))] or [
        path
    ]


def _in_series(paths: Sequence[Path]) -> bool:
    """Whether the names of files count parts of one, or say the splits of one."""
    numbers = grouped(paths)
    return (len(numbers) == 1 and -1 not in next(iter(numbers.values()))) or splits([p.stem for p in paths]) is not None


def _at(path: Path, kind: str, reading: Reading) -> Arrays | Table:
    files = _unlike(path, READERS[kind])
    if files:
        return _together(files, reading)
    found, beside = READERS[kind].read(path), _beside(path, READERS[kind])
    return _with_those(path, found, beside, reading.item) if beside else found


def _beside(path: Path, reader: Reader) -> list[Path]:
    """The tables of other kinds in a folder whose files are of one kind."""
    if not path.is_dir() or not reader.parts or not isinstance(reader.folder, str):
        return []
    ends = {*TEXT, *TABLES} - {reader.folder, ".json"}  # which describes a folder more often than its items
    return [f for f in sorted(path.iterdir()) if f.suffix.lower() in ends and f.name[0] not in "._" and f.is_file()]


def _unlike(path: Path, reader: Reader) -> list[Path]:
    """The tables in a folder, where those of one kind have other columns than each other: parts of the items."""
    if not path.is_dir() or not isinstance(reader.folder, str):
        return []
    own = [f for f in sorted(path.iterdir()) if f.suffix.lower() == reader.folder and f.name[0] not in "._"]
    if not reader.parts:  # arrays, beside what says whose captions they are
        several = [f for f in sorted(path.glob("*.json")) if tables_in(f)]
        return [*own, *several] if own and several else []
    if not 1 < len(own) <= FEW or _in_series(own) or not _apart(own, lambda f: READERS[_kind(f)].read(f)):
        return []
    return [*own, *_beside(path, reader), *(f for f in sorted(path.glob("*.json")) if tables_in(f))]


def _with_those(path: Path, found: Arrays | Table, beside: Sequence[Path], item: str) -> Arrays | Table:
    """A folder of tables with those of other kinds beside them, where they are of the same items; said, where not."""
    own = [f for f in path.iterdir() if f.suffix.lower() == READERS[kind_of(path)].folder]
    said: list[str] = []
    parts: list[Part] = []
    try:
        parts += [_part(own[0] if len(own) == 1 else path, found, said, item)]
        parts += [_part(f, READERS[_kind(f)].read(f), said, item) for f in beside]
        whole = joined(parts, str(path))
        if whole.lacking and not any(p.arrays for p in parts[1:]):
            raise InputError(whole.lacking)
    except InputError as e:
        if any(p.arrays for p in parts[1:]):
            raise  # vectors are meant
        found = READERS[kind_of(path)].read(path)
        found.said.append(f"{', '.join(f.name for f in beside)} beside it is left out: {e}")
        return found
    whole.said[:0] = said
    return whole


def _has_id(found: Arrays | Table) -> bool:
    if isinstance(found, Table):
        return "id" in found.schema.names
    return "id" in found.arrays or (found.columns is not None and "id" in found.columns)


def _numbered(paths: list[Path]) -> dict[str, dict[int, Path]]:
    """The groups of files that are numbered shards."""
    return {base: group for base, group in grouped(paths).items() if -1 not in group}


def _plain(found: Arrays | Table) -> bool:
    """Whether a table has no vectors."""
    return isinstance(found, Table) and not tidy(found, alone=False).vectors


def _following(paths: Sequence[Path], several: Callable[[Sequence[Path], str], Arrays | Table]) -> Arrays | Table:
    """Files of the same columns, one after the other."""
    rows_of = several(paths, paths[0].parent.name or paths[0].parent.absolute().name)
    rows_of.said.append(f"{len(paths)} files of the same columns follow each other, as more rows")
    return rows_of


def _by_modality(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Files whose names each say a modality, by that; nothing where they do not, or all say the same."""
    groups: dict[str, list[Path]] = {}
    for p in paths:
        said = sorted({ALIKE.get(w, w) for w in words(p.stem)} & KINDS)
        if len(said) != 1:
            return {}
        groups.setdefault(said[0], []).append(p)
    return groups if len(groups) > 1 else {}


def _apart(paths: Sequence[Path], opened: Callable[[Path], Arrays | Table]) -> bool:
    """Whether tables are parts of the same items: of other columns, or a vector each for the same names."""
    tables = [t for t in map(opened, paths[:FEW]) if isinstance(t, Table)]
    if not tables:
        return False
    if len({frozenset(t.schema.names) for t in tables}) > 1:
        return True
    return len(paths) <= FEW and _of_equal_items(tables)


def _of_equal_items(tables: Sequence[Table]) -> bool:
    """Whether tables with a vector each name the same items: parts of them, and not more of them."""
    named = []
    for t in tables:
        seen = tidy(t, alone=False)
        if len(seen.vectors) != 1 or not seen.plain.schema.names:
            return False
        named.append(list(names_in(to_frame(stacked(list(seen.plain.batches()))))))
    return _one_to_one(named)


def _one_to_one(named: Sequence[Sequence[Names]]) -> bool:
    """Whether tables name the same items, each a row for each."""
    best = [min(keys(named[0], other, ()), key=lambda k: k.rank, default=None) for other in named[1:]]
    return all(k is not None and k.once and -k.rank[0] > MOST and k.rank[1] < COUNTED for k in best)


def _kind(path: Path) -> str:
    if path.suffix.lower() in COLUMNS and path.is_file() and not bare(path):
        return TEXT_TABLE
    return kind_of(path)


def _part(path: Path, found: Arrays | Table, said: list[str], item: str) -> Part:
    """What one of several files brings: arrays, columns, or a table that has vectors beside its columns."""
    if isinstance(found, Table):
        return _of_table(path, found, said, item)
    said.extend(found.said)
    by_name = wide.by_key(found.arrays)
    if by_name.ids and found.columns is None:
        each = (
            f"{len(by_name.ids):,} names with {'vectors' if by_name.rows else 'a vector each'}: the names are the ids"
        )
        said.append(f"{path.name}: {each}")
        rows = {path.stem: by_name.rows["vectors"]} if by_name.rows else {}
        return Part(path.name, {path.stem: by_name.arrays["vectors"]}, pd.DataFrame({"id": by_name.ids}), rows)
    columns = None if found.columns is None else settled(found.columns)
    flat = {k: x for k, x in found.arrays.items() if x.ndim == 1}
    if flat and len({len(x) for x in flat.values()}) == 1:
        columns = pd.DataFrame(flat) if columns is None else columns.assign(**flat)
    arrays = {k: x for k, x in found.arrays.items() if columns is None or k not in flat}
    own = _called(path, list(arrays))
    rows = {own[k]: r for k, r in found.rows.items() if k in own}
    return Part(path.name, {own[k]: x for k, x in arrays.items()}, columns, rows)


def _told_apart(parts: Sequence[Part]) -> list[Part]:
    """Parts of the same items whose arrays are called alike, by the names of their files: rna.h5ad and atac.h5ad."""
    called = Counter(n for p in parts for n in p.arrays)
    alike = [p for p in parts if any(called[n] > 1 for n in p.arrays)]
    if not alike or not _one_to_one([p.names for p in alike]):
        return list(parts)
    return [replace(p, **_renamed(p, called)) if p in alike else p for p in parts]


def _renamed(part: Part, called: Mapping[str, int]) -> dict[str, Any]:
    stem = Path(part.name).stem
    to = {n: n if called[n] < 2 else stem if len(part.arrays) == 1 else f"{stem}.{n}" for n in part.arrays}
    return {"arrays": {to[n]: x for n, x in part.arrays.items()}, "rows": {to[n]: r for n, r in part.rows.items()}}


def _of_table(path: Path, found: Table, said: list[str], item: str) -> Part:
    seen = tidy(found, alone=False)
    if not seen.vectors:
        said.extend(found.said)
        return Part(path.name, {}, to_frame(stacked(list(seen.table.batches()))))
    es = of_table(found, Reading(item=item if item in found.schema.names else ""), alone=False)
    said.extend(f"{path.name}: {line}" for line in found.said)
    columns = es.items if {"id", item} & {*found.schema.names} else es.items.drop(columns="id")
    own = _called(path, es.modalities)
    rows = {own[m]: es.item_of_row(m).numpy() for m in es.modalities if not es.aligned(m)}
    return Part(path.name, {own[m]: es[m] for m in own}, columns if len(columns.columns) else None, rows, len(es))


def _called(path: Path, names: Sequence[str]) -> dict[str, str]:
    """What vectors are called: as their file, where they are alone and only say that they are vectors."""
    return {n: path.stem if len(names) == 1 and means_only_vector(n) else n for n in names}


def _with_id(es: EmbeddingSet, said: list[str]) -> EmbeddingSet:
    """A column that names every item once is its id, where the source has none."""
    if not (es.items["id"] == [str(i) for i in range(len(es))]).all():
        return es
    for c in sorted(es.items, key=lambda c: str(c).lower() not in KEYS):
        if called_key(str(c)) and str(c) != "id" and es.items[c].notna().all() and es.items[c].astype(str).is_unique:
            said.append(f"{c} is the id: every item has another one")
            es.items["id"] = es.items[c].astype(str)
            return es
    said.append("ids are the numbers of the rows: no column is called an id (--id COLUMN takes one)")
    return es
