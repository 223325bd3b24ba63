"""Folders of arrays: .npy files beside tables of columns, numbered shards, and what clip-retrieval leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError, first_line
from workbench.sets.columns import settled
from workbench.sets.formats import shards
from workbench.sets.formats.arrays import array_of
from workbench.sets.formats.ids import told_apart
from workbench.sets.formats.joins import Part, joined
from workbench.sets.formats.plain import TEXT, read_columns, to_frame
from workbench.sets.formats.registry import reader
from workbench.sets.formats.source import Arrays, once


@reader(
    "npy folder",
    "a folder of .npy files, each a modality or a column; numbered ones are one",
    folder=".npy",
    rank=2,
)
def npy_folder(path: Path) -> Arrays:
    """A folder of .npy files, each a modality or a column; `image_0.npy`, `image_1.npy`, … are one modality.

    Tables beside them (Parquet, .csv, .tsv, .json, .jsonl) hold columns of the items.
    """
    files = sorted(path.glob("*.npy"))
    ends = [e for e in (*TEXT, ".parquet") if e != ".json"]  # which describes a folder more often than its items
    beside = [f for f in sorted(path.iterdir()) if f.suffix.lower() in ends and f.name[0] not in "._"]
    if (parts := of_splits(path, files, beside)) is not None:
        return parts
    arrays, tables = shards.grouped(files), shards.grouped(beside)
    count = sum(len(array_of(f)) for f in next(iter(arrays.values())).values() if array_of(f).ndim)
    said = []
    for name, group in list(tables.items()):
        if -1 in group and not name.lower().startswith(META) and (why := _unlike(group[-1], count)):
            said.append(f"{group[-1].name} is left out: {why}")
            del tables[name]
    found = together(path, arrays, tables)
    found.said[:0] = said
    return found


def of_splits(path: Path, files: Sequence[Path], tables: Sequence[Path] = ()) -> Arrays | None:
    """Arrays whose names say their split, one after the other with a column `split`; None where they do not.

    `tables`: of the same items, one a split or one of all; those that are neither are left out, and named.
    """
    named = {f: shards.split_in(f.stem) for f in files}
    every = list(dict.fromkeys(n[0] for n in named.values() if n))
    if len({shards.SPLIT_NAMES[s.lower()] for s in every}) < 2:
        return None
    parts: dict[str, dict[str, np.ndarray]] = {s: {} for s in sorted(every, key=_turn)}
    for file, found in named.items():
        if found is None:
            raise InputError(f"{file}: lies beside files of {' and '.join(every)}; say in its name which split it is")
        parts[found[0]][found[1] or "vectors"] = array_of(file)
    names = list(dict.fromkeys(n for arrays in parts.values() for n in arrays))
    for split, arrays in parts.items():
        for name in names:
            if name not in arrays:
                raise InputError(f"{path}: {name} lacks the split {split}, which {next(iter(arrays))} has")
        joined([Part(f"{n} of {split}", {n: x}) for n, x in arrays.items()], str(path))  # as many rows in each
    rows = {split: len(next(iter(arrays.values()))) for split, arrays in parts.items()}
    columns = pd.DataFrame({"split": [s for s, n in rows.items() for _ in range(n)]})
    frames, lines = _frames_of_splits(tables, rows)
    for name, frame in frames.items():
        own = [c for c in frame if c != "split" and c not in columns]
        columns = pd.concat([columns, frame[own]], axis=1)
        lines.append(f"{name} is joined by row order")
    whole = {name: _one([arrays[name] for arrays in parts.values()], path, name) for name in names}
    said = [f"split is said by the names of the files: {', '.join(f'{s} {n:,}' for s, n in rows.items())}"]
    return Arrays(whole, str(path), columns, said=[*said, *lines])


def _frames_of_splits(tables: Sequence[Path], rows: Mapping[str, int]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Tables beside arrays of several splits as tables of all items, in the order of the splits; and what is left out.

    Raises `InputError` where one is of a split and does not have its rows.
    """
    frames: dict[str, pd.DataFrame] = {}
    said: list[str] = []
    groups: dict[str, dict[str, Path]] = {}
    for file in tables:
        found = shards.split_in(file.stem)
        if found is not None and found[0] in rows:
            groups.setdefault(found[1] or "columns", {})[found[0]] = file
        elif why := _unlike(file, sum(rows.values())):
            said.append(f"{file.name} is left out: {why}")
        else:
            frames[file.name] = frame_of(file, said)
    for group in groups.values():
        several = ", ".join(f.name for f in group.values())
        if {*group} != {*rows}:
            said.append(f"{several} is left out: there is none of {', '.join(s for s in rows if s not in group)}")
            continue
        parts = {s: frame_of(group[s], said) for s in rows}
        for split, frame in parts.items():
            if len(frame) != rows[split]:
                raise InputError(
                    f"{group[split]}: has {len(frame):,} rows, where the arrays of {split} have {rows[split]:,}; give "
                    "it a row an item, in the same order"
                )
        whole = pd.concat(parts.values(), ignore_index=True)
        frames[several] = told_apart(whole, [(group[s].name, n) for s, n in rows.items()], list(rows), said)
    return frames, said


