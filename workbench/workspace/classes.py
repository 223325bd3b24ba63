"""Classes of items: the columns that could be classes, and whose centroid each row lies nearest to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from workbench.explorer import choice
from workbench.explorer.inspection import Inspection
from workbench.sets import columns

MOST = 50  # classes of a column


def labels(inspection: Inspection) -> list[str]:
    """Columns of a few values, each with several items: classes that a classifier could know."""
    out = []
    for c in inspection.items:
        x = inspection.items[c]
        if not columns.holds_bytes(x) and c not in ("id", "split"):
            count = len(columns.codes(x)[1])
            if 2 <= count <= min(MOST, int(x.notna().sum()) // 4):
                out.append(str(c))
    return out


@dataclass(frozen=True)
class Nearest:
    """The class of the nearest centroid of each row that has a class, its own and its item, and the counts of both."""

    item: np.ndarray
    own: np.ndarray
    near: np.ndarray

    @property
    def matrix(self) -> pd.DataFrame:
        """Rows by their own class × the nearest centroid's, the largest classes first."""
        order = list(pd.Series(self.own).value_counts().index)
        counted = pd.crosstab(pd.Series(self.own), pd.Series(self.near))
        return counted.reindex(index=order, columns=order, fill_value=0)

    @property
    def accuracy(self) -> float:
        """The share of rows whose own centroid is the nearest."""
        return float((self.own == self.near).mean())


def nearest(inspection: Inspection, label: str, modality: str) -> Nearest:
    """Every row's nearest centroid by cosine, the row's own part in its class's left out; made once."""
    return inspection.once(("nearest", label, modality), lambda: _nearest(inspection, label, modality))


def _nearest(inspection: Inspection, label: str, modality: str) -> Nearest:
    text = columns.text(inspection.items[label])
    of = inspection.es.item_of_row(modality).numpy()
    known = text[of] != ""
    near = centroids(inspection.unit(modality)[torch.from_numpy(known)], text[of][known])
    return Nearest(of[known], text[of][known], near)


def centroids(x: torch.Tensor, classes: np.ndarray) -> np.ndarray:
    """The class of the nearest centroid by cosine of each unit row (n, d), its own row left out."""
    codes, names = pd.factorize(classes, sort=True)
    at = torch.from_numpy(codes)
    total = torch.zeros(len(names), x.shape[1], dtype=torch.float64).index_add_(0, at, x.double())
    unit = torch.nn.functional.normalize(total, dim=1)
    cosine = x.double() @ unit.T
    without = torch.nn.functional.normalize(total[at] - x, dim=1)
    cosine[torch.arange(len(x)), at] = (x * without).sum(1)
    return np.asarray(names)[cosine.argmax(1).numpy()]


@choice.kind(
    "cluster", lambda label, m, own, near: f"{m} of {label} {own or 'any'} nearest to {near or 'another class'}"
)
def cluster(inspection: Inspection, label: str, modality: str, own: str, near: str) -> np.ndarray:
    """Items of a class whose row lies nearest to another's centroid; empty means any class, and any but its own."""
    found = nearest(inspection, label, modality)
    hit = (found.own == own) if own else np.ones(len(found.own), dtype=bool)
    hit &= (found.near == near) if near else found.near != found.own
    return np.unique(found.item[hit])
