"""The bench of the experiments: a short training loop, equal tuning of both arms, the contest of two recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.errors import InputError
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import RECIPES, Objective, recipe
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit
from workbench.training.towers import TOWERS, Towers, build

DIM, HIDDEN = 32, 128
RESTART = "the baseline from another start: the quantity"
VECTORS = "its parts (patches, segments, bags) have no place in a set with one row an item"
TEMPERATURES = (0.03, 0.1, 0.3)


def mlp(width: int, out: int = DIM, hidden: int = HIDDEN) -> nn.Module:
    """A small perceptron from `width` numbers to `out`."""
    return TOWERS["mlp"].make((width,), out, hidden, 0.0)


def towers(part: Part, dim: int = DIM) -> Towers:
    """A perceptron for each modality of a part."""
    return build(dict.fromkeys(part.x, "mlp"), part.x, dim, HIDDEN, 0.0)


def fit(
    modules: Sequence[nn.Module],
    loss: Callable[[Tensor, int], Tensor],
    count: int,
    *,
    steps: int,
    seed: int,
    size: int = 128,
    lr: float = 2e-3,
    after: Callable[[], None] | None = None,
) -> None:
    """Adam with a cosine over `steps` batches of indices below `count`; `loss(index, step)` is minimised.

    `after` is called when a step is done, for parts of an objective that remember.
    """
    params = [p for m in modules for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(params, lr=lr)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    g = torch.Generator().manual_seed(seed)
    size = min(size, count)
    order, at = torch.randperm(count, generator=g), 0
    for step in range(steps):
        if at + size > count:
            order, at = torch.randperm(count, generator=g), 0
        index, at = order[at : at + size], at + size
        optimizer.zero_grad(set_to_none=True)
        loss(index, step).backward()
        nn.utils.clip_grad_norm_(params, 5.0)
        optimizer.step()
        falling.step()
        if after:
            after()


Judge = Callable[[dict[str, Tensor], Part], float]


@dataclass(frozen=True)
class Arm:
    """One side of a contest: a recipe with its settings, what becomes of the objective before training, and how the
    arm is judged where that is by a score of its own.
    """

    recipe: str
    settings: Mapping[str, Any] | None = None
    prepare: Callable[[Objective], Objective] | None = None
    frozen: tuple[str, ...] = ()
    judge: Judge | None = None

    def objective(self, dims: Mapping[str, int], temperature: float) -> Objective:
        """The recipe as an objective at a temperature, prepared as the arm wants."""
        found = recipe(self.recipe, dims=dims, **({"temperature": temperature} | dict(self.settings or {})))
        return self.prepare(found) if self.prepare else found


def learn(
    arm: Arm,
    part: Part,
    *,
    temperature: float,
    steps: int,
    seed: int,
    model: Towers | None = None,
    size: int = 128,
    lr: float = 2e-3,
) -> Towers:
    """Towers trained with a recipe on the rows of a part; the teacher is what the recipe's entry asks for."""
    torch.manual_seed(seed)
    model = model or towers(part)
    objective = arm.objective(dict.fromkeys(part.x, DIM), temperature)
    teaches = RECIPES[arm.recipe].teacher
    teacher = _copy(model) if teaches in ("start", "ema") else None
    for m in arm.frozen:
        model.of(m).requires_grad_(False)

    seen: list[Batch] = []

    def loss(index: Tensor, step: int) -> Tensor:
        x = {m: v[index] for m, v in part.x.items()}
        taught = x if teaches == "inputs" else None
        if teacher is not None:
            with torch.no_grad():
                taught = teacher(x)
                for old, new in zip(teacher.parameters(), model.parameters(), strict=True):
                    if teaches == "ema":
                        old.lerp_(new, 0.02)
        batch = Batch(model(x), teacher=taught, labels=None if part.y is None else part.y[index])
        seen[:] = [batch]
        return objective(batch)["loss"]

    def after() -> None:
        objective.after_step(seen[0])

    fit([model, objective], loss, len(part), steps=steps, seed=seed, size=size, lr=lr, after=after)
    model.requires_grad_(True)
    return model


def _copy(model: Towers) -> Towers:
    import copy

    return copy.deepcopy(model).requires_grad_(False)


@torch.no_grad()
def rows(model: Towers, part: Part) -> dict[str, Tensor]:
    """The unit vectors of a part."""
    return {m: unit(x, dim=1) for m, x in model(part.x).items()}


def best(
    trial: Trial, values: Sequence[float], make: Callable[[float], Any], judge: Callable[[Any], float]
) -> tuple[Any, float]:
    """What `make` gives at the value whose result `judge` likes best: both arms of a contest are tuned by this."""
    made = [(make(v), v) for v in trial.grid(*values)]
    if len(made) == 1:
        return made[0]
    found = [judge(m) for m, _ in made]
    if np.isnan(found).all():
        raise InputError(
            "no setting of an arm gave a number on the validation part: too few items, or a loss that diverged"
        )
    return made[int(np.nanargmax(found))]


def contest(
    trial: Trial,
    views: Views,
    baseline: Arm,
    mechanism: Arm,
    judge: Judge,
    *,
    steps: int = 400,
    choose: Judge | None = None,
    also: Callable[[dict[str, dict[str, Tensor]], Part], Mapping[str, float]] | None = None,
    control: str = "mispaired",
    temperatures: Sequence[float] = TEMPERATURES,
    poor: Callable[[float], Towers] | None = None,
) -> Outcome:
    """Two recipes on the same split, batches and start, both tuned over the same temperatures; then the controls.

    `choose` picks the temperature on the validation part (`judge` if not given). The control repeats both on items
    whose modalities were paired at random (`mispaired`), or the baseline from another start (`restart`). The positive
    control is training itself, untrained against trained towers of the baseline by the same quantity; or towers that
    must be worse, which `poor` makes at the baseline's temperature.
    """
    steps = trial.steps(steps)
    by = {"baseline": baseline.judge or judge, "mechanism": mechanism.judge or judge}

    def trained(arm: Arm, part: Part, temperature: float, seed: int = trial.seed) -> Towers:
        return learn(arm, part, temperature=temperature, steps=steps, seed=seed)

    def validated(pick: Judge, model: Towers) -> float:
        return pick(rows(model, views.validation), views.validation)

    found, warmth = {}, {}
    for name, arm in (("baseline", baseline), ("mechanism", mechanism)):
        model, t = best(
            trial,
            temperatures,
            partial(trained, arm, views.train),
            partial(validated, choose or by[name]),
        )
        found[name], warmth[name] = rows(model, views.test), t
    if control == "mispaired":
        wrong = views.train.mispaired(trial.seed)
        pair = tuple(
            by[name](rows(trained(arm, wrong, warmth[name]), views.test), views.test)
            for name, arm in (("baseline", baseline), ("mechanism", mechanism))
        )
    else:
        other = rows(trained(baseline, views.train, warmth["baseline"], trial.seed + 500), views.test)
        pair = (judge(found["baseline"], views.test), judge(other, views.test))
    base = by["baseline"](found["baseline"], views.test)
    torch.manual_seed(trial.seed)
    start = poor(warmth["baseline"]) if poor else towers(views.train)
    low = by["baseline"](rows(start, views.test), views.test)
    numbers = {f"temperature of the {k}": v for k, v in warmth.items()}
    return Outcome(
        base,
        by["mechanism"](found["mechanism"], views.test),
        (pair[0], pair[1]),
        (low, base),
        dict(also(found, views.test) if also else {}) | numbers,
        found,
        views.test.y,
    )
