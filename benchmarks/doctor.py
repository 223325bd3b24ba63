"""How often the doctor cries wolf over healthy runs, and how often it sees a planted fault at three strengths.

`python -m benchmarks.doctor [healthy runs]` trains them, plants the faults, and writes the figures that are printed
with each rule to workbench/report/doctor/measured.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import workbench as wb
from workbench.progress import progress
from workbench.report.doctor import examine_run
from workbench.report.finding import Finding
from workbench.sets import planted as testing
from workbench.sets.embeddings import EmbeddingSet

OUT = Path(__file__).parent.parent / "workbench" / "doctor" / "measured.json"
PAIRS = (("text", "color"), ("text", "sketch"), ("color", "sketch"), ("text", "color", "sketch"))
SIZES = (0.4, 0.7, 1.0)  # of the training items
TEMPERATURES = (0.05, 0.07, 0.1)
PLANTED = 20  # healthy spaces that each fault is planted in
ALARMS = ("fault", "warning")


def smaller(es: EmbeddingSet, share: float, seed: int) -> EmbeddingSet:
    """Fewer items to train on, whole families at a time; validation and test stay."""
    rng = np.random.default_rng(seed)
    keep = rng.random(int(es.families.max()) + 1) < share
    train = (es.items["split"] == "train").to_numpy()
    return es.take(~train | keep[es.families])


def healthy(count: int, folder: Path) -> Iterator[tuple[EmbeddingSet, list[dict], list[Finding]]]:
    emoji = wb.dataset("emoji")
    for i in progress(range(count), "healthy runs", count):
        modalities = PAIRS[i % len(PAIRS)]
        data = smaller(emoji.only(list(modalities)), SIZES[i // len(PAIRS) % len(SIZES)], i)
        t = TEMPERATURES[i // 12 % len(TEMPERATURES)]
        run = wb.train("infonce", data=data, out=folder / str(i), steps=80, evaluate=20, seed=i, temperature=t)
        yield run.snapshot(), run.metrics, [*wb.diagnose(run.snapshot()).findings, *run.findings]


def first(es: EmbeddingSet) -> str:
    return es.modalities[0]


FAULTS: dict[str, list[tuple[str, Callable[[EmbeddingSet], EmbeddingSet]]]] = {
    "collapse": [
        (f"pulled to a point by {s}", lambda es, s=s: testing.collapsed(es, first(es), s)) for s in (0.6, 0.8, 0.9)
    ],
    "rank_collapse": [(f"{k} directions left", lambda es, k=k: testing.flattened(es, first(es), k)) for k in (8, 4, 2)],
    "no_pairing_signal": [
        (f"{s:.0%} of pairs shuffled", lambda es, s=s: testing.shuffled(es, first(es), s)) for s in (0.8, 0.95, 1.0)
    ],
    "shifted_pairs": [
        (f"moved by {k} rows", lambda es, k=k: testing.shuffled(es, first(es), offset=k)) for k in (1, 7, 40)
    ],
    "hubs": [
        (f"queries pulled to 3 keys by {s}", lambda es, s=s: testing.with_hubs(es, first(es), 3, s))
        for s in (0.3, 0.5, 0.7)
    ],
    "duplicates": [
        (f"{s:.0%} of rows copied", lambda es, s=s: testing.duplicated(es, first(es), s)) for s in (0.05, 0.15, 0.4)
    ],
}


def decayed(metrics: list[dict], lost: float, **more: float) -> list[dict]:
    """A run that went on: the loss falls by a fifth, recall on the probe by `lost`, and other columns by a factor."""
    last = dict(next(m for m in reversed(metrics) if "probe_recall_at_1" in m))
    span = metrics[0]["loss"] - last["loss"]
    last["step"] += 20
    last["loss"] -= 0.2 * abs(span)
    last["probe_recall_at_1"] *= 1 - lost
    for key in last:
        for start, factor in more.items():
            if key.startswith(start):
                last[key] *= factor
    return [*metrics, last]


def guessing(metrics: list[dict], share: float) -> list[dict]:
    """A run that never learnt: the loss stays within a share of a guess, recall at chance."""
    start = metrics[0]["loss"]
    return [{**m, "loss": start * (1 - share), "probe_recall_at_1": m.get("probe_chance_high", 0) / 2} for m in metrics]


RUN_FAULTS: dict[str, list[tuple[str, Callable[[list[dict]], list[dict]]]]] = {
    "at_chance": [(f"loss {s:.1%} below a guess", lambda m, s=s: guessing(m, s)) for s in (0.03, 0.01, 0.0)],
    "overfitting": [(f"{s:.0%} of recall lost", lambda m, s=s: decayed(m, s)) for s in (0.2, 0.4, 0.8)],
    "gap_grows": [
        (f"gap × {f}, 60% of recall lost", lambda m, f=f: decayed(m, 0.6, modality_gap=f)) for f in (1.1, 1.5, 3.0)
    ],
    "rank_falls": [
        (f"rank × {f}, 60% of recall lost", lambda m, f=f: decayed(m, 0.6, effective_rank=f)) for f in (0.6, 0.4, 0.1)
    ],
}


def main(count: int = 200) -> None:
    alarms: dict[str, int] = {}
    false = 0
    spaces: list[EmbeddingSet] = []
    logs: list[list[dict]] = []
    with tempfile.TemporaryDirectory() as folder:
        for es, metrics, findings in healthy(count, Path(folder)):
            cried = {f.rule for f in findings if f.severity in ALARMS}
            false += bool(cried)
            for rule in cried:
                alarms[rule] = alarms.get(rule, 0) + 1
            if len(spaces) < PLANTED:
                spaces.append(es)
                logs.append([m for m in metrics if "probe_recall_at_1" in m])
    power: dict[str, dict[str, float]] = {}
    for rule, strengths in progress(FAULTS.items(), "planted faults", len(FAULTS)):
        for label, plant in strengths:
            seen = [any(f.rule == rule for f in wb.diagnose(plant(es)).findings) for es in spaces]
            power.setdefault(rule, {})[label] = float(np.mean(seen))
    for rule, strengths in RUN_FAULTS.items():
        for label, plant in strengths:
            found = [examine_run(plant(m), uninformed=m[0]["loss"]) for m in logs]
            power.setdefault(rule, {})[label] = float(np.mean([any(f.rule == rule for f in x) for x in found]))
    result = {
        "healthy_runs": count,
        "reports_with_a_false_alarm": false,
        "false_alarms": alarms,
        "planted_in": len(spaces),
        "power": power,
    }
    OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"{false} of {count} healthy runs had a false alarm: {alarms or 'none'}")
    for rule, strengths in power.items():
        print(f"{rule:<20}" + "   ".join(f"{label}: {seen:.0%}" for label, seen in strengths.items()))


if __name__ == "__main__":
    main(*(int(x) for x in sys.argv[1:]))
