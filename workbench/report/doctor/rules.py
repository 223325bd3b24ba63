"""What a rule is: a generator of what it has to say, that registers itself with its severity and the fault it finds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from scipy.special import betaincinv

from workbench.report.finding import Finding, Severity

Said = tuple[str, list[dict[str, Any]], str]  # a sentence, the numbers it stands on, and what to try next


def evidence(name: str, modalities: Sequence[str], value: float, threshold: float, **more: Any) -> dict[str, Any]:
    """A number that a sentence stands on, and what it was held against."""
    held = {"diagnostic": name, "modalities": list(modalities), "value": float(value), "threshold": float(threshold)}
    return held | more


def least(k: float, n: int, sure: float) -> float:
    """The lower end of the interval of a share of k of n (Clopper and Pearson), with this chance that it lies below.

    >>> least(0, 100, 0.025), round(least(30, 100, 0.025), 3)
    (0.0, 0.212)
    """
    return float(betaincinv(k, n - k + 1, sure)) if k > 0 else 0.0


@dataclass(frozen=True)
class Fault:
    """What a rule is there to find, planted into something healthy: a set, or the metrics of a run.

    `label.format(strength)` says what was done by `plant(healthy, strength)`; the last strength is plain to see.
    """

    label: str
    plant: Callable[[Any, Any], Any]
    strengths: tuple[Any, ...]
    ask: Mapping[str, Any] = field(default_factory=dict)  # of `diagnose`, such as the label that the rule needs

    def __iter__(self) -> Iterator[tuple[str, Callable[[Any], Any]]]:
        return ((self.label.format(s), partial(self._planted, s)) for s in self.strengths)

    def _planted(self, strength: Any, healthy: Any) -> Any:
        return self.plant(healthy, strength)

    @property
    def worst(self) -> Callable[[Any], Any]:
        """The fault at its strongest."""
        return list(self)[-1][1]


@dataclass(frozen=True)
class Rule:
    """A generator of sentences with their evidence; called, it gives them as findings of its name and severity."""

    name: str
    severity: Severity
    function: Callable[..., Iterable[Said]]
    fault: Fault | None = None
    explains: tuple[str, ...] = ()  # rules that then see its symptoms only, and are not said

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        return self.function.__doc__ or ""

    def __call__(self, *read: Any) -> Iterator[Finding]:
        return (Finding(self.name, self.severity, *said) for said in self.function(*read))


RULES: dict[str, Rule] = {}
SET_RULES: dict[str, Rule] = {}
RUN_RULES: dict[str, Rule] = {}


def _declare(
    rules: dict[str, Rule], name: str, severity: Severity, fault: Fault | None, explains: tuple[str, ...] = ()
) -> Callable[..., Rule]:
    def register(f: Callable[..., Iterable[Said]]) -> Rule:
        rules[name] = Rule(name, severity, f, fault, explains)
        return rules[name]

    return register


def rule(
    name: str, severity: Severity, *, fault: Fault | None = None, explains: tuple[str, ...] = ()
) -> Callable[..., Rule]:
    """Declare a rule over a report: `f(report)`. Where it speaks, the rules that it `explains` do not."""
    return _declare(RULES, name, severity, fault, explains)


def set_rule(
    name: str, severity: Severity, *, fault: Fault | None = None, explains: tuple[str, ...] = ()
) -> Callable[..., Rule]:
    """Declare a rule over the vectors themselves: `f(specimen)`, the report among what it holds."""
    return _declare(SET_RULES, name, severity, fault, explains)


def run_rule(name: str, severity: Severity, *, fault: Fault | None = None) -> Callable[..., Rule]:
    """Declare a rule over a run: `f(rows, uninformed)`, the lines of its looks and the loss of a guess, if known."""
    return _declare(RUN_RULES, name, severity, fault)


def measured() -> dict[str, Any]:
    """What `python -m benchmarks.doctor` found: false alarms over healthy runs, power against planted faults."""
    return json.loads(Path(__file__).with_name("measured.json").read_text())
