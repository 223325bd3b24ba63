"""A run in the tracker a team already uses: TensorBoard, MLflow, Weights & Biases.

An exporter reads the run's folder, so it serves every run: one of ours, a monitor's, one that is still in training.
What it has sent it remembers in the run, and sends only what is new the next time.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from workbench.diagnostics.scoped_name import ScopedName
from workbench.disk import write_text
from workbench.errors import InputError, unknown
from workbench.sets.fused import PLUS
from workbench.training.run import Run

REMEMBER = 200  # lines between notes of what was sent
POLL = 2.0  # seconds between looks at a run that is followed


class Tracker(Protocol):
    """Where lines go: `place` names it to the reader, `key` finds the same record there again."""

    place: str
    key: str

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Send the numbers of one step."""

    def event(self, step: int, name: str, sentence: str) -> None:
        """Send one sentence of the log."""

    def close(self, finished: bool) -> None:
        """End the record; `finished` says whether the run came to its end."""


@dataclass
class Sent:
    """What a run remembers of an export."""

    place: str = ""
    key: str = ""
    lines: int = 0


TRACKERS: dict[str, Callable[[Run, str, str], Tracker]] = {}


def tracker(f: type) -> type:
    """Register a tracker under its class's name in small letters."""
    TRACKERS[f.__name__.lower()] = f
    return f


