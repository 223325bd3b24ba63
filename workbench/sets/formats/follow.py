"""Files of one schema, one after the other: gaps among shards named, and the split that a file's name says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import listed
from workbench.sets.formats.shards import grouped, lacking, splits
from workbench.sets.formats.source import Table


def following(table: Table, files: Sequence[Path], counts: Sequence[int]) -> Table:
    """A table of so many rows of each file, with a column `split` where their names say it: train, val, test."""
    import pyarrow as pa

    names = splits([f.stem for f in files])
    told = names if names is not None and len(set(names)) == len(names) else ()
    table = replace(table, files=[(f.name, n) for f, n in zip(files, counts, strict=True)], called=told)
    table.said += lacking(grouped(files)) if len(files) > 1 else []
    if names is None or "split" in table.schema.names:
        return table
    ends = np.cumsum(counts)
    inner = table.batches

    def batches() -> Iterator[Any]:
        start = 0
        for batch in inner():
            at = np.searchsorted(ends, np.arange(start, start + batch.num_rows), side="right")
            yield batch.append_column("split", pa.array([names[k] for k in at], pa.string()))
            start += batch.num_rows

    table.said.append(f"split is the name of the file: {listed(dict.fromkeys(names))}")
    return replace(table, schema=table.schema.append(pa.field("split", pa.string())), batches=batches)
