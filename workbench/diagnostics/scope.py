"""What a diagnostic can be asked of: the scopes of a set, its labellings, and why something does not apply."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.diagnostics.registry import Curve, Diagnostic, choose, curves, statistics_of
from workbench.errors import InputError, unknown
from workbench.sets import columns
from workbench.sets.embeddings import Layout
from workbench.sets.fused import PLUS, parts

ROLES = ("safe", "unsafe", "jailbreak")
MOST_OFFERED = 100  # classes of a column that is offered as a label
MOST_CLASSES = 0.5  # classes a labelled item: more is a name, not a label
Scope = tuple[str, ...]


@dataclass(frozen=True)
class Measurement:
    """One diagnostic, or curve, on one scope: what it reads, what its null reads, or why it does not apply."""

    of: Diagnostic | Curve
    scope: Scope
    params: Mapping[str, Any] = field(default_factory=dict)
    reads: tuple[Any, ...] = ()
    null_reads: tuple[Any, ...] = ()
    reason: str = ""

    @property
    def statistics(self) -> list[Any]:
        """All that must be scanned for it: nothing where it does not apply."""
        return [] if self.reason else statistics_of([*self.reads, *self.null_reads])


def measurements(
    layout: Layout,
    labels: Mapping[str, Tensor],
    only: Sequence[str] | str | None = None,
    params: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Measurement]:
    """What is asked of a set: every diagnostic of these names (default: all, and the curves) on each of its scopes.

    Raises `InputError` for a diagnostic or a parameter that there is not, or a value that does not fit.
    """
    chosen = choose(only)
    given = dict(params or {})
    for name in given:
        if name not in {d.name for d in chosen}:
            raise unknown("diagnostic", name, [d.name for d in chosen])
    asked: list[Measurement] = []
    for d in chosen:
        settings = d.params | _settings(d, given.get(d.name, {}))
        for scope in scopes(layout.modalities, d.on, fused=d.fused):
            reads = d.reads(*scope, **settings)
            reason = inapplicable(layout, d, reads, scope, labels)
            null_reads = () if reason else d.null.reads(*scope, **settings)
            asked.append(Measurement(d, scope, settings, reads, null_reads, reason))
    for c in curves().values() if only is None else ():
        for scope in scopes(layout.modalities, c.on):
            reads = c.reads(*scope)
            if not inapplicable(layout, c, reads, scope, labels):
                asked.append(Measurement(c, scope, reads=reads))
    return asked


def _settings(d: Diagnostic, given: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in d.params:
            raise unknown(f"parameter of {d.name}", name, d.params)
    try:
        made = {k: type(d.params[k])(v) for k, v in given.items()}
        if any(isinstance(v, float) and not v > 0 for v in made.values()):
            raise ValueError
        return made
    except (TypeError, ValueError):
        raise InputError(
            f"{d.name}: parameters {dict(given)} do not fit: numbers above 0 are needed; the defaults are {d.params}"
        ) from None


def scopes(modalities: Scope, on: str, *, fused: bool = False) -> list[Scope]:
    """The scopes of a kind: each modality, pair, direction (of fused queries too), subset, triple, or all of them.

    >>> scopes(("image", "text"), "direction")
    [('image', 'text'), ('text', 'image')]
    """
    if on == "modality":
        return [(m,) for m in modalities]
    if on == "pair":
        return list(itertools.combinations(modalities, 2))
    if on == "direction":
        return list(itertools.permutations(modalities, 2)) + (fusions(modalities) if fused else [])
    if on == "subset":
        return [s for k in range(2, len(modalities) + 1) for s in itertools.combinations(modalities, k)]
    if on == "triple":
        return list(itertools.combinations(modalities, 3))
    return [modalities] if len(modalities) > 1 else []


def fusions(modalities: Scope) -> list[Scope]:
    """Leave-one-modality queries: all others together, against the one."""
    if len(modalities) < 3:
        return []
    return [(PLUS.join(x for x in modalities if x != m), m) for m in modalities]


def labellings(
    values: pd.Series | None, roles: Mapping[str, Iterable[Any]] | None
) -> tuple[dict[str, Tensor], list[str]]:
    """Class codes of the items, (N,), by labelling (−1: none), and the names of the label's classes.

    `values` is the column of the items with their classes. Raises `InputError` where a role, or a value that should
    have it, is not there.
    """
    if values is None:
        if roles is not None:
            raise InputError("roles= needs label=, the column of the items whose values it maps")
        return {}, []
    codes, names = columns.codes(values)
    found = {"label": torch.from_numpy(codes)}
    if roles is not None:
        found["role"] = _roles(columns.text(values), str(values.name), roles)
    return found, names


def class_columns(items: pd.DataFrame) -> list[str]:
    """Columns that look like classes: few values, each of several items; those with the fewest values first.

    >>> class_columns(pd.DataFrame({"id": list("abcdef"), "kind": ["x", "y", "z"] * 2}))
    ['kind']
    """
    found = {}
    for name in items.columns.difference(["id", "family", "split"]):
        kinds = pd.api.types.infer_dtype(items[name], skipna=True)
        count = items[name].nunique() if kinds in ("string", "integer", "categorical", "boolean") else 0
        if 2 <= count <= min(MOST_OFFERED, MOST_CLASSES * items[name].notna().sum()):
            found[str(name)] = count
    return sorted(found, key=lambda n: (found[n], n))


def _roles(values: np.ndarray, label: str, roles: Mapping[str, Iterable[Any]]) -> Tensor:
    codes = torch.full((len(values),), -1)
    for role, members in roles.items():
        if role not in ROLES:
            raise unknown("role", role, ROLES)
        members = [members] if isinstance(members, str) else members
        wanted = {*columns.text(pd.Series(list(members)))}
        missing = wanted - set(values)
        if missing:
            raise InputError(f"roles: column {label!r} never has {', '.join(sorted(missing))} (for role {role!r})")
        codes[torch.from_numpy(np.isin(values, sorted(wanted)))] = ROLES.index(role)
    return codes


def inapplicable(
    layout: Layout, d: Diagnostic | Curve, reads: tuple[Any, ...], scope: Scope, labels: Mapping[str, Tensor]
) -> str:
    """The reason why nothing can be said of these modalities, or nothing."""
    if layout.items < 2:
        return "needs at least two items"
    single = tuple(dict.fromkeys(p for m in scope for p in parts(m)))
    widths = {m: layout.widths[m] for m in single}
    if len(set(widths.values())) > 1 and not d.any_width:
        said = ", ".join(f"{m} {w}-d" for m, w in widths.items())
        return f"different spaces: {said}; bring them into one first (workbench train, or intervene cca)"
    for by in {getattr(s, "by", "") for s in statistics_of(reads)} - {""}:
        if by == "role" and by not in labels:
            return "needs a label and its roles safe, unsafe and jailbreak (--role): it means nothing on other groups"
        if by not in labels:
            return "needs a label (--label), a column of the items with their classes"
        if by == "label" and (why := _unfit(labels[by])):
            return why
    if any(layout.rows[m] < 2 for m in single):
        return "needs at least two items"
    has = torch.stack([layout.has[m] for m in single]).all(0)
    if int(has.sum()) < 2:
        return f"only {int(has.sum())} items have {' and '.join(single)}"
    return ""


def _unfit(label: Tensor) -> str:
    known = label[label >= 0]
    classes = len(torch.unique(known))
    if classes < 2:
        return f"the label has {classes} class{'' if classes == 1 else 'es'}; needs at least two"
    if classes > MOST_CLASSES * len(known):
        return f"the label has {classes:,} classes for {len(known):,} items: a name, not a label"
    return ""
