"""What a diagnostic is: one pure function of states, declared once, present everywhere."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from torch import Tensor

from workbench.errors import unknown

SUBSAMPLING = "subsampling"
SUBSAMPLING_SMALL = "subsampling of small sets"  # of what grows with the set in a way that its parts do not tell
LENGTHS = {"modality": 1, "pair": 2, "direction": 2, "subset": 3, "triple": 3, "tuple": 3}


class NotApplicable(Exception):  # noqa: N818 - no error: the sentence that stands where a number cannot
    """Raised by a diagnostic that does not apply here; its row becomes NaN with this reason."""


@dataclass(frozen=True)
class Null:
    """The distribution a value would have if there were nothing to see: its kind, and how its band is made.

    `band(context, states, scope, **params)` gives the 2.5, 50 and 97.5 % points; `reads` names what it needs. With
    `reference` the band is that of vectors which no data have, even ones on the sphere or Gaussian ones: something to
    measure by, and no evidence.
    """

    kind: str
    band: Callable[..., tuple[float, float, float]]
    reads: Callable[..., tuple] = lambda *scope, **params: ()
    reference: bool = False


@dataclass(frozen=True)
class Question:
    """What a module of diagnostics asks: the first line of its docstring.

    The module declares `ORDER`, the place among the questions of a report, and `VIEW`, the map on which to look for the
    answer, where it is a map of all items and not of the worst ones.
    """

    name: str
    text: str
    order: float
    view: str = ""


class _Asked:
    """What diagnostics and curves have in common: a function in the module of their question."""

    function: Callable[..., Any]

    @property
    def summary(self) -> str:
        """The docstring's first line, formulas and all."""
        return (inspect.getdoc(self.function) or "").splitlines()[0]

    @property
    def question(self) -> str:
        """The name of the question: the last part of the module's."""
        return self.function.__module__.rsplit(".", 1)[-1]

    @property
    def order(self) -> float:
        return getattr(sys.modules[self.function.__module__], "ORDER", math.inf)


@dataclass(frozen=True)
class Diagnostic(_Asked):
    """One definition: `function` of what `reads` asks for, on each scope of kind `on`.

    `reads(*scope, **params)` gives tallies or statistics; the function sees their states in that order. `each` says
    that it returns one value an item, or a query, whose mean (or median) is the value; with `row` it returns the values
    and the item of each. `interval` is one of `intervals.JACKKNIVES`, `score` (of a mean over queries or rows),
    `subsampling` (or of small sets only), or the reason why there is none. `fused`: also asked of fused queries.
    `axes`: depends on the coordinate axes. `any_width`: looks at each modality in its own space.

    Of where it is shown: `headline`, its place among the eight numbers that matter wherever only a few are shown;
    `see`, what to see in its figure, which a diagnostic has that leads its question; `title`, its name above a narrow
    panel; `probed`: logged at every look at the probe in training; `layered`: shown layer by layer where nobody says
    what else; `paired`: two spaces of the same items are compared in it, query by query. `gallery`: more keys or
    neighbours to choose from would change the value: it is not compared with that of a set of another size.
    """

    name: str
    function: Callable[..., Tensor]
    on: str
    reads: Callable[..., tuple]
    null: Null
    interval: str
    unit: str
    better: str | None = None
    bound: tuple[float, float] | None = None
    each: str | None = None
    reduce: str = "mean"
    fused: bool = False
    axes: bool = False
    any_width: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    headline: int | None = None
    see: str = ""
    title: str = ""
    probed: bool = False
    layered: bool = False
    paired: bool = False
    gallery: bool = False

    @property
    def heading(self) -> str:
        """Its title, or its name in words."""
        return self.title or self.name.replace("_", " ")

    @property
    def share(self) -> bool:
        """Whether the value is a share of rows, or of what else there are so many of."""
        return self.unit.startswith("share") and self.bound == (0.0, 1.0)

    @property
    def subsampled(self) -> bool:
        """Whether parts of the families say how far it scatters."""
        return self.interval in (SUBSAMPLING, SUBSAMPLING_SMALL)

    @property
    def per_query(self) -> bool:
        """Whether the value is a mean over queries: a slice of these keeps the whole gallery."""
        return self.each == "query"

    @property
    def of_tuples(self) -> bool:
        """Whether it is asked of several modalities at once, and not of a pair at a time."""
        return self.on in ("subset", "triple", "tuple")

    @property
    def _statistics(self) -> list[Any]:
        return statistics_of(self.reads(*"abc"[: LENGTHS[self.on]], **self.params))

    @property
    def labelling(self) -> str:
        """What its items are grouped by: `label`, `role`, or nothing."""
        return next((s.by for s in self._statistics if getattr(s, "by", "")), "")

    @property
    def cost(self) -> str:
        """Whether all pairs of rows must be looked at, or each row once."""
        from workbench.scan.statistics import PairStatistic

        return "pairs" if any(isinstance(s, PairStatistic) for s in self._statistics) else "rows"


