"""WebDataset and img2dataset: shards of .tar files; the files of one item share a name before the first dot."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError, first_line
from workbench.sets.formats.arrays import SMALL
from workbench.sets.formats.registry import reader
from workbench.sets.formats.source import Arrays

PICTURES = ("jpg", "jpeg", "png", "webp")
SOUNDS = ("wav", "flac", "mp3")


def shards(path: Path) -> list[Path]:
    """The .tar files of a path, in the order of their names."""
    return sorted(path.glob("*.tar")) if path.is_dir() else [path]


def tar_rows(path: Path) -> Iterator[dict[str, Any]]:
    """An item a row: `id`, what its .json and .cls hold, `image` and `audio` as bytes, `text`, and arrays by name."""
    for file in shards(path):
        try:
            with tarfile.open(file) as t:
                row: dict[str, Any] = {}
                for member in t:
                    name = Path(member.name).name
                    key, _, kind = name.partition(".")
                    if not member.isfile() or not kind or key.startswith("__"):
                        continue
                    if member.size > SMALL:
                        raise InputError(f"{file}: {member.name} alone has {member.size:,} bytes, which is not read")
                    if row and row["id"] != key:
                        yield row
                        row = {}
                    row.setdefault("id", key)
                    stream = t.extractfile(member)
                    assert stream is not None
                    _put(row, kind.lower(), stream.read(), f"{file}: {member.name}")
                if row:
                    yield row
        except (tarfile.TarError, OSError, EOFError) as e:
            raise InputError(f"{file}: truncated or not a .tar file ({first_line(e)})") from None


def _put(row: dict[str, Any], kind: str, raw: bytes, where: str) -> None:
    last = kind.rsplit(".", 1)[-1]
    try:
        if last == "npy":
            row[kind.removesuffix(".npy") if "." in kind else "vector"] = np.load(io.BytesIO(raw), allow_pickle=False)
        elif last == "json":
            found = json.loads(raw)
            own = found if isinstance(found, dict) else {"json": found}
            row.update({str(k): v for k, v in own.items() if k != "id" and isinstance(v, str | int | float | bool)})
        elif last in ("txt", "caption"):
            row["text"] = raw.decode("utf-8").strip()
        elif last == "cls":
            row["label"] = raw.decode("utf-8").strip()
        elif last in PICTURES:
            row["image"] = raw
        elif last in SOUNDS:
            row["audio"] = raw
    except Exception as e:  # each kind of file has its own ways to be damaged
        raise InputError(f"{where} is damaged or holds what is never unpickled ({first_line(e)})") from None


@reader(
    "webdataset",
    "WebDataset, img2dataset: .tar shards with .npy in them",
    suffixes=(".tar",),
    folder=".tar",
    rank=1,
)
def webdataset(path: Path) -> Arrays:
    """The arrays of the shards as modalities: `key.image.npy` is image; pictures without vectors are for `embed`."""
    vectors: dict[str, list[np.ndarray]] = {}
    rows: dict[str, list[int]] = {}
    plain = []
    for i, row in enumerate(tar_rows(path)):
        for name, x in row.items():
            if isinstance(x, np.ndarray):
                if vectors.get(name) and vectors[name][0].shape != x.shape:
                    raise InputError(f"{path}: item {row['id']!r} has {name} of shape {x.shape}, unlike those before")
                vectors.setdefault(name, []).append(x)
                rows.setdefault(name, []).append(i)
        plain.append({k: v for k, v in row.items() if not isinstance(v, np.ndarray)})
    if not vectors:
        raise InputError(
            f"{path}: no vectors (.npy) in these shards; 'workbench embed' makes them of pictures and texts"
        )
    missing = {name: np.asarray(r) for name, r in rows.items() if len(r) != len(plain)}
    return Arrays({n: np.stack(x) for n, x in vectors.items()}, str(path), pd.DataFrame(plain), missing)
