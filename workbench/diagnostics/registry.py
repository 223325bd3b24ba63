"""What a diagnostic is: one pure function of states, declared once, present everywhere."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from workbench.errors import unknown

FAMILIES = ("retrieval", "neighbours", "gap", "matched", "spread", "spectrum", "clusters", "labels")
LENGTHS = {"modality": 1, "pair": 2, "direction": 2, "subset": 3, "triple": 3, "tuple": 3}


class NotApplicable(Exception):  # noqa: N818 - no error: the sentence that stands where a number cannot
    """Raised by a diagnostic that does not apply here; its row becomes NaN with this reason."""


@dataclass(frozen=True)
class Null:
    """The distribution a value would have if there were nothing to see: its kind, and how its band is made.

    `band(context, states, scope, **params)` gives the 2.5, 50 and 97.5 % points; `reads` names what it needs.
    """

    kind: str
    band: Callable[..., tuple[float, float, float]]
    reads: Callable[..., tuple] = lambda *scope, **params: ()


@dataclass(frozen=True)
class Diagnostic:
    """One definition: `function` of what `reads` asks for, on each scope of kind `on`.

    `reads(*scope, **params)` gives tallies or statistics; the function sees their states in that order. `each` says
    that it returns one value an item, or a query, whose mean (or median) is the value; with `row` it returns the values
    and the item of each. `interval` is `jackknife`, `jackknife of the square`, `bootstrap`, or the reason why there is
    none. `fused`: also asked of fused queries. `axes`: depends on the coordinate axes. `any_width`: looks at each
    modality in its own space.
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

    @property
    def family(self) -> str:
        return self.function.__module__.rsplit(".", 1)[-1]

    @property
    def summary(self) -> str:
        """The docstring's first line, formulas and all."""
        return (inspect.getdoc(self.function) or "").splitlines()[0]

    @property
    def cost(self) -> str:
        from workbench.scan.statistics import PairStatistic

        read = statistics_of(self.reads(*"abc"[: LENGTHS[self.on]], **self.params))
        return "pairs" if any(isinstance(s, PairStatistic) for s in read) else "rows"


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
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a diagnostic; its parameters are the function's keyword-only arguments."""

    def register(f: Callable[..., Any]) -> Callable[..., Any]:
        params = {
            name: p.default
            for name, p in inspect.signature(f).parameters.items()
            if p.kind is inspect.Parameter.KEYWORD_ONLY
        }
        REGISTRY[f.__name__] = Diagnostic(
            f.__name__, f, on, reads, null, interval, unit, better, bound, each, reduce, fused, axes, any_width, params
        )
        return f

    return register


@dataclass(frozen=True)
class Curve:
    """Arrays to look at, one set of them a scope: spectra, histograms, vectors, the parts of an index.

    With `sees_set` the function is also given the set and the scope.
    """

    name: str
    function: Callable[..., dict[str, Tensor]]
    on: str
    reads: Callable[..., tuple]
    sees_set: bool = False
    any_width: bool = False

    @property
    def family(self) -> str:
        return self.function.__module__.rsplit(".", 1)[-1]


CURVES: dict[str, Curve] = {}


def curve(
    *, on: str, reads: Callable[..., tuple], sees_set: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a curve; it is drawn from the same states as the numbers beside it."""

    def register(f: Callable[..., Any]) -> Callable[..., Any]:
        CURVES[f.__name__] = Curve(f.__name__, f, on, reads, sees_set)
        return f

    return register


def diagnostics() -> dict[str, Diagnostic]:
    """All of them, in the order of the questions a report asks."""
    for family in FAMILIES:
        importlib.import_module(f"workbench.diagnostics.{family}")
    return dict(sorted(REGISTRY.items(), key=lambda kv: FAMILIES.index(kv[1].family)))


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
