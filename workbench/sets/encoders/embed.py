"""A table of raw columns as a set: batch by batch, resumable, the same bits each time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from workbench.disk import read_safetensors, write_safetensors, write_text
from workbench.errors import InputError, unknown
from workbench.progress import progress
from workbench.sets.checks import NAME
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.encoders.base import KINDS, Encoder, encoder, from_anywhere
from workbench.sets.manifest import check_place

BATCH = 64


def embed_table(
    table: str | os.PathLike[str] | pd.DataFrame,
    columns: Mapping[str, str],
    models: Mapping[str, str] | str,
    out: str | os.PathLike[str],
    *,
    batch: int = BATCH,
    layers: bool = False,
    device: str = "auto",
) -> EmbeddingSet:
    """Embed columns of a table and save the set at `out`; a call that was cut short resumes where it stopped.

    `columns`: modality → column; its kind (image, text, audio) is the modality's name or what follows a colon, as
    in `{"sketch:image": "sketch_png"}`. Images and sounds are bytes or paths beside the table. A missing value is a
    missing modality, a list several rows (captions). `models`: one encoder by name, or one a modality. `layers`
    keeps the mean hidden state of every layer.
    """
    frame, home = _read(table)
    plans = [_plan(m, c, frame, models) for m, c in columns.items()]
    if not plans:
        raise InputError("nothing to embed: name a column, such as --text caption")
    out = Path(out)
    check_place(out)
    made: dict[str, Encoder] = {}
    for _, _, _, name in plans:
        if name not in made:
            made[name] = encoder(name, device)
    works = [(m, column, kind, made[name]) for m, column, kind, name in plans]
    for _, _, kind, e in works:
        e.of(kind, layers)  # refused before the first batch
    scratch = out.with_name(f".{out.name}.embedding")
    _same_work(scratch, frame, plans, layers, batch)
    vectors, rows = {}, {}
    for m, column, kind, e in works:
        values, items = _flat(frame[column])
        if not len(values):
            raise InputError(f"column {column!r}: no value in it")
        blocks = _embedded(scratch / m, values, items, column, kind, e, home, batch=batch, layers=layers)
        vectors[m] = torch.cat(list(blocks))
        if len(items) != len(frame) or not np.array_equal(items, np.arange(len(frame))):
            rows[m] = items
    kept = frame.drop(columns=[c for _, c, kind, _ in plans if _listed(frame[c])])
    es = EmbeddingSet(vectors, kept, rows=rows, source=str(table) if not isinstance(table, pd.DataFrame) else "table")
    if not layers:  # a mean of hidden states is not what the encoder gives a text
        es = es.made_by({m: from_anywhere(e.name) for m, _, _, e in works})
    es.save(out)
    shutil.rmtree(scratch)
    return EmbeddingSet.load(out)


def _read(table: Any) -> tuple[pd.DataFrame, Path]:
    if isinstance(table, pd.DataFrame):
        return table.reset_index(drop=True), Path.cwd()
    file = Path(table)
    if not file.exists():
        raise InputError(f"{file}: no such file")
    from workbench.sets.formats.bring_in import COLUMNS, read_columns
    from workbench.sets.formats.tar import shards, tar_rows

    if file.suffix.lower() == ".tar" or (file.is_dir() and shards(file)):
        return pd.DataFrame(tar_rows(file)), file.parent
    if file.suffix.lower() in COLUMNS:
        return read_columns(file), file.parent
    try:
        return pd.read_parquet(file), file.parent
    except Exception as e:
        raise InputError(
            f"{file}: not readable as Parquet, .csv, .tsv, .jsonl or .tar ({str(e).splitlines()[0][:100]})"
        ) from None


def _plan(m: str, column: str, frame: pd.DataFrame, models: Mapping[str, str] | str) -> tuple[str, str, str, str]:
    name, _, kind = m.partition(":")
    kind = kind or name
    if kind not in KINDS:
        raise InputError(f"modality {name!r}: say what it is, as {name}:image, {name}:text or {name}:audio")
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} is no modality name; use letters, digits, '_', '-' and '.'")
    if column not in frame:
        raise unknown("column", column, map(str, frame.columns))
    if not isinstance(models, str) and name not in models:
        raise InputError(f"no model for {name!r}; say --model {name}=LIBRARY/MODEL")
    return name, column, kind, models if isinstance(models, str) else models[name]


def _same_work(scratch: Path, frame: pd.DataFrame, plans: Sequence[Any], layers: bool, batch: int) -> None:
    """A folder of what is done already, emptied where it is of other work."""
    seal = hashlib.sha256(json.dumps([plans, layers, batch, len(frame)]).encode())
    for _, column, _, _ in plans:
        for value in frame[column]:
            seal.update(value if isinstance(value, bytes) else str(value).encode())
    mark = scratch / "work.json"
    try:
        if json.loads(mark.read_text()) == seal.hexdigest():
            return
    except (OSError, ValueError):
        pass
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    write_text(mark, json.dumps(seal.hexdigest()))


def _listed(column: pd.Series) -> bool:
    return any(isinstance(v, list | tuple | np.ndarray) for v in column)


def _flat(column: pd.Series) -> tuple[list[Any], np.ndarray]:
    """Values that are there, and the item of each."""
    values, items = [], []
    for i, value in enumerate(column):
        for v in value if isinstance(value, list | tuple | np.ndarray) else [value]:
            if v is not None and v == v and v not in ("", b""):
                values.append(v)
                items.append(i)
    return values, np.asarray(items, dtype=np.int64)


def _embedded(
    folder: Path,
    values: Sequence[Any],
    items: np.ndarray,
    column: str,
    kind: str,
    e: Encoder,
    home: Path,
    *,
    batch: int,
    layers: bool,
) -> Iterator[torch.Tensor]:
    folder.mkdir(exist_ok=True)
    f = e.of(kind, layers)
    starts = range(0, len(values), batch)
    for start in progress(starts, f"embed {column}", len(starts)):
        file = folder / f"{start:09}.safetensors"
        if not file.exists():
            some = values[start : start + batch]
            ready = [
                _raw(v, kind, e.rate, home, f"column {column!r}, item {i}")
                for v, i in zip(some, items[start:], strict=False)
            ]
            x = f(ready)
            write_safetensors(file.with_suffix(".writing"), {"x": x})
            os.replace(file.with_suffix(".writing"), file)
        yield read_safetensors(file)["x"]


def _raw(value: Any, kind: str, rate: int, home: Path, where: str) -> Any:
    """A text, an image or a sound; what cannot be opened is named."""
    if kind == "text":
        return str(value)
    if isinstance(value, dict):  # as Hugging Face datasets store them
        value = value.get("bytes") or value.get("path")
    try:
        raw = value if isinstance(value, bytes) else (home / str(value)).read_bytes()
        return _picture(raw) if kind == "image" else _sound(raw, rate)
    except Exception as e:  # a decoder has many ways to give up
        raise InputError(f"{where}: no readable {kind} ({str(e).splitlines()[0][:120]})") from None


def _picture(raw: bytes) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(raw)) as image:
        image.load()
        return image.convert("RGBA").convert("RGB") if image.mode == "P" else image.convert("RGB")


def _sound(raw: bytes, rate: int) -> np.ndarray:
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    own, x = wavfile.read(io.BytesIO(raw))
    scale = np.iinfo(x.dtype).max if x.dtype.kind == "i" else 1.0
    x = x.astype(np.float32) / scale
    x = x.mean(1) if x.ndim > 1 else x
    common = int(np.gcd(own, rate))
    return x if own == rate else resample_poly(x, rate // common, own // common).astype(np.float32)
