"""How often the doctor cries wolf over healthy runs, and how often it sees a planted fault at three strengths.

`python -m benchmarks.doctor [healthy runs]` trains them, plants the faults, and writes the figures that are printed
with each rule to workbench/report/doctor/measured.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import workbench as wb
from workbench.progress import progress
from workbench.report.doctor import RULES, RUN_RULES, SET_RULES, examine_run, rules
from workbench.report.finding import Finding
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.run_folder import RECALL

OUT = Path(rules.__file__).with_name("measured.json")
PAIRS = (("text", "color"), ("text", "sketch"), ("color", "sketch"), ("text", "color", "sketch"))
SIZES = (0.4, 0.7, 1.0)  # of the training items
TEMPERATURES = (0.05, 0.07, 0.1)
PLANTED = 20  # healthy spaces that each fault is planted in


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


def main(count: int = 200) -> None:
    alarms: dict[str, int] = {}
    false = 0
    spaces: list[EmbeddingSet] = []
    logs: list[list[dict]] = []
    with tempfile.TemporaryDirectory() as folder:
        for es, metrics, findings in healthy(count, Path(folder)):
            cried = {f.rule for f in findings if f.alarm}
            false += bool(cried)
            for name in cried:
                alarms[name] = alarms.get(name, 0) + 1
            if len(spaces) < PLANTED:
                spaces.append(es)
                logs.append([m for m in metrics if RECALL in m])
    power: dict[str, dict[str, float]] = {}
    looking = RULES | SET_RULES
    for name, rule in progress(looking.items(), "planted faults", len(looking)):
        for label, plant in rule.fault or ():
            seen = [any(f.rule == name for f in wb.diagnose(plant(es), **rule.fault.ask).findings) for es in spaces]
            power.setdefault(name, {})[label] = float(np.mean(seen))
    for name, rule in RUN_RULES.items():
        for label, plant in rule.fault or ():
            found = [examine_run(plant(m), uninformed=m[0]["loss"]) for m in logs]
            power.setdefault(name, {})[label] = float(np.mean([any(f.rule == name for f in x) for x in found]))
    result = {
        "healthy_runs": count,
        "reports_with_a_false_alarm": false,
        "false_alarms": alarms,
        "planted_in": len(spaces),
        "power": power,
    }
    OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"{false} of {count} healthy runs had a false alarm: {alarms or 'none'}")
    for name, strengths in power.items():
        print(f"{name:<20}" + "   ".join(f"{label}: {seen:.0%}" for label, seen in strengths.items()))


if __name__ == "__main__":
    main(*(int(x) for x in sys.argv[1:]))
