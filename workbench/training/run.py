"""A run on disk: config.yaml, metrics.jsonl, snapshots/ (sets), checkpoints/*.safetensors, reports/."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from torch import Tensor

from workbench.doctor import Finding, examine_run
from workbench.embeddings import EmbeddingSet, read_safetensors
from workbench.errors import InputError
from workbench.files import write_text
from workbench.report import Report

STOPPED = "early_stop"  # the event that ends a run before its last step
KEPT = 2  # checkpoints: the newest, and the one before in case the newest was cut short


class Run:
    """A folder that training writes and everything else reads, while it is written or years after.

    >>> import tempfile
    >>> import workbench as wb
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = wb.train("infonce", data=wb.testing.planted(items=80), out=f"{folder}/run", steps=2, batch=8)
    ...     Run(made.path).steps
    2
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._seen: tuple[int, int] | None = None  # time and size of the log whose lines are known
        self._lines: list[dict[str, Any]] = []
        self._whole = False  # whether the log is known to end with a whole line
        if not (self.path / "config.yaml").exists():
            raise InputError(f"{path}: no run here (no config.yaml); make one with 'workbench train'")

    @classmethod
    def begin(cls, out: Path, config: Mapping[str, Any], *, resume: bool = False) -> Run:
        """A new folder with this configuration, or the old one where the run may go on."""
        file = out / "config.yaml"
        for place in out.absolute().parents:
            if place.exists() and not place.is_dir():
                raise InputError(f"{out}: {place} is a file, not a folder")
        if file.exists():
            if not resume:
                raise InputError(
                    f"{out}: a run is here already; go on with resume (--resume), or choose another folder"
                )
            cls(out).check_same(config)
        elif resume:
            raise InputError(f"{out}: no run here to resume (no config.yaml); leave --resume out to start one")
        elif out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out}: exists and is no run; choose another folder, nothing was written")
        write_text(file, yaml.safe_dump(dict(config), sort_keys=False))
        for folder in ("snapshots", "checkpoints", "reports"):
            (out / folder).mkdir(exist_ok=True)
        return cls(out)

    def check_same(self, config: Mapping[str, Any]) -> None:
        """A run goes on, or is taken for the one asked for, only if nothing of its configuration differs."""
        changed = [k for k in config if config[k] != self.config.get(k)]
        if changed:
            raise InputError(
                f"{self.path}: cannot resume, {', '.join(changed)} differ from the run's config.yaml; "
                "choose another folder"
            )

    def __repr__(self) -> str:
        return f"Run({self.path}: {self.config['recipe']}, {self.steps} of {self.config['train']['steps']} steps)"

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @cached_property
    def config(self) -> dict[str, Any]:
        try:
            config = yaml.safe_load((self.path / "config.yaml").read_text())
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
        file = self.path / "metrics.jsonl"
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
    def steps(self) -> int:
        """The last step that was logged."""
        return max((m["step"] for m in self.metrics), default=0)

    @property
    def finished(self) -> bool:
        """Whether training came to its end: all steps, or an early stop."""
        lines = self.metrics
        stopped = any(m.get("event") == STOPPED for m in lines)
        return stopped or max((m["step"] for m in lines), default=0) >= self.config["train"]["steps"]

    def log(self, **values: Any) -> None:
        """Append a line; the rest of one that a crash cut short is taken away first."""
        file = self.path / "metrics.jsonl"
        if not self._whole:
            text = file.read_bytes() if file.exists() else b""
            if text and not text.endswith(b"\n"):
                with file.open("r+b") as f:
                    f.truncate(text.rfind(b"\n") + 1)
            self._whole = True
        with file.open("a") as f:
            f.write(json.dumps(values) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop what was logged after a checkpoint: the resumed run logs it again, and the same."""
        kept = [json.dumps(m) for m in self.metrics if m["step"] <= step]
        write_text(self.path / "metrics.jsonl", "\n".join(kept) + "\n" if kept else "")

    @property
    def findings(self) -> list[Finding]:
        """What the doctor says of the metrics so far."""
        from workbench.objectives.recipes import RECIPES

        entry = RECIPES.get(self.config["recipe"])  # none for a run that somebody else's loop wrote
        guess = entry.guess(self.config["train"]["batch"]) if entry and entry.guess else None
        return examine_run(self.metrics, guess)

    # -- snapshots -------------------------------------------------------------------------------------------------

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
        return EmbeddingSet.load(have[step])

    def keep_snapshot(self, step: int, es: EmbeddingSet) -> None:
        es.save(self.path / "snapshots" / f"step-{step:06d}")

    # -- checkpoints -----------------------------------------------------------------------------------------------

    @property
    def checkpoints(self) -> dict[int, Path]:
        found = sorted((self.path / "checkpoints").glob("step-*.safetensors"))
        return {int(p.stem.removeprefix("step-")): p for p in found}

    def keep_checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        """Tensors of a nested state as one safetensors file, written whole or not at all; old ones go."""
        from safetensors.torch import save_file

        folder = self.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        tensors, plain = {}, {}
        for key, x in _flat(state):
            if isinstance(x, Tensor):
                tensors[key] = x.detach().cpu().contiguous().clone()  # towers may share a module
            else:
                plain[key] = x
        staging = folder / f".step-{step:06d}.writing"
        save_file(tensors, staging, metadata={"plain": json.dumps(plain)})
        os.replace(staging, folder / f"step-{step:06d}.safetensors")
        for old in sorted(self.checkpoints)[:-KEPT]:
            self.checkpoints[old].unlink()

    def checkpoint(self) -> tuple[int, dict[str, Any]] | None:
        """The newest readable checkpoint: step and state."""
        from safetensors import safe_open

        for step, file in sorted(self.checkpoints.items(), reverse=True):
            try:
                tensors = read_safetensors(file)
                with safe_open(file, framework="pt") as f:
                    plain = json.loads(f.metadata()["plain"])
            except (InputError, ValueError, KeyError, TypeError):
                continue
            # own memory: the file may be replaced while the run goes on
            return step, _nested({k: x.clone() for k, x in tensors.items()} | plain)
        return None

    @property
    def items(self) -> pd.DataFrame:
        """The items the run was trained on, with their drawings; where the data have moved, the probe's without."""
        from workbench.datasets import load_data

        try:
            return load_data(self.config["data"]).items
        except InputError:
            return self.snapshot().items

    # -- reports ---------------------------------------------------------------------------------------------------

    def report(self, split: str = "validation") -> Report:
        """The saved report on a split, made now if it is not there; each look at test is counted."""
        from workbench.diagnostics.suite import diagnose
        from workbench.training.probe import embed

        place = self.path / "reports" / split
        if (place / "report.json").exists():
            return Report.load(place)
        es = self.snapshot() if split == "validation" else embed(self, split)
        report = diagnose(es)
        report.about |= {
            "run": self.name,
            "recipe": self.config["recipe"],
            "steps": self.steps,
            "seed": self.config["train"]["seed"],
            "split_read": split,
            "test_reads": self.test_reads,
        }
        report.save(place)
        return report

    def count_test_read(self) -> None:
        with (self.path / "test_reads.jsonl").open("a") as f:
            f.write(json.dumps({"step": self.steps}) + "\n")

    @property
    def test_reads(self) -> int:
        """How often the test split was embedded and diagnosed."""
        file = self.path / "test_reads.jsonl"
        return len(file.read_text().splitlines()) if file.exists() else 0


def _flat(state: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, x in state.items():
        if isinstance(x, Mapping):
            yield from _flat(x, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", x


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, x in flat.items():
        *path, last = key.split("/")
        here = out
        for part in path:
            here = here.setdefault(part, {})
        here[last] = x
    return out


def runs(paths: list[Path]) -> list[Run]:
    """The runs among these folders, and in the folders below them."""
    found = []
    for path in paths:
        if (path / "config.yaml").exists():
            found.append(Run(path))
        elif path.is_dir():
            found += [Run(p.parent) for p in sorted(path.glob("*/config.yaml"))]
    if not found:
        raise InputError(f"no run in {', '.join(map(str, paths))}; make one with 'workbench demo' or 'workbench train'")
    return found
