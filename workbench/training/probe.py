"""Looking at items through the towers of a run: the probe at every evaluation, any split afterwards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from workbench.datasets import load_data, with_splits
from workbench.embeddings import EmbeddingSet
from workbench.errors import InputError
from workbench.fused import PLUS
from workbench.training import towers
from workbench.training.run import Run
from workbench.training.settings import Settings

PROBED = ("recall_at_1", "modality_gap", "alignment", "uniformity", "effective_rank", "gramian_volume")


def probed(es: EmbeddingSet, device: str = "auto") -> dict[str, float]:
    """What a look at the probe logs: the diagnostics of `PROBED`, and recall over all plain directions."""
    from workbench.diagnostics.suite import diagnose

    report = diagnose(es, only=PROBED, device=device)
    single = ~report.frame["modalities"].map(lambda m: PLUS in m[0])
    hits = report.frame[(report.frame["name"] == "recall_at_1") & single]
    values = {
        "probe_recall_at_1": float(hits["value"].mean()),
        "probe_chance_high": float(hits["null_high"].max()),
    }
    for row in report.frame.to_dict("records"):
        if row["reason"] is None and math.isfinite(row["value"]):
            values[f"{row['name']} {' '.join(row['modalities'])}"] = row["value"]
    return values


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


def embed(run: Run, split: str, data: Any = None) -> EmbeddingSet:
    """The items of a split through the towers of a run's last checkpoint."""
    found = run.checkpoint()
    if found is None:
        raise InputError(f"{run.path}: no checkpoint to embed with; train first")
    es = with_splits(load_data(run.config["data"] if data is None else data))
    if es.fingerprint != run.config["fingerprint"]:
        raise InputError(f"{run.path}: was trained on data {run.config['fingerprint']}, this is {es.fingerprint}")
    if run.config.get("own"):
        raise InputError(f"{run.path}: has towers of your own; embed with them, the run cannot build them")
    s = Settings(**run.config["train"])
    kinds = towers.assigned(s.tower, run.config["modalities"])
    part = es.split(split)
    if split == "test":
        run.count_test_read()
    inputs = towers.inputs(part, kinds)
    model = towers.build(kinds, inputs, s.dim, s.hidden, s.dropout)
    model.load_state_dict(found[1]["model"])
    model.eval()
    out = forward(model, inputs, torch.device("cpu"))
    return EmbeddingSet(out, light(part), source=f"{run.path} ({split})")


def light(es: EmbeddingSet) -> pd.DataFrame:
    """The items without their drawings: what a snapshot keeps of them."""
    return es.items[[c for c in es.items if not c.endswith("_png")]]
