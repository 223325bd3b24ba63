"""WebDataset and img2dataset: shards of .tar files; the files of one item share a folder and a name."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workbench.errors import InputError, first_line
from workbench.sets.columns import settled
from workbench.sets.formats.arrays import SMALL
from workbench.sets.formats.plain import gathered
from workbench.sets.formats.registry import reader
from workbench.sets.formats.source import Arrays

PICTURES = ("jpg", "jpeg", "png", "webp")
SOUNDS = ("wav", "flac", "mp3")
ENDS = {*PICTURES, *SOUNDS, *"npy json txt caption cls".split()}  # noqa: SIM905 - last parts of names that are read
KNOWN = {"image", "img", "text", "txt", "audio", "video", "caption", "query", "emb", "embedding", "vector"}


class Member(NamedTuple):
    """A file of an item: which shard, where in it, how long, and the part of its name that says what it is."""

    shard: int
    at: int
    size: int
    kind: str


@dataclass
class Index:
    """Where the files of each item are, in the order in which the items begin."""

    files: list[Path]
    items: dict[str, list[Member]]
    said: list[str] = field(default_factory=list)


def shards(path: Path) -> list[Path]:
    """The .tar files of a path, in the order of their names."""
    return sorted(path.glob("*.tar")) if path.is_dir() else [path]


def index(files: list[Path]) -> Index:
    """Every item of some shards: files belong to one item by their folder and name, wherever they lie."""
    found: list[tuple[PurePosixPath, Member]] = []
    for k, file in enumerate(files):
        try:
            with tarfile.open(file) as t:
                for info in t:
                    name = PurePosixPath(info.name)
                    if not info.isfile() or "." not in name.name or name.name.startswith((".", "__")):
                        continue
                    if info.issparse():
                        raise InputError(f"{file}: {name.name} is a sparse file, which is not read")
                    found.append((name, Member(k, info.offset_data, info.size, "")))
        except (tarfile.TarError, OSError, EOFError) as e:
            raise InputError(
                f"{file}: truncated or not a .tar file ({first_line(e)}); fetch or write it again"
            ) from None
    names = [name.name for name, _ in found]
    dotted = _ambiguous(names)
    tails = _tails(names) if dotted else None
    folder = _common([name.parent for name, _ in found])
    out = Index(files, {})
    seen: dict[tuple[str, str], int] = {}
    for name, member in found:
        kind = tails[name.name] if tails else name.name.partition(".")[2]
        key = str((name.parent / name.name[: -len(kind) - 1]).relative_to(folder))
        if (before := seen.setdefault((key, kind.lower()), member.shard)) != member.shard or (
            any(m.kind == kind.lower() for m in out.items.get(key, ()))
        ):
            where = "" if before == member.shard else f", also in {files[before].name}"
            raise InputError(f"{files[member.shard]}: item {key!r} has .{kind} twice{where}; each item needs a name")
        out.items.setdefault(key, []).append(member._replace(kind=kind.lower()))
    if tails and names:
        shown = names[0]
        out.said.append(f"names have several dots: {shown} is the part {tails[shown]} of its item")
    return out


def _common(folders: Sequence[PurePosixPath]) -> PurePosixPath:
    """The folder that all are in."""
    first = folders[0] if folders else PurePosixPath()
    for folder in {*folders}:
        while not folder.is_relative_to(first):
            first = first.parent
    return first


def _ambiguous(names: Sequence[str]) -> bool:
    """Whether the first dot of a name cannot be what ends the item's name, as in scan.000.image.npy."""
    kinds: dict[str, set[str]] = defaultdict(set)
    for name in names:
        stem, _, kind = name.partition(".")
        kinds[kind].add(stem)
    middle = {part for kind in kinds for part in kind.split(".")[:-1]}
    if any(part.isdigit() for part in middle) or any(kind.count(".") > 1 for kind in kinds):
        return True
    if any(part and not part.isdigit() and part in ENDS and kind.count(".") > 1 for kind in kinds for part in [kind]):
        return True
    once = [kind for kind, stems in kinds.items() if len(stems) == 1 and "." in kind]
    stems = {s for found in kinds.values() for s in found}
    return len(once) > max(len(stems), 2) and not all(kind.split(".")[0] in KNOWN for kind in once)


def _tails(names: Sequence[str]) -> dict[str, str]:
    """Name → the last parts that recur in many items: a part is no item's where few values of it stand for many."""
    parts = {name: name.split(".") for name in set(names)}
    stems: Counter[tuple[str, ...]] = Counter()
    inner: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for ps in parts.values():
        for k in range(1, len(ps)):
            stems[tuple(ps[k:])] += 1
            inner[tuple(ps[k:])].add(ps[k - 1])
    out = {}
    for name, ps in parts.items():
        k = len(ps) - 1
        while k > 1:
            tail = tuple(ps[k:])
            many, values = stems[tail], len(inner[tail])
            if ps[k - 1].isdigit() or (values * values > many and ps[k - 1] not in KNOWN):
                break
            k -= 1
        out[name] = ".".join(ps[k:])
    return out


