"""What is a vector: one guess for all readers, from the type, the length and the name of a column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SHORT = 4  # numbers: fewer are a colour, a size or a place on a map, unless the name says otherwise
ENDS = ("embeddings", "embedding", "embeds", "embed", "emb", "vectors", "vector", "features")
MEANT = """emb embs vec vecs feat feats feature features latent latents hidden pooled activations representation
representations clip siglip"""
VECTOR = frozenset(MEANT.split())  # words that say that a vector is meant
KINDS = {"image", "images", "img", "imgs", "picture", "photo", "text", "texts", "txt", "caption", "captions", "audio"}
KINDS |= {"sound", "video", "query", "document", "doc", "title", "passage", "sketch"}
AXES = {"dim", "dims", "dimension", "dimensions", "component", "d", "e", "v", "f"}  # before a number: an axis
SMALL = 16  # numbers: a list of more is no box and no colour, whatever its name
MANY = """logprob logprobs logit logits prob probs probability probabilities score scores token tokens ids mask masks
segmentation polygon keypoints landmarks timestamps weights neighbors neighbours distances histogram labels attention"""
LONG = frozenset(MANY.split())  # what may be long and is no vector
SEVERAL = {"colbert", "multi", "multivector", "multivectors", "late", "patches", "tokens"}
OTHERS = """box boxes bbox bboxes rgb rgba color colors colour colours logprob logprobs logit logits prob probs
probability probabilities score scores token tokens ids shape size sizes mask masks xy xyz coord coords coordinate
coordinates lat lon location position positions point points polygon segmentation keypoints landmarks time times
timestamp timestamps weights lengths neighbors neighbours distances rating ratings histogram pose umap tsne span spans
offsets label labels tags attention"""
PAYLOAD = frozenset(OTHERS.split())  # what lists of numbers are that are no vectors
WIDE = 16  # numbers: as many are a vector whatever their name, such as a histogram of colours …
CLASSES = "logprob logprobs logit logits prob probs probability probabilities score scores token ids"
NEVER = frozenset(CLASSES.split())


@dataclass(frozen=True)
class Column:
    """What is known of a column that may hold vectors."""

    name: str
    kind: str  # of its numbers: float32, int8, …
    width: int  # numbers a vector; 0 where rows differ
    nested: str = ""  # of lists of vectors: "even" where each row has as many, "ragged" where not

    @property
    def floating(self) -> bool:
        """Whether its numbers are no whole numbers."""
        return not self.kind.startswith(("int", "uint", "bool"))


@dataclass(frozen=True)
class Verdict:
    """Whether a column is a modality (`take`), else a column of the items, or left out; and why."""

    take: bool
    why: str
    keep: bool = True


def words(name: str) -> list[str]:
    """The words of a name: clipEmb_512 is clip, emb and 512."""
    return re.findall(r"[a-z]+|\d+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower())


def says_vector(name: str) -> bool:
    """Whether a name says that a vector is meant."""
    found = words(name)
    return any(w in VECTOR or w.startswith(("embed", "vector")) or w.endswith(("emb", "vec")) for w in found)


def means_only_vector(name: str) -> bool:
    """Whether a name says that a vector is meant and nothing else: embedding, but not text_embedding."""
    return all(says_vector(w) or w.isdigit() for w in words(name))


def says_bits(name: str) -> bool:
    """Whether a name says that a vector is packed, eight dimensions a byte."""
    return bool({"binary", "ubinary", "bits", "packed"} & set(words(name)))


def _level(c: Column, store: bool) -> tuple[int, str]:
    """How much speaks for a vector, 0 to 3, and what speaks against it."""
    vector, known = says_vector(c.name), set(words(c.name))
    kinds = bool(known & KINDS)
    payload = bool(known & (PAYLOAD if c.width <= SMALL else LONG))
    if c.nested:
        if known & SEVERAL or (store and c.nested) or (c.nested == "ragged" and not (vector or kinds)):
            return 0, "a multivector, several vectors a row"
        if not c.floating and not vector:
            return 0, "lists of whole numbers"
        return (3, "") if c.width >= SHORT or vector or kinds else (2, f"only {c.width} numbers")
    if not c.floating:
        if says_bits(c.name) and c.kind in ("uint8", "int8"):
            return 3, ""
        if payload or not vector:
            small = c.kind in ("int8", "uint8") and c.width >= SHORT and not payload
            if small and kinds and c.kind == "int8":
                return 3, ""
            known_kind = kinds and not payload and c.width > 1
            return (1, "whole numbers beside vectors") if small or known_kind else (0, "whole numbers")
        return (3, "") if c.width >= SHORT else (0, f"{c.width or 'varying counts of'} whole numbers")
    if not c.width:
        meant = vector or bool(known & {"image", "images", "img", "text", "texts", "txt"})
        return (3, "") if meant else (1, "its length varies")
    if payload and not vector and (c.width < WIDE or known & NEVER):  # … but for what a model says of its classes
        return 2 if c.width >= SHORT else 1, "its name says what it is"
    if c.width >= SHORT or vector or kinds:
        return 3, ""
    return 2, f"only {c.width} numbers"


def verdicts(columns: Sequence[Column], *, alone: bool = True, store: bool = False) -> dict[str, Verdict]:
    """What each column is; `alone`: nothing else is a vector, so that what is likeliest is taken.

    >>> found = verdicts([Column("image", "float32", 512), Column("box", "int64", 4), Column("xy", "float32", 2)])
    >>> {name: v.take for name, v in found.items()}
    {'image': True, 'box': False, 'xy': False}
    """
    levels = {c.name: _level(c, store) for c in columns}
    alike = {(c.kind, c.width) for c in columns if c.kind in ("int8", "uint8") and levels[c.name][0] == 3}
    for c in columns:  # bytes of the kind and width of others that are vectors, whatever their name
        if (c.kind, c.width) in alike and levels[c.name][0] == 1 and not c.nested:
            levels[c.name] = (3, "")
    best = max((level for level, _ in levels.values()), default=0)
    least = 3 if best == 3 or not alone else max(best, 1)
    return {c.name: Verdict(levels[c.name][0] >= least, levels[c.name][1], keep=not c.nested) for c in columns}


def told(name: str, verdict: Verdict) -> str:
    """A line about a column that is no modality."""
    asked = f"; --modality NAME={name} takes it" if not verdict.keep else ""
    return f"{name} is {'a column' if verdict.keep else 'left out'}: {verdict.why}{asked}"


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Names of modalities from names of columns: image_embedding is image. Modality → column."""
    names = list(names)
    found: dict[str, str] = {}
    for name in names:
        short = _short(name)
        found[short if short not in found and (short == name or short not in names) else _plain(name)] = name
    return found


