"""How often the doctor cries wolf over healthy spaces, how often it sees a planted fault, and what it says instead.

`python -m benchmarks.doctor` makes healthy spaces (simulated ones of many kinds, runs of twelve recipes over five
sets, real vectors as they are), plants every fault at three strengths in six of them, and writes the figures that are
printed with each rule to workbench/report/doctor/measured.json, and with them docs/doctor.md. About twenty minutes on
two cores.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import betaincinv
from torch.nn.functional import normalize

import workbench as wb
from workbench.disk import write_text
from workbench.progress import progress
from workbench.report.doctor import RULES, RUN_RULES, SET_RULES, examine_run, rules
from workbench.report.finding import INFO
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.planted import missing, several
from workbench.sets.run_folder import CHANCE, RECALL

OUT = Path(rules.__file__).with_name("measured.json")
RECIPES = ("infonce", "siglip", "decoupled", "infoloob", "cyclip", "triplet", "hard_negative", "align_uniform",
           "vicreg", "whitened", "mv_infonce", "clip_refine")  # fmt: skip
SIMULATED, FIRST_SEED = 340, 90_000  # seeds that no threshold was chosen by
LARGE = (20_000, 20_000, 50_000, 100_000)  # items: their products are sampled
BASES = 6
NAMES = ("image", "text", "audio", "video")


def simulated(seed: int, items: int | None = None) -> EmbeddingSet:
    """A healthy space: a latent cause seen by two to four encoders, each with noise, a cone and a place of its own.

    By lot: 60 to 1,500 items of 32 to 192 dimensions, spectra that fall, families of one to four, classes of unequal
    size, tables sorted by them, captions, missing rows, lengths; pairs that find each other nearly always or for every
    hundredth item.
    """
    draw = np.random.default_rng(seed)
    n, d, latent = (
        items or int(draw.choice([60, 120, 250, 500, 1500])),
        32 if items else int(draw.choice([32, 64, 192])),
        int(draw.integers(8, 24)),
    )
    count = int(draw.choice([2, 2, 2, 3, 4]))
    n = min(n, 500) if count > 2 else n
    size, classes = int(draw.choice([1, 1, 2, 4])), int(draw.integers(2, 9))
    family = np.arange(n) // size
    weights = draw.dirichlet(np.full(classes, draw.choice([1.0, 100.0])))
    kind = draw.choice(classes, n // size + 1, p=weights)
    kind = (np.sort(kind) if draw.random() < 0.3 else kind)[family]
    place = draw.standard_normal((classes, latent)) * draw.uniform(0, 2)
    z = place[kind] + draw.standard_normal((n // size + 1, latent))[family] + 0.5 * draw.standard_normal((n, latent))
    z = z * np.arange(1, latent + 1) ** -draw.choice([0.0, 0.0, 0.5])
    z = z * math.sqrt(latent) / np.linalg.norm(z - z.mean(0), axis=1).mean()
    noise, vectors = draw.choice([draw.uniform(0.2, 1.0), draw.uniform(1.0, 2.5)], p=[0.7, 0.3]), {}
    # one map for all: encoders that were trained share a space, as far as their noise lets them
    first = np.linalg.qr(draw.standard_normal((d, latent)))[0]
    for m in NAMES[:count]:
        own = draw.standard_normal((n, d)) * math.sqrt(latent / d) * noise * draw.uniform(0.7, 1.3)
        cone = draw.standard_normal(d) * math.sqrt(latent / d) * draw.uniform(0, 1.5)
        x = torch.from_numpy(z @ first.T + own + cone)
        lengths = np.exp(draw.normal(0, draw.choice([0, 0, 0.2]), (n, 1)))
        vectors[m] = (normalize(x, dim=1) * torch.from_numpy(lengths)).float()
    frame = pd.DataFrame({"family": [f"f{f}" for f in family], "kind": [f"k{k}" for k in kind]})
    es = EmbeddingSet(vectors, frame if size > 1 else frame.drop(columns="family"), source=f"simulated({seed})")
    if items:
        return es.only(es.modalities[:2])
    if draw.random() < 0.2:
        es = several(es, "text", int(draw.integers(2, 6)), seed=seed)
    return missing(es, NAMES[0], draw.uniform(0.02, 0.2), seed=seed) if draw.random() < 0.2 else es


def digit_halves() -> EmbeddingSet:
    """Handwritten digits, their left and right half, as they are."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    x = torch.from_numpy(raw.images.astype(np.float32))[:900] / 16 + 0.01
    return EmbeddingSet({"left": x[:, :, :4].flatten(1), "right": x[:, :, 4:].flatten(1)},
                        pd.DataFrame({"digit": raw.target[:900].astype(str)}), source="digits")  # fmt: skip


