"""One short training on a set, and what came of it on items that it did not see; and the process that makes many."""

from __future__ import annotations

import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from workbench.advice.aims import AIMS, beside
from workbench.errors import InputError
from workbench.papers.crew import serve
from workbench.papers.needs import has_all
from workbench.papers.own_set import family_names
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.shipped import with_splits
from workbench.training.train import train
from workbench.treatments.treat import some_families

JUDGED = 0.25  # of the families, in each division of what is no test item
MOST = 6_000  # items that are tried on


@dataclass(frozen=True)
class Job:
    """A recipe at a temperature, for so many steps, on one division of the items; its number is the seed too."""

    recipe: str
    temperature: float
    steps: int
    division: int


@dataclass(frozen=True)
class Found:
    """What a job came to: the aim's number (NaN where it diverged), what it did to the space, and its seconds."""

    job: Job
    value: float
    beside: dict[str, float]
    seconds: float
    why: str = ""  # there is no number

    @classmethod
    def of(cls, told: dict[str, Any]) -> Found:
        """From what a process said."""
        return cls(Job(**told.pop("job")), **told)


def open_to(es: EmbeddingSet, label: str = "") -> EmbeddingSet:
    """The items that may be tried on: none of test, each with a row of every modality, and a class; at most `MOST`.

    Of their columns those that are needed. Where there are no splits it takes those that `train` would make: the same
    items stay unread.
    """
    es = with_splits(es)
    kept = (es.items["split"] != "test").to_numpy() & has_all(es, es.modalities)
    if label:
        kept &= ~columns.missing(es.column(label))
    if not kept.any():
        raise InputError(
            f"{es.source}: no item outside of test has a row of each modality{' and a class' if label else ''}"
        )
    es = es.take(kept)
    es = some_families(es, MOST)
    at = torch.arange(len(es))
    items = es.items[[c for c in dict.fromkeys(("id", "family", "split", label)) if c in es.items]]
    return EmbeddingSet({m: es[m][es.first_row(m, at)] for m in es.modalities}, items, source=es.source)


def divided(es: EmbeddingSet, number: int) -> EmbeddingSet:
    """The items dealt anew into train and validation by family, by a hash of its name and the number."""
    share = [zlib.crc32(f"{number} {name}".encode()) / 2**32 for name in family_names(es)]
    items = es.items.assign(split=["validation" if u < JUDGED else "train" for u in share])
    return es.with_items(items)


def tried(es: EmbeddingSet, job: Job, aim: str, label: str) -> Found:
    """A recipe trained as `train` does, judged on the part that it did not see."""
    part, start = divided(es, job.division), time.perf_counter()
    settings: dict[str, Any] = {"train.steps": job.steps, "train.evaluate": job.steps, "train.seed": job.division}
    settings |= {"objective.temperature": job.temperature, "train.label": label}
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        try:
            run = train(job.recipe, data=part, out=Path(folder) / "run", device="cpu", **settings)
        except InputError as e:  # it diverged, most often: a number that nothing is worse than
            return Found(job, float("nan"), {}, time.perf_counter() - start, str(e))
        seconds = time.perf_counter() - start
        trained, other = run.embed("train", part), run.embed("validation", part)
    return Found(job, AIMS[aim].judge(trained, other, label), beside(other), seconds)


def main(words: Sequence[str]) -> None:
    """A process of the crew: jobs on one set."""
    place, aim, label = words
    es = EmbeddingSet.load(place)
    torch.set_num_threads(1)
    serve(lambda job: asdict(tried(es, Job(**job), aim, label)))


if __name__ == "__main__":
    main(sys.argv[1:])
