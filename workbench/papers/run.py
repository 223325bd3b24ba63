"""Running an experiment: its paired runs over a few processes, one thread each, with a bar; or here, if quick."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from workbench.errors import InputError
from workbench.papers.card import paper_card
from workbench.papers.catalogue import entry
from workbench.papers.crew import Crew, serve
from workbench.papers.evidence import Evidence
from workbench.papers.paper import NoRoomError, Outcome, Trial
from workbench.papers.paper import Paper as Entry
from workbench.papers.rule import LOOKS
from workbench.progress import progress
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.shipped import load_data

QUICK = 2  # runs of a quick look


@dataclass(frozen=True)
class Paper(Entry):
    """An entry of the catalogue that can be run."""

    def _repr_html_(self) -> str:
        return paper_card(self)

    def run(
        self,
        *,
        seeds: int | None = None,
        quick: bool = False,
        data: Any = None,
        label: str = "",
        workers: int | None = None,
    ) -> Evidence:
        """Put the claim to the test over paired runs, in `workers` processes; `data` takes your set for the paper's.

        Without `seeds` it is looked after 8 runs, 16 and 32, and ended when more would not tell.

        Raises `InputError` where there is no experiment, or the set cannot stand in.

        >>> import workbench as wb
        >>> wb.paper("gram").run(quick=True).verdict
        'not judged'
        """
        return run(self, seeds=seeds, quick=quick, data=data, label=label, workers=workers)


def paper(key: str) -> Paper:
    """A paper by its key; raises `InputError` with the nearest key where there is none.

    >>> paper("gram").title
    'Gramian Multimodal Representation Learning and Alignment'
    """
    known = entry(key)
    return Paper(**{f.name: getattr(known, f.name) for f in fields(known)})


def run(
    p: Entry,
    *,
    seeds: int | None = None,
    quick: bool = False,
    data: Any = None,
    label: str = "",
    workers: int | None = None,
) -> Evidence:
    """All paired runs of a paper's experiment; see `Paper.run`."""
    if seeds is not None and seeds < 1:
        raise InputError(f"seeds must be 1 or more, not {seeds}")
    if workers is not None and workers < 1:
        raise InputError(f"workers must be 1 or more, not {workers}")
    es = checked(p, data, label)
    source, began = p.data if es is None else es.source, time.perf_counter()
    looks = [min(seeds or QUICK, QUICK)] if quick else [seeds] if seeds else list(LOOKS)
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="workbench-") as scratch:
        place = Path(scratch)
        for until in looks:
            more = range(len(runs), until)
            runs = sorted([*runs, *_runs(p, more, Trial(0, quick, es, label), workers, place)], key=lambda r: r["seed"])
            sets = {d.name: _read(d) for d in sorted((place / "sets").glob("*"))}
            found = Evidence(p.key, runs, source, quick, round(time.perf_counter() - began, 2), sets)
            if found.settled:
                break
    return found


def _runs(p: Entry, seeds: range, trial: Trial, workers: int | None, place: Path) -> list[dict[str, Any]]:
    """The runs of some seeds with a bar, here or in processes; the first alone where it finds no room to gain."""
    workers = min(workers or os.cpu_count() or 1, 8, len(seeds))
    here = trial.quick or workers == 1
    made = (one(p, replace(trial, seed=s), place) for s in seeds) if here else _spread(p, seeds, trial, workers, place)
    found: list[dict[str, Any]] = []
    for r in progress(made, f"{p.key}, {seeds.stop} runs" if seeds.start else p.key, len(seeds)):
        if r.get("no_room"):
            made.close()
            return [r]
        found.append(r)
    return found


def checked(p: Entry, data: Any, label: str) -> EmbeddingSet | None:
    """The user's set, if there is one and the comparison can be made on it."""
    if data is None or data == "":
        if label:
            raise InputError("--label belongs to --data: the paper's own data have their labels")
        return None
    if p.own is None:
        raise InputError(f"paper {p.key}: cannot run on {data}: {p.alone}")
    es = load_data(data)
    if why := p.own.lacking(es, label):
        raise InputError(f"{es.source}: paper {p.key} needs {why}")
    p.own.check(es, label, p.key)
    return es


def one(p: Entry, trial: Trial, place: Path) -> dict[str, Any]:
    """One paired run as plain numbers; the first one leaves its test vectors behind."""
    assert p.experiment is not None
    trial = replace(trial, limit=p.limit, min_effect=p.min_effect)
    try:
        with _alone():
            torch.manual_seed(trial.seed)
            found = p.experiment(trial)
    except NoRoomError as no:
        none = Outcome(no.baseline, math.nan, (math.nan, math.nan), (math.nan, math.nan))
        return _plain(none, trial.seed) | {"no_room": True}
    if trial.seed == 0:
        keep(found, place / "sets")
    return _plain(found, trial.seed)


def _plain(found: Outcome, seed: int) -> dict[str, Any]:
    """What one run found as plain numbers."""
    return {
        "seed": seed,
        "baseline": found.baseline,
        "mechanism": found.mechanism,
        "control": list(found.control),
        "positive": list(found.positive),
        "also": dict(found.also),
    }


def keep(found: Outcome, place: Path) -> None:
    """Save the test vectors of each arm as a set, for the maps."""
    for arm, rows in found.rows.items():
        n = len(next(iter(rows.values())))
        labels = [""] * n if found.labels is None else [str(x) for x in np.asarray(found.labels)[:n]]
        items = pd.DataFrame({"id": [f"item{k}" for k in range(n)], "label": labels})
        es = EmbeddingSet({m: x.detach().float() for m, x in rows.items()}, items, source=arm)
        es.save(place / arm)


def _read(folder: Path) -> EmbeddingSet:
    """A set in memory, for its folder is about to go."""
    es = EmbeddingSet.load(folder)
    return EmbeddingSet({m: es[m].clone() for m in es.modalities}, es.items, source=folder.name)


@contextmanager
def _alone() -> Iterator[None]:
    """One thread: small products are faster so, and two runs do not take each other's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _spread(p: Entry, seeds: range, trial: Trial, workers: int, place: Path) -> Generator[dict[str, Any]]:
    """The runs as they end, from as many processes; a process that fails ends them all."""
    if trial.data is not None and not (place / "data").exists():
        trial.data.save(place / "data")
    with Crew("workbench.papers.run", [p.key, str(place), trial.label], workers, place, f"paper {p.key}") as crew:
        yield from crew.answers(seeds)


def main(words: Sequence[str]) -> None:
    """A worker: seeds of one paper, one after the other."""
    key, place, label = words
    data = Path(place) / "data"
    es = EmbeddingSet.load(data) if data.exists() else None
    serve(lambda seed: one(entry(key), Trial(seed, False, es, label), Path(place)))


if __name__ == "__main__":
    main(sys.argv[1:])
