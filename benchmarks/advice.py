"""Does advice hold? Recipes chosen outside of test, trained anew on train and judged on test items that nothing saw.

`python -m benchmarks.advice` asks for advice on ten real and planted sets, trains the finalists and the baseline again
from three seeds and writes what came of them to benchmarks/advice.json, from which docs/advise.md has its table; a
killed run goes on where it was. Some twenty minutes on two cores.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits

import workbench as wb
from benchmarks.treatments import emoji
from workbench.advice.advised import Finalist
from workbench.advice.aims import AIMS
from workbench.diagnostics import intervals
from workbench.disk import write_text
from workbench.progress import progress
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.shipped import with_splits
from workbench.training.train import train
from workbench.treatments import GOALS
from workbench.treatments.base import untreated
from workbench.treatments.goals import Parts, paired

OUT = Path(__file__).with_name("advice.json")
SEEDS = (101, 102, 103)
STEPS, BUDGET = 120, 4.0  # of a training, and minutes a set


def digits(left: list[int], right: list[int]) -> EmbeddingSet:
    """Two parts of each drawing of a digit, as modalities."""
    found = load_digits()
    x = torch.from_numpy(found.images).float().view(len(found.images), 8, 8)
    halves = {"left": x[:, :, left].flatten(1), "right": x[:, :, right].flatten(1)}
    return EmbeddingSet({m: v + 0.1 for m, v in halves.items()}, pd.DataFrame({"kind": found.target.astype(str)}))


def clusters() -> EmbeddingSet:
    """Forty classes of near look-alikes: most negatives of a batch are false ones."""
    draw = torch.Generator().manual_seed(24)
    label = torch.arange(1_600) % 40
    middle = torch.randn(40, 24, generator=draw)
    own = 0.35 * torch.randn(1_600, 24, generator=draw)
    mix = [torch.randn(24, 64, generator=draw) for _ in range(2)]
    rows = {
        m: torch.tanh((middle[label] + own) @ a / 5) + 0.1 * torch.randn(1_600, 64, generator=draw)
        for m, a in zip(("image", "text"), mix, strict=True)
    }
    return EmbeddingSet(rows, pd.DataFrame({"kind": [f"c{k}" for k in label.tolist()]}))


def noise() -> EmbeddingSet:
    """Nothing in common: whatever is recommended here is luck."""
    draw = torch.Generator().manual_seed(23)
    return EmbeddingSet({m: torch.randn(1_200, 32, generator=draw) for m in ("image", "text")})


SETS: dict[str, tuple[Callable[[], EmbeddingSet], str, str]] = {
    "digits: left, right": (lambda: digits([0, 1, 2, 3], [4, 5, 6, 7]), "retrieval", ""),
    "digits: columns dealt": (lambda: digits([0, 2, 4, 6], [1, 3, 5, 7]), "mixed", ""),
    "digits: classes": (lambda: digits([0, 1, 2, 3], [4, 5, 6, 7]), "classes", "kind"),
    "planted, a gap": (lambda: wb.testing.planted(1_200, 48, gap=0.9, cosine=0.5, seed=20), "retrieval", ""),
    "planted, weak": (lambda: wb.testing.planted(1_200, 48, cosine=0.3, seed=21), "mixed", ""),
    "forty classes": (clusters, "retrieval", ""),
    "noise": (noise, "retrieval", ""),
    "emoji: English, German": (lambda: emoji("text", "text_de"), "retrieval", ""),
    "emoji: names, drawings": (lambda: emoji("text", "color"), "retrieval", ""),
    "emoji: sketches, names": (lambda: emoji("sketch", "text"), "mixed", ""),
}


def tested(es: EmbeddingSet, made: list[Finalist], goal: str, label: str) -> list[dict[str, Any]]:
    """What recipes gain over the first on test items, each trained on train items from every seed."""
    aim, spaces = GOALS[goal], []
    for f in made:
        spaces.append([])
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                settings = {"train.steps": STEPS, "train.evaluate": STEPS, "train.seed": seed, "train.label": label}
                settings |= {"objective.temperature": f.temperature}
                run = train(f.recipe, data=es, out=Path(folder) / "run", device="cpu", **settings)
                spaces[-1].append((run.embed("train", es), run.embed("test", es)))
    judged = [[aim.judge(untreated(b), Parts(a, b, label)) for a, b in runs] for runs in spaces]
    rows = []
    for f, after in zip(made[1:], judged[1:], strict=True):
        both = [paired(x, y, aim.measure) for x, y in zip(judged[0], after, strict=True)]
        d, family = torch.stack([x for x, _ in both]).mean(0), both[0][1]
        low, high = intervals.jackknife_of_a_mean(d, torch.ones_like(d), family)
        said = {"recipe": f.recipe, "gain": f.gain, "low": f.low, "high": f.high, "p": f.p, "helps": f.helps}
        rows.append(said | {"test": float(d.mean()), "test_low": low, "test_high": high})
    return rows


def again(name: str) -> dict[str, Any]:
    """What is advised for a set, and what that gains on test items."""
    make, goal, label = SETS[name]
    es = with_splits(make())
    found = wb.advise(es, goal, label=label, budget=BUDGET, steps=STEPS)
    best = found.best
    rows = tested(es, [found.baseline, *found.finalists], goal, label)
    return {
        "set": name,
        "goal": goal,
        "unit": AIMS[goal].unit,
        "baseline": found.baseline.value,
        "tried": len(found.tried) - 1,
        "runs": len(found.baseline.runs),
        "best": best.recipe if best else "",
        "finalists": rows,
    }


def holds(row: dict[str, Any]) -> bool:
    """Whether what is recommended is not surely worse than the baseline on test items."""
    return all(f["test_high"] >= 0 for f in row["finalists"] if f["recipe"] == row["best"])


def covered(rows: list[dict[str, Any]]) -> tuple[int, int]:
    """How many of the printed intervals hold the gain on test items, and how many there are."""
    every = [f for r in rows for f in r["finalists"] if np.isfinite(f["low"])]
    return sum(f["low"] <= f["test"] <= f["high"] for f in every), len(every)


def table() -> str:
    """The finalists of each set, and what they gained on test items."""
    rows = json.loads(OUT.read_text())
    lines = [
        "| set | goal | InfoNCE | finalist | gain [95 % of new divisions] | on test [95 %] |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        first = f"| {r['set']} | {r['goal']} | {r['baseline']:.3f} |"
        for f in r["finalists"]:
            name = f"**{f['recipe']}**" if f["recipe"] == r["best"] else f["recipe"]
            said = f"{f['gain']:+.3f} [{f['low']:+.3f}, {f['high']:+.3f}]"
            lines.append(f"{first} {name} | {said} | {f['test']:+.3f} [{f['test_low']:+.3f}, {f['test_high']:+.3f}] |")
            first = "| | | |"
    inside, every = covered(rows)
    named, held = [r for r in rows if r["best"]], sum(map(holds, rows))
    lines += [
        "",
        f"Of {len(rows)} sets {len(named)} got a recommendation (in bold); on {held} of {len(rows)} what was advised, "
        f"InfoNCE included, is not surely worse than InfoNCE on test. {inside} of {every} intervals hold the gain on "
        "test.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Every set, one after the other."""
    rows = json.loads(OUT.read_text()) if OUT.exists() and "--anew" not in sys.argv else []
    for name in progress([n for n in SETS if n not in {r["set"] for r in rows}], "sets"):
        rows.append(json.loads(json.dumps(again(name)), parse_float=lambda x: round(float(x), 4)))
        write_text(OUT, json.dumps(rows, indent=1) + "\n")
    print(table())


if __name__ == "__main__":
    main()