def spectra() -> EmbeddingSet:
    """Raman spectra, their even and their odd channels."""
    es = wb.load(Path(__file__).parent.parent / "data" / "spectra.parquet")
    x = es["spectrum"].float() + 1e-3
    return EmbeddingSet({"even": x[:, ::2], "odd": x[:, 1::2]}, es.items, source="spectra")


def sets() -> dict[str, EmbeddingSet]:
    """What is trained on, and looked at as it is."""
    emoji = wb.dataset("emoji")
    return {
        "emoji, text and drawing": emoji.only(["text", "color"]),
        "emoji, two drawings": emoji.only(["sketch", "color"]),
        "emoji, English and German": emoji.only(["text", "text_de"]),
        "digits, two halves": digit_halves(),
        "spectra, even and odd": spectra(),
    }


def of_run(recipe: str, name: str, seed: int) -> tuple[EmbeddingSet | None, list[dict[str, Any]], list[str]]:
    """The space that a recipe makes of a set, its log and what is said of the run; none where it learnt nothing."""
    with tempfile.TemporaryDirectory() as folder:
        run = wb.train(recipe, data=sets()[name], out=Path(folder) / "run", steps=40, evaluate=10, seed=seed, batch=128)
        looks = [m for m in run.metrics if RECALL in m]
        if looks[-1][RECALL] <= 2 * looks[-1][CHANCE]:
            return None, looks, []
        return run.snapshot(), looks, [f.rule for f in run.findings if f.alarm]


def said(es: EmbeddingSet, **ask: Any) -> list[str]:
    """The rules that raise an alarm over a set."""
    # no rule reads an interval that subsampling makes
    return sorted({f.rule for f in wb.diagnose(es, subsampling=False, **ask).findings if f.alarm})


def healthy(job: tuple[str, Any]) -> list[str] | None:
    """What is said of a healthy space, by kind and key; none where it is not healthy after all."""
    kind, key = job
    if kind == "simulated":
        return said(simulated(key), label="kind")
    if kind == "large":
        return said(simulated(*key))
    if kind == "as it is":
        return said(sets()[key])
    es, _, alarms = of_run(*key)
    return None if es is None else sorted({*said(es), *alarms})


def _find(es: EmbeddingSet) -> float:
    """Recall at 1 of the first modality: where no pair finds the other, no fault of pairs is to be seen."""
    return wb.diagnose(es, only=["recall_at_1"]).value("recall_at_1", *es.modalities[:2])


@cache
def bases() -> list[EmbeddingSet]:
    """Healthy spaces that faults are planted in."""
    runs = [of_run("infonce", name, 1)[0] for name in ("emoji, text and drawing", "digits, two halves")]
    made = [wb.testing.planted(items=240, cosine=0.6, seed=3), wb.testing.planted(items=600, cosine=0.5, seed=4)]
    pairs = (s for k in range(200) for s in [simulated(1000 + k)] if 250 <= len(s) <= 500 and len(s.modalities) == 2
             and all(s.aligned(m) for m in s.modalities) and "family" not in s.items and _find(s) > 0.3)  # fmt: skip
    return [s for s in runs if s is not None] + made + [next(pairs), next(pairs)]


