"""The loop: load, split, train, evaluate on a fixed probe, log, snapshot, checkpoint; readable top to bottom."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from workbench.embeddings import EmbeddingSet
from workbench.errors import InputError, unknown
from workbench.formats import as_set
from workbench.fused import PLUS
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import COLDEST, Objective, recipe
from workbench.plan import resolve_device
from workbench.progress import progress
from workbench.report import write_text
from workbench.training import towers
from workbench.training.run import Run

PROBED = ("recall_at_1", "modality_gap", "alignment", "uniformity", "effective_rank", "gramian_volume")
LOG_EVERY = 10  # steps between lines of the training loss
SPLIT = {"train": 0.7, "validation": 0.15, "test": 0.15}


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


def train(
    name: str,
    *,
    data: Any = "emoji",
    out: str | os.PathLike[str],
    modalities: Sequence[str] | None = None,
    resume: bool = False,
    device: str = "auto",
    **settings: Any,
) -> Run:
    """Train towers over a set with a recipe, and leave a run on disk: metrics, snapshots of the probe, checkpoints.

    `modalities` chooses and orders them; the first is the anchor. Other settings are those of `Settings` and of the
    recipe, by bare name where that is unique (`steps=500`, `temperature=0.05`), else as `train.x` or `objective.x`.
    The set is split by its column `split`, or 70/15/15 by family; the probe is the validation split, test is not
    touched. The same seed gives the same run; `resume=True` goes on from the last checkpoint to the same result.
    """
    es = load_data(data)
    train_settings, objective_settings = sort_settings(name, settings)
    chosen = tuple(modalities or es.modalities)
    config = {
        "recipe": name,
        "data": str(data) if isinstance(data, str | os.PathLike) else es.source,
        "fingerprint": es.fingerprint,
        "modalities": list(chosen),
        "train": asdict(train_settings),
        "objective": objective_settings,
    }
    run = _open(Path(out), config, resume)
    loop = _Loop(run, es, config, device)
    loop.go()
    return run


class _Loop:
    """Everything a step needs, in one place."""

    def __init__(self, run: Run, es: EmbeddingSet, config: Mapping[str, Any], device: str) -> None:
        self.run, self.device = run, resolve_device(device)
        self.settings = s = Settings(**config["train"])
        torch.manual_seed(s.seed)
        es = with_splits(es)
        self.kinds = _kinds(s.tower, config["modalities"])
        self.train_inputs = towers.inputs(es.split("train"), self.kinds)
        self.probe = es.split("validation")
        self.probe_inputs = towers.inputs(self.probe, self.kinds)
        self.model = towers.build(self.kinds, self.train_inputs, s.dim, s.hidden, s.dropout).to(self.device)
        self.objective: Objective = recipe(config["recipe"], **config["objective"]).to(self.device)
        self.count = len(next(iter(self.train_inputs.values())))
        self.batch = min(s.batch, self.count)
        weights = [p for p in self.model.parameters() if p.requires_grad]
        learned = [p for p in self.objective.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [{"params": weights, "weight_decay": s.weight_decay}, {"params": learned, "weight_decay": 0.0}], lr=s.lr
        )
        # on CUDA the towers run in bfloat16; objectives always see float32
        self.autocast = (
            torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else contextlib.nullcontext()
        )

    def go(self) -> None:
        start = self._restore()
        if start == 0:
            self._evaluate(0, {"loss": float(self._loss(0)["loss"].detach())})
        s = self.settings
        self.model.train()
        for step in progress(range(start + 1, s.steps + 1), f"train {self.run.name}", s.steps - start):
            lr = s.lr * schedule(step, s.steps, s.warmup)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            parts = self._loss(step)
            if not bool(parts["loss"].isfinite()):
                raise InputError(
                    f"{self.run.path}: the loss is {float(parts['loss'].detach())} at step {step}; lower train.lr or "
                    "raise the temperature"
                )
            self.optimizer.zero_grad(set_to_none=True)
            parts["loss"].backward()
            self.optimizer.step()
            at_probe = step % s.evaluate == 0 or step == s.steps
            if step % LOG_EVERY == 0 or at_probe:
                values = {k: float(x.detach()) for k, x in parts.items()}
                values |= {"temperature": float(self.objective.temperature.detach()), "lr": lr}
                if self.objective.log_temperature.requires_grad:
                    values["temperature_least"] = COLDEST
                if at_probe:
                    self._evaluate(step, values)
                else:
                    self.run.log(step=step, **values)

    def _loss(self, step: int) -> dict[str, Tensor]:
        index = batch_index(step, self.count, self.batch, self.settings.seed)
        with self.autocast:
            out = self.model({m: x[index].to(self.device) for m, x in self.train_inputs.items()})
        return self.objective(Batch({m: x.float() for m, x in out.items()}))

    def _evaluate(self, step: int, values: dict[str, float]) -> None:
        """Embed the probe, measure it, keep it, and only then log: a line in the log has its snapshot."""
        from workbench.diagnostics.suite import diagnose

        es = self._embed(self.probe, self.probe_inputs)
        report = diagnose(es, only=PROBED, device=str(self.device))
        self.run.keep_snapshot(step, es)
        single = ~report.frame["modalities"].map(lambda m: PLUS in m[0])
        hits = report.frame[(report.frame["name"] == "recall_at_1") & single]
        values = values | {
            "probe_recall_at_1": float(hits["value"].mean()),
            "probe_chance_high": float(hits["null_high"].max()),
        }
        for row in report.frame.to_dict("records"):
            if row["reason"] is None and math.isfinite(row["value"]):
                values[f"{row['name']} {' '.join(row['modalities'])}"] = row["value"]
        self.run.log(step=step, **values)
        self.run.keep_checkpoint(step, self._state())

    def _embed(self, es: EmbeddingSet, inputs: Mapping[str, Tensor]) -> EmbeddingSet:
        self.model.eval()
        out = forward(self.model, inputs, self.device, self.autocast)
        self.model.train()
        light = es.items[[c for c in es.items if not c.endswith("_png")]]
        return EmbeddingSet(out, light, source=str(self.run.path))

    def _state(self) -> dict[str, Any]:
        optimizer = self.optimizer.state_dict()
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": {str(k): v for k, v in optimizer["state"].items()},
            "random": {"cpu": torch.get_rng_state()},
        }
        if self.device.type == "cuda":
            state["random"]["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def _restore(self) -> int:
        found = self.run.checkpoint()
        if found is None:
            self.run.forget_after(-1)
            return 0
        step, state = found
        self.model.load_state_dict(state["model"])
        self.objective.load_state_dict(state["objective"])
        groups = self.optimizer.state_dict()["param_groups"]
        kept = {int(k): v for k, v in state.get("optimizer", {}).items()}
        self.optimizer.load_state_dict({"state": kept, "param_groups": groups})
        torch.set_rng_state(state["random"]["cpu"])
        if "cuda" in state["random"] and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)
        self.run.forget_after(step)
        return step


def forward(model: nn.Module, inputs: Mapping[str, Tensor], device: torch.device, autocast: Any) -> dict[str, Tensor]:
    """All rows through the towers, a thousand at a time, as float32 on the CPU."""
    count, out = len(next(iter(inputs.values()))), []
    with torch.inference_mode(), autocast:
        for a in range(0, count, 1024):
            out.append(
                {
                    m: x.float().cpu()
                    for m, x in model({m: x[a : a + 1024].to(device) for m, x in inputs.items()}).items()
                }
            )
    return {m: torch.cat([o[m] for o in out]).clone() for m in inputs}


def embed(run: Run, split: str, data: Any = None) -> EmbeddingSet:
    """The items of a split through the towers of a run's last checkpoint."""
    found = run.checkpoint()
    if found is None:
        raise InputError(f"{run.path}: no checkpoint to embed with; train first")
    es = with_splits(load_data(run.config["data"] if data is None else data))
    if es.fingerprint != run.config["fingerprint"]:
        raise InputError(f"{run.path}: was trained on data {run.config['fingerprint']}, this is {es.fingerprint}")
    s = Settings(**run.config["train"])
    kinds = _kinds(s.tower, run.config["modalities"])
    part = es.split(split)
    inputs = towers.inputs(part, kinds)
    model = towers.build(kinds, inputs, s.dim, s.hidden, s.dropout)
    model.load_state_dict(found[1]["model"])
    model.eval()
    out = forward(model, inputs, torch.device("cpu"), contextlib.nullcontext())
    light = part.items[[c for c in part.items if not c.endswith("_png")]]
    return EmbeddingSet(out, light, source=f"{run.path} ({split})")


