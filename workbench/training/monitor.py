"""Watch somebody else's training: the same run folder, metrics and snapshots, from three lines in any loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from torch import Tensor

from workbench.disk import write_text
from workbench.errors import InputError
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.run_folder import CONFIG, is_run
from workbench.training.probe import moved, probed
from workbench.training.run import Run


class Monitor:
    """Writes a run that the dashboard, the doctor and the reports read like one of ours.

    ```python
    monitor = Monitor("runs/mine", steps=10_000)
    monitor.log(step, loss=loss)                                  # any scalars, as often as you like
    monitor.look(step, {"image": z_image, "text": z_text}, ids)   # the probe's embeddings, now and then
    ```

    On several ranks let one write. A folder that holds a run is resumed, not overwritten: later steps are added.
    """

    def __init__(self, path: str | os.PathLike[str], *, steps: int, name: str = "external", seed: int = 0) -> None:
        out = Path(path)
        config = {
            "recipe": name,
            "data": "",
            "fingerprint": "",
            "modalities": [],
            "train": {"steps": steps, "seed": seed, "batch": 0},
            "objective": {},
        }
        begun = is_run(out)
        self.run = Run(out) if begun else Run.begin(out, config)
        if begun and self.run.config["train"]["steps"] != steps:  # a training that was made longer
            self.run.config["train"]["steps"] = steps
            write_text(out / CONFIG, yaml.safe_dump(self.run.config, sort_keys=False))

    def log(self, step: int, /, **metrics: Any) -> None:
        """One line of scalars; tensors of one element are read off."""
        self.run.log(step=step, **_numbers(metrics))

    def look(self, step: int, modalities: Mapping[str, Tensor], ids: Any = None, /, **metrics: Any) -> dict[str, float]:
        """Keep the probe's embeddings at a step, measure them, log both; row i of each modality is the same item."""
        frame = None if ids is None else pd.DataFrame({"id": [str(i) for i in ids]})
        vectors = {m: x.detach().float().cpu() for m, x in modalities.items()}
        es = EmbeddingSet(vectors, frame, source=str(self.run.path))
        values = probed(es) | moved(self.run, step, es)
        self.run.keep_snapshot(step, es)
        self.run.log(step=step, **_numbers(metrics), **values)
        return values


RESERVED = ("step", "event", "severity", "sentence")  # words of the log itself


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {f"{k}_" if k in RESERVED else k: _number(k, v) for k, v in metrics.items()}


def _number(name: str, value: Any) -> float:
    if isinstance(value, Tensor):
        value = value.detach().float().item() if value.numel() == 1 else None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"Monitor: metric {name!r} must be one number, not {value!r}") from None


Look = Callable[[], tuple[Mapping[str, Tensor], Any]]


def lightning_callback(monitor: Monitor, look: Look, every: int = 100) -> Any:
    """A callback for Lightning's Trainer: logged metrics every `every` steps, and a look at the probe.

    `look()` gives the probe's embeddings and ids: run your towers over it in there, without a gradient.
    """
    from importlib import import_module

    for module in ("lightning.pytorch", "pytorch_lightning"):
        try:
            base = import_module(module).Callback
            break
        except ImportError:
            continue
    else:
        raise InputError("lightning_callback needs Lightning: pip install lightning")

    class Watch(base):  # type: ignore[misc, valid-type]
        looked = 0

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            step = trainer.global_step
            # with accumulated gradients several batches end at the same step
            if not trainer.is_global_zero or step in (0, self.looked) or step % every:
                return
            self.looked = step
            metrics = {k: v for k, v in trainer.callback_metrics.items() if getattr(v, "numel", lambda: 1)() == 1}
            _look(monitor, look, step, metrics)

    return Watch()


def transformers_callback(monitor: Monitor, look: Look, every: int = 100) -> Any:
    """A callback for the Trainer of transformers and of sentence-transformers; see `lightning_callback`."""
    try:
        from transformers import TrainerCallback
    except ImportError:
        raise InputError("transformers_callback needs transformers: pip install transformers") from None

    class Watch(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if state.is_world_process_zero and logs:
                numbers = {k: v for k, v in logs.items() if isinstance(v, int | float)}
                monitor.log(state.global_step, **numbers)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.is_world_process_zero and state.global_step % every == 0:
                _look(monitor, look, state.global_step, {})

    return Watch()


def _look(monitor: Monitor, look: Look, step: int, metrics: Mapping[str, Any]) -> None:
    with torch.no_grad():
        vectors, ids = look()
    monitor.look(step, vectors, ids, **metrics)
