"""What the pages look at, read once a process and shared by every session."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

import pandas as pd
import torch

from workbench.embeddings import EmbeddingSet
from workbench.projection import Projection, project
from workbench.report import Report
from workbench.training.probe import embed
from workbench.training.run import Run

BEATEN_BY = 5  # keys shown beside a match


@dataclass
class Study:
    """A run's report on one split, the embeddings behind it, and the items' names and drawings."""

    run: Run
    split: str
    report: Report
    es: EmbeddingSet
    items: pd.DataFrame
    maps: dict[str, Projection] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def map(self, method: str) -> Projection:
        with self.lock:
            if method not in self.maps:
                self.maps[method] = project(self.es, method)
            return self.maps[method]

    def nearest(self, item: int, query: str, key: str) -> pd.DataFrame:
        """The keys nearest to an item's query, best first, with their cosine."""
        cosine = self.es.unit(key) @ self.es.unit(query, slice(item, item + 1))[0]
        top = torch.topk(cosine, min(BEATEN_BY, len(cosine)))
        return self.items.iloc[top.indices.numpy()].assign(cosine=top.values.numpy())


def study(run: Run) -> Study | None:
    """The test split where it was already reported on, else the probe; nothing while there is no snapshot."""
    split = "test" if (run.path / "reports" / "test" / "report.json").exists() else "validation"
    if not run.snapshots:
        return None
    return _study(run.path.absolute(), split, run.steps)


@lru_cache(maxsize=32)
def _study(path: Path, split: str, steps: int) -> Study:
    run = Run(path)
    es = embed(run, "test") if split == "test" else run.snapshot()
    everything = run.items.set_index("id", drop=False)
    known = es.items["id"].isin(everything.index).all()
    items = everything.loc[es.items["id"]].reset_index(drop=True) if known else es.items.copy()
    if "name" not in items:
        items["name"] = items["id"]
    return Study(run, split, run.report(split), es, items)
