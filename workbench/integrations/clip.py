"""For training scripts in the manner of open_clip: the numbers of their evaluation, and the ones that they lack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.diagnostics.gap import modality_gap
from workbench.diagnostics.matched import alignment
from workbench.diagnostics.registry import headlines
from workbench.diagnostics.retrieval import median_rank, recall_at_1, recall_at_5, recall_at_10
from workbench.diagnostics.scoped_name import ScopedName
from workbench.diagnostics.spread import uniformity
from workbench.report.accumulator import Accumulator
from workbench.report.report import Report

NAMES = {
    recall_at_1.__name__: "R@1",
    recall_at_5.__name__: "R@5",
    recall_at_10.__name__: "R@10",
    median_rank.__name__: "median_rank",
}


def clip_metrics(
    image_features: Tensor, text_features: Tensor, logit_scale: Any = None, *, ids: Sequence[Any] | None = None
) -> dict[str, float]:
    """In the place of open_clip's `get_clip_metrics`: its keys, and the gap, alignment and uniformity beside them.

    Where open_clip counts ranks from 0 and lets ties win, ranks here begin with 1 and a tie counts half, so that a
    collapsed model scores chance. `logit_scale` is taken and not used: it changes no rank. Equal `ids` are one item:
    five captions of a picture are five rows of it.

    >>> found = clip_metrics(torch.eye(6), torch.eye(6))
    >>> found["image_to_text_R@1"]
    1.0
    """
    seen = Accumulator([*NAMES, *(f.__name__ for f in (modality_gap, alignment, uniformity))])
    seen.update({"image": image_features, "text": text_features}, ids=ids)
    return _flat(seen.compute())


def evaluate_clip(
    model: Any,
    batches: Iterable[Sequence[Any]],
    *,
    device: str = "cpu",
    only: Sequence[str] | None = None,
) -> Report:
    """The report of an open_clip model over batches of (images, tokenised texts), as its loaders give them.

    A third member of a batch are the ids of its items, where some come again.
    """
    seen = Accumulator(list(only or headlines()))
    was = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for images, texts, *ids in batches:
                image, text = model.encode_image(images.to(device)), model.encode_text(texts.to(device))
                seen.update({"image": image, "text": text}, ids=ids[0] if ids else None)
    finally:
        model.train(was)
    return seen.compute()


def _flat(report: Report) -> dict[str, float]:
    out = {}
    for r in report.frame[report.frame["reason"].isna()].to_dict("records"):
        name, scope = NAMES.get(r["name"], r["name"]), r["modalities"]
        key = f"{'_to_'.join(scope)}_{name}" if r["name"] in NAMES else str(ScopedName(name, scope))
        out[key] = float(r["value"])
    return out
