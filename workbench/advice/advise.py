"""Advise: read what a set is, rank the recipes that fit it, try the best of them on it, and say which gains."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from workbench.advice import shown  # noqa: F401 - declares what a cell shows
from workbench.advice.advised import Advised
from workbench.advice.aims import AIMS
from workbench.advice.candidates import BASELINE, Candidate, candidates
from workbench.advice.halving import CALIBRATION, LEAST_STEPS, SHARES, TEMPERATURES, Work, planned, rounds
from workbench.advice.trial import Found, Job, divided, open_to
from workbench.errors import InputError, unknown
from workbench.objectives.recipes import RECIPES
from workbench.papers.crew import Crew
from workbench.progress import progress
from workbench.sets.constant import refuse_constant
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.shipped import load_data
from workbench.treatments.base import RETRIEVAL
from workbench.version import __version__

FEW, FAMILIES = 100, 20  # items that may be tried on, and their families, at least


def advise(
    data: Any,
    goal: str = RETRIEVAL,
    *,
    label: str = "",
    modalities: Sequence[str] = (),
    only: Sequence[str] = (),
    budget: float = 5.0,
    steps: int = 400,
    workers: int | None = None,
) -> Advised:
    """Try recipes beside InfoNCE on this set and say which gains for the goal, on items that were not trained on.

    `goal`: retrieval (R@1), mixed (nDCG@10 in one index of all), classes (needs `label`), compose, missing (three
    modalities or more). Recipes are ranked by what the papers' experiments found, tried for few steps, the better ones
    for more, and the last three for all `steps`, again and again, each time with the items dealt anew. Every recipe is
    tuned over the same temperatures. Test is not read. `budget`: minutes, about; `workers`: processes.

    Raises `InputError` where the set is too small, or the budget for one comparison.

    >>> list(AIMS)
    ['retrieval', 'mixed', 'classes', 'compose', 'missing']
    """
    if goal not in AIMS:
        raise unknown("goal", goal, AIMS)
    for name in only:
        if name not in RECIPES:
            raise unknown("recipe", name, RECIPES)
    if not 0 < budget < math.inf:
        raise InputError(f"budget must be minutes above 0, not {budget:g}")
    if steps < LEAST_STEPS:
        raise InputError(f"steps must be {LEAST_STEPS} or more, not {steps}")
    if workers is not None and workers < 1:
        raise InputError(f"workers must be 1 or more, not {workers}")
    if set(only) == {BASELINE}:
        raise InputError(f"{BASELINE} is what the others are compared with: name another recipe with --only")
    began, aim = time.perf_counter(), AIMS[goal]
    whole = load_data(data)
    es = _fit_for(whole, goal, label, modalities)
    found, left = candidates(es, es.modalities, label, only)
    if not found:
        why = "; ".join(f"{k} needs {v}" for k, v in left.items())
        raise InputError(f"{es.source}: no recipe beside {BASELINE} fits: {why}")
    workers = min(workers or os.cpu_count() or 1, 8)
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        es.save(Path(folder) / "set")
        words = [str(Path(folder) / "set"), goal, label]
        with Crew("workbench.advice.trial", words, workers, Path(folder), f"advise {es.source}") as crew:

            def work(jobs: Sequence[Job], what: str) -> Iterator[Found]:
                made = crew.answers(map(asdict, jobs))
                yield from (Found.of(told) for told in progress(made, f"advise, {what}", len(jobs)))

            short, full = _costs(work, steps, workers, es.source)
            plan = planned(60 * budget, time.perf_counter() - began, workers, short, full, len(found))
            last, before = rounds(work, [c.recipe for c in found], steps, plan)
    names = [BASELINE, *(c.recipe for c in found[: plan.first])]
    tried = {r: max((f.value for f in before if f.job.recipe == r), default=math.nan) for r in names}
    left |= {c.recipe: "no time: a longer --budget" for c in found[plan.first :]}
    left |= {f.job.recipe: f"a number: {f.why}" for f in before if f.why and not math.isfinite(tried[f.job.recipe])}
    about = {
        "source": str(data) if isinstance(data, str | Path) else es.source,
        "items": len(es),
        "all_items": len(whole),
        "one_of_several": [m for m in es.modalities if len(whole[m]) > len(whole.item_of_row(m).unique())],
        "modalities": {m: es[m].shape[-1] for m in es.modalities},
        "label": label,
        "steps": steps,
        "version": __version__,
        "seconds": round(time.perf_counter() - began, 1),
    }
    return Advised.of(aim, {c.recipe: c for c in (Candidate(BASELINE), *found)}, last, tried, left, about)


def _fit_for(es: EmbeddingSet, goal: str, label: str, modalities: Sequence[str]) -> EmbeddingSet:
    """The items that may be tried on, of the modalities asked for, where the goal can be judged on them."""
    for m in modalities:
        if m not in es:
            raise unknown("modality", m, es.modalities)
    es = (es.only(modalities) if modalities else es).layer()
    if len(es.modalities) < (least := AIMS[goal].modalities):
        raise InputError(
            f"{es.source}: the goal {goal} needs {least} modalities or more, and here is {', '.join(es.modalities)}"
        )
    if AIMS[goal].label and not label:
        raise InputError(f"the goal {goal} needs --label, a column of the items with their classes")
    if label:
        es.column(label)
    refuse_constant(es)
    es = open_to(es, label)
    families = len(np.unique(es.families))
    for count, what, least in ((len(es), "items", FEW), (families, "families of items", FAMILIES)):
        if count < least:
            raise InputError(
                f"{es.source}: {count} {what} with a row of each modality outside of test; recipes need {least} or more"
            )
    if AIMS[goal].label:  # whether classes can be told at all is seen before anything is trained
        part = divided(es, CALIBRATION)
        AIMS[goal].judge(part.split("train"), part.split("validation"), label)
    return es


def _costs(work: Work, steps: int, workers: int, source: str) -> tuple[float, float]:
    """Seconds of a short and of a full training with the baseline and of its judging, as many at once as there will be;
    a first one warms up. Raises `InputError` where the baseline itself gives no number.
    """
    seconds = []
    for share in (0.0, SHARES[0], 1.0):
        start = time.perf_counter()
        few = max(LEAST_STEPS, round(share * steps))
        jobs = [Job(BASELINE, TEMPERATURES[1], few, CALIBRATION + k) for k in range(workers)]
        failed = [f for f in work(jobs, "a first training") if not math.isfinite(f.value)]
        if failed:
            raise InputError(
                f"{source}: {BASELINE} itself gives no number: {failed[0].why or 'too few items to judge'}"
            )
        seconds.append(time.perf_counter() - start)
    return seconds[1], max(seconds[1:])
