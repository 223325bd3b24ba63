"""Drift: whether two sets without common items come from one distribution, what moved, and which items are new."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.diagnostics import intervals
from workbench.disk import write_text
from workbench.errors import InputError
from workbench.lists.said import Said
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import as_set

ALPHA = 0.05
DRAWS = 999  # permutations
MOST = 2_000  # families of a set that are compared
FEW = 20
FOLDS = 2
NEIGHBOURS = 10
STRANGE = 0.1  # false discovery rate of the new items that are named
RIDGE = 1e-2
GAP = "the gap of"
AXES = 5  # leading directions whose turn is told


@dataclass(repr=False)
class Drift(Said):
    """`frame`: a line a modality and a line a gap (`of`), with both tests' statistics and Holm's p over all lines, and
    what moved: the mean (in spreads of OLD), the spread (NEW over OLD), the share of OLD's five leading directions that
    NEW's hold. `items`: those of NEW that are unlike anything in OLD: id, modality, p.
    """

    frame: pd.DataFrame
    items: pd.DataFrame
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def drifted(self) -> bool:
        """Whether anything did."""
        return bool((self.frame["p"] <= ALPHA).any())

    @property
    def sentences(self) -> list[str]:
        """What drifted and how, or that nothing is seen to."""
        out = []
        for r in self.frame.to_dict("records"):
            if r["p"] > ALPHA:
                out.append(f"{r['of']}: no drift seen (p = {r['p']:.2g}, {r['old']:,} and {r['new']:,} items).")
                continue
            out.append(
                f"{r['of']}: drifted (p = {r['p']:.2g}). Its mean moved by {r['mean_moved']:.2f} spreads, it is "
                f"{r['spread']:.2f} times as wide, and its leading directions hold {r['axes']:.0%} of the old ones; a "
                f"classifier tells old from new {r['accuracy']:.0%} of the time."
            )
        out += self.about.get("said", [])
        if len(self.items):
            count = self.items["id"].nunique()
            out.append(f"{count:,} new items are unlike anything in the old set, {self.items['id'].iloc[0]} first.")
        return out

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the new items that are unlike the old to a CSV file: id, modality, p."""
        write_text(Path(path), self.items.to_csv(index=False))
        return Path(path)


def drift(old: Any, new: Any) -> Drift:
    r"""Compare two sets of other items by modality, and by the gap of each pair of modalities.

    Two tests, both by permutation of whole families: the kernel's, $\mathrm{MMD}^2$ with a Gaussian at the median
    distance (Gretton et al. 2012), and a classifier's, the accuracy of ridge regression that was fitted on the other
    half (Lopez-Paz & Oquab 2017). Their p are combined by Bonferroni, then Holm's over the lines. For a gap rows are
    the differences of matched vectors. An item is new where it is as far from its ten nearest as hardly any of OLD is
    (conformal p, false discovery rate 10 %, Benjamini & Hochberg 1995). Cost: all pairs of 2,000 families of each.

    >>> import workbench as wb
    >>> es = wb.testing.planted(items=400)
    >>> drift(es.take(range(200)), es.take(range(200, 400))).drifted
    False
    """
    a, b = (as_set(x).layer() for x in (old, new))
    both = [m for m in a.modalities if m in b and a[m].shape[-1] == b[m].shape[-1]]
    if not both:
        raise InputError(
            f"{a.source} and {b.source} share no modality of one width: {', '.join(a.modalities)} and "
            f"{', '.join(b.modalities)}"
        )
    every = dict.fromkeys((*a.modalities, *b.modalities))
    said = [f"{m} is not compared: {_why(a, b, m)}." for m in every if m not in both]
    ids = [set(columns.text(es.items["id"])) for es in (a, b)]
    same = len((ids[0] & ids[1]) - {str(k) for k in range(len(a))})  # numbers of rows name nothing
    if same:
        said.append(f"{same:,} ids are in both: if they are the same items, compare tells more.")
    lines: list[dict[str, Any]] = []
    strange: list[dict[str, Any]] = []
    for m in both:
        x, y = (_rows(es, m) for es in (a, b))
        lines.append({"of": m} | _compared(x, y, m))
        strange += _strangers(a, b, m)
    for m, n in combinations(both, 2):
        if a[m].shape[-1] == a[n].shape[-1]:
            x, y = (_gaps(es, m, n) for es in (a, b))
            if min(len(x[0]), len(y[0])) >= FEW:
                lines.append({"of": f"{GAP} {m} · {n}"} | _compared(x, y, f"{GAP} {m} · {n}"))
    for line, p in zip(lines, intervals.holm([line["p"] for line in lines]), strict=True):
        line["p"] = p
    items = pd.DataFrame(strange, columns=["id", "modality", "p"]).sort_values("p", kind="stable")
    return Drift(pd.DataFrame(lines), items.reset_index(drop=True), {"old": a.source, "new": b.source, "said": said})


