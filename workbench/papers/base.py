"""Paper: a citation, a claim in one sentence, and an experiment that puts the claim to the test on real small data."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from workbench.errors import InputError, unknown

if TYPE_CHECKING:
    from workbench.papers.evidence import Evidence
    from workbench.sets.embeddings import EmbeddingSet

SURE = {"code": "read in the authors' code", "formula": "from the paper's formula", "inferred": "inferred"}
FORMS = {
    "mechanism": "the authors' mechanism at small size",
    "analogue": "a stand-in setting: what is seen holds for the analogue, not for the paper",
    "stand-in": "the published formula is not public: the formula here is ours, and gives no verdict on the paper",
    "tool": "useful as an instrument on your own data, not as an experiment",
}
RUNS = 8  # paired runs (split × seed) that a verdict needs
MODULES = (
    "audits",
    "contrast",
    "geometry",
    "modalities",
    "pairs",
    "parts",
    "private",
    "retention",
    "scores",
    "stages",
    "transport",
)


@dataclass(frozen=True)
class Trial:
    """One paired run: its seed makes split, pairing and initial weights; `quick` only shows that the code runs."""

    seed: int
    quick: bool = False
    data: EmbeddingSet | None = None  # the user's own; the paper's own where there is none
    label: str = ""

    def steps(self, count: int) -> int:
        return 4 if self.quick else count

    def count(self, many: int, few: int) -> int:
        return few if self.quick else many

    def grid(self, *values: float) -> tuple[float, ...]:
        """What both arms are tuned over, alike."""
        return values[:1] if self.quick else values


@dataclass(frozen=True)
class Measured:
    """What one run found: the quantity without and with the mechanism, the two controls, and numbers beside them.

    `control` is a pair that must not differ, `positive` one whose second must beat its first; all in the unit of the
    quantity, or as the paper says. `rows` {arm: {modality: (N, d)}} are test vectors for the map, `labels`
    their classes.
    """

    baseline: float
    mechanism: float
    control: tuple[float, float]
    positive: tuple[float, float]
    also: Mapping[str, float] = field(default_factory=dict)
    rows: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    labels: Any = None


@dataclass(frozen=True)
class Own:
    """What a set of the user's must have, so that the same comparison can be made on it."""

    modalities: int = 2
    label: bool = False
    every: bool = False  # takes all modalities, and not the first ones only
    gaps: bool = False  # items may lack a row: what is missing is what the paper is about
    least: int = 60  # items, so that each part of the split has some

    def lacking(self, es: EmbeddingSet, label: str) -> str:
        """What is missing, as the end of a sentence; empty where nothing is."""
        if len(es.modalities) < self.modalities:
            return f"{self.modalities} modalities or more, and it has {', '.join(es.modalities)}"
        if self.label and not label:
            return f"a column of classes: --label, one of {', '.join(map(str, es.items.columns))}"
        if label and label not in es.items:
            return f"column {label!r}, which is not there; there are {', '.join(map(str, es.items.columns))}"
        return ""

    def taken(self, es: EmbeddingSet) -> tuple[str, ...]:
        """The modalities that the comparison takes."""
        return tuple(es.modalities if self.every else es.modalities[: self.modalities])

    def check(self, es: EmbeddingSet, label: str, key: str) -> None:
        """One row an item in what is taken (or none), enough items, and a class for each where there are classes."""
        for m in self.taken(es):
            several = len(es.item_of_row(m).unique()) < len(es.item_of_row(m))
            if several or not (self.gaps or es.aligned(m)):
                had, needs = ("several", "one row or none") if self.gaps else ("missing or several", "one row")
                raise InputError(f"{es.source}: modality {m!r} has {had} rows an item; paper {key} needs {needs} each")
            if es[m].ndim != 2:
                raise InputError(
                    f"{es.source}: modality {m!r} has several layers; paper {key} needs one vector an item: take one "
                    "(es.layer)"
                )
        whole = having(es, self.taken(es))
        if whole.sum() < self.least:
            kind = "items" if whole.all() else f"items with a row in {' and '.join(self.taken(es))}"
            raise InputError(
                f"{es.source}: {whole.sum()} {kind}; paper {key} needs {self.least} or more, to split them"
            )
        if label:
            empty = int(es.items[label].isna().sum())
            if empty:
                raise InputError(f"{es.source}: column {label!r} is empty for {empty} items; take the others (es.take)")
            classes = es.items[label][whole].astype(str).nunique()
            if classes < 2:
                raise InputError(f"{es.source}: column {label!r} has one class; paper {key} needs two or more")

    @property
    def sentence(self) -> str:
        labels = " and a column of classes (--label)" if self.label else ""
        each = "at most one row an item" if self.gaps else "one row an item"
        return f"a set of {self.modalities} modalities or more, {each}{labels}"


