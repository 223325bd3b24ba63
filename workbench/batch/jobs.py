"""What is to be done: one job a cell of the grid, known by a hash of all that its result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from workbench.batch.job import Job
from workbench.batch.parameters import checked, every, parameters
from workbench.disk import read_yaml
from workbench.errors import InputError
from workbench.sets.run_folder import CONFIG, LOG, is_run
from workbench.training.cells import cells, label
from workbench.version import __version__


def plan(
    notebook: str | Path,
    out: str | Path,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    runs: Sequence[Mapping[str, Any]] = (),
    given: Mapping[str, Any] | None = None,
    kernel: str = "",
    to: Sequence[str] = (),
) -> list[Job]:
    """The jobs of a grid (every combination) or of a list of runs, each over `given`; all checked before any starts."""
    source = Path(notebook)
    known = parameters(source)
    content = hashlib.sha256(source.read_bytes()).hexdigest()
    marks: dict[str, str] = {}
    jobs: dict[str, Job] = {}
    for run in runs or [{}]:
        for cell in cells({name: every(name, values) for name, values in (grid or {}).items()}):
            varied = checked(source, known, {**run, **cell})
            values = checked(source, known, {**(given or {}), **varied})
            for value in values.values():
                if isinstance(value, str) and value not in marks:
                    marks[value] = fingerprint(value)
            depends = {
                "notebook": content,
                "parameters": values,
                "data": {k: marks[v] for k, v in values.items() if isinstance(v, str) and marks[v]},
                "package": __version__,
                "kernel": kernel,
            }
            key = hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()[:16]
            name = label(source.stem, varied)
            if name in jobs:
                raise InputError(f"{varied or 'no parameters'}: requested twice")
            if _taken(Path(out), name, str(source.absolute()), values):
                # what is varied is the same, what all share is not: the other results stay
                shared = json.dumps([str(source.absolute()), values], sort_keys=True, default=str)
                name = f"{name}-{hashlib.sha256(shared.encode()).hexdigest()[:6]}"
            jobs[name] = Job(
                str(source.absolute()), values, str(Path(out).absolute()), name, key, kernel, str(Path.cwd()), tuple(to)
            )
    return list(jobs.values())


def _taken(out: Path, name: str, notebook: str, values: Mapping[str, Any]) -> bool:
    """Whether a label stands for another notebook or other parameters in this folder already."""
    from workbench.batch.manifest import Manifest

    e = Manifest(out).entry(name)
    return e is not None and (e.notebook, e.parameters) != (notebook, json.loads(json.dumps(values, default=str)))


def fingerprint(value: str) -> str:
    """What the data under a path are, for a parameter that names a set, a run or a file; empty for any other text."""
    path = Path(value)
    try:
        if not value or not path.exists():
            return ""
    except OSError:  # a text too long to be a path
        return ""
    seal = hashlib.sha256()
    if path.is_dir():
        run, is_set = is_run(path), (path / "manifest.json").exists()
        if not (run or is_set):
            return ""  # such as a folder to write to
        steps = sorted((path / "snapshots").glob("*/manifest.json"))
        files = [path / CONFIG, path / LOG, *steps[-1:], *sorted(path.glob("selections/*.json"))]
        for file in files:
            if file.is_file():
                seal.update(file.read_bytes())
        if is_set:
            from workbench.sets.shipped import load_data

            seal.update(load_data(value).fingerprint.encode())
    elif path.is_file():
        with path.open("rb") as f:
            seal = hashlib.file_digest(f, "sha256")
    return seal.hexdigest()[:16]


def read_runs(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Runs from files of parameters (YAML or JSON): a mapping is one run, a list of mappings several."""
    runs: list[dict[str, Any]] = []
    for file in files:
        found = _read(file)
        for run in found if isinstance(found, list) else [found]:
            if not isinstance(run, dict):
                raise InputError(f"{file}: needs parameters by name, or a list of such, not {run!r:.60}")
            runs.append({str(k): v for k, v in run.items()})
    return runs


def read_grid(file: Path) -> dict[str, list[Any]]:
    """A grid from a file: a list of values a parameter; one value stands for a list of one."""
    found = _read(file)
    if not isinstance(found, dict):
        raise InputError(f"{file}: needs values by parameter, such as temperature: [0.01, 0.07]")
    return {str(k): v if isinstance(v, list) else [v] for k, v in found.items()}


def _read(file: Path) -> Any:
    try:
        return read_yaml(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        mark = getattr(e, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{file}{where}: not readable as YAML ({str(e).splitlines()[0]})") from None
