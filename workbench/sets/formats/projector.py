"""TensorBoard's projector: files of vectors and metadata, and the folder that SummaryWriter leaves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from workbench.errors import InputError, first_line
from workbench.sets.formats.joins import Part, joined
from workbench.sets.formats.registry import reader
from workbench.sets.formats.source import Arrays, once

CONFIG = "projector_config.pbtxt"


class Written(NamedTuple):
    """One embedding of SummaryWriter: its tag, its step, and its files."""

    tag: str
    step: int
    tensors: Path
    metadata: Path | None
    shape: tuple[int, ...]


def _written(path: Path) -> list[Written]:
    """What the configuration of a folder names, or without one the folders `00000/tag/` in it."""
    config = path / CONFIG
    found = []
    if config.is_file():
        try:
            text = config.read_text(encoding="utf-8")
        except UnicodeDecodeError as e:
            raise InputError(f"{config}: not UTF-8 ({first_line(e)})") from None
        for block in re.split(r"^\s*embeddings\s*\{", text, flags=re.M)[1:]:
            said = dict(re.findall(r'(\w+):\s*"([^"]*)"', block))
            if not (tensor := said.get("tensor_path")):
                continue
            tag, _, step = said.get("tensor_name", "vectors").partition(":")
            meta = said.get("metadata_path")
            shape = tuple(int(n) for n in re.findall(r"tensor_shape:\s*(\d+)", block))
            inside = [_inside(path, name, config) for name in (tensor, meta) if name]
            number = int(step) if step.isdigit() else 0
            found.append(Written(tag, number, inside[0], inside[1] if meta else None, shape))
        return found
    for tensors in sorted(path.glob("[0-9]*/*/tensors.tsv")):
        metadata = tensors.with_name("metadata.tsv")
        step = tensors.parent.parent.name
        if step.isdigit():
            held = metadata if metadata.exists() else None
            found.append(Written(tensors.parent.name, int(step), tensors, held, ()))
    return found


def _inside(folder: Path, name: str, config: Path) -> Path:
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise InputError(f"{config}: names {name}, which is not in this folder")
    return folder / name


@reader(
    "projector",
    "TensorBoard's projector: vectors.tsv, metadata.tsv, or SummaryWriter's folder",
    suffixes=(".tsv",),
    folder=lambda names, path: any(n.endswith("vectors.tsv") for n in names) or CONFIG in names or bool(_written(path)),
)
def projector(path: Path) -> Arrays:
    """TensorBoard's projector: `vectors.tsv`, and `metadata.tsv` with a header, or one label a line.

    A folder with `image_vectors.tsv`, `text_vectors.tsv`, … has a modality each; of the steps of SummaryWriter's
    folder the last is read.
    """
    if not path.is_dir():
        return _joined([_part(path, path.with_name(path.name.replace("vectors", "metadata")), _name(path.stem))], path)
    if files := sorted(path.glob("*vectors.tsv")):
        metas = [f.with_name(f.name.replace("vectors", "metadata")) for f in files]
        return _joined([_part(f, m, _name(f.stem)) for f, m in zip(files, metas, strict=True)], path)
    every = _written(path)
    if not every:
        raise InputError(f"{path / CONFIG}: names no vectors (tensor_path)")
    last = {w.tag: w for w in sorted(every, key=lambda w: w.step)}
    found = _joined([_part(w.tensors, w.metadata, _name(w.tag), w.shape) for w in last.values()], path)
    if older := len(every) - len(last):
        found.said.append(f"{older} older steps are left out: of each tag the last one is read")
    return found


def _joined(parts: list[Part], path: Path) -> Arrays:
    found = joined(parts, str(path))
    if len(parts) == 1:
        found.said.clear()
    return found


def _name(stem: str) -> str:
    stem = stem.replace("vectors", "").strip("_-. ")
    return "".join(c if c.isalnum() or c in "_-." else "_" for c in stem) or "vectors"


def _part(file: Path, meta: Path | None, name: str, shape: tuple[int, ...] = ()) -> Part:
    x = _vectors(file, shape)
    columns = None if meta is None or meta == file or not meta.exists() else _columns(meta, len(x), file)
    return Part(_near(meta if meta and columns is not None else file), {name: x}, columns, items=len(x))


def _near(file: Path) -> str:
    """A file by its name, and one of SummaryWriter, whose names are all the same, by its folders too."""
    return file.name if file.stem not in ("tensors", "metadata") else "/".join(file.parts[-3:])


def _vectors(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    if not file.exists():
        raise InputError(f"{file}: named by {CONFIG}, but not there")
    if file.suffix == ".bytes":
        raw = file.read_bytes()
        if len(shape) != 2 or len(raw) != 4 * shape[0] * shape[1]:
            raise InputError(f"{file}: {len(raw):,} bytes are not the float32 of shape {shape} that {CONFIG} says")
        return np.frombuffer(raw, "<f4").reshape(shape).copy()
    try:
        vectors = pd.read_csv(file, sep="\t", header=None, dtype=np.float32)
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError) as e:
        raise InputError(f"{file}: needs one vector a line, numbers with tabs between ({first_line(e)})") from None
    if vectors.isna().to_numpy().any():
        row = int(vectors.isna().any(axis=1).to_numpy().argmax())
        raise InputError(f"{file}: line {row + 1} has fewer than {vectors.shape[1]} numbers")
    return vectors.to_numpy()


def _columns(meta: Path, count: int, file: Path) -> pd.DataFrame:
    try:
        text = meta.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise InputError(f"{meta}: not UTF-8 ({first_line(e)})") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]  # nothing else ends a line
    while lines and not lines[-1] and len(lines) > count:
        lines.pop()
    headed = "\t" in lines[0] if lines else False
    cells = [line.split("\t") for line in lines]
    names = cells[0] if headed else ["name"]
    body = cells[1:] if headed else cells
    if len(body) != count or any(len(c) != len(names) for c in body):
        raise InputError(f"{meta}: needs {count} lines of {len(names)} columns, as many as {file.name} has vectors")
    once(names, meta)
    return pd.DataFrame(body, columns=names)