@tracker
class TensorBoard:
    """Event files: `target` is their folder, by default inside the run; look with `tensorboard --logdir`."""

    def __init__(self, run: Run, target: str, key: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if not target:  # wherever the run is now
            place = run.path / "exports" / "tensorboard"
        elif key:
            place = Path(key)
        else:
            place = Path(target).absolute() / run.name
            while place.exists():  # another run of this name is there
                place = place.with_name(f"{place.name}'")
        self.place = self.key = str(place)
        self.writer = SummaryWriter(self.place)
        if not key:
            rows = "\n".join(f"    {k}: {v}" for k, v in settings(run).items())
            self.writer.add_text("config", rows, 0)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, x in values.items():
            self.writer.add_scalar(name, x, step)

    def event(self, step: int, name: str, sentence: str) -> None:
        self.writer.add_text(f"events/{name}", sentence, step)

    def close(self, finished: bool) -> None:
        self.writer.close()


@tracker
class MLflow:
    """`target` is a tracking URI, by default MLFLOW_TRACKING_URI, else a SQLite file inside the run."""

    def __init__(self, run: Run, target: str, key: str) -> None:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.tracking import MlflowClient

        self.Metric, self.Tag = Metric, RunTag
        own = run.path / "exports" / "mlflow.db"
        self.place = target or os.environ.get("MLFLOW_TRACKING_URI", "") or f"sqlite:///{own}"
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is not there is said soon
        self.client = MlflowClient(tracking_uri=self.place)
        found = self.client.get_experiment_by_name("workbench")
        experiment = found.experiment_id if found else self.client.create_experiment("workbench")
        self.key = key or self.client.create_run(experiment, run_name=run.name).info.run_id
        if not key:
            params = [Param(k, str(v)[:6000]) for k, v in settings(run).items()]
            self.client.log_batch(self.key, params=params)
        self.now = int(time.time() * 1000)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.client.log_batch(self.key, metrics=[self.Metric(k, x, self.now, step) for k, x in values.items()])

    def event(self, step: int, name: str, sentence: str) -> None:
        self.client.log_batch(self.key, tags=[self.Tag(f"event.{name}", f"step {step}: {sentence}"[:5000])])

    def close(self, finished: bool) -> None:
        if finished:
            self.client.set_terminated(self.key)


@tracker
class WandB:
    """`target` is a project. Nothing is uploaded unless WANDB_MODE=online; `wandb sync` sends it later."""

    def __init__(self, run: Run, target: str, key: str) -> None:
        import wandb

        folder = run.path / "exports"
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        if mode == "disabled":
            raise InputError("WANDB_MODE=disabled: nothing would be sent; unset it, or say offline or online")
        self.key = key or secrets.token_hex(4)
        self.run = wandb.init(
            project=target or "workbench",
            name=run.name,
            id=self.key,
            dir=folder,
            mode=mode,
            resume="allow" if key else None,
            config=settings(run),
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.run.define_metric("*", step_metric="training_step")
        self.place = str(Path(self.run.dir).parent if self.run.offline else self.run.url)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        # a step of our own: a run that went back to its checkpoint may count again what it counted before
        self.run.log({**values, "training_step": step})

    def event(self, step: int, name: str, sentence: str) -> None:
        self.run.summary[f"event.{name}"] = f"step {step}: {sentence}"

    def close(self, finished: bool) -> None:
        self.run.finish()


def export(run: Run, to: str, *, target: str = "", follow: bool = False) -> tuple[int, str]:
    """Send what is new in a run's log to a tracker; how many lines that were, and where they are.

    `follow` goes on until the run has finished; interrupted, it goes on the next time where it was.
    """
    if to not in TRACKERS:
        raise unknown("tracker", to, TRACKERS)
    folder = run.path / "exports"
    folder.mkdir(exist_ok=True)
    memory = folder / f"{to}.json"
    kept = _remembered(memory)
    sent = kept.setdefault(target, Sent())
    begun = sent.lines
    if not follow and len(run.metrics) <= begun:
        return 0, sent.place
    try:
        place = TRACKERS[to](run, target, sent.key)
        sent.place, sent.key = place.place, place.key
        try:
            for line in _new_lines(run, begun, follow):
                values = {tag(k): float(x) for k, x in line.items() if k != "step" and isinstance(x, int | float)}
                if values:
                    place.scalars(line["step"], values)
                if "event" in line:
                    place.event(line["step"], line["event"], line.get("sentence", ""))
                sent.lines += 1
                if follow or sent.lines % REMEMBER == 0:
                    _remember(memory, kept)
        finally:
            _remember(memory, kept)
            place.close(run.finished)
    except InputError:
        raise
    except ImportError:
        raise InputError(f"exporting to {to} needs it installed: pip install 'workbench[{to}]'") from None
    except Exception as e:  # the tracker's own errors are of every kind: one sentence for all
        said = next(iter(str(e).splitlines()), "") or type(e).__name__
        raise InputError(f"{to}: {said[:300]} (sent {sent.lines - begun} lines; the same command resumes)") from None
    return sent.lines - begun, sent.place


def _remembered(memory: Path) -> dict[str, Sent]:
    """What was sent, by target."""
    if not memory.exists():
        return {}
    try:
        return {target: Sent(**x) for target, x in json.loads(memory.read_text()).items()}
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"{memory}: not readable; remove it to export from the start") from None


def _remember(memory: Path, kept: Mapping[str, Sent]) -> None:
    write_text(memory, json.dumps({target: asdict(x) for target, x in kept.items()}, indent=1) + "\n")


def _new_lines(run: Run, start: int, follow: bool) -> Iterator[dict[str, Any]]:
    # a run that was killed logs the same lines again when it goes on, so their number is a place in the log
    while True:
        finished, lines = run.finished, run.metrics
        yield from lines[start:]
        start = max(start, len(lines))
        if finished or not follow:
            return
        time.sleep(POLL)


def settings(run: Run) -> dict[str, Any]:
    """The run's configuration, flat, as trackers want it."""
    flat = {k: v for k, v in run.config.items() if not isinstance(v, dict | list)}
    flat["modalities"] = ", ".join(run.config["modalities"])
    for part in ("train", "objective"):
        flat |= {f"{part}.{k}": v for k, v in run.config[part].items()}
    return flat


def tag(name: str) -> str:
    """`recall_at_1 text color+sketch` as a tag that every tracker takes: `recall_at_1/text-color.sketch`."""
    parsed = ScopedName.parse(name)
    tags = "/".join(x for x in (parsed.name, "-".join(parsed.scope).replace(PLUS, ".")) if x)
    return re.sub(r"/+", "/", re.sub(r"[^\w\-./]", "_", tags)).strip("/") or "_"
