"""Diagnose inside anyone's training or evaluation loop: add batches, merge parts, compute a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from workbench.diagnostics.registry import choose
from workbench.errors import InputError
from workbench.report.diagnose import diagnose
from workbench.report.report import Report
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.grouping import of_rows, plain_ids


class Accumulator:
    """Keeps the embeddings of what it is shown, on the CPU in float32, until they are diagnosed.

    Inside an initialised process group `compute` gathers the rows of all ranks, however unevenly they are spread, and
    shares the work among them; every rank gets the whole report.

    >>> acc = Accumulator(["modality_gap"])
    >>> acc.update({"image": torch.eye(4), "text": -torch.eye(4)}, ids=["a", "b", "c", "d"])
    >>> float(acc.compute().value("modality_gap", "image", "text"))
    1.0
    """

    def __init__(self, only: Sequence[str] | None = None, **settings: Any) -> None:
        choose(only)
        self.only, self.settings = only, settings
        self._batches: list[dict[str, Tensor]] = []
        self._items: list[pd.DataFrame] = []

    def __len__(self) -> int:
        return sum(len(x) for x in self._items)

    def update(self, modalities: Mapping[str, Tensor], *, ids: Sequence[Any] | None = None, **columns: Any) -> None:
        """Add a batch: `{name: (B, d)}`, row i of each the same item; `columns` are labels and the like, B long.

        Give `ids` where an item may come again: equal ids are one item, its distinct rows are its rows (captions of
        one picture), and an exact repeat, as by a sampler that pads the last batch, counts once.
        """
        batch = {m: x.detach().to("cpu", torch.float32).clone() for m, x in modalities.items()}
        lengths = {m: len(x) for m, x in batch.items()} | {k: len(v) for k, v in columns.items()}
        if ids is not None:
            lengths["ids"] = len(ids)
        if len(set(lengths.values())) != 1:
            raise InputError(f"update: every part of a batch needs one row an item, but they have {lengths}")
        if self._batches and set(batch) != set(self._batches[0]):
            raise InputError(f"update: this batch has {', '.join(batch)}, those before {', '.join(self._batches[0])}")
        frame = pd.DataFrame(columns, index=range(next(iter(lengths.values()))))
        if ids is not None:
            frame.insert(0, "id", [str(i) for i in plain_ids(ids)])
        self._batches.append(batch)
        self._items.append(frame)

    def merge(self, *others: Accumulator) -> Accumulator:
        """A new accumulator with the batches of this one and then those of the others."""
        out = Accumulator(self.only, **self.settings)
        for part in (self, *others):
            out._batches += part._batches
            out._items += part._items
        return out

    def reset(self) -> None:
        """Forget every batch."""
        self._batches, self._items = [], []

    def embeddings(self) -> EmbeddingSet:
        """What was seen, as a set."""
        if not self._batches:
            raise InputError("Accumulator: nothing to compute; call update with at least one batch first")
        frame = pd.concat(self._items, ignore_index=True)
        vectors = {m: torch.cat([b[m] for b in self._batches]) for m in self._batches[0]}
        if "id" in frame:
            if (gone := frame["id"].isna()).any():
                raise InputError(
                    f"Accumulator: {int(gone.sum())} rows came without ids, the others with: give all or none"
                )
            return of_rows(vectors, frame["id"].tolist(), frame, source="an accumulator")
        return EmbeddingSet(vectors, frame if frame.shape[1] else None, source="an accumulator")

    def compute(self) -> Report:
        """The report of everything seen so far, on all ranks; the batches stay."""
        from torch import distributed

        if not (distributed.is_available() and distributed.is_initialized()):
            return diagnose(self.embeddings(), only=self.only, **self.settings)
        parts: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(parts, (self._batches, self._items))
        whole = Accumulator(self.only, **self.settings)
        for batches, items in parts:
            whole._batches += batches
            whole._items += items
        return diagnose(whole.embeddings(), only=self.only, executor="ddp", **self.settings)
