"""The rule of the papers in worlds whose answer is known: how often it says held, and after how many runs.

`python -m benchmarks.sequential` draws the worlds and writes the table of docs/atlas.md; half a minute.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.pages import put
from workbench.papers.catalogue import entry
from workbench.papers.difference import AGAIN
from workbench.papers.evidence import Evidence
from workbench.papers.rule import LOOKS

PAGE = Path(__file__).parent.parent / "docs" / "atlas.md"
EFFECTS = (0.0, 0.5, 0.9, 1.0, 1.5, 2.0, 3.0, 5.0)  # true gains in units of the smallest effect worth having
SPREADS = (0.2, 0.5, 1.0)  # standard deviations between runs, in the same units
WORLDS = 1000
KEY = "tcl"  # any entry: what counts is the rule, at its smallest effect and its control's margin


def world(effect: float, sd: float, draw: np.random.Generator) -> Evidence:
    """One claim in one world: 32 runs whose gains share the chance of their one set, with a control that holds."""
    least, n = entry(KEY).min_effect, max(LOOKS)
    common = draw.normal() * AGAIN**0.5 * sd
    gains = least * (effect + common + draw.normal(size=n) * sd)
    still = draw.normal(size=n) * entry(KEY).equivalence / 10
    runs = [
        {"seed": k, "baseline": 0.5, "mechanism": 0.5 + g, "control": (0.1, 0.1 + c), "positive": (0.1, 0.4 + c)}
        for k, (g, c) in enumerate(zip(gains, still, strict=True))
    ]
    return Evidence(KEY, [r | {"also": {}} for r in runs], "simulated")


def judged(e: Evidence) -> tuple[str, int]:
    """The outcome where the paper ends, as a run of it would, and after how many runs."""
    for n in LOOKS:
        seen = replace(e, runs=e.runs[:n])
        if seen.settled:
            return seen.outcome, n
    raise AssertionError("the last look settles")


def row(effect: float, sd: float, worlds: int, seed: int = 0) -> dict[str, float]:
    """Shares of outcomes and the mean number of runs, over worlds of one kind."""
    draw = np.random.default_rng([seed, int(effect * 10), int(sd * 10)])
    found = [judged(world(effect, sd, draw)) for _ in range(worlds)]
    count = Counter(outcome for outcome, _ in found)
    shares = {k: count[k] / worlds for k in ("held", "some gain", "not held", "inconclusive")}
    return shares | {"runs": sum(n for _, n in found) / worlds}


def table(worlds: int = WORLDS) -> str:
    """The Markdown table: a line a world."""
    lines = [
        "| true gain | spread of runs | held | some gain | not held | inconclusive | runs |",
        "|---|---|---|---|---|---|---|",
    ]
    for sd in SPREADS:
        for effect in EFFECTS:
            r = row(effect, sd, worlds)
            shares = " | ".join(f"{r[k]:.1%}" for k in ("held", "some gain", "not held", "inconclusive"))
            lines.append(f"| {effect:g} | {sd:g} | {shares} | {r['runs']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    put(PAGE, "sequential", table())


if __name__ == "__main__":
    main()
