"""The contest of two arms: both tuned alike on the validation part, each judged once on the test part, two controls.

Four shapes there are. Two recipes on the same rows: `recipes` is the whole of it. Two losses of the paper's own on the
same modules: `by_loss` for each, then `tuned`, whose answer has the controls and the outcome. Two ways on from a model
that is there before, or any other training: `Treatment` with a function that learns, then the same. Two readings of
what nobody trains: `best` for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from workbench.errors import InputError
from workbench.papers import bench
from workbench.papers.bench import Arm
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views
from workbench.training.towers import Towers

A = TypeVar("A")
M = TypeVar("M")  # a model: a module, or a tuple of modules and what goes with them


@dataclass(frozen=True)
class Treatment(Generic[M]):
    """How one arm learns, `learn(part, setting, steps, seed)`, and the settings that it is tuned over."""

    learn: Callable[[Part, float, int, int], M]
    grid: Sequence[float]
    steps: int = 300


@dataclass(frozen=True)
class Step:
    """One step of a training: the setting that is tuned, which rows of which part the batch holds, chance of its own,
    and how many steps there have been with it.
    """

    setting: float
    part: Part
    index: Tensor
    draw: torch.Generator
    number: int


def by_loss(
    build: Callable[[float], M],
    loss: Callable[[M, Part, Step], Tensor],
    grid: Sequence[float],
    *,
    rates: bool = False,
    steps: int = 300,
    size: int = 128,
) -> Treatment[M]:
    """A treatment by a loss of the paper's own: `build(setting)` makes the model once the seed is set, and
    `loss(model, batch, step)` is minimised; with `rates` the settings are learning rates.
    """

    def learn(part: Part, setting: float, steps: int, seed: int) -> M:
        torch.manual_seed(seed)
        model, draw, numbers = build(setting), torch.Generator().manual_seed(seed), count(1)
        bench.fit(
            [m for m in (model if isinstance(model, tuple) else (model,)) if isinstance(m, nn.Module)],
            lambda index: loss(model, part.take(index), Step(setting, part, index, draw, next(numbers))),
            len(part),
            steps=steps,
            seed=seed,
            size=size,
            lr=setting if rates else bench.RATE,
        )
        return model

    return Treatment(learn, grid, steps)


def by_recipe(arm: Arm, grid: Sequence[float] = bench.TEMPERATURES, *, steps: int = 400) -> Treatment[Towers]:
    """A treatment by a recipe, tuned over its temperature."""

    def learn(part: Part, setting: float, steps: int, seed: int) -> Towers:
        return bench.learn(arm, part, temperature=setting, steps=steps, seed=seed)

    return Treatment(learn, grid, steps)


@dataclass(frozen=True)
class Tuned(Generic[M]):
    """Both arms at the settings that the validation part chose, by name; `judge` is the quantity."""

    trial: Trial
    views: Views
    judge: Callable[[M, Part], float]
    treatments: Mapping[str, Treatment[M]]
    models: Mapping[str, M]
    settings: Mapping[str, float]

    @property
    def baseline(self) -> M:
        """The model without the mechanism."""
        return self.models["baseline"]

    @property
    def mechanism(self) -> M:
        """The model with it."""
        return self.models["mechanism"]

    def again(
        self,
        arm: str,
        part: Part | None = None,
        *,
        by: Treatment[M] | None = None,
        steps: int | None = None,
        seed: int | None = None,
    ) -> M:
        """An arm trained once more at its setting: on other rows, by another treatment, for other steps or from another
        seed.
        """
        treatment = by or self.treatments[arm]
        return treatment.learn(
            self.views.train if part is None else part,
            self.settings[arm],
            self.trial.steps(treatment.steps) if steps is None else steps,
            self.trial.seed if seed is None else seed,
        )

    @torch.no_grad()
    def score(self, model: M, judge: Callable[[M, Part], float] | None = None) -> float:
        """The quantity of a model on the test part, or what another judge says of it."""
        return (judge or self.judge)(model, self.views.test)

    def scores(self, judge: Callable[[M, Part], float] | None = None) -> tuple[float, float]:
        """Of both arms; a control where it must stay as it was."""
        return self.score(self.baseline, judge), self.score(self.mechanism, judge)

    def retrained(
        self,
        wrong: Part | None = None,
        judge: Callable[[M, Part], float] | None = None,
        *,
        by: tuple[Treatment[M], Treatment[M]] | None = None,
    ) -> tuple[float, float]:
        """Of both arms trained on rows in which what the claim is about was dealt at random, or by treatments that deal
        it: a control.
        """
        first, second = by or (None, None)
        before = self.score(self.again("baseline", wrong, by=first), judge)
        return before, self.score(self.again("mechanism", wrong, by=second), judge)

    def restarted(self, judge: Callable[[M, Part], float] | None = None) -> tuple[float, float]:
        """Of the baseline and of the baseline from another seed: a control."""
        other = self.again("baseline", seed=self.trial.seed + 500)
        return self.score(self.baseline, judge), self.score(other, judge)

    def untrained(self, judge: Callable[[M, Part], float] | None = None, arm: str = "baseline") -> tuple[float, float]:
        """Of an arm before and after its training: a positive control."""
        return self.score(self.again(arm, steps=0), judge), self.score(self.models[arm], judge)

    @torch.no_grad()
    def rows(self, vectors: Callable[[M, Part], dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """Vectors of the test part by arm, for the map."""
        return {arm: vectors(m, self.views.test) for arm, m in self.models.items()}

    @torch.no_grad()
    def beside(self, look: Callable[[M, Part], Mapping[str, float]]) -> dict[str, float]:
        """Numbers of both arms on the test part, to stand beside the quantity."""
        return by_arm(self.models, lambda m: look(m, self.views.test))

    @property
    def temperatures(self) -> dict[str, float]:
        """The settings, where they are temperatures, to stand beside the quantity."""
        return {f"temperature of the {arm}": t for arm, t in self.settings.items()}

    def outcome(
        self,
        *,
        control: tuple[float, float],
        positive: tuple[float, float],
        rows: Mapping[str, Mapping[str, Tensor]],
        also: Mapping[str, float] | None = None,
        labels: Tensor | None = None,
    ) -> Outcome:
        """The quantity of both arms with the controls; `labels` are classes of the rows, those of the test part if not
        given.
        """
        shown = self.views.test.y if labels is None else labels
        return Outcome(*self.scores(), control, positive, dict(also or {}), rows, shown)


def by_arm(found: Mapping[str, A], look: Callable[[A], Mapping[str, float]]) -> dict[str, float]:
    """Numbers of what was found for each arm, each named with its arm.

    >>> by_arm({"baseline": [1, 2], "mechanism": [5]}, lambda x: {"sum": sum(x)})
    {'sum, baseline': 3, 'sum, mechanism': 5}
    """
    return {f"{name}, {arm}": value for arm, x in found.items() for name, value in look(x).items()}


def tuned(
    trial: Trial,
    baseline: Treatment[M],
    mechanism: Treatment[M],
    views: Views,
    judge: Callable[[M, Part], float],
    *,
    choose: Callable[[M, Part], float] | None = None,
) -> Tuned[M]:
    """Both treatments on the training part, each at the setting that does best on the validation part by `choose`
    (`judge` if not given).
    """
    plain, first = tune(trial, baseline, views, choose or judge)
    with torch.no_grad():
        trial.seek_room(judge(plain, views.validation))
    changed, second = tune(trial, mechanism, views, choose or judge)
    return Tuned(
        trial,
        views,
        judge,
        {"baseline": baseline, "mechanism": mechanism},
        {"baseline": plain, "mechanism": changed},
        {"baseline": first, "mechanism": second},
    )


def tune(trial: Trial, treatment: Treatment[M], views: Views, choose: Callable[[M, Part], float]) -> tuple[M, float]:
    """One arm alone at the setting that does best on the validation part, and the setting."""

    @torch.no_grad()
    def validated(model: M) -> float:
        return choose(model, views.validation)

    def learnt(setting: float) -> M:
        return treatment.learn(views.train, setting, trial.steps(treatment.steps), trial.seed)

    return best(trial, treatment.grid, learnt, validated)


def best(
    trial: Trial, values: Sequence[float], make: Callable[[float], M], judge: Callable[[M], float]
) -> tuple[M, float]:
    """What `make` gives at the value whose result `judge` likes best, and the value."""
    made = [(make(v), v) for v in trial.grid(*values)]
    if len(made) == 1:
        return made[0]
    found = [judge(m) for m, _ in made]
    if np.isnan(found).all():
        raise InputError(
            "no setting of an arm gave a number on the validation part: too few items, or a loss that diverged"
        )
    return made[int(np.nanargmax(found))]


def recipes(
    trial: Trial,
    views: Views,
    baseline: Arm,
    mechanism: Arm,
    judge: bench.Judge,
    *,
    steps: int = 400,
    choose: bench.Judge | None = None,
    beside: Callable[[dict[str, Tensor], Part], Mapping[str, float]] | None = None,
    control: str = "mispaired",
    temperatures: Sequence[float] = bench.TEMPERATURES,
    poor: Callable[[float], Towers] | None = None,
) -> Outcome:
    """Two recipes on the same split, batches and start, both tuned over the same temperatures; then the controls.

    `choose` picks the temperature on the validation part (`judge` if not given). The control repeats both on items
    whose modalities were paired at random (`mispaired`), or the baseline from another start (`restart`). The positive
    control is training itself, untrained against trained towers of the baseline by the same quantity; or towers that
    must be worse, which `poor` makes at the baseline's temperature. `beside` looks at the test rows of each arm.
    """

    def treatment(arm: Arm) -> Treatment[tuple[Towers, bench.Judge]]:
        def learn(part: Part, setting: float, steps: int, seed: int) -> tuple[Towers, bench.Judge]:
            return bench.learn(arm, part, temperature=setting, steps=steps, seed=seed), arm.judge or judge

        return Treatment(learn, temperatures, steps)

    def quantity(model: tuple[Towers, bench.Judge], part: Part) -> float:
        return model[1](bench.rows(model[0], part), part)

    def picked(model: tuple[Towers, bench.Judge], part: Part) -> float:
        return (choose or model[1])(bench.rows(model[0], part), part)

    found = tuned(trial, treatment(baseline), treatment(mechanism), views, quantity, choose=picked)
    pair = found.retrained(views.train.mispaired(trial.seed)) if control == "mispaired" else found.restarted()
    positive = found.untrained()
    if poor:
        torch.manual_seed(trial.seed)
        positive = found.score((poor(found.settings["baseline"]), baseline.judge or judge)), positive[1]
    rows = found.rows(lambda m, part: bench.rows(m[0], part))
    also = by_arm(rows, lambda z: beside(z, views.test)) if beside else {}
    return found.outcome(control=pair, positive=positive, also=also | found.temperatures, rows=rows)
