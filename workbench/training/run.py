"""A run on disk: config.yaml, metrics.jsonl, snapshots/ (sets), checkpoints/*.safetensors, reports/."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from torch import Tensor

from workbench.disk import read_safetensors, write_text
from workbench.errors import InputError
from workbench.objectives.recipes import RECIPES
from workbench.report.diagnose import diagnose
from workbench.report.doctor import examine_run
from workbench.report.finding import Finding
from workbench.report.report import Report
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.run_folder import CONFIG, LOG, RECALL, RunFolder, is_run
from workbench.sets.shipped import load_data
from workbench.training import probe
from workbench.views.card import run_card

KEPT = 2  # checkpoints: the newest, and the one before in case the newest was cut short


class Run(RunFolder):
    """A folder that training writes and everything else reads, while it is written or years after.

    >>> import tempfile
    >>> import workbench as wb
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = wb.train("infonce", data=wb.testing.planted(items=80), out=f"{folder}/run", steps=2, batch=8)
    ...     Run(made.path).steps
    2
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._whole = False  # whether the log is known to end with a whole line

    @classmethod
    def begin(cls, out: Path, config: Mapping[str, Any], *, resume: bool = False) -> Run:
        """A new folder with this configuration, or the old one where the run may go on."""
        file = out / CONFIG
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

    def _repr_html_(self) -> str:
        looks = self.looks
        last = {k: v for k, v in (looks[-1] if looks else {}).items() if k != "step" and "+" not in k}
        done = "finished" if self.finished else f"{self.steps:,} of {self.config['train']['steps']:,} steps"
        about = f"recipe {self.config['recipe']} · {done}"
        return run_card(self.name, about, self.findings, [m[RECALL] for m in looks], last)

    # -- metrics ---------------------------------------------------------------------------------------------------

    def log(self, **values: Any) -> None:
        """Append a line; the rest of one that a crash cut short is taken away first."""
        file = self.path / LOG
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
        write_text(self.path / LOG, "\n".join(kept) + "\n" if kept else "")

    @property
    def findings(self) -> list[Finding]:
        """What the doctor says of the metrics so far."""
        entry = RECIPES.get(self.config["recipe"])  # none for a run that somebody else's loop wrote
        guess = entry.guess(self.config["train"]["batch"]) if entry and entry.guess else None
        return examine_run(self.metrics, guess)

    # -- snapshots -------------------------------------------------------------------------------------------------

    def keep_snapshot(self, step: int, es: EmbeddingSet) -> None:
        """Save the probe's embeddings at a step."""
        es.save(self.path / "snapshots" / f"step-{step:06d}")

    # -- checkpoints -----------------------------------------------------------------------------------------------

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
    def data(self) -> EmbeddingSet:
        """The set the run was trained on; where it has moved, the probe as it was last seen, without drawings."""
        try:
            return load_data(self.config["data"])
        except InputError:
            return self.snapshot()

    @property
    def items(self) -> pd.DataFrame:
        """The items the run was trained on, with their drawings; where the data have moved, the probe's without."""
        return self.data.items

    # -- reports ---------------------------------------------------------------------------------------------------

    def embed(self, split: str, data: Any = None) -> EmbeddingSet:
        """The items of a split through the towers of the last checkpoint; each look at test is counted.

        Raises `InputError` where there is no checkpoint yet, or `data` are not those that the run was trained on.
        """
        weights = self._weights()
        part = probe.items_of(self.config, split, self.config["data"] if data is None else data, str(self.path))
        if split == "test":
            self.count_test_read()
        return probe.embedded(self.config, weights, part, f"{self.path} ({split})")

    def placed(self, modality: str, text: str, row: Tensor | None = None) -> Tensor:
        """A text in the space of the last checkpoint, (dim,), through the tower of a modality; `row`: what the encoder
        before the tower makes of it, where there is one.

        Raises `InputError` where there is no checkpoint yet.
        """
        return probe.placed(self.config, self._weights(), modality, text, row)

    def _weights(self) -> Mapping[str, Any]:
        found = self.checkpoint()
        if found is None:
            raise InputError(f"{self.path}: no checkpoint to embed with; train first")
        return found[1]["model"]

    def report(self, split: str = "validation") -> Report:
        """The saved report on a split, made now if there is none of the last snapshot; each look at test is counted."""
        place = self.path / "reports" / split
        if (place / "report.json").exists():
            saved = Report.load(place)
            if saved.about.get("steps", math.inf) >= max(self.snapshots, default=0):
                return saved
        es = self.snapshot() if split == "validation" else self.embed(split)
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
        """Write down that the test split was looked at."""
        with (self.path / "test_reads.jsonl").open("a") as f:
            f.write(json.dumps({"step": self.steps}) + "\n")


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
        if is_run(path):
            found.append(Run(path))
        elif path.is_dir():
            found += [Run(p.parent) for p in sorted(path.glob(f"*/{CONFIG}"))]
    if not found:
        raise InputError(f"no run in {', '.join(map(str, paths))}; make one with 'workbench demo' or 'workbench train'")
    return found
