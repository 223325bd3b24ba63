"""How often a 95 % interval holds what it is an interval of: 95 % is right.

`python -m benchmarks.coverage [draws]` draws sets in which there is something to see from one population, and counts
how often an interval holds the value of the population (of means and sums of pairs, which do not depend on n), or else
the mean of the value over all draws of that size. It writes the counts to
workbench/diagnostics/coverage.json; a killed run goes on where it was.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import workbench as wb
from benchmarks import cells
from workbench import diagnostics as room
from workbench.diagnostics.context import Context
from workbench.diagnostics.evaluate import answers
from workbench.diagnostics.registry import NAN_BAND, Diagnostic, Null, diagnostics
from workbench.diagnostics.scope import labellings, measurements
from workbench.progress import progress
from workbench.scan.executors import execute
from workbench.scan.plan import Scan

OUT = Path(room.__file__).with_name("coverage.json")
ROLES = {"safe": ["k0"], "unsafe": ["k1"], "jailbreak": ["k2"]}
NO_NULL = Null("none", lambda *states, **params: NAN_BAND)
DRAWS = 200
LARGE = 1_000
WHOLE = 12_000  # items that stand for the population


def even(families: int, rng: np.random.Generator) -> np.ndarray:
    """As many items in each family."""
    return np.ones(families)


def heavy(families: int, rng: np.random.Generator) -> np.ndarray:
    """A few large families and many small ones."""
    return 1 + rng.pareto(1.5, families)


@dataclass(frozen=True)
class Cell:
    """A population: n items of d dimensions in so many families, captions an item, noise between the modalities."""

    name: str
    n: int = 200
    d: int = 16
    families: int = 0
    captions: int = 1
    noise: float = 0.7
    sizes: Callable[[int, np.random.Generator], np.ndarray] = even

    def draw(self, seed: int) -> wb.EmbeddingSet:
        """One set of it."""
        population = np.random.default_rng([0, self.d])
        means = 0.8 * population.standard_normal((4, self.d))
        gap = 0.3 * population.standard_normal(self.d)
        rng = np.random.default_rng([seed + 1, self.n, self.d])
        if self.families:
            weight = self.sizes(self.families, rng)
            family = np.sort(rng.choice(self.families, self.n, p=weight / weight.sum()))
            if self.sizes is even:
                family = np.arange(self.n) * self.families // self.n
        else:
            family = np.arange(self.n)
        kind = (rng.permutation(family.max() + 1) % 4)[family]
        of_family = 0.7 * rng.standard_normal((family.max() + 1, self.d))[family] if self.families else 0.0
        x = means[kind] + of_family + rng.standard_normal((self.n, self.d))
        owner = np.repeat(np.arange(self.n), rng.integers(1, 2 * self.captions, self.n)) if self.captions > 1 else None
        seen = x if owner is None else x[owner]
        y = gap + seen + self.noise * rng.standard_normal(seen.shape)
        items = pd.DataFrame({"id": [f"i{i}" for i in range(self.n)], "kind": [f"k{k}" for k in kind]})
        if self.families:
            items["family"] = [f"f{f}" for f in family]
        rows = None if owner is None else {"b": owner}
        return wb.EmbeddingSet({"a": torch.from_numpy(x), "b": torch.from_numpy(y)}, items, rows=rows)


CELLS = (
    Cell("200 items"),
    Cell("40 items", n=40),
    Cell("50 families of 4", families=50),
    Cell("8 families of 25", families=8),
    Cell("families of any size", families=60, sizes=heavy),
    Cell("captions", captions=3),
    Cell("nearly all right", n=100, d=64, noise=0.4),
    Cell("1,500 × 64", n=1_500, d=64),
)
HEAVY = "families of any size"  # a few large families carry every sum: intervals are as short as these are few
SHORT = {
    ("50 families of 4", "neural_collapse_within"),  # a ratio of sums whose upper tail is long
    ("8 families of 25", "centroid_cosine"),  # the length of each mean is that of eight families, and too large
    ("8 families of 25", "gap_kurtosis"),  # a moment over the 16 dimensions, which hardly vary from part to part
}  # where fewer than nine in ten hold, and why


def measured_once(es: wb.EmbeddingSet, *kinds: str) -> dict[str, tuple[float, float, float]]:
    """Value and interval of every diagnostic with an interval (of these kinds), without nulls: by name and scope."""
    labels, _ = labellings(es.column("kind"), ROLES)
    names = [
        n
        for n, d in diagnostics().items()
        if not d.interval.startswith("none") and d.interval in (kinds or (d.interval,))
    ]
    asked = [
        replace(one, of=replace(one.of, null=NO_NULL), null_reads=())
        for one in measurements(es.layout, labels, names)
        if isinstance(one.of, Diagnostic)
    ]
    scan = Scan(es, (s for one in asked for s in one.statistics), labels={k: v.numpy() for k, v in labels.items()})
    rows, _, _ = answers(asked, Context(scan, execute(scan, "local")))
    return {f"{r['name']} {' '.join(r['modalities'])}": (r["value"], r["low"], r["high"]) for r in rows}


def held(cell: Cell, draws: int) -> dict[str, list[int]]:
    """By diagnostic: how many intervals there were, how many lay above the mean of all values, and how many below."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in progress(range(draws), cell.name, draws):
        for name, row in measured_once(cell.draw(seed)).items():
            if math.isfinite(row[0]) and math.isfinite(row[1]):
                found.setdefault(name, []).append(row)
    # of large sets the mean over draws is as good, and better known than by one set that is hardly larger
    population = replace(cell, n=WHOLE, families=cell.families * WHOLE // cell.n).draw(-1)
    whole = measured_once(population, "jackknife", "jackknife of the square") if cell.n < LARGE else {}
    out: dict[str, list[int]] = {}
    for name, rows in found.items():
        truth = whole[name][0] if name in whole else float(np.mean([r[0] for r in rows]))
        slack = 1e-9 * max(abs(truth), 1e-3)
        count = out.setdefault(name.partition(" ")[0], [0, 0, 0])
        count[0] += len(rows)
        count[1] += sum(r[1] > truth + slack for r in rows)
        count[2] += sum(r[2] < truth - slack for r in rows)
    return out


def measured() -> dict[str, cells.Counts]:
    """What has been measured so far: by cell and diagnostic, how many intervals, too high, and too low."""
    return cells.measured(OUT)


def table() -> str:
    """What has been measured, a line a diagnostic, a column a cell: the share of intervals that hold, in hundredths."""
    return cells.table(measured(), lambda c: f"{100 * (1 - (c[1] + c[2]) / c[0]):.0f}", interval=lambda d: d.interval)


def main(draws: int = DRAWS) -> None:
    every = {c.name: c for c in CELLS}
    cells.measure(OUT, list(every), lambda n: held(every[n], draws))
    print(table())


if __name__ == "__main__":
    main(*(int(x) for x in sys.argv[1:]))