def _why(a: EmbeddingSet, b: EmbeddingSet, m: str) -> str:
    """Why a modality of one set has no counterpart in the other."""
    if m in a and m in b:
        return f"{a[m].shape[-1]} dimensions in the old set, {b[m].shape[-1]} in the new"
    return f"the {'new' if m in a else 'old'} set has none"


Rows = tuple[Tensor, np.ndarray]  # (n, d), and the family of each


def _drawn(es: EmbeddingSet, items: np.ndarray) -> np.ndarray:
    """The items of at most `MOST` families, by lot."""
    family = pd.factorize(es.families[items])[0]
    count = int(family.max()) + 1 if len(family) else 0
    kept = np.random.default_rng(count).permutation(count)[:MOST]
    return items[np.isin(family, kept)]


def _rows(es: EmbeddingSet, m: str) -> Rows:
    items = _drawn(es, es.layout.has[m].nonzero()[:, 0].numpy())
    x = es.unit(m, es.first_row(m, items))
    return x, es.families[items]


def _gaps(es: EmbeddingSet, m: str, n: str) -> Rows:
    items = _drawn(es, (es.layout.has[m] & es.layout.has[n]).nonzero()[:, 0].numpy())
    one, two = (es.unit(k, es.first_row(k, items)) for k in (m, n))
    return one - two, es.families[items]


def _compared(old: Rows, new: Rows, what: str) -> dict[str, float]:
    x, y = old[0], new[0]
    families = [pd.factorize(f)[0] for f in (old[1], new[1])]
    if min(int(f.max()) + 1 for f in families) < FEW:
        raise InputError(f"{what}: fewer than {FEW} families in one of the sets, too few to tell drift from luck")
    z = torch.cat([x, y])
    code = torch.from_numpy(np.concatenate([families[0], families[1] + families[0].max() + 1]))
    is_new = torch.zeros(int(code.max()) + 1, dtype=torch.bool)
    is_new[families[0].max() + 1 :] = True
    kernel, p_kernel = _kernel_test(z, code, is_new)
    accuracy, p_classifier = _classifier_test(z, code, is_new)
    spread = [float((k - k.mean(0)).square().sum(1).mean().sqrt()) for k in (x, y)]
    axes = [torch.linalg.eigh((k - k.mean(0)).T @ (k - k.mean(0)) / len(k)).eigenvectors[:, -AXES:] for k in (x, y)]
    return {
        "old": len(x),
        "new": len(y),
        "kernel": kernel,
        "accuracy": accuracy,
        "p": min(1.0, 2 * min(p_kernel, p_classifier)),
        "mean_moved": float((x.mean(0) - y.mean(0)).norm()) / max(spread[0], 1e-12),
        "spread": spread[1] / max(spread[0], 1e-12),
        "axes": float((axes[0].T @ axes[1]).square().sum()) / axes[0].shape[1],
    }


def _dealt(is_new: Tensor, draws: int) -> Tensor:
    """The labels of families as they are, and shuffled so many times: (families, 1 + draws)."""
    draw = torch.Generator().manual_seed(0)
    shuffled = [is_new[torch.randperm(len(is_new), generator=draw)] for _ in range(draws)]
    return torch.stack([is_new, *shuffled], 1)