def _short(name: str) -> str:
    text = name
    for end in ENDS:
        for cut in (f"_{end}", f".{end}", f"-{end}"):
            text = text.removesuffix(cut)
        text = text.removeprefix(f"{end}_").removeprefix(f"{end}.")
    return {"img": "image", "txt": "text"}.get(text, _plain(text or name))


def _plain(name: str) -> str:
    text = "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "_" for c in name).lstrip("_-.")
    return text or "vectors"


def numbered(names: Mapping[str, bool]) -> dict[str, list[str]]:
    """Columns that are one vector, a number each: dim_0 … dim_511. Names → whether they hold floating numbers."""
    found = {base: parts for base, parts in _series(names).items() if not _gap(parts)}
    out = {_plain(base) if base else "vectors": [name for _, name in parts] for base, parts in found.items()}
    return {name: parts for name, parts in out.items() if name not in names}


def broken(names: Mapping[str, bool], groups: Mapping[str, object]) -> list[str]:
    """Lines about columns that would be one vector if none of them was missing."""
    return [
        f"{parts[0][1]} … {parts[-1][1]} are {len(parts)} columns and no vector: number {gap} is not there"
        for base, parts in _series(names).items()
        if (gap := _gap(parts)) and (_plain(base) if base else "vectors") not in groups
    ]


def _series(names: Mapping[str, bool]) -> dict[str, list[tuple[int, str]]]:
    """Columns of floating numbers that are called alike but for a number, as many as a vector has, by their base."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name, floating in names.items():
        m = re.fullmatch(r"(.*?)[_.\- ]?(\d+)", name)
        if m and floating:
            found.setdefault(m[1], []).append((int(m[2]), name))
    for base in list(found):
        found[base].sort()
        known = set(words(base))
        likely = 1 if says_vector(base) or known & AXES else 2 if known & KINDS or not base else 4
        if len(found[base]) < likely * SHORT or known & PAYLOAD:
            del found[base]
    return found


def _gap(parts: Sequence[tuple[int, str]]) -> str:
    """The first number that is missing, or twice; nothing where they count from nought or one."""
    first = parts[0][0]
    for k, (number, _) in enumerate(parts):
        if number != first + k:
            return str(first + k)
    return "" if first in (0, 1) else "0"
