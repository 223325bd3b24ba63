"""What a method of treatment is: fitted on train items, declared once with the goals it may serve and what it needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from workbench.errors import InputError
from workbench.sets.embeddings import EmbeddingSet
from workbench.treatments.portable import FORMAT, NoDirectionError, Treatment

PLAIN = "as it is"
SPACE, SCORES, STORAGE = "space", "scores", "storage"  # what is changed
RETRIEVAL, MIXED, CLASSES, BYTES = "retrieval", "mixed", "classes", "storage"  # what for


@dataclass
class Making:
    """A treatment in the making: steps a modality, and what is done to scores or for storage."""

    steps: dict[str, list[dict[str, str]]]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    bias: dict[str, Any] = field(default_factory=dict)
    codec: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, modalities: Sequence[str]) -> Making:
        """One that changes nothing yet."""
        return cls({m: [] for m in modalities})

    @classmethod
    def on(cls, start: Treatment) -> Making:
        """One that goes on where a treatment of the space ends."""
        return cls({m: list(start.facts["modalities"][m]["steps"]) for m in start.modalities}, dict(start.arrays))

    def keep(self, name: str, x: np.ndarray | Tensor) -> None:
        """An array under this name, in the precision in which it is shipped."""
        self.arrays[name] = np.ascontiguousarray(np.asarray(x), dtype=np.float32)

    def step(self, modality: str, do: str, **arrays: np.ndarray | Tensor) -> None:
        """One more step for a modality, with the arrays it takes."""
        number = len(self.steps[modality])
        names = {k: f"{modality}.{number}.{k}" for k in arrays}
        for k, x in arrays.items():
            self.keep(names[k], x)
        self.steps[modality].append({"do": do} | names)

    def made(self, name: str, settings: Mapping[str, Any], widths: Mapping[str, int]) -> Treatment:
        """The finished treatment."""
        facts = {
            "format": FORMAT,
            "name": name,
            "settings": dict(settings),
            "modalities": {m: {"width": widths[m], "steps": steps} for m, steps in self.steps.items()},
            "bias": self.bias,
            "codec": self.codec,
        }
        return Treatment(facts, self.arrays)


Learn = Callable[..., Making]


@dataclass(frozen=True)
class Method:
    """A way to treat a space: `learn(es, **settings)` from train items; of a grid of settings one is chosen there."""

    name: str
    kind: str
    learn: Learn
    goals: tuple[str, ...]
    grid: tuple[Mapping[str, Any], ...]
    two: bool  # takes two modalities, neither more nor fewer
    bridges: bool  # makes one space of two whose widths differ

    @property
    def summary(self) -> str:
        """What it does, and whose idea it is."""
        return " ".join((inspect.getdoc(self.learn) or "").split())

    def unfit(self, es: EmbeddingSet) -> str:
        """Why it cannot treat this set; empty where it can."""
        widths = es.layout.widths
        if self.two and len(widths) != 2:
            return f"takes two modalities, and here are {len(widths)}: --modalities A,B"
        if not self.bridges and self.kind != STORAGE and len(set(widths.values())) > 1:
            return f"needs equal widths, and they are {', '.join(map(str, widths.values()))}"
        return ""

    def fit(self, es: EmbeddingSet, **settings: Any) -> Treatment:
        """Learn from these items; raises `InputError` where they do not suffice."""
        first = {"start": untreated(es)} if self.kind == SCORES else {}
        return self.learn(es, **first, **settings).made(self.name, settings, es.layout.widths)

    def after(self, start: Treatment, es: EmbeddingSet, **settings: Any) -> Treatment:
        """The same for scores, learned from a space that was treated."""
        both = {f"{start.name}.{k}": v for k, v in start.facts["settings"].items()} | settings
        return self.learn(es, start=start, **settings).made(f"{start.name} + {self.name}", both, es.layout.widths)


METHODS: dict[str, Method] = {}


def method(
    kind: str,
    goals: Sequence[str],
    *,
    grid: Sequence[Mapping[str, Any]] = ({},),
    two: bool = False,
    bridges: bool = False,
) -> Callable[[Learn], Learn]:
    """Register a method under its function's name."""

    def register(learn: Learn) -> Learn:
        name = learn.__name__
        METHODS[name] = Method(name, kind, learn, tuple(goals), tuple(grid), two, bridges)
        return learn

    return register


def untreated(es: EmbeddingSet) -> Treatment:
    """The treatment that does nothing: what every other is compared with."""
    return Making.of(es.modalities).made(PLAIN, {}, es.layout.widths)


def rows(es: EmbeddingSet, m: str) -> np.ndarray:
    """The rows of a modality as they are stored, as numpy has them."""
    x = es[m]
    return x.float().numpy() if x.element_size() < 4 else x.numpy()


@contextmanager
def directed(t: Treatment, m: str) -> Iterator[None]:
    """A sentence where a treatment leaves a row of a modality without a direction."""
    try:
        yield
    except NoDirectionError as e:
        raise InputError(f"{t.name} leaves a row of {m} without a direction ({e})") from None


def moved(es: EmbeddingSet, t: Treatment, m: str) -> np.ndarray:
    """Rows of a modality after the changes of the space."""
    with directed(t, m):
        return t.moved(rows(es, m), m)
