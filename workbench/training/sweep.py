"""A small grid of runs over recipes, settings and seeds; what is done is not done again."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.diagnostics.registry import panels
from workbench.diagnostics.scoped_name import ScopedName
from workbench.errors import InputError
from workbench.objectives.recipes import RECIPES
from workbench.sets.run_folder import is_run
from workbench.sets.shipped import load_data
from workbench.training import towers
from workbench.training.cells import cells, label
from workbench.training.compatibility import lacking
from workbench.training.run import Run
from workbench.training.settings import sort_settings
from workbench.training.train import configured, train


def sweep(
    recipes: Sequence[str],
    *,
    out: Path,
    data: Any = "emoji",
    modalities: Sequence[str] | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    seeds: int = 3,
    device: str = "auto",
    **settings: Any,
) -> list[Run]:
    """Train every recipe with every cell of the grid and every seed; all settings are checked before the first run.

    A finished run is read, a run that was cut short goes on from its checkpoint.
    """
    es = load_data(data)
    jobs = []
    for name in recipes:
        for cell in cells(grid or {}):
            wanted = settings | cell
            made_of, _ = sort_settings(name, wanted)
            if {"seed", "train.seed"} & set(wanted):
                raise InputError("sweep: the seeds are 0, 1, …; say how many with --seeds, and leave train.seed out")
            if why := lacking(RECIPES[name], modalities or es.modalities, made_of.label):
                raise InputError(f"sweep: recipe {name} needs {why}")
            for kind in towers.assigned(made_of.tower, modalities or es.modalities).values():
                towers.kind(kind)
            folder = Path(out) / label(name, cell)
            jobs += [(name, wanted | {"seed": s}, folder.with_name(f"{folder.name}-s{s}")) for s in range(seeds)]
    if not jobs:
        raise InputError("sweep: nothing to train; name a recipe, or ask for all that fit with --all")
    made, failed = [], []
    for k, (name, wanted, folder) in enumerate(jobs, 1):
        given = data if isinstance(data, str | Path) else es
        begun = is_run(folder)
        if begun:
            run = Run(folder)
            run.check_same(configured(name, es, given, modalities, wanted))
        if not begun or not run.finished:
            print(f"{k} of {len(jobs)}  {folder.name}", flush=True)
            try:
                run = train(name, data=given, out=folder, modalities=modalities, resume=begun, device=device, **wanted)
            except InputError as e:  # one cell that diverges does not end the others
                print(f"  failed: {e}", flush=True)
                failed.append(folder.name)
                continue
            # of a grid the last checkpoint and the first and last look are enough
            for step in sorted(run.snapshots)[1:-1]:
                shutil.rmtree(run.snapshots[step])
        made.append(run)
    if not made:
        raise InputError(f"sweep: none of the {len(jobs)} runs could be trained")
    if failed:
        print(f"{len(failed)} of {len(jobs)} runs failed: {', '.join(failed)}", flush=True)
    return made


def moved(runs: Sequence[Run]) -> pd.DataFrame:
    """How each recipe (and cell) moved the space, from the first look to the last: mean and t-interval over seeds.

    Where a diagnostic has several scopes, their mean. `final` and `change` of each; `low`, `high` of the change.
    """
    from scipy.stats import t as student

    found: dict[str, list[dict[str, tuple[float, float]]]] = {}
    for run in runs:
        recipe = run.name.rsplit("-s", 1)[0]
        looks = run.looks
        ends = {d.name: (_mean(looks[0], d.name), _mean(looks[-1], d.name)) for d in panels()}
        found.setdefault(recipe, []).append(ends)
    rows = []
    for recipe, seeds in found.items():
        for name in seeds[0]:
            first, last = (np.array([s[name][k] for s in seeds]) for k in (0, 1))
            change = last - first
            n = len(change)
            half = student.ppf(0.975, n - 1) * change.std(ddof=1) / math.sqrt(n) if n > 1 else math.nan
            rows.append(
                {
                    "run": recipe,
                    "name": name,
                    "first": float(first.mean()),
                    "final": float(last.mean()),
                    "change": float(change.mean()),
                    "low": float(change.mean() - half),
                    "high": float(change.mean() + half),
                    "seeds": n,
                }
            )
    return pd.DataFrame(rows)


def _mean(line: Mapping[str, Any], name: str) -> float:
    values = [line[key] for m, key in ScopedName.of(line, name).items() if not m.fused]
    return float(np.mean(values)) if values else math.nan
