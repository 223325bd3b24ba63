"""What made a selection: a step names a kind and what it was given, so that an address can say it and make it again.

A kind registers itself with `kind`, here or beside the panel that offers it.

>>> from workbench.explorer.inspection import Inspection
>>> from workbench.sets.planted import planted
>>> steps = read('[["replace", "find", "i1"], ["remove", "ids", "i10", "i11"]]')
>>> said(steps), int(made(Inspection(planted(items=12)), steps).sum())
("with the word 'i1', without 2 items by id", 1)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.errors import InputError, unknown
from workbench.explorer import colouring, meaning
from workbench.explorer import wire_format as wire
from workbench.explorer.inspection import Inspection

HOW = REPLACE, ADD, REMOVE, WITHIN = "replace", "add", "remove", "within"
BETWEEN = {REPLACE: "", ADD: "and ", REMOVE: "without ", WITHIN: "of those "}
IDS = 300  # ids that an address may name
Make = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Step:
    """One step towards a selection: what kind, given what, and what becomes of what was selected before."""

    kind: str
    of: tuple[Any, ...] = ()
    how: str = REPLACE


_KINDS: dict[str, tuple[Make, Callable[..., str]]] = {}


def kind(name: str, words: Callable[..., str]) -> Callable[[Make], Make]:
    """Register how a kind makes items of an inspection, (N,) bool or positions, and how it is said."""

    def register(make: Make) -> Make:
        _KINDS[name] = (make, words)
        return make

    return register


def items(inspection: Inspection, step: Step) -> np.ndarray:
    """The items of one step alone, (N,) bool; `InputError` where it asks for what is not there."""
    if step.kind not in _KINDS:
        raise unknown("kind of selection", step.kind, _KINDS)
    try:
        found = np.asarray(_KINDS[step.kind][0](inspection, *step.of))
    except InputError:
        raise
    except (TypeError, ValueError, KeyError, IndexError):
        raise InputError(f"a selection of the kind {step.kind!r} cannot be made of {list(step.of)!r:.80}") from None
    if found.dtype == bool:
        return found
    mask = np.zeros(len(inspection.es), dtype=bool)
    mask[found.astype(int)] = True
    return mask


def merged(before: np.ndarray, new: np.ndarray, how: str) -> np.ndarray:
    """What is selected after a step, of what was before and what it names."""
    if how == ADD:
        return before | new
    return before & ~new if how == REMOVE else before & new if how == WITHIN else new


def made(inspection: Inspection, steps: Sequence[Step]) -> np.ndarray:
    """The items that steps lead to, (N,) bool."""
    out = np.zeros(len(inspection.es), dtype=bool)
    for step in steps:
        out = merged(out, items(inspection, step), step.how)
    return out


def said(steps: Sequence[Step]) -> str:
    """Steps in words."""
    return ", ".join(BETWEEN[s.how] + _KINDS[s.kind][1](*s.of) for s in steps)


def written(steps: Sequence[Step]) -> str:
    """Steps as an address holds them."""
    return json.dumps([[s.how, s.kind, *s.of] for s in steps], ensure_ascii=False, separators=(",", ":"))


def read(text: str) -> tuple[Step, ...]:
    """Steps out of an address; `InputError` where they are none."""
    try:
        given = json.loads(text)
        steps = tuple(Step(str(k), tuple(of), str(how)) for how, k, *of in given)
    except (ValueError, TypeError):
        raise InputError("the address asks for a selection in a form that is not understood") from None
    for s in steps:
        if s.how not in HOW:
            raise unknown("way to join selections", s.how, HOW)
        if s.kind not in _KINDS:
            raise unknown("kind of selection", s.kind, _KINDS)
    return steps


# -- the kinds ---------------------------------------------------------------------------------------------------------


@kind("worst", lambda count, a, b: f"the {count:,} items that {a} → {b} ranks worst")
def worst(inspection: Inspection, count: int, a: str, b: str) -> np.ndarray:
    """The items whose match ranks worst in a direction."""
    if (a, b) not in inspection.directions:
        raise unknown("direction", f"{a} → {b}", [f"{x} → {y}" for x, y in inspection.directions])
    return inspection.worst(int(count), (a, b))


@kind("find", lambda text: f"with the word {text!r}")
def find(inspection: Inspection, text: str) -> np.ndarray:
    """The items that have a text in a column."""
    return inspection.find(str(text))


@kind("where", lambda column, value: f"{column} is {value or 'missing'}")
def where(inspection: Inspection, column: str, value: str) -> np.ndarray:
    """The items with a value in a column; the empty one means that it is missing."""
    return colouring.values(inspection, column).astype(str) == value


@kind("between", lambda column, low, high: f"{column} from {low:,.4g} to {high:,.4g}")
def between(inspection: Inspection, column: str, low: float, high: float) -> np.ndarray:
    """The items with a number of a column between two, both included."""
    given = colouring.values(inspection, column)
    with np.errstate(invalid="ignore"):
        return (given >= low) & (given <= high)


@kind("lasso", lambda view, *_: f"drawn on {view}")
def lasso(
    inspection: Inspection, view: str, points: Sequence[Any], off: int = 0, colour: str = "", solo: Sequence[str] = ()
) -> np.ndarray:
    """The items with a row inside a polygon on a view: of modalities that are shown, of values that are picked out."""
    place = inspection.view(view)
    hit = wire.inside(place.xy, points)
    code = {m: k for k, m in enumerate(inspection.es.modalities)}
    hidden = np.array([off >> code[m] & 1 for m in inspection.es.modalities], dtype=bool)
    rows = [len(inspection.es[m]) for m in inspection.es.modalities]
    hit &= ~np.repeat(hidden, rows)
    if solo:
        hit &= np.isin(colouring.values(inspection, colour).astype(str), list(solo))[place.item]
    return np.unique(place.item[hit])


@kind("saved", lambda name: f"saved as {name!r}")
def saved(inspection: Inspection, name: str) -> np.ndarray:
    """A selection that was saved."""
    if name not in inspection.selections:
        raise unknown("selection", name, inspection.selections)
    return inspection.places(inspection.selections[name])


@kind("ids", lambda *ids: f"{len(ids):,} item{'s' * (len(ids) != 1)} by id")
def ids(inspection: Inspection, *ids: str) -> np.ndarray:
    """Items by their ids."""
    return inspection.places(ids)


@kind("near", lambda id, modality: f"the items nearest to {id} in {modality}")
def near(inspection: Inspection, id: str, modality: str) -> np.ndarray:
    """The items nearest to one in a modality."""
    if modality not in inspection.es.modalities:
        raise unknown("modality", modality, inspection.es.modalities)
    return inspection.near(int(inspection.places([id])[0]), modality)


@kind("meaning", lambda text: f"nearest in meaning to {text!r}")
def nearest_in_meaning(inspection: Inspection, text: str) -> np.ndarray:
    """The items of each modality that are nearest to a text, which goes through what made the set."""
    return meaning.items(inspection, str(text))
