"""Looking at items through the towers of a run: the probe at every evaluation, any split afterwards."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from workbench.diagnostics.registry import logged
from workbench.diagnostics.scoped_name import ScopedName
from workbench.errors import InputError, unknown
from workbench.report.diagnose import diagnose
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.fused import PLUS
from workbench.sets.run_folder import CHANCE, MOVED, RECALL, RunFolder
from workbench.sets.shipped import load_data, with_splits
from workbench.training import towers
from workbench.training.settings import Settings


def probed(es: EmbeddingSet, device: str = "auto") -> dict[str, float]:
    """What a look at the probe logs: the diagnostics that are `probed`, and the first of them over plain directions."""
    names = [d.name for d in logged()]
    report = diagnose(es, only=names, subsampling=False, device=device)
    single = ~report.frame["modalities"].map(lambda m: PLUS in m[0])
    hits = report.frame[(report.frame["name"] == names[0]) & single]
    values = {RECALL: float(hits["value"].mean()), CHANCE: float(hits["null_high"].max())}
    for row in report.frame.to_dict("records"):
        if row["reason"] is None and math.isfinite(row["value"]):
            values[str(ScopedName(row["name"], row["modalities"]))] = row["value"]
    return values


def moved(run: RunFolder, step: int, es: EmbeddingSet, still: Collection[str] = ()) -> dict[str, float]:
    """How far the rows of each modality have turned since the look before, 1 less their mean cosine; none at first.

    `still`: modalities that are not meant to move.
    """
    steps = [s for s in run.snapshots if s < step]
    if not steps:
        return {}
    before = run.snapshot(max(steps))
    both = [m for m in es.modalities if m not in still and m in before and before[m].shape == es[m].shape]
    cosines = {m: float((es.unit(m).double() * before.unit(m).double()).sum(1).mean()) for m in both}
    return {str(ScopedName(MOVED, (m,))): max(1 - c, 0.0) for m, c in cosines.items()}


def better(watch: str) -> str:
    """`higher` or `lower`: which way a metric of the looks gets better.

    Raises `InputError` where nobody has said that: a gap or a rank may rise or fall in a good run.
    """
    ways = {d.name: d.better for d in logged()}
    ways |= {"loss": "lower", RECALL: logged()[0].better}
    name = ScopedName.parse(watch).name
    if name not in ways:
        raise unknown("metric of the looks (train.watch)", watch, ways)
    way = ways[name]
    if way is None:
        sure = ", ".join(n for n, w in ways.items() if w)
        raise InputError(
            f"train.watch={watch}: neither more nor less of it is better in itself, so it cannot say when to stop; "
            f"watch one of {sure}"
        )
    return way


def forward(model: nn.Module, inputs: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """All rows through the towers, a thousand at a time, as float32 on the CPU."""
    count, out = len(next(iter(inputs.values()))), []
    with torch.inference_mode():
        for a in range(0, count, 1024):
            out.append(
                {
                    m: x.float().cpu()
                    for m, x in model({m: x[a : a + 1024].to(device) for m, x in inputs.items()}).items()
                }
            )
    return {m: torch.cat([o[m] for o in out]).clone() for m in inputs}


def items_of(config: Mapping[str, Any], split: str, data: Any, source: str) -> EmbeddingSet:
    """A split of the very data that a run of this configuration was trained on.

    Raises `InputError` where they are other data, or the towers are none that a run can build.
    """
    es = load_data(data)
    if es.fingerprint != config["fingerprint"]:
        raise InputError(f"{source}: was trained on data {config['fingerprint']}, this is {es.fingerprint}")
    if config.get("own"):
        raise InputError(f"{source}: has towers of your own; embed with them, the run cannot build them")
    return with_splits(es).split(split)


def embedded(config: Mapping[str, Any], weights: Mapping[str, Any], part: EmbeddingSet, source: str) -> EmbeddingSet:
    """Items through the towers of a configuration, with these weights."""
    s = Settings(**config["train"])
    kinds = towers.assigned(s.tower, config["modalities"])
    inputs = towers.inputs(part, kinds)
    model = towers.build(kinds, inputs, s.dim, s.hidden, s.dropout)
    model.load_state_dict(weights)
    model.eval()
    out = forward(model, inputs, torch.device("cpu"))
    return EmbeddingSet(out, light(part), source=source)


def _named(config: Mapping[str, Any]) -> dict[str, str]:
    """The tower of each modality by name; none where they are somebody's own."""
    if config.get("own"):
        return {}
    return towers.assigned(Settings(**config["train"]).tower, config["modalities"])


def may_read(config: Mapping[str, Any]) -> bool:
    """Whether some tower may read texts itself; libraries of models are not imported for that."""
    return any(
        "/" in name or towers.kind(name).reads not in (towers.features, towers.drawings)
        for name in _named(config).values()
    )


def readers(config: Mapping[str, Any], encoders: Mapping[str, str], columns: Collection[str]) -> dict[str, str | None]:
    """The modalities of a configuration that can be given a text: by the encoder whose rows a tower takes, or, None, by
    a tower that reads texts itself. `columns`: those of the items, which say where a tower reads drawings."""
    out: dict[str, str | None] = {}
    for m, name in _named(config).items():
        reads = towers.kind(name).reads
        if reads is towers.features:
            out |= {m: encoders[m]} if m in encoders else {}
        elif reads is not towers.drawings and f"{m}_png" not in columns:
            out[m] = None
    return out


def placed(config: Mapping[str, Any], weights: Mapping[str, Any], m: str, text: str, row: Tensor | None) -> Tensor:
    """A text through the tower of one modality, (dim,): `row` is what its encoder makes of it, where the tower takes
    rows."""
    s = Settings(**config["train"])
    kinds = {m: towers.assigned(s.tower, config["modalities"])[m]}
    one = pd.DataFrame({"id": ["asked"], "name": [text], f"{m}_text": [text]})
    inputs = towers.inputs(EmbeddingSet({m: torch.ones(1, 1) if row is None else row[None]}, one), kinds)
    model = towers.build(kinds, inputs, s.dim, s.hidden, s.dropout)
    try:
        model.load_state_dict({k: weights[k] for k in model.state_dict()})
    except RuntimeError:  # made for rows of another width
        raise InputError(f"the encoder of {m!r} is not what made the rows that the run was trained on") from None
    return forward(model.eval(), inputs, torch.device("cpu"))[m][0]


def light(es: EmbeddingSet) -> pd.DataFrame:
    """The items without their drawings: what a snapshot keeps of them."""
    return es.items[[c for c in es.items if not c.endswith("_png")]]
