"""`train`: settings checked, a loop made, a run left on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from workbench.errors import InputError, unknown
from workbench.objectives.recipes import RECIPES
from workbench.scan.device import resolve_device
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.shipped import load_data
from workbench.training.alone import Alone
from workbench.training.compatibility import lacking
from workbench.training.loop import Loop
from workbench.training.run import Run
from workbench.training.settings import sort_settings


def train(
    name: str,
    *,
    data: Any = "emoji",
    out: str | os.PathLike[str],
    modalities: Sequence[str] | None = None,
    resume: bool = False,
    device: str = "auto",
    devices: int = 1,
    own: Mapping[str, nn.Module] | None = None,
    **settings: Any,
) -> Run:
    """Train towers over a set with a recipe, and leave a run on disk: metrics, snapshots of the probe, checkpoints.

    `modalities` chooses and orders them; the first is the anchor. Other settings are those of `Settings` and of the
    recipe, by bare name where that is unique (`steps=500`, `temperature=0.05`), else as `train.x` or `objective.x`.
    The set is split by its column `split`, or 70/15/15 by family; the probe is the validation split, test is not
    touched. The same seed gives the same run; `resume=True` goes on from the last checkpoint to the same result.
    `devices` above 1 starts as many processes, which share each batch and see all of it in the loss. `own` modules
    take the place of named towers: `{"image": my_module}`, from the modality's rows to `dim` numbers.

    >>> import tempfile
    >>> import workbench as wb
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = train("infonce", data=wb.testing.planted(items=80), out=f"{folder}/run", steps=2, batch=8)
    ...     sorted(run.snapshots)
    [0, 2]
    """
    es = load_data(data)
    if es.layers:
        raise InputError(f"{es.source}: its rows have layers; train on one of them, es.layer(k)")
    config = configured(name, es, data, modalities, settings)
    for m in own or {}:
        if m not in config["modalities"]:
            raise unknown("modality of an own tower", m, config["modalities"])
    if own:
        config["own"] = {m: type(x).__name__ for m, x in own.items()}
    if why := lacking(RECIPES[name], config["modalities"], config["train"]["label"]):
        raise InputError(f"recipe {name} needs {why}; 'workbench catalog fits' says which recipe fits which data")
    if devices < 1:
        raise InputError(f"devices must be 1 or more, not {devices}")
    at = resolve_device(device)
    fabric = _fabric(at, devices, config["train"]["precision"])
    loop = Loop(es, config, fabric, own)  # what cannot be trained leaves no folder behind
    run = Run.begin(Path(out), config, resume=resume) if fabric.is_global_zero else None
    fabric.barrier()
    run = run or Run(out)
    try:
        loop.go(run)
    except KeyboardInterrupt:
        kept = max(run.checkpoints, default=None)
        if kept is not None:
            print(f"interrupted: {run.path} goes on from step {kept} with resume (resume=True, --resume)", flush=True)
        raise
    fabric.barrier()
    return run


def _fabric(device: torch.device, devices: int, precision: Any) -> Any:
    """What carries the steps out: one process in float32 needs nobody for that."""
    if precision == "auto":  # on CUDA the towers run in bfloat16; objectives always see float32
        precision = "bf16-mixed" if device.type == "cuda" else "32-true"
    if devices == 1 and precision == "32-true":
        return Alone(device)
    from lightning_fabric import Fabric

    fabric = Fabric(
        accelerator="cuda" if device.type == "cuda" else "cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=precision,
    )
    if devices > 1:
        fabric.launch()
    return fabric


def configured(
    name: str, es: EmbeddingSet, data: Any, modalities: Sequence[str] | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What a run's config.yaml says, from what was asked for."""
    train_settings, objective_settings = sort_settings(name, settings)
    for m in modalities or ():
        if m not in es:
            raise unknown("modality", m, es.modalities)
    return {
        "recipe": name,
        "data": str(data) if isinstance(data, str | os.PathLike) else es.source,
        "fingerprint": es.fingerprint,
        "modalities": list(modalities or es.modalities),
        "train": asdict(train_settings),
        "objective": objective_settings,
    }
