"""The bench of the experiments: views of a set, a short training loop, equal tuning of both arms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from workbench.errors import InputError
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import RECIPES, Objective, recipe
from workbench.papers.base import Measured, Trial, having
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.shipped import dataset, split_of
from workbench.training.towers import TOWERS, Towers, build

unit = nn.functional.normalize
DIM, HIDDEN = 32, 128
RESTART = "the baseline from another start: the quantity"
VECTORS = "its parts (patches, segments, bags) have no place in a set with one row an item"
MOST = 4_000  # items of a set of the user's that an experiment takes
TEMPERATURES = (0.03, 0.1, 0.3)
SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAMES = {
    "en": CLASSES,
    "de": ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
    "es": ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"),
    "fr": ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"),
    "it": ("zero", "uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove"),
    "pt": ("zero", "um", "dois", "três", "quatro", "cinco", "seis", "sete", "oito", "nove"),
}


# -- data --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Rows of one split: {name: (N, …)} and classes (N,) where there are any."""

    x: Mapping[str, Tensor]
    y: Tensor | None = None

    def __len__(self) -> int:
        return len(next(iter(self.x.values())))

    def take(self, index: Tensor) -> Part:
        return Part({m: v[index] for m, v in self.x.items()}, None if self.y is None else self.y[index])

    def mispaired(self, seed: int) -> Part:
        """Every modality but the first in an order of its own: what matched no longer does."""
        g = torch.Generator().manual_seed(9_176 + seed)
        first, *others = self.x
        return replace(
            self, x={first: self.x[first]} | {m: self.x[m][torch.randperm(len(self), generator=g)] for m in others}
        )


@dataclass(frozen=True)
class Views:
    train: Part
    validation: Part
    test: Part


