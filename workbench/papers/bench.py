"""The bench of the experiments: small towers, a short training loop, towers that learn by a recipe."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.distillation import follow
from workbench.objectives.recipes import RECIPES, Objective, recipe
from workbench.papers.parts import Part, unit
from workbench.training.towers import TOWERS, Towers, build

DIM, HIDDEN, RATE = 32, 128, 2e-3
TEMPERATURES = (0.03, 0.1, 0.3)


def mlp(width: int, out: int = DIM, hidden: int = HIDDEN) -> nn.Module:
    """A small perceptron from `width` numbers to `out`."""
    return TOWERS["mlp"].make((width,), out, hidden, 0.0)


def towers(part: Part, dim: int = DIM) -> Towers:
    """A perceptron for each modality of a part."""
    return build(dict.fromkeys(part.x, "mlp"), part.x, dim, HIDDEN, 0.0)


@torch.enable_grad()
def fit(
    modules: Sequence[nn.Module],
    loss: Callable[[Tensor], Tensor],
    count: int,
    *,
    steps: int,
    seed: int,
    size: int = 128,
    lr: float = RATE,
    after: Callable[[], None] | None = None,
) -> None:
    """Adam with a cosine over `steps` batches of indices below `count`; `loss(index)` is minimised.

    `after` is called when a step is done, for parts of an objective that remember.
    """
    params = [p for m in modules for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(params, lr=lr)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    g = torch.Generator().manual_seed(seed)
    size = min(size, count)
    order, at = torch.randperm(count, generator=g), 0
    for _ in range(steps):
        if at + size > count:
            order, at = torch.randperm(count, generator=g), 0
        index, at = order[at : at + size], at + size
        optimizer.zero_grad(set_to_none=True)
        loss(index).backward()
        nn.utils.clip_grad_norm_(params, 5.0)
        optimizer.step()
        falling.step()
        if after:
            after()


def teach(
    modules: Sequence[nn.Module],
    scores: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    *,
    steps: int,
    seed: int,
) -> None:
    """Modules taught classes: the cross-entropy of `scores(rows)`, (B, C), is minimised."""
    fit(modules, lambda i: nn.functional.cross_entropy(scores(x[i]), y[i]), len(x), steps=steps, seed=seed)


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
    lr: float = RATE,
) -> Towers:
    """Towers trained with a recipe on the rows of a part; the teacher is what the recipe's entry asks for."""
    torch.manual_seed(seed)
    model = model or towers(part)
    objective = arm.objective(dict.fromkeys(part.x, DIM), temperature)
    teaches = RECIPES[arm.recipe].teacher
    teacher = copy.deepcopy(model).requires_grad_(False) if teaches in ("start", "ema") else None
    for m in arm.frozen:
        model.of(m).requires_grad_(False)

    seen: list[Batch] = []

    def loss(index: Tensor) -> Tensor:
        x = {m: v[index] for m, v in part.x.items()}
        taught = x if teaches == "inputs" else None
        if teacher is not None:
            with torch.no_grad():
                taught = teacher(x)
            if teaches == "ema":
                follow(teacher, model, 0.02)
        batch = Batch(model(x), teacher=taught, labels=None if part.y is None else part.y[index])
        seen[:] = [batch]
        return objective(batch)["loss"]

    def after() -> None:
        objective.after_step(seen[0])

    fit([model, objective], loss, len(part), steps=steps, seed=seed, size=size, lr=lr, after=after)
    model.requires_grad_(True)
    return model


@torch.no_grad()
def rows(model: Towers, part: Part) -> dict[str, Tensor]:
    """The unit vectors of a part."""
    return {m: unit(x, dim=1) for m, x in model(part.x).items()}
