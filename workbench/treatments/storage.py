"""Treatments for storage: fewer dimensions, fewer bits; what a vector costs, and what it still finds."""

from __future__ import annotations

import numpy as np

from workbench.errors import InputError
from workbench.interventions.base import once
from workbench.sets.embeddings import EmbeddingSet
from workbench.treatments.base import BYTES, STORAGE, Making, method, moved, untreated
from workbench.treatments.portable import LEVELS

SHARES = (1, 2, 4, 8, 16)  # of the dimensions: all, a half …
KINDS = ("float32", "int8", "int4", "binary")
AGAIN = 100  # keys that are scored again
CLIPPED = 1e-4  # of the values lie beyond the last level of int8
LOUD = 2.7  # deviations that the last level of int4 stands for
LEAST = 4  # dimensions

GRID = [
    {"keep": keep, "share": share, "kind": kind, "again": again}
    for keep in ("first", "pca")
    for share in SHARES
    for kind in KINDS
    for again in ((0, AGAIN) if kind == "binary" else (0,))
    if (keep, share, kind) != ("first", 1, "float32")  # which is what there is
]


@method(STORAGE, (BYTES,), grid=GRID)
def compress(es: EmbeddingSet, keep: str, share: int, kind: str, again: int) -> Making:
    """Keep the first dimensions (Kusupati et al. 2022) or the principal ones, in so many bits each.

    int8: one scale for all dimensions, so that codes may be compared as they are. int4: a scale a dimension. binary:
    signs, compared by Hamming distance, or its first hundred scored again with the query as it is.
    """
    widths = set(es.layout.widths.values())
    if len(widths) > 1:
        raise InputError(f"one store needs vectors of one width, and they are {', '.join(map(str, sorted(widths)))}")
    d = widths.pop()
    width = d // share
    if width < LEAST:
        raise InputError(f"{d} dimensions leave {width} of them")
    making = Making.of(es.modalities)
    if keep == "pca":
        axes = once(es, "principal directions", lambda: _principal(es))
        for m in es.modalities:
            making.step(m, "affine", before=np.zeros(d), weight=axes[:, :width])
    elif width < d:
        for m in es.modalities:
            making.step(m, "first", count=np.zeros(width))
    making.codec = {"kind": kind, "width": width, "again": again, "bytes": size(kind, width)}
    if kind in LEVELS:
        kept = making.made("", {}, es.layout.widths)
        for m in es.modalities:
            y = moved(es, kept, m)
            if kind == "int8":
                scale = np.full(width, np.quantile(np.abs(y), 1 - CLIPPED) / LEVELS[kind])
            else:
                scale = np.sqrt(np.square(y, dtype=np.float64).mean(0)) * LOUD / LEVELS[kind]
            making.keep(f"scale.{m}", np.where(scale > 0, scale, 1.0))
    return making


def _principal(es: EmbeddingSet) -> np.ndarray:
    """The directions of the largest second moment of all modalities together, (d, d): one projection keeps cosines."""
    plain = untreated(es)
    rows = [moved(es, plain, m).astype(np.float64) for m in es.modalities]
    return np.asarray(np.linalg.eigh(sum(x.T @ x / len(x) for x in rows))[1][:, ::-1])


def size(kind: str, width: int) -> int:
    """Bytes of a vector of so many dimensions."""
    return {"float32": 4 * width, "int8": width, "int4": -(-width // 2), "binary": -(-width // 8)}[kind]