def having(es: EmbeddingSet, modalities: Sequence[str]) -> np.ndarray:
    """Which items have a row in each of the modalities, (N,) of booleans."""
    return np.logical_and.reduce([np.isin(np.arange(len(es)), es.item_of_row(m).numpy()) for m in modalities])


Experiment = Callable[[Trial], Measured]


@dataclass(frozen=True)
class Paper:
    """An entry of the catalogue; those with an experiment are `runnable`, the others planned."""

    number: int
    key: str
    title: str
    year: int
    family: str
    mechanism: str
    certainty: str
    turn: str
    form: str
    claim: str = ""
    maths: str = ""
    carrier: str = ""  # what carries the mechanism: recipe, diagnostic, intervention or module, by name
    code: str = ""  # the authors' repository that was read
    deviations: str = ""
    data: str = ""
    quantity: str = ""
    better: str = "higher"
    least: float = 0.0  # the smallest effect worth having, stated before
    control: str = ""
    margin: float = 0.0  # of the control's equivalence; `least` where it is 0
    positive: str = ""
    small: str = ""  # why it may not show at this size
    own: Own | None = None
    alone: str = ""  # why the user's data cannot stand in, where they cannot
    yours: str = ""  # a command to try on one's own data
    experiment: Experiment | None = None

    @property
    def runnable(self) -> bool:
        return self.experiment is not None

    @property
    def status(self) -> str:
        return "runs" if self.runnable else "planned"

    @property
    def citation(self) -> str:
        return f"{self.title} ({self.year})"

    @property
    def recipe(self) -> str:
        """The first recipe of what carries the mechanism, to train with; empty where that is none, or needs more than
        a set holds.
        """
        from workbench.objectives.recipes import RECIPES

        kind, _, names = self.carrier.partition("; ")[0].partition(" ")
        name = names.replace(",", " ").split()[0] if kind in ("recipe", "recipes") else ""
        return name if name and set(RECIPES[name].needs) <= {"teacher"} else ""  # the loop has a teacher

    @property
    def sure(self) -> str:
        return SURE[self.certainty]

    @property
    def expected(self) -> str:
        """What the claim says must happen, with the smallest effect worth having."""
        way = "rises" if self.better == "higher" else "falls"
        return f"{self.quantity} {way} by {self.least:g} or more"

    @property
    def equivalence(self) -> float:
        return self.margin or self.least

    def row(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "title": self.title,
            "year": self.year,
            "family": self.family,
            "form": self.form,
            "status": self.status,
            "claim": self.claim or self.mechanism,
        }

    def run(
        self,
        *,
        seeds: int = RUNS,
        quick: bool = False,
        data: Any = None,
        label: str = "",
        workers: int | None = None,
    ) -> Evidence:
        """Put the claim to the test over paired runs, in `workers` processes; `data` takes your set for the paper's.

        >>> import workbench as wb
        >>> wb.paper("gram").run(quick=True).verdict
        'not judged'
        """
        from workbench.papers.run import run

        return run(self, seeds=seeds, quick=quick, data=data, label=label, workers=workers)


@cache
def catalogue() -> dict[str, Paper]:
    """Every paper by key, in the order of the list; those that run have their experiment."""
    with (Path(__file__).parent / "papers.csv").open(newline="") as f:
        rows = [dict(r) for r in csv.DictReader(f)]
    for module in MODULES:
        importlib.import_module(f"workbench.papers.{module}")
    found = {}
    for r in rows:
        plain: dict[str, Any] = r | {"number": int(r["number"]), "year": int(r["year"])}
        found[r["key"]] = replace(Paper(**plain), **_entries.get(r["key"], {}))
    for key in _entries:
        if key not in found:
            raise unknown("paper", key, found)
    return found


_entries: dict[str, dict[str, Any]] = {}


def experiment(key: str, **facts: Any) -> Callable[[Experiment], Experiment]:
    """Declare the experiment of a paper of the list; the function's docstring says how it goes."""

    def register(f: Experiment) -> Experiment:
        _entries[key] = facts | {"experiment": f}
        return f

    return register


def paper(key: str) -> Paper:
    """A paper by its key.

    >>> paper("gram").title
    'Gramian Multimodal Representation Learning and Alignment'
    """
    if key not in catalogue():
        raise unknown("paper", key, catalogue())
    return catalogue()[key]


def keys() -> list[str]:
    """The keys of the papers that run, in the order of the list.

    >>> len(keys())
    33
    """
    return [k for k, p in catalogue().items() if p.runnable]


def runnable(key: str) -> Paper:
    """A paper that has an experiment, or one sentence that it has none yet."""
    p = paper(key)
    if not p.runnable:
        raise InputError(
            f"paper {key}: planned, there is nothing behind it yet; 'workbench papers' marks those that run"
        )
    return p