def _kernel_test(z: Tensor, code: Tensor, is_new: Tensor) -> tuple[float, float]:
    """MMD² with all pairs of different families, and its p: all permutations are one product with the kernel."""
    x = z.float()
    square = x.square().sum(1)
    distance = (square[:, None] + square[None] - 2 * x @ x.T).clamp_min(0)
    some = distance[:: max(len(x) // 1_000, 1), :: max(len(x) // 1_000, 1)]
    k = (-distance / some[some > 0].median().clamp_min(1e-12)).exp()
    k.masked_fill_(code[:, None] == code[None], 0.0)
    families = int(code.max()) + 1
    folded = torch.zeros(families, len(x)).index_add_(0, code, k)
    folded = torch.zeros(families, families).index_add_(1, code, folded).double()
    size = torch.bincount(code, minlength=families).double()
    label = _dealt(is_new, DRAWS).double()
    new, old = label, 1 - label

    def mean(p: Tensor, q: Tensor, *, same: bool) -> Tensor:
        pairs = (p * size[:, None]).sum(0) * (q * size[:, None]).sum(0)
        if same:
            pairs = pairs - (p * size[:, None].square()).sum(0)
        return (p * (folded @ q)).sum(0) / pairs.clamp_min(1)

    found = mean(new, new, same=True) + mean(old, old, same=True) - 2 * mean(new, old, same=False)
    return float(found[0]), float((found >= found[0] - 1e-12).double().mean())


def _classifier_test(z: Tensor, code: Tensor, is_new: Tensor) -> tuple[float, float]:
    """How often ridge regression, fitted on half of the families, tells the others' label; balanced, by permutation."""
    families = len(is_new)
    half = torch.randperm(families, generator=torch.Generator().manual_seed(1)) % FOLDS
    label = _dealt(is_new, DRAWS)[code].double()
    right = torch.zeros(2, label.shape[1], dtype=torch.float64)
    count = torch.zeros(2, label.shape[1], dtype=torch.float64)
    for fold in range(FOLDS):
        train, test = half[code] != fold, half[code] == fold
        x, y = z[train], label[train]
        share = y.mean(0)
        centre = x.mean(0)
        x0 = x - centre
        square = x0.T @ x0
        square.diagonal().add_(RIDGE * square.trace())  # as much as all directions together carry, over a hundred
        w = torch.linalg.solve(square, x0.T @ (y - share))
        score = (z[test] - centre) @ w
        said = score > 0  # the middle between both, whatever their sizes
        for k, side in enumerate((label[test] < 0.5, label[test] > 0.5)):
            right[k] += ((said == (k == 1)) & side).double().sum(0)
            count[k] += side.double().sum(0)
    accuracy = (right / count.clamp_min(1)).mean(0)
    return float(accuracy[0]), float((accuracy >= accuracy[0] - 1e-12).double().mean())


def _strangers(a: EmbeddingSet, b: EmbeddingSet, m: str) -> list[dict[str, Any]]:
    """Items of `b` whose ten nearest in `a` are further than those of hardly any item of `a`, its family aside."""
    items = a.layout.has[m].nonzero()[:, 0]
    known = a.unit(m, a.first_row(m, items)).float()
    there = b.layout.has[m].nonzero()[:, 0]
    new = b.unit(m, b.first_row(m, there)).float()
    family = torch.from_numpy(a.families)[items]
    usual, far = _distance(known, known, family).numpy(), _distance(new, known).numpy()
    ascending = np.sort(usual)
    p = (1 + len(usual) - np.searchsorted(ascending, far, "left")) / (len(usual) + 1)
    rate = intervals.false_discovery(torch.from_numpy(p)).numpy()
    ids = columns.text(b.items["id"])
    return [{"id": ids[int(there[i])], "modality": m, "p": float(p[i])} for i in np.flatnonzero(rate <= STRANGE)]


def _distance(x: Tensor, known: Tensor, family: Tensor | None = None) -> Tensor:
    """One less the mean cosine of the ten nearest, (n,); with a family, of others than its own."""
    parts = []
    for i in range(0, len(x), 1_024):
        s = x[i : i + 1_024] @ known.T
        if family is not None:
            s.masked_fill_(family[i : i + 1_024, None] == family[None], -1.0)
        parts.append(1 - s.topk(min(NEIGHBOURS, len(known)), dim=1).values.mean(1))
    return torch.cat(parts)
