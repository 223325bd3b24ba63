"""What may be tried on a set: recipes that fit it, in the order of what the papers' experiments found of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.objectives.recipes import RECIPES
from workbench.objectives.recipes.contrast import infonce
from workbench.papers.catalogue import catalogue
from workbench.papers.paper import Paper
from workbench.papers.verdicts import kept
from workbench.papers.wording import NOT_YET
from workbench.sets.embeddings import EmbeddingSet
from workbench.training.compatibility import lacking

BASELINE = infonce.__name__
# what an outcome says of a recipe, the best first; a claim that could not be judged says as little as none
ORDER = {"held": 0, "some gain": 1, "inconclusive": 2, "not judged": 2, "": 2, "not held": 3}


@dataclass(frozen=True)
class Claim:
    """What the experiment of a paper found of a recipe; `alike` where the same comparison can be made on the set."""

    paper: str
    outcome: str
    effect: float
    low: float
    high: float
    min_effect: float
    quantity: str
    alike: bool

    @classmethod
    def of(cls, p: Paper, found: Mapping[str, Any], alike: bool) -> Claim:
        """From a paper and what was kept of its experiment, if it was run."""
        effect, low, high = (math.nan if found.get(k) is None else float(found[k]) for k in ("effect", "low", "high"))
        return cls(p.key, found.get("outcome", ""), effect, low, high, p.min_effect, p.quantity, alike)

    @property
    def worth(self) -> float:
        """The gain in units of what was worth having; nothing where it was not run."""
        return self.effect / self.min_effect if math.isfinite(self.effect) else 0.0

    def __str__(self) -> str:
        if self.outcome in ("", "not judged"):
            return f"paper {self.paper}: {self.outcome or NOT_YET}"
        moved = f"{self.effect:+.3g} [{self.low:.3g}, {self.high:.3g}] of {self.min_effect:g} worth having"
        return f"paper {self.paper}: {self.outcome}, {moved}"


@dataclass(frozen=True)
class Candidate:
    """A recipe with what is known of it."""

    recipe: str
    claims: tuple[Claim, ...] = ()

    @property
    def rank(self) -> tuple[int, int, float]:
        """Where it stands: by its best claim on a set like this; in the middle what has none, by those on others."""
        unknown = ORDER[""]
        places = [(ORDER[c.outcome] if c.alike else unknown, ORDER[c.outcome], -c.worth) for c in self.claims]
        return min(places, default=(unknown, unknown, 0.0))

    @property
    def reason(self) -> str:
        """What the papers' experiments found of it."""
        return "; ".join(map(str, self.claims)) or "no paper's experiment is about it"


def candidates(
    es: EmbeddingSet, modalities: Sequence[str], label: str, only: Sequence[str] = ()
) -> tuple[list[Candidate], dict[str, str]]:
    """Recipes to try beside the baseline, the best supported first, and why the others are left out.

    >>> import workbench as wb
    >>> found, left = candidates(wb.testing.planted(items=100), ("image", "text"), "")
    >>> left["triangle"]
    '3 modalities'
    """
    found, verdicts = [], kept()
    about: dict[str, list[Claim]] = {}
    for p in catalogue().values():
        if p.recipe and p.recipe != BASELINE:
            alike = p.own is not None and not p.own.lacking(es, label)
            about.setdefault(p.recipe, []).append(Claim.of(p, verdicts.get(p.key, {}), alike))
    left: dict[str, str] = {}
    for name, spec in RECIPES.items():
        if name == BASELINE or (only and name not in only):
            continue
        if why := lacking(spec, modalities, label):
            left[name] = why
        else:
            found.append(Candidate(name, tuple(about.get(name, ()))))
    return sorted(found, key=lambda c: c.rank), left