@cache
def digits() -> tuple[Tensor, Tensor]:
    """The handwritten digits of scikit-learn, (1797, 8, 8) in 0 … 1, and their classes."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    return torch.from_numpy(raw.images.astype(np.float32) / 16), torch.from_numpy(raw.target.astype(np.int64))


def cut(trial: Trial, **views: Callable[[Tensor], Tensor]) -> Views:
    """Digits cut into aligned views, such as `left=lambda x: x[:, :, :4]`, each flattened."""
    x, y = digits()
    x, y = x[: trial.count(len(x), 160)], y[: trial.count(len(y), 160)]
    return split(trial, Part({m: f(x).flatten(1) for m, f in views.items()}, y))


def whole(trial: Trial) -> Views:
    """Every digit as it is, (N, 64), in a quick look too: what is put together of digits needs all ten classes."""
    x, y = digits()
    return split(trial, Part({"whole": x.flatten(1)}, y))


def patches(x: Tensor) -> Tensor:
    """Digits as 16 patches of four pixels, each with its place as a one-hot: (N, 64) → (N, 16, 20)."""
    cut = x.view(-1, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(len(x), 16, 4)
    return torch.cat([cut, torch.eye(16).expand(len(x), 16, 16)], 2)


def pools(trial: Trial) -> list[list[Tensor]]:
    """Digits of training, tuning and test by class: three lists of ten stacks (n, 64)."""
    views = whole(trial)
    return [[p.x["whole"][p.y == c] for c in range(10)] for p in (views.train, views.validation, views.test)]


def drawn(pool: list[Tensor], c: int, g: torch.Generator) -> Tensor:
    """One digit of a class."""
    return pool[c][int(torch.randint(len(pool[c]), (1,), generator=g))]


LEFT, RIGHT = (lambda x: x[:, :, :4]), (lambda x: x[:, :, 4:])
TOP, BOTTOM = (lambda x: x[:, :4]), (lambda x: x[:, 4:])


def split(trial: Trial, part: Part, family: Sequence[Any] | None = None) -> Views:
    """60 / 15 / 25 % for training, tuning and the one test, by family, anew with every seed."""
    side = sides(trial, range(len(part)) if family is None else family)
    return Views(**{name: part.take(torch.from_numpy(side == name)) for name in SHARES})


def sides(trial: Trial, keys: Iterable[Any]) -> np.ndarray:
    """Train, validation or test for each key, by its hash with the seed."""
    return np.array([split_of(f"{trial.seed}/{k}", SHARES) for k in keys])


def given(trial: Trial, count: int) -> Views | None:
    """The user's own set in the place of the paper's, its first `count` modalities; nothing where there is none."""
    es = trial.data
    if es is None:
        return None
    return split(trial, *of_set(trial, es, es.modalities[:count], trial.label))


def of_set(trial: Trial, es: EmbeddingSet, modalities: Sequence[str], label: str) -> tuple[Part, list[Any]]:
    """Rows of the items that have all modalities, with their classes and the families of the items."""
    index, classes = sample(trial, es, modalities, label)
    whole = having(es, modalities)[index]
    return rows_of(es, index[whole], modalities, classes[whole]), family_names(es)[index[whole]].tolist()


def lone(trial: Trial, count: int) -> dict[str, Part]:
    """Test items of the user's with a row in just one of the first `count` modalities, by that modality; nothing where
    the set has no such items.
    """
    es = trial.data
    if es is None or having(es, es.modalities[:count]).all():
        return {}
    names = es.modalities[:count]
    index, classes = sample(trial, es, names, trial.label)
    has = np.stack([having(es, [m])[index] for m in names])
    apart = (has.sum(0) == 1) & (sides(trial, family_names(es)[index]) == "test")
    return {m: rows_of(es, index[h & apart], [m], classes[h & apart]) for m, h in zip(names, has, strict=True)}


def sample(trial: Trial, es: EmbeddingSet, modalities: Sequence[str], label: str) -> tuple[np.ndarray, np.ndarray]:
    """At most `MOST` items with a row in any of the modalities, and the number of their class (-1 without label)."""
    index = np.flatnonzero(np.any([having(es, [m]) for m in modalities], axis=0))
    index = index[np.sort(np.random.default_rng(0).permutation(len(index))[: trial.count(MOST, 160)])]
    if not label:
        return index, np.full(len(index), -1)
    return index, pd.factorize(es.items[label].iloc[index].astype(str), sort=True)[0].astype(np.int64)


def rows_of(es: EmbeddingSet, index: np.ndarray, modalities: Sequence[str], classes: np.ndarray) -> Part:
    """The one row of each item in modalities that it has."""
    at = torch.from_numpy(index)
    x = {m: unit(es[m][torch.searchsorted(es.item_of_row(m), at)].float(), dim=1) for m in modalities}
    return Part(x, None if (classes < 0).any() else torch.from_numpy(classes))


def family_names(es: EmbeddingSet) -> np.ndarray:
    """The family of each item by name, (N,); an item without one is a family of its own."""
    ids = es.items["id"]
    found = ids.where(es.items["family"].isna(), es.items["family"]) if "family" in es.items else ids
    return found.to_numpy()


_shipped = cache(dataset)  # read once


def emoji(trial: Trial, *modalities: str, label: str = "group") -> Views:
    """Frozen features of the emoji set."""
    return split(trial, *of_set(trial, _shipped("emoji"), modalities, label))


def ngrams(word: str, width: int = 256) -> Tensor:
    """A word as counts of its letters, pairs and triples of letters, hashed to `width` numbers of length one."""
    import zlib

    word, v = f"^{word}$", torch.zeros(width)
    for n in (1, 2, 3):
        for k in range(len(word) - n + 1):
            v[zlib.crc32(word[k : k + n].encode()) % width] += 1
    return unit(v, dim=0)


@cache
def names(language: str = "en") -> Tensor:
    """The names of the ten digits as n-grams, (10, 256)."""
    return torch.stack([ngrams(w) for w in NAMES[language]])


# -- training ----------------------------------------------------------------------------------------------------------


def mlp(width: int, out: int = DIM, hidden: int = HIDDEN) -> nn.Module:
    return TOWERS["mlp"].make((width,), out, hidden, 0.0)


def towers(part: Part, dim: int = DIM) -> Towers:
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
) -> Measured:
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
    return Measured(
        base,
        by["mechanism"](found["mechanism"], views.test),
        (pair[0], pair[1]),
        (low, base),
        dict(also(found, views.test) if also else {}) | numbers,
        found,
        views.test.y,
    )


def augmented(x: Tensor, g: torch.Generator) -> Tensor:
    """Digits (B, 8, 8) turned by up to 17°, scaled by up to 15 %, shifted by up to a pixel and a half, and noised."""
    b = len(x)
    turn, scale = (torch.rand(b, generator=g) - 0.5) * 0.6, 1 + (torch.rand(b, generator=g) - 0.5) * 0.3
    shift = (torch.rand(b, 2, generator=g) - 0.5) * 0.35
    turned = torch.stack([turn.cos() * scale, -turn.sin(), turn.sin(), turn.cos() * scale], 1).view(b, 2, 2)
    grid = nn.functional.affine_grid(torch.cat([turned, shift[:, :, None]], 2), [b, 1, 8, 8], align_corners=False)
    out = nn.functional.grid_sample(x[:, None], grid, align_corners=False)[:, 0]
    return out + 0.1 * torch.randn(out.shape, generator=g)