def batch_index(step: int, count: int, batch: int, seed: int) -> Tensor:
    """The items of a step's batch: a fresh order every epoch, known from seed and step alone, so resuming is exact."""
    per_epoch = count // batch
    epoch, within = divmod(max(step - 1, 0), per_epoch)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
    return order[within * batch : (within + 1) * batch]


def schedule(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up, then half a cosine down to zero; the factor of the learning rate at a step."""
    rise = max(1, round(warmup * steps))
    if step <= rise:
        return step / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def sort_settings(name: str, settings: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Settings by bare or full name, checked and cast: those of the loop, and those of the recipe."""
    allowed = {f"train.{f.name}": f.default for f in fields(Settings)}
    allowed |= {f"objective.{k}": x for k, x in recipe(name).entry.settings.items()}
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
    return Settings(**picked["train."]), recipe(name).entry.settings | picked["objective."]


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


def with_splits(es: EmbeddingSet) -> EmbeddingSet:
    """The set as it is if it has splits, else with 70/15/15 by family, the same on every machine."""
    if "split" in es.items:
        return es
    from workbench.datasets import split_of

    keys = es.items["family"] if "family" in es.items else es.items["id"]
    items = es.items.assign(split=[split_of(str(k), SPLIT) for k in keys])
    return EmbeddingSet({m: es[m] for m in es.modalities}, items, rows=es._rows, source=es.source)


def _kinds(spec: str, modalities: Sequence[str]) -> dict[str, str]:
    """`mlp` for all, or `cnn:color,sketch` for some with mlp for the rest."""
    kind, _, named = spec.partition(":")
    chosen = named.split(",") if named else list(modalities)
    for m in chosen:
        if m not in modalities:
            raise unknown("modality in train.tower", m, modalities)
    return {m: kind if m in chosen else "mlp" for m in modalities}


def load_data(data: Any) -> EmbeddingSet:
    """A shipped set by name, or whatever a path or a mapping holds."""
    from workbench.datasets import DATASETS, dataset

    if isinstance(data, str) and data in DATASETS and not Path(data).exists():
        return dataset(data)
    return as_set(data)


def _open(out: Path, config: dict[str, Any], resume: bool) -> Run:
    """A new folder, or the old one where the run may go on."""
    file = out / "config.yaml"
    if file.exists():
        if not resume:
            raise InputError(f"{out}: a run is here already; go on with resume (--resume), or choose another folder")
        old = Run(out).config
        changed = [k for k in config if config[k] != old.get(k)]
        if changed:
            raise InputError(f"{out}: cannot resume, {', '.join(changed)} differ from the run's config.yaml")
    elif out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: exists and is no run; choose another folder, nothing was written")
    write_text(file, yaml.safe_dump(config, sort_keys=False))
    for folder in ("snapshots", "checkpoints", "reports"):
        (out / folder).mkdir(exist_ok=True)
    return Run(out)
