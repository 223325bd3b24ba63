"""How to train: settings of the loop and of the recipe, checked and cast before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from workbench.errors import InputError, unknown
from workbench.objectives.recipes.base import RECIPES


@dataclass(frozen=True)
class Settings:
    """How to train, whatever the recipe; named `train.x` on the command line."""

    steps: int = 400
    batch: int = 256
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.1  # share of the steps
    dim: int = 128
    hidden: int = 256
    dropout: float = 0.2
    tower: str = "mlp"
    evaluate: int = 50  # steps between looks at the probe
    seed: int = 0
    clip: float = 0.0  # largest norm of the gradient; 0: any
    accumulate: int = 1  # batches whose gradients add up to one step
    chunk: int = 0  # rows embedded at once, where the batch does not fit: gradient caching; 0: all
    precision: str = "auto"  # 32-true, bf16-mixed, or auto: bfloat16 on CUDA
    freeze: str = ""  # towers that do not learn, comma between
    freeze_until: int = 0  # step from which they do; 0: never
    start: str = ""  # a run whose towers these start from: the stage before
    queue: int = 0  # rows of earlier batches that queries meet too, for infonce and gram
    teacher: str = "auto"  # inputs, start, ema, or what the recipe needs
    ema: float = 0.996  # momentum of the averaged teacher
    sampler: str = "shuffle"  # shuffle, balanced (by label), hard (nearest non-matches together)
    pairs: str = ""  # judged pairs (CSV: id, other, verdict): non-matches to part, or to set against each other
    label: str = ""  # column of the items for recipes and samplers that need one
    drop: float = 0.0  # chance that a modality of an item is left out of a batch; the anchor stays
    patience: int = 0  # looks without a better `watch` before stopping; 0: never
    watch: str = "probe_recall_at_1"


LEAST = {
    "steps": 1,
    "batch": 2,
    "lr": 0,
    "weight_decay": 0,
    "dim": 1,
    "hidden": 8,
    "evaluate": 1,
    "clip": 0,
    "accumulate": 1,
    "chunk": 0,
    "freeze_until": 0,
    "queue": 0,
    "patience": 0,
}
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
TEACHERS = ("auto", "inputs", "start", "ema", "none")
SAMPLERS = ("shuffle", "balanced", "hard")


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
    for key, least in LEAST.items():
        if not getattr(made, key) >= least:
            raise InputError(f"train.{key} must be at least {least}, not {getattr(made, key)}")
    for key in ("dropout", "drop", "warmup", "ema"):
        if not 0 <= getattr(made, key) <= 1 or (key in ("dropout", "drop") and getattr(made, key) == 1):
            raise InputError(f"train.{key} must be between 0 and 1, not {getattr(made, key)}")
    for what, value, known in (
        ("train.precision", made.precision, PRECISIONS),
        ("train.teacher", made.teacher, TEACHERS),
        ("train.sampler", made.sampler, SAMPLERS),
    ):
        if value not in known:
            raise unknown(what, value, known)
    return made, own | picked["objective."]


def _cast(key: str, value: Any, default: Any) -> Any:
    kind = type(default)
    if isinstance(value, str) and kind is bool and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if (kind is int and isinstance(value, float)) or (kind is bool) != isinstance(value, bool):
        raise InputError(f"{key} must be {kind.__name__}, such as {default}, not {value!r}")
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise InputError(f"{key} must be {kind.__name__}, such as {default}, not {value!r}") from None
