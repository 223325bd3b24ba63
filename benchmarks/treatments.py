"""Does what is recommended hold? Treatments chosen on validation items, judged again on test items that nothing saw.

`python -m benchmarks.treatments` treats ten real and planted sets for each goal that suits them and writes what came of
the winners to benchmarks/treatments.json, from which docs/treat.md has its table; a killed run goes on where it was.
"""

from __future__ import annotations

import json
import math
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import workbench as wb
from workbench.diagnostics import intervals
from workbench.disk import write_text
from workbench.progress import progress
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.planted import planted
from workbench.treatments import GOALS, treat
from workbench.treatments.base import untreated
from workbench.treatments.goals import Parts, paired
from workbench.treatments.treat import divided

OUT = Path(__file__).with_name("treatments.json")


def emoji(*modalities: str) -> EmbeddingSet:
    return wb.dataset("emoji").only(modalities)


def hubs() -> EmbeddingSet:
    """Keys near the middle of all are nearest to everything: each text is drawn to the mean by its own share."""
    es = planted(3_000, 64, cosine=0.5, seed=11)
    draw = torch.Generator().manual_seed(11)
    pull = 2 * torch.rand(len(es), 1, generator=draw)
    return EmbeddingSet({"image": es["image"] + 0.4, "text": es["text"] + pull * 0.25}, es.items)


def turned() -> EmbeddingSet:
    """One modality turned by a random rotation: nothing matches until it is turned back."""
    es = planted(2_000, 24, cosine=0.8, seed=12)
    d = es["text"].shape[1]
    q = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(12), dtype=torch.float64))[0]
    return EmbeddingSet({"image": es["image"], "text": es["text"].double() @ q}, es.items)


def noise() -> EmbeddingSet:
    """Nothing in common: whatever is recommended here is luck."""
    draw = torch.Generator().manual_seed(13)
    return EmbeddingSet({m: torch.randn(2_000, 32, generator=draw) for m in ("image", "text")})


def classes() -> EmbeddingSet:
    """Ten classes, with a gap between the modalities."""
    draw = torch.Generator().manual_seed(14)
    label = torch.arange(2_000) % 10
    middle = torch.randn(10, 32, generator=draw)
    rows = {m: middle[label] + 2 * torch.randn(2_000, 32, generator=draw) for m in ("image", "text")}
    rows["text"][:, 0] += 8
    return EmbeddingSet(rows, pd.DataFrame({"kind": [f"c{k}" for k in label.tolist()]}))


SETS: dict[str, tuple[Callable[[], EmbeddingSet], tuple[str, ...], str]] = {
    "emoji: colours, drawings": (
        lambda: emoji("color", "sketch"),
        ("retrieval", "mixed", "storage", "classes"),
        "group",
    ),
    "emoji: English, German": (lambda: emoji("text", "text_de"), ("retrieval", "mixed", "storage", "classes"), "group"),
    "emoji: English, colours": (lambda: emoji("text", "color"), ("retrieval", "mixed"), ""),
    "emoji: German, drawings": (lambda: emoji("text_de", "sketch"), ("retrieval", "mixed"), ""),
    "a gap": (lambda: planted(2_000, 64, gap=0.8, cosine=0.6, seed=10), ("retrieval", "mixed", "storage"), ""),
    "hubs": (hubs, ("retrieval", "mixed"), ""),
    "turned": (turned, ("retrieval", "mixed"), ""),
    "healthy": (lambda: planted(2_000, 64, cosine=0.9, seed=15), ("retrieval", "mixed", "storage"), ""),
    "noise": (noise, ("retrieval", "mixed", "storage"), ""),
    "classes and a gap": (classes, ("classes",), "kind"),
}


def thirds(es: EmbeddingSet) -> EmbeddingSet:
    """The set with its families dealt into train, validation and test, by a hash of their names."""
    names = columns.text(es.items["family" if "family" in es.items else "id"])
    part = [("train", "validation", "test")[zlib.crc32(f"third {n}".encode()) % 3] for n in names]
    rows = {m: es.item_of_row(m) for m in es.modalities if not es.aligned(m)}
    return EmbeddingSet({m: es[m] for m in es.modalities}, es.items.assign(split=part), rows=rows, source=es.source)


def again(es: EmbeddingSet, goal: str, label: str) -> dict[str, Any]:
    """What `treat` recommends, and what that changes on test items."""
    found = treat(es, goal, label=label)
    best = found.winner
    row: dict[str, Any] = {"before": found.value, "winner": best.label if best else ""}
    if best is None:
        return row
    tested = Parts(divided(es).train, es.split("test"), label)
    aim = GOALS[goal]
    d, family = paired(aim.judge(untreated(es), tested), aim.judge(best.treatment, tested), aim.measure)
    low, high = intervals.jackknife_of_a_mean(d, torch.ones_like(d), family)
    said = {"change": best.change, "low": best.low, "high": best.high}
    return row | said | {"test": float(d.mean()), "test_low": low, "test_high": high}


def holds(row: dict[str, Any]) -> bool:
    """Whether the change on test may be what the interval says: it does not surely lie below its lower end."""
    return not row["winner"] or row["test_high"] >= row["low"]


def table() -> str:
    """The winners and what they changed on test items."""
    lines = [
        "| set | goal | as it is | recommended | on validation [95 %] | on test [95 %] |",
        "|---|---|---|---|---|---|",
    ]
    for r in json.loads(OUT.read_text()):
        first = f"| {r['set']} | {r['goal']} | {r['before']:.3f} | "
        if not r["winner"]:
            lines.append(f"{first}nothing | | |")
            continue
        said = f"{r['change']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]"
        lines.append(
            f"{first}{r['winner']} | {said} | {r['test']:+.3f} [{r['test_low']:+.3f}, {r['test_high']:+.3f}] |"
        )
    return "\n".join(lines)


def main() -> None:
    """Every set for every goal, one after the other."""
    rows = json.loads(OUT.read_text()) if OUT.exists() and "--anew" not in sys.argv else []
    done = {(r["set"], r["goal"]) for r in rows}
    todo = [(name, goal) for name, (_, goals, _) in SETS.items() for goal in goals if (name, goal) not in done]
    for name, goal in progress(todo, "sets"):
        make, _, label = SETS[name]
        row = {"set": name, "goal": goal} | again(thirds(make()), goal, label if goal == "classes" else "")
        rows.append({k: round(v, 4) if isinstance(v, float) and math.isfinite(v) else v for k, v in row.items()})
        write_text(OUT, json.dumps(rows, indent=1) + "\n")
    bad = [f"{r['set']}, {r['goal']}" for r in rows if not holds(r)]
    print(
        table(),
        f"\n{len(rows)} tried, {sum(bool(r['winner']) for r in rows)} recommended, do not hold: {bad or 'none'}",
    )


if __name__ == "__main__":
    main()
