"""What a recipe is: a named combination of terms with a paper's published defaults, and the objective made of it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from workbench.errors import InputError, unknown
from workbench.objectives.batch import Batch

COLDEST = 0.01  # CLIP's bound: a logit scale of 100
WARMEST = 10.0


class Term(NamedTuple):
    """A named part of a loss and its weight in the sum; a module as function brings its own parameters."""

    name: str
    weight: float
    function: Callable[[Batch, Tensor], Tensor]  # (batch, temperature) -> scalar


@dataclass(frozen=True)
class RecipeSpec:
    """What a recipe is: its builder, its source, what data it fits, and where its minimum lies.

    `needs` names fields of a `Batch` that it cannot do without; `guess(B)` is its loss where every key looks alike,
    if that can be said, `aligned(B)` at perfect alignment, where that is not the minimum. `teacher` says which one the
    loop gives: the frozen `inputs`, the towers at the `start`, or their average (`ema`). `queue`: it can meet keys of
    earlier batches. `data`: what it needs of the data that no column of plain rows gives. `learns`: which modalities do
    by its gradient: all, the anchor alone, or the others.
    """

    name: str
    build: Callable[..., list[Term]]
    paper: str
    topic: str
    modalities: str
    min_modalities: int
    cost: str
    minimum: str
    settings: dict[str, Any]
    needs: tuple[str, ...] = ()
    guess: Callable[[int], float] | None = None
    aligned: Callable[[int], float] | None = None
    teacher: str = "none"
    queue: bool = False
    data: str = ""
    learns: str = "all"

    @property
    def summary(self) -> str:
        """The docstring's first sentence."""
        first = " ".join((inspect.getdoc(self.build) or "").split("\n\n")[0].split())
        return first.split(". ")[0].rstrip(".") + "."


RECIPES: dict[str, RecipeSpec] = {}


def entry(
    *,
    paper: str,
    topic: str,
    modalities: str,
    cost: str,
    minimum: str,
    min_modalities: int = 2,
    needs: tuple[str, ...] = (),
    guess: Callable[[int], float] | None = None,
    aligned: Callable[[int], float] | None = None,
    teacher: str = "none",
    queue: bool = False,
    data: str = "",
    learns: str = "all",
    temperature: float = 0.07,
    learn_temperature: bool = True,
) -> Callable:
    """Declare a recipe; its settings are the builder's arguments, and the temperature. `dims` is given, not set."""

    def register(f: Callable[..., list[Term]]) -> Callable[..., list[Term]]:
        settings = {k: p.default for k, p in inspect.signature(f).parameters.items() if k != "dims"}
        base = {"temperature": temperature, "learn_temperature": learn_temperature}
        said = (paper, topic, modalities, min_modalities, cost, minimum)
        fits = (needs, guess, aligned, teacher, queue, data)
        RECIPES[f.__name__] = RecipeSpec(f.__name__, f, *said, base | settings, *fits, learns=learns)
        return f

    return register


class Objective(nn.Module):
    """A recipe made ready: call it with a `Batch`, get `loss` and its parts by name. Owns its temperature."""

    def __init__(self, entry: RecipeSpec, settings: dict[str, Any], dims: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.entry, self.settings = entry, settings
        temperature = settings["temperature"]
        if not temperature > 0:
            raise InputError(f"recipe {entry.name}: temperature must be above 0, not {temperature}")
        log_t = torch.tensor(math.log(temperature))
        self.log_temperature = nn.Parameter(log_t, requires_grad=settings["learn_temperature"])
        asked = inspect.signature(entry.build).parameters
        own = {k: x for k, x in settings.items() if k in asked}
        if "dims" in asked:
            if dims is None:
                raise InputError(f"recipe {entry.name} has parts of its own: give the widths, dims={{'image': 512, …}}")
            own["dims"] = dict(dims)
        self.terms = entry.build(**own)
        self.parts = nn.ModuleList(t.function for t in self.terms if isinstance(t.function, nn.Module))

    @property
    def temperature(self) -> Tensor:
        """What scores are divided by; a learned one never falls below CLIP's bound."""
        t = self.log_temperature.exp()
        return t.clamp(COLDEST, WARMEST) if self.log_temperature.requires_grad else t

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        if not isinstance(batch, Batch):
            raise InputError(
                f"an objective takes a Batch, not {type(batch).__name__}: wb.Batch({{'image': x, 'text': y}})"
            )
        if len(batch.names) < self.entry.min_modalities:
            raise InputError(
                f"recipe {self.entry.name} needs {self.entry.min_modalities} modalities, not {', '.join(batch.names)}"
            )
        parts = {t.name: t.function(batch, self.temperature) for t in self.terms}
        total = torch.stack([t.weight * parts[t.name] for t in self.terms]).sum()
        return {"loss": total} | {k: x.detach() for k, x in parts.items()}

    def after_step(self, batch: Batch) -> None:
        """Let parts that remember (queues, prototypes) take the batch in; call it after the optimiser's step."""
        for part in self.parts:
            remember = getattr(part, "after_step", None)
            if callable(remember):
                with torch.no_grad():
                    remember(batch)

    def uninformed(self, batch_size: int) -> float | None:
        """The loss where every key looks alike: what guessing costs; nothing where that cannot be said."""
        return None if self.entry.guess is None else self.entry.guess(batch_size)

    def at_alignment(self, batch_size: int) -> float | None:
        """The loss at perfect alignment, where that is not the minimum: log B for volumes and areas."""
        return None if self.entry.aligned is None else self.entry.aligned(batch_size)


def recipe(name: str, *, dims: Mapping[str, int] | None = None, **settings: Any) -> Objective:
    """An objective by name, with its paper's defaults unless a setting says otherwise.

    `dims` gives the width of each modality to recipes with parts of their own: codebooks, prototypes, decoders.

    >>> import workbench as wb
    >>> x = torch.eye(4)
    >>> out = wb.recipe("infonce", temperature=1.0)(wb.Batch({"image": x, "text": x}))
    >>> round(out["loss"].item(), 4)
    0.7437
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    entry = RECIPES[name]
    for key in settings:
        if key not in entry.settings:
            raise unknown(f"setting of recipe {name}", key, entry.settings)
    return Objective(entry, entry.settings | settings, dims)
