"""Paper: a citation, a claim in one sentence, and an experiment that puts the claim to the test on real small data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from workbench.papers.needs import DataNeeds
from workbench.sets.embeddings import EmbeddingSet

SURE = {
    "code": "from the authors' code, which was read",
    "formula": "from the paper's formula",
    "inferred": "from what the paper says, without code or a full formula",
}
FORMS = {
    "mechanism": "the authors' mechanism at small size",
    "analogue": "a stand-in setting: what is seen holds for the analogue, not for the paper",
    "stand-in": "the published formula is not public: the formula here is ours, and gives no verdict on the paper",
    "tool": "useful as an instrument on your own data, not as an experiment",
}
MOVES = {  # what the quantity of a claim is about
    "retrieval": "what belongs together finds each other",
    "places": "words and vectors point at the right part",
    "classes": "classes and clusters are told apart",
    "gap": "how far modalities lie apart",
    "space": "what of the space is used, and what each part of it holds",
    "retention": "what was known before is still known",
    "answers": "what is generated, and which answer is preferred",
}


@dataclass(frozen=True)
class Trial:
    """One paired run: its seed makes split, pairing and initial weights; `quick` only shows that the code runs."""

    seed: int
    quick: bool = False
    data: EmbeddingSet | None = None  # the user's own; the paper's own where there is none
    label: str = ""
    limit: float = math.inf  # the bound of the quantity, and the smallest effect worth having: `seek_room`
    min_effect: float = 0.0

    def generator(self) -> torch.Generator:
        """Chance that begins at the seed."""
        return torch.Generator().manual_seed(self.seed)

    def steps(self, count: int) -> int:
        """Steps of a training; four in a quick look."""
        return 4 if self.quick else count

    def count(self, many: int, few: int) -> int:
        """`many`, or in a quick look `few`."""
        return few if self.quick else many

    def grid(self, *values: float) -> tuple[float, ...]:
        """What both arms are tuned over, alike."""
        return values[:1] if self.quick else values

    def seek_room(self, baseline: float) -> None:
        """End the first run before the mechanism is trained, where the tuned baseline leaves no room to gain."""
        if self.seed == 0 and not self.quick and not has_room(baseline, self.limit, self.min_effect):
            raise NoRoomError(baseline)


class NoRoomError(Exception):
    """A baseline, with its quantity on the validation part, too near the quantity's bound for a gain to be seen."""

    def __init__(self, baseline: float) -> None:
        super().__init__(f"no room above {baseline:g}")
        self.baseline = baseline


def has_room(baseline: float, limit: float, min_effect: float) -> bool:
    """Whether twice the smallest effect worth having fits between a baseline and the quantity's bound.

    >>> has_room(0.9, 1.0, 0.05), has_room(0.95, 1.0, 0.05)
    (True, False)
    """
    return not abs(limit - baseline) < 2 * min_effect - 1e-12


@dataclass(frozen=True)
class Outcome:
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

    def with_also(self, more: Mapping[str, float]) -> Outcome:
        """The same with more numbers beside it."""
        return replace(self, also={**self.also, **more})


Experiment = Callable[[Trial], Outcome]


@dataclass(frozen=True)
class Paper:
    """What is known of a paper, and the experiment that puts its claim to the test."""

    number: int
    key: str
    title: str
    year: int
    topic: str
    mechanism: str
    certainty: str
    form: str
    claim: str = ""
    maths: str = ""
    carrier: str = ""  # what carries the mechanism: recipe, diagnostic, intervention or module, by name
    recipe: str = ""  # to train with on a set of one's own, where one of ours carries it
    code: str = ""  # the authors' repository that was read
    deviations: str = ""
    data: str = ""
    quantity: str = ""
    moves: str = ""  # what that is about, of `MOVES`
    better: str = "higher"
    min_effect: float = 0.0  # the smallest effect worth having, stated before
    bound: float | None = None  # of the quantity; 1, or 0 where lower is better, if not given
    control: str = ""
    margin: float = 0.0  # of the control's equivalence; `min_effect` where it is 0
    positive: str = ""
    small: str = ""  # why it may not show at this size
    own: DataNeeds | None = None
    alone: str = ""  # why the user's data cannot stand in, where they cannot
    yours: str = ""  # a command to try on one's own data
    experiment: Experiment | None = None

    @property
    def citation(self) -> str:
        """Title and year."""
        return f"{self.title} ({self.year})"

    @property
    def sure(self) -> str:
        """How the mechanism is known: from code, formula, or inferred."""
        return SURE[self.certainty]

    @property
    def expected(self) -> str:
        """What the claim says must happen, with the smallest effect worth having."""
        way = "rises" if self.better == "higher" else "falls"
        return f"{self.quantity} {way} by {self.min_effect:g} or more"

    @property
    def limit(self) -> float:
        """The best that the quantity can be."""
        return (1.0 if self.better == "higher" else 0.0) if self.bound is None else self.bound

    @property
    def equivalence(self) -> float:
        """Within how much the control must stay."""
        return self.margin or self.min_effect

    def row(self) -> dict[str, Any]:
        """A line of the catalogue as plain data."""
        return {
            "key": self.key,
            "title": self.title,
            "year": self.year,
            "topic": self.topic,
            "form": self.form,
            "moves": self.moves,
            "claim": self.claim,
            "own_data": self.own is not None,
        }
