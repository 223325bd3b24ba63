"""Are the numbers the same to the last bit? For moves and clean-ups, which must change none.

    python -m benchmarks.identical before.json                 # on the commit before
    python -m benchmarks.identical after.json before.json      # after: prints what differs, exit 1 if anything does

Bits are those of one machine and one build of torch: compare on the same. Takes some three minutes.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import workbench as wb
from workbench.interventions import INTERVENTIONS, named
from workbench.objectives.recipes import RECIPES
from workbench.papers import keys
from workbench.progress import progress
from workbench.sets.planted import planted
from workbench.sets.shipped import with_splits

ROLES = {role: [role] for role in ("safe", "unsafe", "jailbreak")}
FIELDS = ("value", "low", "high", "null_low", "null", "null_high")


def bits(x: Any) -> Any:
    """Numbers by their bits, arrays by a hash, nested data as it is nested."""
    if isinstance(x, dict):
        return {str(k): bits(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [bits(v) for v in x]
    if isinstance(x, np.ndarray | torch.Tensor):
        return hashlib.sha256(np.ascontiguousarray(np.asarray(x)).tobytes()).hexdigest()[:16]
    return float(x).hex() if isinstance(x, int | float | np.number) else str(x)


def sets() -> Iterator[tuple[str, wb.EmbeddingSet, dict[str, Any]]]:
    """Labelled families, several captions, float16, and real data of two and of three modalities."""
    g = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    base = draw(120, 16)
    kind = np.array(list(ROLES))[np.arange(120) % 3]
    ids = {"id": [f"i{k}" for k in range(120)], "family": [f"f{k // 3}" for k in range(120)]}
    items = pd.DataFrame(ids | {"label": kind})
    shifted = {m: base + s * draw(120, 16) + draw(16) for m, s in (("a", 0.5), ("b", 1.0), ("c", 2.0))}
    yield "labelled", wb.EmbeddingSet(shifted, items), {"label": "label", "roles": ROLES}
    rows = np.sort(np.random.default_rng(1).integers(0, 90, 200))
    several = {"image": base[:100].float(), "text": base[rows].float() + draw(200, 16).float()}
    yield "several captions", wb.EmbeddingSet(several, items[:100], rows={"text": rows}), {"label": "label"}
    yield "float16", wb.EmbeddingSet({"x": base.half(), "y": (base + draw(120, 16)).half()}), {}
    emoji = wb.dataset("emoji").split("validation")
    yield "emoji", emoji.only(("color", "sketch")), {"label": "group"}
    cut = {m: emoji[m][:, :512] for m in ("color", "sketch", "text")}
    yield "emoji, three", wb.EmbeddingSet(cut, emoji.items), {}


def reports() -> Iterator[tuple[str, Any]]:
    for name, es, settings in sets():
        report = wb.diagnose(es, **settings)
        for r in report.frame.to_dict("records"):
            where = f"report {name}/{r['name']} {' '.join(r['modalities'])}"
            yield where, [*(r[f] for f in FIELDS), r["n_query"], r["n_gallery"], r["exact"], bool(r["reason"])]
        yield f"report {name}/items", {c: report.items[c].to_numpy(dtype=float) for c in report.items if c != "id"}
        yield f"report {name}/curves", {str(k): dict(v) for k, v in report.arrays.items()}
        yield f"report {name}/findings", [f"{f.rule} {f.severity}" for f in report.findings]


def recipes() -> Iterator[tuple[str, Any]]:
    """Loss and norms of the gradients of each recipe on one batch with all that a recipe may ask for."""
    from tests.test_objectives import made

    for name in RECIPES:
        objective, modalities, extra = made(name)
        inputs = {m: x.requires_grad_() for m, x in modalities.items()}
        loss = objective(wb.Batch(inputs, **extra))["loss"]
        if loss.requires_grad:
            loss.backward()
        yield f"recipe {name}", [loss.item(), *(0.0 if x.grad is None else x.grad.norm() for x in inputs.values())]


def papers() -> Iterator[tuple[str, Any]]:
    for key in keys():
        yield f"paper {key}", wb.paper(key).run(quick=True).runs


def the_rest() -> Iterator[tuple[str, Any]]:
    """Splits and fingerprints, three short trainings, a comparison, every intervention."""
    emoji = with_splits(wb.dataset("emoji"))
    yield "splits", ",".join(emoji.items["split"])
    yield "halves", [emoji.halves, emoji.fingerprint, planted(300).fingerprint]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("infonce", "gram", "siglip"):
            run = wb.train(name, data=planted(300), out=f"{folder}/{name}", steps=20, batch=32, evaluate=10)
            yield f"train {name}", [{k: v for k, v in m.items() if "second" not in k} for m in run.metrics]
            yield f"snapshot {name}", run.snapshot().fingerprint
    one = next(iter(sets()))[1]
    other = wb.EmbeddingSet({m: one[m].roll(1, 1) * 1.5 + 0.3 for m in one.modalities}, one.items)
    found = wb.compare(one, other)
    yield "compare", [found.paired.to_dict("list"), found.shared.to_dict("list")]
    two = one.only(one.modalities[:2])
    for name in INTERVENTIONS:
        changed = named(name).fit(two).apply(two)
        yield f"intervention {name}", {m: changed[m] for m in changed.modalities}


def main(words: list[str]) -> int:
    torch.set_num_threads(1)
    parts = (reports, recipes, papers, the_rest)
    found = {k: bits(v) for part in progress(parts, "numbers", len(parts)) for k, v in part()}
    Path(words[0]).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    if len(words) == 1:
        print(f"{len(found):,} entries in {words[0]}")
        return 0
    before = json.loads(Path(words[1]).read_text())
    apart = sorted(k for k in found.keys() | before.keys() if found.get(k) != before.get(k))
    for k in apart:
        print(f"{k}\n  before {str(before.get(k))[:160]}\n  after  {str(found.get(k))[:160]}")
    print(f"{len(apart)} of {len(found.keys() | before.keys()):,} entries differ")
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
