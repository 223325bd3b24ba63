"""How often a value lies outside its null where there is nothing to see: 5 % is right.

`python -m benchmarks.nulls [draws]` draws sets whose modalities know nothing of each other, nor of the labels, and
writes the shares to workbench/diagnostics/nulls/measured.json. A killed run goes on where it was.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import workbench as wb
from benchmarks import cells
from workbench.diagnostics import nulls
from workbench.diagnostics.registry import diagnostics
from workbench.progress import progress

OUT = Path(nulls.__file__).with_name("measured.json")
ROLES = {"safe": ["u"], "unsafe": ["v"], "jailbreak": ["w"]}


@dataclass(frozen=True)
class Cell:
    """A kind of set: n items of d dimensions in families of `family`, `captions` rows an item in the second modality,
    a share `missing` of the third, around a common direction of length `cone`."""

    name: str
    n: int = 200
    d: int = 16
    family: int = 1
    captions: int = 1
    missing: float = 0.0
    cone: float = 0.5
    third: bool = True

    def draw(self, seed: int) -> wb.EmbeddingSet:
        """One set in which there is nothing to see."""
        rng = np.random.default_rng([seed, self.n, self.d])
        family = np.arange(self.n) // self.family
        kinds = np.array(list("uvw"))[rng.integers(0, 3, family.max() + 1)]
        items = pd.DataFrame({"id": [f"i{i}" for i in range(self.n)], "kind": kinds[family]})
        if self.family > 1:
            items["family"] = [f"f{f}" for f in family]
        vectors, rows = {}, {}
        for m in ("a", "b", "c") if self.third else ("a", "b"):
            own = np.arange(self.n)
            if m == "b" and self.captions > 1:
                own = np.repeat(own, rng.integers(1, 2 * self.captions, self.n))
            if m == "c" and self.missing:
                own = own[rng.random(self.n) >= self.missing]
            x = rng.standard_normal((len(own), self.d))
            if self.captions > 1:
                x += 1.5 * rng.standard_normal((self.n, self.d))[own]
            if self.family > 1:
                x += 1.5 * rng.standard_normal((family.max() + 1, self.d))[family[own]]
            x /= np.linalg.norm(x, axis=1, keepdims=True)
            x[:, 0] += self.cone
            vectors[m] = torch.from_numpy(x)
            if len(own) != self.n or self.captions > 1 and m == "b":
                rows[m] = own
        return wb.EmbeddingSet(vectors, items, rows=rows)


CELLS = (
    Cell("200 × 16"),
    Cell("60 × 64", n=60, d=64),
    Cell("400 × 512", n=400, d=512, third=False),
    Cell("families of 4", family=4),
    Cell("families of 4, 400 × 64", n=400, d=64, family=4),
    Cell("captions", captions=3),
    Cell("a third missing", missing=0.33),
    Cell("families, captions, missing", family=4, captions=2, missing=0.33),
)
LARGE = Cell("40,000 × 16, sampled", n=40_000, third=False)


def outside(cell: Cell, draws: range) -> dict[str, list[int]]:
    """By diagnostic: how many values there were, how many lay below their band, and how many above."""
    names = [n for n, d in diagnostics().items() if not d.null.reference]
    found: dict[str, list[int]] = {}
    for seed in progress(draws, cell.name, len(draws)):
        report = wb.diagnose(cell.draw(seed), only=names, label="kind", roles=ROLES)
        frame = report.frame
        frame = frame[frame["value"].notna() & frame["null_low"].notna()]
        for r in frame.to_dict("records"):
            count = found.setdefault(r["name"], [0, 0, 0])
            slack = 1e-9 * max(abs(r["value"]), 1e-3)
            count[0] += 1
            count[1] += r["value"] < r["null_low"] - slack
            count[2] += r["value"] > r["null_high"] + slack
    return found


def table() -> str:
    """What has been measured, a line a diagnostic, a column a cell: the shares below and above, in hundredths."""
    return cells.table(cells.measured(OUT), lambda s: f"{100 * s[1] / s[0]:.0f} + {100 * s[2] / s[0]:.0f}")


def main(draws: int = 200, large: int = 20) -> None:
    every = {c.name: c for c in (*CELLS, LARGE)}
    cells.measure(OUT, list(every), lambda n: outside(every[n], range(large if n == LARGE.name else draws)))
    print(table())


if __name__ == "__main__":
    main(*(int(x) for x in sys.argv[1:]))
