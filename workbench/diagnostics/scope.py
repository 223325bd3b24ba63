"""What a diagnostic can be asked of: scopes, labellings, and the reasons why something does not apply."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.diagnostics.registry import Curve, Diagnostic, statistics_of
from workbench.errors import InputError, unknown
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.fused import PLUS, fusions, subsets

ROLES = ("safe", "unsafe", "jailbreak")
MOST_CLASSES = 0.5  # classes a labelled item: more is a name, not a label


def scopes(es: EmbeddingSet, on: str, *, fused: bool = False) -> list[tuple[str, ...]]:
    m = es.modalities
    if on == "modality":
        return [(x,) for x in m]
    if on == "pair":
        return list(itertools.combinations(m, 2))
    if on == "direction":
        return list(itertools.permutations(m, 2)) + (list(fusions(m)) if fused else [])
    if on == "subset":
        return subsets(m)
    if on == "triple":
        return list(itertools.combinations(m, 3))
    return [m] if len(m) > 1 else []


def labellings(
    es: EmbeddingSet, label: str | None, roles: Mapping[str, Iterable[Any]] | None
) -> tuple[dict[str, Tensor], list[str]]:
    """Class codes of the items, by labelling (−1: none), and the names of the label's classes."""
    if label is None:
        if roles is not None:
            raise InputError("roles= needs label=, the column of the items whose values it maps")
        return {}, []
    if label not in es.items:
        raise unknown("column of the items", label, es.items.columns)
    values = es.items[label]
    codes, names = pd.factorize(values, sort=True)
    found = {"label": torch.from_numpy(codes.astype(np.int64))}
    if roles is not None:
        found["role"] = _roles(values.astype(str).to_numpy(), label, roles)
    return found, [str(n) for n in names]


def _roles(values: np.ndarray, label: str, roles: Mapping[str, Iterable[Any]]) -> Tensor:
    codes = torch.full((len(values),), -1)
    for role, members in roles.items():
        if role not in ROLES:
            raise unknown("role", role, ROLES)
        members = [members] if isinstance(members, str) else members
        wanted = {str(x) for x in members}
        missing = wanted - set(values)
        if missing:
            raise InputError(f"roles: column {label!r} never has {', '.join(sorted(missing))} (for role {role!r})")
        codes[torch.from_numpy(np.isin(values, sorted(wanted)))] = ROLES.index(role)
    return codes


def inapplicable(
    es: EmbeddingSet, d: Diagnostic | Curve, reads: tuple, scope: tuple[str, ...], labels: Mapping[str, Tensor]
) -> str:
    """The reason why nothing can be said of these modalities, or nothing."""
    if len(es) < 2:
        return "needs at least two items"
    parts = tuple(dict.fromkeys(p for m in scope for p in m.split(PLUS)))
    widths = {m: es[m].shape[-1] for m in parts}
    if len(set(widths.values())) > 1 and not d.any_width:
        said = ", ".join(f"{m} {w}-d" for m, w in widths.items())
        return f"different spaces: {said}; train or project them into one first"
    for by in {getattr(s, "by", "") for s in statistics_of(reads)} - {""}:
        if by == "role" and by not in labels:
            return "needs label= and roles={safe, unsafe, jailbreak}: the index means nothing on other groups"
        if by not in labels:
            return "needs label=, a column of the items"
        if by == "label" and (why := _unfit(labels[by])):
            return why
    if any(len(es[m]) < 2 for m in parts):
        return "needs at least two items"
    has = torch.ones(len(es), dtype=torch.bool)
    for m in parts:
        if not es.aligned(m):
            has &= torch.bincount(es.item_of_row(m), minlength=len(es)) > 0
    if int(has.sum()) < 2:
        return f"only {int(has.sum())} items have {' and '.join(parts)}"
    return ""


def _unfit(label: Tensor) -> str:
    known = label[label >= 0]
    classes = len(torch.unique(known))
    if classes < 2:
        return f"the label has {classes} class{'' if classes == 1 else 'es'}; needs at least two"
    if classes > MOST_CLASSES * len(known):
        return f"the label has {classes:,} classes for {len(known):,} items: a name, not a label"
    return ""
