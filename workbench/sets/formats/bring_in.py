"""Bringing a source in: guesses said aloud, little memory for any size, several files side by side."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from workbench.errors import InputError, first_line
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import columnar as tables
from workbench.sets.formats.assemble import Reading, of_arrays, of_table
from workbench.sets.formats.kinds import kind_of
from workbench.sets.formats.registry import READERS
from workbench.sets.formats.source import Arrays, Table
from workbench.sets.grouping import by_item
from workbench.sets.manifest import check_place

COLUMNS = (".csv", ".tsv", ".json", ".jsonl")  # columns of the items beside arrays
ENDS = ("embeddings", "embedding", "embeds", "embed", "emb", "vectors", "vector", "features")
IDS = ("uid", "key", "_id", "item_id", "image_path", "path", "file_name", "filename", "file", "url")


def import_set(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    reading: Reading | None = None,
    *,
    item: str = "",
) -> tuple[EmbeddingSet, list[str]]:
    """Bring files of any format into a saved set at `out`; returns it, and what was guessed in plain words.

    Several tables of one schema follow each other; several arrays are the modalities of the same items; a table
    without vectors (or .csv, .tsv, .json, .jsonl) beside them holds the columns. Tables are read in batches: vectors
    go through a file beside `out`, so that memory does not grow with them. `item` names the column that says which item
    a row belongs to.
    """
    paths = [Path(s) for s in sources]
    if not paths:
        raise InputError("nothing to import: name a file or a folder")
    out = Path(out)
    check_place(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    said: list[str] = []
    with tempfile.TemporaryDirectory(prefix=".import-", dir=out.parent) as scratch:
        found = _together(paths)
        reading = _guess(found, reading or Reading(), said)
        if isinstance(found, Table):
            es = of_table(found, reading, Path(scratch))
        else:
            es = of_arrays(found, reading)
        if item:
            es = by_item(es, item)
        elif not reading.id:
            es = _with_id(es, said)
        es.save(out)
    return EmbeddingSet.load(out), said


def load_together(
    sources: Sequence[str | os.PathLike[str]], reading: Reading | None = None
) -> tuple[EmbeddingSet, list[str]]:
    """Several files as one set in memory, as `import_set` takes them; with what was guessed in plain words."""
    said: list[str] = []
    found = _together([Path(s) for s in sources])
    reading = _guess(found, reading or Reading(), said)
    return (of_table(found, reading) if isinstance(found, Table) else of_arrays(found, reading)), said


def _together(paths: Sequence[Path]) -> Arrays | Table:
    """One source of several paths."""
    kinds = {p: kind_of(p) for p in paths if p.suffix.lower() not in COLUMNS or p.name.startswith("vectors")}
    every = set(kinds.values())
    if len(every) == 1 and len(paths) > 1:
        name = f"{paths[0].parent.name or paths[0].parent.absolute().name}"
        if (together := READERS[every.pop()].several) is not None:
            return together(paths, name)
    if len(paths) == 1 and kinds:
        return READERS[kinds[paths[0]]].read(paths[0])
    merged, frame, sources = {}, None, []
    for path in paths:
        sources.append(path.name)
        part = READERS[kinds[path]].read(path) if path in kinds else Arrays({}, str(path), read_columns(path))
        if isinstance(part, Table):
            if any(tables.is_vector(f.type) for f in part.schema):
                raise InputError(f"{path}: a table with vectors cannot be joined to {paths[0]}; import them one by one")
            import pyarrow as pa

            part = Arrays({}, str(path), pa.Table.from_batches(list(part.batches())).to_pandas())
        for name, x in part.arrays.items():
            if name in merged:
                raise InputError(f"{path}: a second array named {name!r}; rename one of the files")
            merged[name] = x
        if part.columns is not None:
            frame = part.columns if frame is None else frame.join(part.columns, rsuffix="_2")
    return Arrays(merged, " + ".join(sources), frame)


def read_columns(file: Path) -> pd.DataFrame:
    """A .csv, .tsv, .json or .jsonl file as columns of the items."""
    try:
        if file.suffix.lower() in (".json", ".jsonl"):
            return pd.read_json(file, lines=file.suffix.lower() == ".jsonl", dtype=False)
        return pd.read_csv(file, sep="\t" if file.suffix.lower() == ".tsv" else ",", dtype=str, keep_default_na=False)
    except (ValueError, OSError, UnicodeDecodeError, pd.errors.ParserError) as e:
        raise InputError(f"{file}: not readable as a table ({first_line(e)})") from None


def _guess(found: Arrays | Table, reading: Reading, said: list[str]) -> Reading:
    """Names of modalities from names of columns, where none were given: image_embedding is image."""
    if reading.modalities:
        return reading
    if isinstance(found, Table):
        names = [f.name for f in found.schema if tables.is_vector(f.type)]
    else:
        names = [k for k, x in found.arrays.items() if x.ndim > 1]
    guessed: dict[str, str] = {}
    for name in names:
        short = _short(name)
        guessed[short if short not in guessed and short not in names else _plain(name)] = name
    for m, column in guessed.items():
        if m != column:
            said.append(f"{column} is the modality {m}")
    return replace(reading, modalities=guessed)


def _short(name: str) -> str:
    text = name
    for end in ENDS:
        for cut in (f"_{end}", f".{end}", f"-{end}"):
            text = text.removesuffix(cut)
        text = text.removeprefix(f"{end}_")
    return {"img": "image", "txt": "text"}.get(text, _plain(text or name))


def _plain(name: str) -> str:
    text = "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "_" for c in name).lstrip("_-.")
    return text or "vectors"


def _with_id(es: EmbeddingSet, said: list[str]) -> EmbeddingSet:
    """A column that names every item once is its id, where the source has none."""
    if not (es.items["id"] == [str(i) for i in range(len(es))]).all():
        return es
    for c in es.items:
        if str(c).lower() in IDS and es.items[c].notna().all() and es.items[c].astype(str).is_unique:
            said.append(f"{c} is the id: every item has another one")
            es.items["id"] = es.items[c].astype(str)
            return es
    said.append("ids are the numbers of the rows: no column names every item once")
    return es
