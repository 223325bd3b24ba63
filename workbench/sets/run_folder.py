"""The folder of a run, as whoever reads it sees it; training writes it (`workbench.training.run`).

`config.yaml`, `metrics.jsonl` (a line a logged step), `snapshots/step-…` (sets: the probe's embeddings),
`checkpoints/step-….safetensors`, `reports/SPLIT/`, `test_reads.jsonl`; and, of people who looked at it, `selections/`
and `judgements/`.
"""

from __future__ import annotations

import json
import os
import stat
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.sets.embeddings import EmbeddingSet

CONFIG, LOG = "config.yaml", "metrics.jsonl"
RECALL, CHANCE = "probe_recall_at_1", "probe_chance_high"  # a line of the log with these is a look at the probe
RELATIVES = "batch_relatives"  # at the first look: share of a batch's items with another of their family in it
MOVED = "moved"  # of a modality: how far its rows have turned since the look before
STOPPED = "early_stop"  # the event that ends a run before its last step
# what a person may say of a pair, in judgements/pairs.csv
VERDICTS = WRONG, FALSE_NEGATIVE, DUPLICATE = "wrong", "false negative", "duplicate"


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether a path is the folder of a run."""
    return begun(path) is not None


def begun(path: str | os.PathLike[str]) -> int | None:
    """When the run in a folder was begun, in nanoseconds; nothing where there is none. One look at a file."""
    try:
        seen = os.stat(os.path.join(path, CONFIG))
    except (OSError, ValueError):  # a name that no file can have is not there either
        return None
    return seen.st_mtime_ns if stat.S_ISREG(seen.st_mode) else None


class RunFolder:
    """A run on disk, to be read while it is written or years after.

    Raises `InputError` where there is no run, or its configuration is none.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._seen: tuple[int, int] | None = None  # time and size of the log whose lines are known
        self._lines: list[dict[str, Any]] = []
        if not is_run(self.path):
            raise InputError(f"{path}: no run here (no config.yaml); make one with 'workbench train'")

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.path.resolve().name

    @cached_property
    def config(self) -> dict[str, Any]:
        """What was asked for; raises `InputError` where the file is no configuration."""
        try:
            config = yaml.safe_load((self.path / CONFIG).read_text())
            config["recipe"], config["train"]["steps"], config["modalities"]
        except (yaml.YAMLError, KeyError, TypeError):
            raise InputError(f"{self.path / 'config.yaml'}: not the configuration of a run") from None
        return config

    # -- metrics ---------------------------------------------------------------------------------------------------

    def curve(self, name: str) -> list[float]:
        """One number of the log over the steps at which it was logged."""
        return [m[name] for m in self.metrics if name in m]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Every line of metrics.jsonl; a last line that was cut short is passed over."""
        file = self.path / LOG
        if not file.exists():
            return []
        stat = file.stat()
        if (seen := (stat.st_mtime_ns, stat.st_size)) == self._seen:
            return list(self._lines)
        out = []
        for line in file.read_text().splitlines():
            try:
                out.append(json.loads(line))
            except ValueError:
                break
        self._seen, self._lines = seen, out
        return list(out)

    @property
    def looks(self) -> list[dict[str, Any]]:
        """The lines of the log that tell of a look at the probe."""
        return [m for m in self.metrics if RECALL in m]

    @property
    def steps(self) -> int:
        """The last step that was logged."""
        return max((m["step"] for m in self.metrics), default=0)

    @property
    def finished(self) -> bool:
        """Whether training came to its end: all steps, or an early stop."""
        lines = self.metrics
        stopped = any(m.get("event") == STOPPED for m in lines)
        return stopped or max((m["step"] for m in lines), default=0) >= self.config["train"]["steps"]

    # -- what it left ----------------------------------------------------------------------------------------------

    @property
    def snapshots(self) -> dict[int, Path]:
        """The probe's embeddings by step."""
        found = (self.path / "snapshots").glob("step-*")
        return {int(p.name.removeprefix("step-")): p for p in sorted(found) if (p / "manifest.json").exists()}

    def snapshot(self, step: int | None = None) -> EmbeddingSet:
        """The probe as embedded at a step, by default the last."""
        have = self.snapshots
        if not have:
            raise InputError(f"{self.path}: no snapshot yet; train a little further")
        step = max(have) if step is None else step
        if step not in have:
            raise InputError(f"{self.path}: no snapshot at step {step}; there are {', '.join(map(str, have))}")
        from workbench.sets.embeddings import EmbeddingSet

        return EmbeddingSet.load(have[step])

    @property
    def checkpoints(self) -> dict[int, Path]:
        """The files of saved states by step."""
        found = sorted((self.path / "checkpoints").glob("step-*.safetensors"))
        return {int(p.stem.removeprefix("step-")): p for p in found}

    @property
    def test_reads(self) -> int:
        """How often the test split was embedded and diagnosed."""
        file = self.path / "test_reads.jsonl"
        return len(file.read_text().splitlines()) if file.exists() else 0
