"""Running an experiment: its paired runs over a few processes, one thread each, with a bar; or here, if quick."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from workbench.errors import InputError
from workbench.papers.card import paper_card
from workbench.papers.catalogue import entry, runnable
from workbench.papers.evidence import Evidence
from workbench.papers.paper import RUNS, Outcome, Trial
from workbench.papers.paper import Paper as Entry
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
        seeds: int = RUNS,
        quick: bool = False,
        data: Any = None,
        label: str = "",
        workers: int | None = None,
    ) -> Evidence:
        """Put the claim to the test over paired runs, in `workers` processes; `data` takes your set for the paper's.

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
    p: Entry, *, seeds: int = 8, quick: bool = False, data: Any = None, label: str = "", workers: int | None = None
) -> Evidence:
    """All paired runs of a paper's experiment; see `Paper.run`."""
    p = runnable(p.key)
    if seeds < 1:
        raise InputError(f"seeds must be 1 or more, not {seeds}")
    if workers is not None and workers < 1:
        raise InputError(f"workers must be 1 or more, not {workers}")
    es = checked(p, data, label)
    began = time.perf_counter()
    count = min(seeds, QUICK) if quick else seeds
    workers = workers or min(os.cpu_count() or 1, 8)
    with tempfile.TemporaryDirectory(prefix="workbench-") as scratch:
        place = Path(scratch)
        if quick or workers == 1 or count == 1:
            found = [one(p, Trial(s, quick, es, label), place) for s in progress(range(count), p.key, count)]
        else:
            found = list(progress(_spread(p, count, es, label, min(workers, count), place), p.key, count))
        sets = {d.name: _read(d) for d in sorted((place / "sets").glob("*"))}
    runs = sorted(found, key=lambda r: r["seed"])
    source = p.data if es is None else es.source
    return Evidence(p.key, runs, source, quick, round(time.perf_counter() - began, 2), sets)


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
    with _alone():
        torch.manual_seed(trial.seed)
        found = p.experiment(trial)
    if trial.seed == 0:
        keep(found, place / "sets")
    return {
        "seed": trial.seed,
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


def _spread(
    p: Entry, seeds: int, es: EmbeddingSet | None, label: str, workers: int, place: Path
) -> Iterator[dict[str, Any]]:
    """The runs as they end, from as many processes; a process that fails ends them all."""
    words = [sys.executable, "-m", "workbench.papers.run", p.key, str(place), label]
    if es is not None:
        es.save(place / "data")
    share = [",".join(map(str, range(k, seeds, workers))) for k in range(workers)]
    lines: queue.Queue[tuple[int, str | None]] = queue.Queue()
    env = os.environ | {"OMP_NUM_THREADS": "1", "WORKBENCH_QUIET": "1"}
    crew = []
    for k, s in enumerate(share):
        with (place / f"{k}.log").open("w") as log:
            crew.append(subprocess.Popen([*words, s], stdout=subprocess.PIPE, stderr=log, text=True, env=env))

    def listen(k: int) -> None:
        for line in crew[k].stdout or ():
            lines.put((k, line))
        lines.put((k, None))

    for k in range(workers):
        threading.Thread(target=listen, args=(k,), daemon=True).start()
    try:
        left = workers
        while left:
            k, line = lines.get()
            if line is not None:
                yield json.loads(line)
                continue
            left -= 1
            if crew[k].wait():
                said = (place / f"{k}.log").read_text().strip().splitlines()
                raise InputError(f"paper {p.key}: a run ended with {crew[k].returncode}: {said[-1] if said else ''}")
    finally:
        for worker in crew:
            worker.kill()
            worker.wait()
            if worker.stdout:
                worker.stdout.close()


def main(words: Sequence[str]) -> None:
    """A worker: some seeds of one paper, a line of JSON each."""
    key, place, label, seeds = words
    data = Path(place) / "data"
    es = EmbeddingSet.load(data) if data.exists() else None
    for s in seeds.split(","):
        print(json.dumps(one(runnable(key), Trial(int(s), False, es, label), Path(place))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
