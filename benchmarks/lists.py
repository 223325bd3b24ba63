"""Do the lists keep what they say? Precision of suspects, alarms without a cause, coverage of promises.

`python -m benchmarks.lists` writes benchmarks/lists.json, from which docs/lists.md has its table; a killed run goes on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import workbench as wb
from workbench.disk import write_text
from workbench.lists import drift, suspects, weak_slices
from workbench.lists.thresholds import asked, promised
from workbench.progress import progress
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.planted import planted, shuffled

OUT = Path(__file__).with_name("lists.json")
SPLITS = 200


def halves(es: EmbeddingSet, seed: int) -> tuple[EmbeddingSet, EmbeddingSet]:
    """The set cut in two by a random half of its families."""
    family = es.families
    side = np.random.default_rng(seed).permutation(family.max() + 1)[family] % 2
    return es.take(side == 0), es.take(side == 1)


def emoji(*modalities: str) -> EmbeddingSet:
    return wb.dataset("emoji").only(modalities)


def wrong(make: Callable[[int], EmbeddingSet], share: float, seeds: int) -> dict[str, Any]:
    """Of the pairs said to be wrong how many are, of those that are how many are said, and of the first 20."""
    said, right, of, first = 0, 0, 0, []
    for seed in range(seeds):
        es = make(seed)
        m = es.modalities[1]
        bad = shuffled(es, m, share, seed=seed) if share else es
        truth = set(es.items["id"][(bad[m] != es[m]).any(1).numpy()])
        found = suspects(bad, kinds=["wrong pair"]).frame["id"]
        said, right, of = said + len(found), right + int(found.isin(truth).sum()), of + len(truth)
        first.append(found.head(20).isin(truth).mean() if len(found) else np.nan)
    return {
        "said": said,
        "right": right,
        "of": of,
        "first": None if np.isnan(first).all() else float(np.nanmean(first)),
    }


def slices_of_nothing() -> dict[str, Any]:
    """Sets whose columns were drawn by lot: how many have a weak slice all the same."""
    alarms = 0
    for seed in range(SPLITS // 2):
        es, draw = planted(500, 24, cosine=0.65, seed=seed), np.random.default_rng(seed)
        lots = {f"c{k}": draw.integers(0, v, 500).astype(str) for k, v in enumerate((2, 4, 9, 15))}
        items = es.items.assign(**lots, size=draw.normal(size=500))
        alarms += len(weak_slices(EmbeddingSet({m: es[m] for m in es.modalities}, items)).frame) > 0
    return {"alarms": alarms, "of": SPLITS // 2}


def shuffled_columns() -> dict[str, Any]:
    """Real columns dealt anew among the items: what is said of them is false, what is said of clusters is not."""
    es, false, every = emoji("color", "sketch"), 0, 0
    columns = [c for c in ("group", "subgroup", "author", "split") if c in es.items]
    for seed in range(SPLITS // 4):
        order = np.random.default_rng(seed).permutation(len(es))
        items = es.items[["id", "family"]].assign(**{c: es.items[c].to_numpy()[order] for c in columns})
        found = weak_slices(EmbeddingSet({m: es[m] for m in es.modalities}, items)).frame.get("slice", [])
        false += sum(not r.startswith(("color like", "sketch like")) for r in found)
        every += len(found)
    return {"false": false, "slices": every, "of": SPLITS // 4}


def coverage(share: float) -> dict[str, Any]:
    """What one half was promised, kept by the other: matches among the answers, first answers that are right."""
    es, kept, right, sizes = emoji("text", "text_de"), [], [], []
    for seed in range(SPLITS):
        known, new = (asked(x, "text", "text_de") for x in halves(es, seed))
        said = promised(known, share, 0.7)
        kept.append((new.match >= said["score"]).mean())
        sizes.append(said["set_size"])
        if np.isfinite(said["accept"]):
            right.append(float(new.right[new.first >= said["accept"]].mean()))
    below = float(np.mean(np.array(right) < 0.7)) if right else None
    return {"asked": share, "kept": float(np.mean(kept)), "right": float(np.mean(right)), "below": below,
            "size": float(np.median(sizes))}  # fmt: skip


def drift_of_halves(make: Callable[[int], EmbeddingSet], splits: int) -> dict[str, Any]:
    """Two halves of one set: how often they are said to have drifted."""
    return {"alarms": sum(drift(*halves(make(seed), seed)).drifted for seed in range(splits)), "of": splits}


def drifted(length: float) -> dict[str, Any]:
    """One modality moved by this length between the halves: how often it is seen."""
    seen = 0
    for seed in range(SPLITS // 8):
        old, new = halves(planted(600, 32, seed=seed), seed)
        step = torch.nn.functional.normalize(torch.randn(new["text"].shape[1], dtype=torch.float64), dim=0) * length
        new = EmbeddingSet({"image": new["image"], "text": new["text"].double() + step}, new.items)
        seen += bool(drift(old, new).frame.set_index("of").loc["text", "p"] <= 0.05)
    return {"alarms": seen, "of": SPLITS // 8}


def space(cosine: float) -> Callable[[int], EmbeddingSet]:
    return lambda seed: planted(1_000, 32, gap=0.5, cosine=cosine, seed=seed)


TRIES: dict[str, Callable[[], dict[str, Any]]] = {
    **{
        f"wrong pairs: {share:.0%} of 1,000, cosine {cosine}": lambda s=share, c=cosine: wrong(space(c), s, 10)
        for cosine in (0.3, 0.6, 0.9)
        for share in (0.0, 0.02, 0.05, 0.2)
    },
    "wrong pairs: 10% of emoji, English and German": lambda: wrong(lambda _: emoji("text", "text_de"), 0.1, 5),
    "wrong pairs: 10% of emoji, colours and drawings": lambda: wrong(lambda _: emoji("color", "sketch"), 0.1, 5),
    "weak slices: columns by lot": slices_of_nothing,
    "weak slices: emoji, its columns dealt anew beside real clusters": shuffled_columns,
    **{f"thresholds: emoji, coverage {share}": lambda s=share: coverage(s) for share in (0.8, 0.9, 0.95)},
    "drift: two halves, planted": lambda: drift_of_halves(lambda seed: planted(300, 16, seed=seed), SPLITS),
    "drift: two halves of emoji": lambda: drift_of_halves(lambda _: emoji("text", "text_de"), SPLITS // 2),
    **{f"drift: texts moved by {x}": lambda x=x: drifted(x) for x in (0.02, 0.05, 0.1)},
}


def said(name: str, r: dict[str, Any]) -> str:
    """A result in words."""
    if name.startswith("wrong pairs"):
        first = "" if r["first"] is None else f"; of the first 20, {r['first']:.0%}"
        found = f"{r['right'] / r['said']:.0%} of those said are, " if r["said"] else "none said, "
        return f"{found}{r['right']:,} of {r['of']:,} found{first}"
    if name.startswith("thresholds"):
        return (
            f"{r['kept']:.1%} kept on the other half, {r['size']:.0f} answers; first answers asked to be right 70 %: "
            f"{r['right']:.0%}, below 70 % in {r['below']:.0%} of splits"
        )
    if "false" in r:
        return f"{r['false']} of {r['slices']} slices said in {r['of']} tries are false: {r['false'] / r['slices']:.1%}"
    return f"said in {r['alarms']} of {r['of']}"


def table() -> str:
    """What was tried and what came of it."""
    lines = ["| tried | found |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {said(name, r)} |" for name, r in json.loads(OUT.read_text()).items()])


def main() -> None:
    """Every try, one after the other."""
    found = json.loads(OUT.read_text()) if OUT.exists() and "--anew" not in sys.argv else {}
    for name in progress([n for n in TRIES if n not in found], "tries"):
        found[name] = TRIES[name]()
        write_text(OUT, json.dumps({n: found[n] for n in TRIES if n in found}, indent=1) + "\n")
    print(table())


if __name__ == "__main__":
    main()
