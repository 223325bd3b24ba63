"""How to train: settings of the loop and of the recipe, checked and cast before anything starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from workbench.errors import InputError, unknown
from workbench.objectives.recipes.base import RECIPES
from workbench.sets.run_folder import RECALL


def at_least(least: float, default: Any) -> Any:
    """A number with a lower bound."""
    return field(default=default, metadata={"least": least})


def share(default: float, *, below_one: bool = False) -> Any:
    """A number from 0 to 1, or below 1."""
    return field(default=default, metadata={"below_one": below_one})


def one_of(*choices: str) -> Any:
    """One of some words; the first is the default."""
    return field(default=choices[0], metadata={"choices": choices})


@dataclass(frozen=True)
class Settings:
    """How to train, whatever the recipe; named `train.x` on the command line."""

    steps: int = at_least(1, 400)
    batch: int = at_least(2, 256)
    lr: float = at_least(0, 1e-3)
    weight_decay: float = at_least(0, 0.05)
    warmup: float = share(0.1)  # share of the steps
    dim: int = at_least(1, 128)
    hidden: int = at_least(8, 256)
    dropout: float = share(0.2, below_one=True)
    tower: str = "mlp"
    evaluate: int = at_least(1, 50)  # steps between looks at the probe
    seed: int = 0
    clip: float = at_least(0, 0.0)  # largest norm of the gradient; 0: any
    accumulate: int = at_least(1, 1)  # batches whose gradients add up to one step
    chunk: int = at_least(0, 0)  # rows embedded at once, where the batch does not fit: gradient caching; 0: all
    precision: str = one_of("auto", "32-true", "bf16-mixed", "16-mixed")  # auto: bfloat16 on CUDA
    freeze: str = ""  # towers that do not learn, comma between
    freeze_until: int = at_least(0, 0)  # step from which they do; 0: never
    start: str = ""  # a run whose towers these start from: the stage before
    queue: int = at_least(0, 0)  # rows of earlier batches that queries meet too, for recipes with a queue
    teacher: str = one_of("auto", "inputs", "start", "ema", "none")  # auto: what the recipe needs
    ema: float = share(0.996)  # momentum of the averaged teacher
    sampler: str = one_of("shuffle", "balanced", "hard")  # balanced: by label; hard: nearest non-matches together
    pairs: str = ""  # judged pairs (CSV: id, other, verdict): non-matches to part, or to set against each other
    leave_out: str = ""  # a file of ids whose items are not trained on; the probe keeps its items
    keep: str = ""  # a file of ids: only these are trained on
    label: str = ""  # column of the items for recipes and samplers that need one
    drop: float = share(0.0, below_one=True)  # chance that a modality of an item, but the anchor, leaves a batch
    patience: int = at_least(0, 0)  # looks without a better `watch` before stopping; 0: never
    watch: str = RECALL  # a metric of the looks that has a better end


def sort_settings(name: str, settings: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Settings by bare or full name, checked and cast: those of the loop, and those of the recipe."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    own = RECIPES[name].settings
    allowed = {f"train.{f.name}": f.default for f in fields(Settings)}
    allowed |= {f"objective.{k}": x for k, x in own.items()}
    out: dict[str, Any] = {}
    for key, value in settings.items():
        full = [key] if "." in key else [k for k in allowed if k.split(".", 1)[1] == key]
        if len(full) > 1:
            raise InputError(f"setting {key!r} is not unique: say {' or '.join(full)}")
        if not full or full[0] not in allowed:
            bare = key.split(".", 1)[-1]
            raise unknown(
                "setting", bare if not full else key, [k.split(".", 1)[1] for k in allowed] if not full else allowed
            )
        out[full[0]] = _cast(full[0], value, allowed[full[0]])
    picked = {p: {k.split(".", 1)[1]: v for k, v in out.items() if k.startswith(p)} for p in ("train.", "objective.")}
    made = Settings(**picked["train."])
    for f in fields(made):
        _check(f, getattr(made, f.name))
    return made, own | picked["objective."]


def _check(f: Field[Any], value: Any) -> None:
    """Raise `InputError` where a setting of the loop is outside of what its field allows."""
    what, known = f"train.{f.name}", f.metadata
    if "least" in known and not value >= known["least"]:
        raise InputError(f"{what} must be at least {known['least']}, not {value}")
    if "below_one" in known and (not 0 <= value <= 1 or (known["below_one"] and value == 1)):
        raise InputError(f"{what} must be between 0 and 1, not {value}")
    if "choices" in known and value not in known["choices"]:
        raise unknown(what, value, known["choices"])


def _cast(key: str, value: Any, default: Any) -> Any:
    kind = type(default)
    if isinstance(value, str) and kind is bool and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if kind is str and not isinstance(value, str):
        raise InputError(f"{key} must be text, not {value!r}: put it in quotes")
    if (kind is int and isinstance(value, float)) or (kind is bool) != isinstance(value, bool):
        raise InputError(f"{key} must be {kind.__name__}, such as {default}, not {value!r}")
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise InputError(f"{key} must be {kind.__name__}, such as {default}, not {value!r}") from None
