"""Files of numbered shards and of named splits: matched one by one by number, gaps named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import InputError

SPLIT_NAMES = {"training": "train", "dev": "validation", "val": "validation", "valid": "validation"}
SPLIT_NAMES |= {"eval": "validation", "evaluation": "validation", "development": "validation", "testing": "test"}
SPLIT_NAMES |= {s: s for s in ("train", "validation", "test")}
PARTS = ("rank", "shard", "part", "chunk", "batch", "worker", "proc", "process", "gpu")  # rank0, without a mark
_SHARD = re.compile(r"(?P<base>.*?)(?P<mark>[-_. ]?\(?)(?P<number>\d+)(?:[-_. ]of[-_. ](?P<total>\d+))?\)?")


@dataclass(frozen=True)
class Shard:
    """A file that is a numbered part of `base`."""

    base: str
    number: int
    total: int | None
    mark: str
    digits: str


def shard(stem: str) -> Shard | None:
    """The part that a name says it is.

    >>> shard("img_emb_10").number, shard("train-00003-of-00008").total, shard("image")
    (10, 8, None)
    """
    m = _SHARD.fullmatch(stem)
    if m is None:
        return None
    return Shard(m["base"], int(m["number"]), int(m["total"]) if m["total"] else None, m["mark"], m["number"])


def grouped(files: Sequence[Path]) -> dict[str, dict[int, Path]]:
    """Numbered files as base → number → file, in numeric order; a file that is no shard is its own, at number -1."""
    found: dict[str, list[tuple[Shard, Path]]] = {}
    for file in files:
        part = shard(file.stem)
        if part is not None:
            found.setdefault(part.base, []).append((part, file))
    bases = {b for b, parts in found.items() if _counts([p for p, _ in parts])}
    out: dict[str, dict[int, Path]] = {}
    for file in files:
        part = shard(file.stem)
        if part is None or part.base not in bases:
            out.setdefault(file.stem, {})[-1] = file
            continue
        group = out.setdefault(part.base or file.parent.name or "vectors", {})
        if part.number in group:
            raise InputError(f"{file}: shard {part.number} is there twice, also as {group[part.number].name}")
        group[part.number] = file
    return {base: dict(sorted(group.items())) for base, group in out.items()}


def in_order(files: Iterable[Path]) -> list[Path]:
    """Files by name, and those of one name by number: 2 before 10."""
    parts = {f: shard(f.stem) for f in files}
    return sorted(parts, key=lambda f: (f.stem, -1) if (p := parts[f]) is None else (p.base, p.number))


def _counts(parts: Sequence[Shard]) -> bool:
    """Whether the numbers at the ends of names count shards, and are no name such as vit_16 and vit_32."""
    if any(p.total is not None for p in parts):
        return True
    if len(parts) < 2 or not all(p.mark or not p.base or p.base.lower().endswith(PARTS) for p in parts):
        return len(parts) > 1 and _padded(parts) and _in_turn(parts)
    return min(p.number for p in parts) in (0, 1) or _padded(parts) or _in_turn(parts)


def _padded(parts: Sequence[Shard]) -> bool:
    return any(len(p.digits) > 1 and p.digits[0] == "0" for p in parts)


def _in_turn(parts: Sequence[Shard]) -> bool:
    numbers = sorted(p.number for p in parts)
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def gaps(numbers: Sequence[int], stems: Sequence[str] = ()) -> list[int]:
    """The shards that are missing between the first and the last, or up to the total that names give."""
    there = {n for n in numbers if n >= 0}
    if not there:
        return []
    totals = [p.total for p in map(shard, stems) if p is not None and p.total is not None]
    first = min(0 if totals else 10**9, min(there))
    if min(there) == 1 and not totals:
        first = 1
    return [n for n in range(first, max([*there, *(t - 1 for t in totals)]) + 1) if n not in there]


def matched(path: Path | str, groups: Mapping[str, Mapping[int, Path]]) -> list[str]:
    """Refuse groups of shards that lack one which another has; returns what all of them lack, in plain words."""
    several = {b: g for b, g in groups.items() if -1 not in g}
    every = sorted({n for g in several.values() for n in g})
    for base, group in several.items():
        for n in every:
            if n not in group:
                other = next(b for b, g in several.items() if n in g)
                raise InputError(
                    f"{path}: the shards do not agree: {base} lacks shard {n}, which {other} has; fetch it, or take "
                    "the others of that number away"
                )
    return lacking(several)


def lacking(groups: Mapping[str, Mapping[int, Path]]) -> list[str]:
    """The shards that groups lack between their first and their last, in plain words."""
    said = []
    for base, group in groups.items():
        if missing := gaps(list(group), [f.stem for f in group.values()]):
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            said.append(f"{base} lacks shard {missing[0]}{more}; the {len(group)} that are there are read")
    return said


def agreeing(path: Path | str, counts: Mapping[str, Mapping[int, int]]) -> None:
    """Refuse shards of one number that have other counts of rows: base → number → rows."""
    bases = list(counts)
    for base in bases[1:]:
        for number, rows in counts[base].items():
            want = counts[bases[0]].get(number)
            if want is not None and want != rows:
                raise InputError(
                    f"{path}: shard {number} of {base} has {rows} rows, that of {bases[0]} {want}: the shards do not "
                    "agree on the number of items; fetch what is cut off, or, where they are cut at other rows and "
                    "none is missing, join the shards of each into one file"
                )


def cut_elsewhere(counts: Mapping[str, Mapping[int, int]]) -> bool:
    """Whether groups lack no shard and have as many rows in all, each cut evenly and not into as many files."""
    sizes = [list(g.values()) for g in counts.values()]
    even = all(len(set(n[:-1])) < 2 and n[-1] <= n[0] for n in sizes)
    whole = not any(gaps(list(g)) for g in counts.values()) and len({sum(n) for n in sizes}) == 1
    return even and whole and len({len(n) for n in sizes}) > 1


def split_in(stem: str) -> tuple[str, str] | None:
    """The split that a word of a name says, and the name without it: image_train is train, image."""
    parts = re.split(r"([-_. ])", stem)
    for k in range(0, len(parts), 2):
        if parts[k].lower() in SPLIT_NAMES:
            rest = parts[: max(k - 1, 0)] + parts[k + (1 if k else 2) :]
            return parts[k], "".join(rest)
    return None


def splits(stems: Sequence[str]) -> list[str] | None:
    """The split of each file where their names say so, None where they are no splits.

    >>> splits(["coco-train-00000-of-00002", "coco-train-00001-of-00002", "coco-val"])
    ['train', 'train', 'val']
    """
    named = []
    for stem in stems:
        part = shard(stem)
        numbered = part is not None and part.base and (part.total is not None or part.mark)
        named.append(part.base if part is not None and numbered else stem)
    words = [[w for w in re.split(r"[-_. ]", n) if w] for n in named]
    common = set.intersection(*map(set, words)) if words else set()
    names = ["_".join(w for w in ws if w not in common) for ws in words]
    if len(set(names)) < 2 or not any(n.lower() in SPLIT_NAMES for n in names):
        return None
    return [n or "rest" for n in names]
