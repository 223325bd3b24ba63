"""Arrays of one source that are not row by row the same items: splits after each other, places, keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError, listed
from workbench.sets.formats.guess import words
from workbench.sets.formats.joins import Part, joined
from workbench.sets.formats.shards import SPLIT_NAMES, grouped, lacking, split_in, splits
from workbench.sets.formats.source import Arrays

PLACES = {"index", "indices", "idx", "inds", "to", "2"}  # words of an array of places: text_to_image, image_idx
ALIKE = {"img": "image", "imgs": "image", "picture": "image", "txt": "text", "caption": "text", "sentence": "text"}


def evened(found: Arrays) -> Arrays:
    """The same with a row an item, or with `rows` that say whose each row is; as it was, where nothing says how."""
    if found.columns is not None or found.rows:
        return found
    found = _after_each_other(found)
    if found.columns is None:
        found = _by_place(found)
    return found if found.rows or found.columns is not None else _by_key(found)


def _after_each_other(found: Arrays) -> Arrays:
    """Arrays that each split, or group of the file, has for itself, one split after the other."""
    there = {n: x for n, x in found.arrays.items() if x.ndim}
    groups = _grouped({n: m.groups() if (m := re.fullmatch(r"(.+?)[./](.+)", n)) else None for n in there})
    named = bool(groups) and any(split_in(g) for g in groups)
    if not groups or not (named or _of_own_lengths(groups, there)):
        groups = _grouped({n: split_in(n) for n in there})
        named = len({SPLIT_NAMES[g.lower()] for g in groups}) > 1
        if not named:
            return found
    lengths = {g: {len(there[n]) for n in parts.values()} for g, parts in groups.items()}
    if any(len(n) > 1 for n in lengths.values()):
        return found
    rows = {g: n.pop() for g, n in lengths.items()}
    column = "split" if named else "group"
    whole: dict[str, Any] = {}
    for rest in dict.fromkeys(r for parts in groups.values() for r in parts):
        blocks = [there[parts[rest]] if rest in parts else _nothing(rows[g]) for g, parts in groups.items()]
        if len({(x.shape[1:], x.dtype.kind if hasattr(x.dtype, "kind") else x.dtype) for x in blocks}) > 1:
            if any(x.ndim > 1 for x in blocks):
                return found
            blocks = [np.asarray(x).astype(object) for x in blocks]
        whole[rest] = _one(blocks)
    said = f"{column} is said by the names in the file: {', '.join(f'{g} {n:,}' for g, n in rows.items())}"
    owner = pd.DataFrame({column: [g for g, n in rows.items() for _ in range(n)]})
    found.said.append(said)
    return replace(found, arrays=whole, columns=owner)


def following(parts: Sequence[Arrays], files: Sequence[Path], source: str) -> Arrays:
    """Arrays of the same names in several files, one file after the other; with a column `split` where names say it."""
    names = list(parts[0].arrays)
    for part, file in zip(parts, files, strict=True):
        odd = {*part.arrays} ^ {*names} or {
            n for n in names if part.arrays[n].shape[1:] != parts[0].arrays[n].shape[1:]
        }
        if odd or part.rows or part.columns is not None:
            raise InputError(
                f"{file}: has other arrays than {files[0].name} ({listed(sorted(odd), 3) or 'rows of several items'}); "
                "files that follow each other need the same names and widths"
            )
    whole = {n: _one([p.arrays[n] for p in parts]) if parts[0].arrays[n].ndim else parts[0].arrays[n] for n in names}
    count = [len(next(x for x in p.arrays.values() if x.ndim)) for p in parts]
    said = [f"{len(files)} files of the same arrays follow each other, as more rows", *lacking(grouped(files))]
    named = splits([f.stem for f in files])
    if named is None or "split" in whole:
        return Arrays(whole, source, said=said)
    said.append(f"split is the name of the file: {listed(dict.fromkeys(named))}")
    return Arrays(whole | {"split": np.repeat(named, count)}, source, said=said)


def _grouped(named: Mapping[str, Sequence[str] | None]) -> dict[str, dict[str, str]]:
    """Names by their group and the rest of each; nothing where one has no group, or vectors that others lack."""
    groups: dict[str, dict[str, str]] = {}
    for name, parts in named.items():
        if parts is None:
            return {}
        groups.setdefault(parts[0], {})[parts[1] or "vectors"] = name
    return groups if len(groups) > 1 else {}


def _of_own_lengths(groups: Mapping[str, Mapping[str, str]], arrays: Mapping[str, Any]) -> bool:
    """Whether groups have arrays of the same names, as many rows in one group and not as many in another."""
    lengths = [{len(arrays[n]) for n in parts.values()} for parts in groups.values()]
    names = [set(parts) for parts in groups.values()]
    alike = all(a == b for a, b in pairwise(names)) and all(len(n) == 1 for n in lengths)
    return alike and len(set.union(*lengths)) > 1


def _nothing(rows: int) -> np.ndarray:
    return np.full(rows, None, dtype=object)


def _one(blocks: Sequence[Any]) -> Any:
    if hasattr(blocks[0], "detach"):
        import torch

        return torch.cat(list(blocks))
    return np.concatenate([np.asarray(x) for x in blocks])


def _by_place(found: Arrays) -> Arrays:
    """Rows of one modality whose places among those of another stand beside them: text_to_image, image_index."""
    vectors = {n: x for n, x in found.arrays.items() if x.ndim > 1}
    for name, x in found.arrays.items():
        if x.ndim != 1 or np.asarray(x).dtype.kind not in "iu" or not len(x) or not _says_places(name):
            continue
        at, said = np.asarray(x).astype(np.int64), _kinds(name)
        ends = [(a, b) for a in vectors for b in vectors if a != b and len(vectors[a]) == len(at)]
        ends = [(a, b) for a, b in ends if _means(said, vectors, a, b)]
        if len(ends) != 1:
            continue
        of, to = ends[0]
        items = len(vectors[to])
        first = 1 if int(at.min()) == 1 and int(at.max()) == items else 0
        if int(at.min()) < first or int(at.max()) >= items + first:
            continue
        order = np.argsort(at, kind="stable")
        moved = vectors[of][order.tolist()] if hasattr(vectors[of], "detach") else np.asarray(vectors[of])[order]
        others = {n: x for n, x in found.arrays.items() if n not in (name, of) and (x.ndim != 1 or len(x) == items)}
        gone = [n for n, x in found.arrays.items() if n not in others and n not in (name, of)]
        line = [f"{name} says whose each row of {of} is, by its place in {to}" + (", from 1 on" if first else "")]
        line += [f"{', '.join(gone)} is left out: of {of}, whose rows are no items"] if gone else []
        arrays = {n: moved if n == of else others[n] for n in found.arrays if n == of or n in others}
        found.said.extend(line)
        return replace(found, arrays=arrays, rows={of: at[order] - first})
    return found


def _says_places(name: str) -> bool:
    known = words(name)
    return len(known) > 1 and bool(PLACES & {*known})


def _means(said: Sequence[str], vectors: Mapping[str, Any], of: str, to: str) -> bool:
    """Whether places are called as those of rows of one modality in another: of text in image, text_to_image."""
    mine, theirs = ({*_kinds(n)} for n in (of, to))
    mine, theirs = mine - theirs, theirs - mine
    joint = next((k for k, w in enumerate(said) if w in ("to", "2")), -1)
    if joint > 0:
        return bool({*said[:joint]} & mine and {*said[joint + 1 :]} & theirs)
    last = next((w for w in reversed(said) if w in mine | theirs), "")  # text_image_idx is of an image
    return last in theirs or (not last and len(vectors[of]) > len(vectors[to]))


def _kinds(name: str) -> list[str]:
    """The words of a name, one word a kind: of img and images it is image."""
    return [ALIKE.get(w, ALIKE.get(w.removesuffix("s"), w.removesuffix("s"))) for w in words(name)]


def _by_key(found: Arrays) -> Arrays:
    """Arrays of two lengths, each with a column that names rows of the other."""
    lengths: dict[int, dict[str, Any]] = {}
    for name, x in found.arrays.items():
        if x.ndim:
            lengths.setdefault(len(x), {})[name] = x
    axes = [{min(x.ndim, 2) for x in group.values()} for group in lengths.values()]
    if len(lengths) < 2 or any(a != {1, 2} for a in axes):  # vectors, and a column, in each
        return found
    parts = []
    for count, group in lengths.items():
        vectors = {n: x for n, x in group.items() if x.ndim > 1}
        frame = pd.DataFrame({n: np.asarray(x) for n, x in group.items() if x.ndim == 1})
        parts.append(Part(f"{next(iter(vectors))} ({count:,} rows)", vectors, frame))
    try:
        whole = joined(parts, found.source)
        found.said.extend(whole.said)
        return whole
    except InputError as e:
        raise InputError(f"{found.source}: {e}") from None