def statistics_of(reads: Sequence[Any]) -> list[Any]:
    """What tallies and statistics come down to."""
    return [s for r in reads for s in getattr(r, "statistics", (r,))]


REGISTRY: dict[str, Diagnostic] = {}


def diagnostic(
    *,
    on: str,
    reads: Callable[..., tuple],
    null: Null,
    interval: str,
    unit: str,
    better: str | None = None,
    bound: tuple[float, float] | None = None,
    each: str | None = None,
    reduce: str = "mean",
    fused: bool = False,
    axes: bool = False,
    any_width: bool = False,
    headline: int | None = None,
    see: str = "",
    title: str = "",
    probed: bool = False,
    layered: bool = False,
    paired: bool = False,
    gallery: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a diagnostic, with the facts of `Diagnostic`; its parameters are the function's keyword-only ones."""

    def register(f: Callable[..., Any]) -> Callable[..., Any]:
        params = {
            name: p.default
            for name, p in inspect.signature(f).parameters.items()
            if p.kind is inspect.Parameter.KEYWORD_ONLY
        }
        facts = (interval, unit, better, bound, each, reduce, fused, axes, any_width, params)
        shown = (headline, see, title, probed, layered, paired, gallery)
        REGISTRY[f.__name__] = Diagnostic(f.__name__, f, on, reads, null, *facts, *shown)
        return f

    return register


@dataclass(frozen=True)
class Curve(_Asked):
    """Arrays to look at, one set of them a scope: spectra, histograms, vectors, the parts of an index.

    With `sees_set` the function is also given the set and the scope. `see`: what to see in its figure.
    """

    name: str
    function: Callable[..., dict[str, Tensor]]
    on: str
    reads: Callable[..., tuple]
    sees_set: bool = False
    any_width: bool = False
    see: str = ""


CURVES: dict[str, Curve] = {}


def curve(
    *, on: str, reads: Callable[..., tuple], sees_set: bool = False, see: str = ""
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a curve; it is drawn from the same states as the numbers beside it."""

    def register(f: Callable[..., Any]) -> Callable[..., Any]:
        CURVES[f.__name__] = Curve(f.__name__, f, on, reads, sees_set, see=see)
        return f

    return register


@cache
def _import_all() -> None:
    """Every module of the room, so that whatever it declares is declared."""
    room = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(sys.modules[room].__path__, f"{room}."):
        importlib.import_module(module.name)


def diagnostics() -> dict[str, Diagnostic]:
    """All of them, in the order of the questions a report asks."""
    _import_all()
    return dict(sorted(REGISTRY.items(), key=lambda named: named[1].order))


def curves() -> dict[str, Curve]:
    """All curves, in the order of the questions a report asks."""
    _import_all()
    return dict(sorted(CURVES.items(), key=lambda named: named[1].order))


def questions() -> dict[str, Question]:
    """The questions that diagnostics answer, by name, in the order in which a report asks them."""
    found = {}
    for d in diagnostics().values():
        module = sys.modules[d.function.__module__]
        text = (module.__doc__ or d.question).splitlines()[0]
        found[d.question] = Question(d.question, text, d.order, getattr(module, "VIEW", ""))
    return found


def asked(question: str) -> list[Diagnostic]:
    """The diagnostics that answer a question."""
    return [d for d in diagnostics().values() if d.question == question]


def headlines() -> list[str]:
    """The names of the eight numbers that matter, wherever only a few are shown; the first matters most."""
    order = {name: d.headline for name, d in diagnostics().items() if d.headline is not None}
    return sorted(order, key=order.__getitem__)


def logged() -> list[Diagnostic]:
    """What every look at the probe logs while a model trains, in the order of the headlines."""
    return sorted((d for d in diagnostics().values() if d.probed), key=lambda d: d.headline or math.inf)


def panels() -> list[Diagnostic]:
    """Those of `logged` that a set of two modalities has: what can be drawn and tabled for any run."""
    return [d for d in logged() if not d.of_tuples]


def leading(question: str) -> list[Diagnostic]:
    """The diagnostics whose figures lead a question: those that say what to see in them."""
    return [d for d in asked(question) if d.see]


def choose(only: Sequence[str] | str | None) -> list[Diagnostic]:
    """The diagnostics of these names, or all; an unknown name is an error with the nearest one that exists."""
    known = diagnostics()
    if only is None:
        return list(known.values())
    only = only.split(",") if isinstance(only, str) else [n for o in only for n in o.split(",")]
    for name in only:
        if name not in known:
            raise unknown("diagnostic", name, known)
    return [known[name] for name in only]


NAN_BAND = (math.nan, math.nan, math.nan)