def planted(name: str) -> tuple[str, list[str], list[list[list[str]]]]:
    """Per strength of a fault, what is said of each base: (rule, labels, said)."""
    rule = (RULES | SET_RULES)[name]
    faults = list(rule.fault or ())
    ask = {} if rule.fault is None else rule.fault.ask
    return name, [label for label, _ in faults], [[said(plant(es), **ask) for es in bases()] for _, plant in faults]


def confusion() -> str:
    """What has been measured, in words and as a table: a fault at its middle strength, and what is said of it."""
    known = rules.measured()
    if "confusion" not in known:
        return "Not measured."
    lines = [
        f"{known['reports_with_a_false_alarm']} of {known['healthy_runs']} healthy spaces had a false alarm (95 % "
        f"confidence: at most {known['upper']:.1%}): "
        + ", ".join(f"{n} {kind}" for kind, n in known["kinds"].items())
        + ".",
        "",
        "| planted | said, of the spaces it was planted in |",
        "|---|---|",
    ]
    for name, words in known["confusion"].items():
        own = [f"**{name}** {words[name]}"] if name in words else []
        others = [f"{w} {n}" for w, n in sorted(words.items(), key=lambda kept: -kept[1]) if w != name]
        label = list(known["power"][name])[1]
        lines.append(f"| `{name}`: {label} | {', '.join([*own, *others]) or 'nothing'} |")
    return "\n".join(lines)


def upper(k: int, n: int) -> float:
    """The upper end of the 95 % interval of a share (Clopper and Pearson, one-sided)."""
    return 1.0 if k >= n else float(betaincinv(k + 1, n - k, 0.95))


def jobs() -> Iterator[tuple[str, Any]]:
    yield from (("trained", (r, s, k)) for k, r in enumerate(RECIPES) for s in sets())
    yield from (("as it is", s) for s in sets())
    yield from (("large", (FIRST_SEED - 1 - k, n)) for k, n in enumerate(LARGE))
    yield from (("simulated", FIRST_SEED + k) for k in range(SIMULATED))


def main() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    every = list(jobs())
    alarming = [n for n, r in (RULES | SET_RULES).items() if r.severity != INFO]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        heard = list(progress(pool.map(healthy, every, chunksize=2), "healthy spaces", len(every)))
        found = list(progress(pool.map(planted, alarming), "planted faults", len(alarming)))
        logs = [m for _, m, _ in pool.map(of_run, ["infonce"] * 4, list(sets()), range(4))]
    kept = [(job, words) for job, words in zip(every, heard, strict=True) if words is not None]
    false = [(job, words) for job, words in kept if words]
    power = {
        name: {label: float(np.mean([name in words for words in of])) for label, of in zip(labels, seen, strict=True)}
        for name, labels, seen in found
    }
    confusion = {name: dict(Counter(w for words in seen[1] for w in words)) for name, _, seen in found}
    for name, rule in RUN_RULES.items():
        for label, plant in rule.fault or ():
            words = [[f.rule for f in examine_run(plant(m), uninformed=m[0]["loss"])] for m in logs]
            power.setdefault(name, {})[label] = float(np.mean([name in w for w in words]))
    result = {
        "healthy_runs": len(kept),
        "kinds": dict(Counter(job[0] for job, _ in kept)),
        "not_healthy": len(every) - len(kept),
        "reports_with_a_false_alarm": len(false),
        "upper": upper(len(false), len(kept)),
        "false_alarms": dict(Counter(w for _, words in false for w in words)),
        "where": [[str(job), words] for job, words in false],
        "planted_in": BASES,
        "power": power,
        "confusion": confusion,
    }
    write_text(OUT, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(false)} of {len(kept)} healthy spaces had a false alarm: {result['false_alarms'] or 'none'}")
    for name, strengths in power.items():
        print(f"{name:<20}" + "   ".join(f"{label}: {seen:.0%}" for label, seen in strengths.items()))


if __name__ == "__main__":
    sys.exit(main())
