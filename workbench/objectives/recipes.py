"""Recipes: named combinations of terms with a paper's published defaults, one short entry each."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from workbench.errors import InputError, unknown
from workbench.objectives import heads, scores
from workbench.objectives.batch import Batch

COLDEST = 0.01  # CLIP's bound: a logit scale of 100


class Term(NamedTuple):
    """A named part of a loss and its weight in the sum."""

    name: str
    weight: float
    function: Callable[[Batch, Tensor], Tensor]  # (batch, temperature) -> scalar


@dataclass(frozen=True)
class Entry:
    """What a recipe is: its builder, its source, what data it fits, and where its minimum lies."""

    name: str
    build: Callable[..., list[Term]]
    paper: str
    family: str
    modalities: str
    cost: str
    minimum: str
    settings: dict[str, Any]

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.build) or "").splitlines()[0]


RECIPES: dict[str, Entry] = {}


def entry(*, paper: str, family: str, modalities: str, cost: str, minimum: str) -> Callable:
    def register(f: Callable[..., list[Term]]) -> Callable[..., list[Term]]:
        settings = {k: p.default for k, p in inspect.signature(f).parameters.items()}
        base = {"temperature": 0.07, "learn_temperature": True}
        RECIPES[f.__name__] = Entry(f.__name__, f, paper, family, modalities, cost, minimum, base | settings)
        return f

    return register


class Objective(nn.Module):
    """A recipe made ready: call it with a `Batch`, get `loss` and its parts by name. Owns its temperature."""

    def __init__(self, entry: Entry, settings: dict[str, Any]) -> None:
        super().__init__()
        self.entry, self.settings = entry, settings
        temperature = settings["temperature"]
        if not temperature > 0:
            raise InputError(f"recipe {entry.name}: temperature must be above 0, not {temperature}")
        log_t = torch.tensor(math.log(temperature))
        self.log_temperature = nn.Parameter(log_t, requires_grad=settings["learn_temperature"])
        own = {k: x for k, x in settings.items() if k in inspect.signature(entry.build).parameters}
        self.terms = entry.build(**own)

    @property
    def temperature(self) -> Tensor:
        """What scores are divided by; a learned one never falls below CLIP's bound."""
        t = self.log_temperature.exp()
        return t.clamp_min(COLDEST) if self.log_temperature.requires_grad else t

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        parts = {t.name: t.function(batch, self.temperature) for t in self.terms}
        total = torch.stack([t.weight * parts[t.name] for t in self.terms]).sum()
        return {"loss": total} | {k: x.detach() for k, x in parts.items()}

    def uninformed(self, batch_size: int) -> float:
        """The loss where every key looks alike: what guessing costs."""
        return sum(t.weight for t in self.terms) * math.log(batch_size)


def recipe(name: str, **settings: Any) -> Objective:
    """An objective by name, with its paper's defaults unless a setting says otherwise.

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
    return Objective(entry, entry.settings | settings)


@entry(
    paper="Radford et al. 2021 (CLIP); van den Oord et al. 2018 (InfoNCE)",
    family="contrast",
    modalities="2 or more",
    cost="B² d for each pair",
    minimum="perfect alignment, negatives apart",
)
def infonce() -> list[Term]:
    """Symmetric softmax contrast, averaged over all pairs of modalities and both directions."""

    def contrast(batch: Batch, temperature: Tensor) -> Tensor:
        losses = []
        for pair in batch.pairs:
            exists = batch.has(*pair)
            for query, key in (pair, pair[::-1]):
                s = scores.cosine(batch.unit(query), batch.unit_keys(key)) / temperature
                losses.append(heads.softmax(s, batch.target, queries=exists, keys=batch.keyed(key)))
        return torch.stack(losses).mean()

    return [Term("contrast", 1.0, contrast)]


@entry(
    paper="Cicchetti et al. 2025 (GRAM)",
    family="many modalities",
    modalities="2 or more, first = anchor",
    cost="(M−1) B² d",
    minimum="anchor in the span of the others; perfect alignment costs log B exactly",
)
def gram(smoothing: float = 0.1) -> list[Term]:
    """Softmax contrast of the anchor with whole tuples, by the volume they span.

    Not minimised by perfect alignment: if all vectors of an item coincide, every tuple is flat and the loss is log B.
    It rewards an anchor in the span of the others, and pushes the others apart. Blind to sign. The paper's matching
    head is not part of it. Released code takes √|det| without a guard, whose gradient at collapse is NaN.
    """

    def volume_contrast(batch: Batch, temperature: Tensor) -> Tensor:
        others = [m for m in batch.names if m != batch.anchor]
        exists = batch.has(*batch.names)
        v = scores.gram_volume(batch.unit(batch.anchor), *(batch.unit_keys(m) for m in others))
        rows = heads.softmax(
            -v / temperature, batch.target, smoothing=smoothing, queries=exists, keys=batch.keyed(*batch.names)
        )
        if batch.keys is None:
            back = -v.T / temperature
        else:  # tuples of the batch against the anchors among the keys
            back = scores.gram_volume(batch.unit_keys(batch.anchor), *(batch.unit(m) for m in others))
            back = -back.T / temperature
        columns = heads.softmax(back, batch.target, smoothing=smoothing, queries=exists, keys=batch.keyed(*batch.names))
        return (rows + columns) / 2

    return [Term("volume_contrast", 1.0, volume_contrast)]