def tar_rows(path: Path, found: Index | None = None) -> Iterator[dict[str, Any]]:
    """An item a row: `id`, what its .json and .cls hold, `image` and `audio` as bytes, `text`, and arrays by name."""
    found = found or index(shards(path))
    opened: tarfile.TarFile | None = None
    current = -1
    try:
        for key, members in found.items.items():
            row: dict[str, Any] = {"id": key}
            for m in members:
                file = found.files[m.shard]
                name = f"{key}.{m.kind}"
                if m.kind.rsplit(".", 1)[-1] not in ENDS:
                    continue
                if m.size > SMALL:
                    raise InputError(f"{file}: {name} alone has {m.size:,} bytes, which is not read")
                try:
                    if m.shard != current or opened is None:
                        if opened is not None:
                            opened.close()
                        opened, current = tarfile.open(file), m.shard  # noqa: SIM115 - kept for the next item
                    assert opened.fileobj is not None
                    opened.fileobj.seek(m.at)
                    raw = opened.fileobj.read(m.size)
                except (tarfile.TarError, OSError, EOFError) as e:
                    raise InputError(
                        f"{file}: truncated or not a .tar file ({first_line(e)}); fetch or write it again"
                    ) from None
                if len(raw) < m.size:
                    raise InputError(f"{file}: truncated, {name} has {len(raw):,} of its {m.size:,} bytes")
                _put(row, m.kind, raw, f"{file}: {name}")
            yield row
    finally:
        if opened is not None:
            opened.close()


PLAIN = {"text": "caption", "image": "picture", "audio": "sound"}  # what is called so where its vectors have the name


def _set(row: dict[str, Any], name: str, value: Any) -> None:
    """Keep what is no vector, beside the vectors of that name."""
    row[PLAIN.get(name, f"{name}_file") if isinstance(row.get(name), np.ndarray) else name] = value


def _put(row: dict[str, Any], kind: str, raw: bytes, where: str) -> None:
    last = kind.rsplit(".", 1)[-1]
    try:
        if last == "npy":
            name = kind.removesuffix(".npy") if "." in kind else "vector"
            if name in row:
                _set(row, PLAIN.get(name, f"{name}_file"), row[name])
            row[name] = np.load(io.BytesIO(raw), allow_pickle=False)
        elif last == "json":
            found = json.loads(raw)
            own = found if isinstance(found, dict) else {"json": found}
            for k, v in own.items():
                _set(row, f"{k}_json" if str(k) in (*PLAIN, "id") or str(k) in row else str(k), v)
        elif last in ("txt", "caption"):
            _set(row, "text", raw.decode("utf-8").strip())
        elif last == "cls":
            row["label_cls" if "label" in row else "label"] = raw.decode("utf-8").strip()
        elif last in PICTURES:
            _set(row, "image", raw)
        elif last in SOUNDS:
            _set(row, "audio", raw)
    except Exception as e:  # each kind of file has its own ways to be damaged
        raise InputError(f"{where} is damaged or holds what is never unpickled ({first_line(e)})") from None


def tar_files(files: Sequence[Path], source: str) -> Arrays:
    """Shards in the order given, the files of an item wherever they lie."""
    vectors: dict[str, list[np.ndarray]] = {}
    rows: dict[str, list[int]] = {}
    plain = []
    found = index([*files])
    for i, row in enumerate(tar_rows(files[0], found)):
        for name, x in row.items():
            if isinstance(x, np.ndarray):
                x = x[0] if x.ndim == 2 and len(x) == 1 else x  # a batch of one, as encoders leave it
                if vectors.get(name) and vectors[name][0].shape != x.shape:
                    raise InputError(f"{source}: item {row['id']!r} has {name} of shape {x.shape}, unlike those before")
                vectors.setdefault(name, []).append(x)
                rows.setdefault(name, []).append(i)
        plain.append({k: v for k, v in row.items() if not isinstance(v, np.ndarray)})
    for row in plain:  # an item without these vectors
        row |= {PLAIN.get(k, f"{k}_file"): row.pop(k) for k in [k for k in row if k in vectors]}
    frame = settled(pd.DataFrame({k: pd.Series(v, dtype=object) for k, v in gathered(plain).items()}).infer_objects())
    if not vectors and any(
        isinstance(v, list) and v and isinstance(v[0], float) for row in plain for v in row.values()
    ):
        return Arrays({}, source, frame, said=found.said)
    if not vectors:
        raise InputError(
            f"{source}: no vectors (.npy) in these shards; 'workbench embed' makes them of pictures and texts"
        )
    missing = {name: np.asarray(r) for name, r in rows.items() if len(r) != len(plain)}
    return Arrays({n: np.stack(x) for n, x in vectors.items()}, source, frame, missing, found.said)


@reader(
    "webdataset",
    "WebDataset, img2dataset: .tar shards with .npy in them",
    suffixes=(".tar",),
    folder=".tar",
    rank=1,
    several=tar_files,
)
def webdataset(path: Path) -> Arrays:
    """The arrays of the shards as modalities: `key.image.npy` is image; pictures without vectors are for `embed`."""
    return tar_files(shards(path), str(path))
