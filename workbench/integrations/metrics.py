"""Any diagnostic as a `torchmetrics.Metric`: in a `MetricCollection`, merged, and gathered over ranks."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from workbench.diagnostics.registry import diagnostics
from workbench.errors import InputError, unknown
from workbench.report.diagnose import diagnose
from workbench.sets.grouping import of_rows, plain_ids


class DiagnosticMetric(Metric):
    """One diagnostic over everything that was seen: `update(image, text)`, rows i of each the same item.

    `modalities` names the arguments of `update`, in order. A diagnostic of one modality takes the first, one of a
    direction goes from the first to the second. `compute` gives a scalar, NaN where it does not apply; `report` all
    the rest. Rows are kept on the metric's device; parameters of the diagnostic are given by name.

    >>> metric = DiagnosticMetric("modality_gap")
    >>> metric.update(torch.eye(4), -torch.eye(4))
    >>> float(metric.compute())
    1.0
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, name: str, modalities: tuple[str, ...] = ("image", "text"), **params: Any) -> None:
        super().__init__()
        known = diagnostics()
        if name not in known:
            raise unknown("diagnostic", name, known)
        on = known[name].on
        least = {"modality": 1, "pair": 2, "direction": 2, "triple": 3}.get(on, 2)
        if len(modalities) < least:
            raise InputError(f"{name} is of a {on}: it needs at least {least} modalities, not {len(modalities)}")
        # after torchmetrics' own start, which sets what it tells about itself
        self.name, self.modalities, self.params = name, tuple(modalities), params
        self.scope = self.modalities[: least if on in ("modality", "pair", "direction", "triple") else None]
        for m in self.modalities:
            self.add_state(f"rows_{m}", default=[], dist_reduce_fx="cat")
        self.add_state("codes", default=[], dist_reduce_fx="cat")

    @property
    def higher_is_better(self) -> bool | None:  # type: ignore[override]
        """Of the diagnostic; nothing where neither end is better."""
        return {"higher": True, "lower": False}.get(diagnostics()[self.name].better or "")

    def update(self, *rows: Tensor, ids: Any = None) -> None:
        """A batch: a tensor (B, d) a modality, and the ids of the items where one may come again.

        Equal ids are one item, its distinct rows are its rows, an exact repeat (a padded sampler's) counts once.
        """
        if len(rows) != len(self.modalities) or len({len(x) for x in rows}) != 1:
            shapes = ", ".join(str(tuple(x.shape)) for x in rows)
            raise InputError(f"update takes {', '.join(self.modalities)} with one row an item, not {shapes}")
        if ids is not None and len(ids) != len(rows[0]):
            raise InputError(f"update: {len(ids)} ids for {len(rows[0])} rows; give one a row")
        if bool(self.codes) != (ids is not None) and getattr(self, f"rows_{self.modalities[0]}"):
            raise InputError("update: some batches came with ids and some without: give all or none")
        if ids is not None:
            self.codes.append(  # type: ignore[operator,union-attr]
                torch.tensor([_code(i) for i in plain_ids(ids)], device=rows[0].device)
            )
        for m, x in zip(self.modalities, rows, strict=True):
            getattr(self, f"rows_{m}").append(x.detach().float())

    def report(self) -> Any:
        """The report on this diagnostic: interval, null, n."""
        whole = {}
        for m in self.modalities:
            state = getattr(self, f"rows_{m}")
            if isinstance(state, list) and not state:
                raise InputError(f"{self.name}: nothing to compute; call update with at least one batch first")
            whole[m] = torch.cat(state) if isinstance(state, list) else state
        used = {m: x.cpu() for m, x in whole.items() if m in self.scope}
        codes = torch.cat(self.codes) if isinstance(self.codes, list) and self.codes else self.codes
        seen: Any = used
        if isinstance(codes, Tensor) and len(codes):  # gathered over ranks, nothing is an empty tensor
            seen = of_rows(used, codes.tolist(), source=f"the metric {self.name}")
        return diagnose(seen, only=[self.name], params={self.name: self.params})

    def compute(self) -> Tensor:
        """The value over all that was seen, NaN where the diagnostic does not apply."""
        frame = self.report().frame
        rows = frame[frame["modalities"].map(lambda s: tuple(s) == self.scope)]
        value = float(rows["value"].iloc[0]) if len(rows) else math.nan
        return torch.tensor(value, dtype=torch.float64 if self.device.type != "mps" else torch.float32)


def _code(name: Any) -> int:
    """Sixty-four bits for an id: ranks gather tensors, and these have no text."""
    return int.from_bytes(hashlib.blake2b(str(name).encode(), digest_size=8).digest(), "little", signed=True)