def _turn(split: str) -> int:
    return ("train", "validation", "test").index(shards.SPLIT_NAMES[split.lower()])


META = ("meta", "item", "column", "label", "caption", "info")  # names of tables that are of the items, or damaged


def _unlike(file: Path, count: int) -> str:
    """Why a table beside arrays is not of their items."""
    try:
        rows = len(frame_of(file))
    except InputError:
        return "not readable as a table"
    return "" if rows == count else f"{rows:,} rows for {count:,} items"


def together(path: Path, arrays: Mapping[str, Any], tables: Mapping[str, Any]) -> Arrays:
    """Arrays and tables, each one file or numbered shards, as one source: matched one by one by number."""
    for name in set(arrays) & set(tables):
        if -1 not in arrays[name]:
            tables = {(f"table {b}" if b == name else b): g for b, g in tables.items()}
    said: list[str] = []
    found = {name: {n: array_of(f) for n, f in group.items()} for name, group in arrays.items()}
    frames = {name: {n: frame_of(f, said) for n, f in group.items()} for name, group in tables.items()}
    numbered = {b: {n: len(x) for n, x in g.items()} for b, g in {**found, **frames}.items() if -1 not in g}
    if shards.cut_elsewhere(numbered):
        said.append(f"the files of {' and '.join(numbered)} are cut at other rows, of which all have as many")
    else:
        said += shards.matched(path, {**arrays, **tables})
        shards.agreeing(path, numbered)
    whole_of = {name: _one(list(g.values()), path, name) for name, g in found.items()}
    parts = [Part(name, {name: x}) if x.ndim > 1 else Part(name, {}, pd.DataFrame({name: x}))
             for name, x in whole_of.items()]  # fmt: skip
    for name, group in frames.items():
        file = next(iter(tables[name].values()))
        parts.append(Part(file.name if len(group) == 1 else name, {}, pd.concat(group.values(), ignore_index=True)))
    whole = joined(parts, str(path))
    whole.said[:0] = said
    return whole


def _one(blocks: Sequence[np.ndarray], path: Path, name: str) -> np.ndarray:
    if len({(x.shape[1:], x.dtype) for x in blocks}) > 1:
        odd = next(x for x in blocks if (x.shape[1:], x.dtype) != (blocks[0].shape[1:], blocks[0].dtype))
        raise InputError(
            f"{path}: shards of {name} are {blocks[0].dtype} {blocks[0].shape[1:]} and {odd.dtype} {odd.shape[1:]}; "
            "one modality has one kind of vectors"
        )
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def frame_of(file: Path, said: list[str] | None = None) -> pd.DataFrame:
    """A table of columns, Parquet or text; `said` gets what was assumed."""
    import pyarrow.parquet as pq

    if file.suffix.lower() in TEXT:
        return settled(read_columns(file, said))
    try:
        found = pq.ParquetFile(file).read()
        once(found.schema.names, file)
        return to_frame(found)
    except InputError:
        raise
    except Exception as e:
        raise InputError(f"{file}: not readable as Parquet ({first_line(e)})") from None


@reader(
    "clip",
    "clip-retrieval and LAION: img_emb/, text_emb/, metadata/",
    folder=lambda names, path: (
        bool(names & {"img_emb", "text_emb"}) or any(n.startswith(("img_emb_", "text_emb_")) for n in names)
    ),
)
def clip_folder(path: Path) -> Arrays:
    """What clip-retrieval and LAION publish: `img_emb/img_emb_0.npy`, `text_emb/…`, `metadata/metadata_0.parquet`."""
    groups: dict[str, dict[int, Path]] = {}
    for name, end in (("img_emb", ".npy"), ("text_emb", ".npy"), ("metadata", ".parquet")):
        for file in [*path.glob(f"{name}/{name}_*{end}"), *path.glob(f"{name}_*{end}")]:
            part = shards.shard(file.stem)
            if part is None:
                continue
            if part.number in groups.setdefault(name, {}):
                raise InputError(f"{file}: shard {part.number} of {name} is there twice")
            groups[name][part.number] = file
    if not {"img_emb", "text_emb"} & set(groups):
        raise InputError(f"{path}: no img_emb_0.npy and no text_emb_0.npy in it")
    sorted_groups = {name: dict(sorted(group.items())) for name, group in groups.items()}
    found = together(
        path,
        {n: g for n, g in sorted_groups.items() if n != "metadata"},
        {n: g for n, g in sorted_groups.items() if n == "metadata"},
    )
    called = {"img_emb": "image", "text_emb": "text"}
    found.arrays = {called[n]: x for n, x in found.arrays.items()}
    return found
