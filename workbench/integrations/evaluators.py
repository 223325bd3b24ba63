"""An evaluator that sentence-transformers calls during training and that says more than one number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

from workbench.diagnostics.registry import diagnostics, headlines
from workbench.diagnostics.scoped_name import ScopedName
from workbench.errors import InputError
from workbench.report.accumulator import Accumulator


class PairEvaluator(SentenceEvaluator):
    """Pairs of texts (or of whatever the model encodes), diagnosed at every evaluation.

    `first[i]` and `second[i]` belong together. Returns the headline diagnostics (or `only`) by name and scope;
    `primary_metric` is recall at 1 from first to second. Where the trainer gives a folder, the whole report is saved
    there, a folder a step, for `workbench` to read.
    """

    def __init__(
        self,
        first: Sequence[Any],
        second: Sequence[Any],
        *,
        ids: Sequence[str] | None = None,
        modalities: tuple[str, str] = ("query", "document"),
        only: Sequence[str] | None = None,
        batch_size: int = 32,
        name: str = "",
        **columns: Any,
    ) -> None:
        super().__init__()
        if len(first) != len(second) or len(first) < 4:
            raise InputError(f"an evaluator needs pairs, at least four: {len(first)} and {len(second)} were given")
        self.first, self.second, self.ids, self.columns = list(first), list(second), ids, columns
        self.modalities, self.batch_size, self.name = modalities, batch_size, name
        self.only = list(only or [n for n in headlines() if not diagnostics()[n].of_tuples])
        first_of_all = headlines()[0]
        self.primary_metric = str(ScopedName(first_of_all, tuple(modalities))) if first_of_all in self.only else None

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        rows = [
            model.encode(x, batch_size=self.batch_size, convert_to_tensor=True, show_progress_bar=False)
            for x in (self.first, self.second)
        ]
        seen = Accumulator(self.only)
        seen.update(dict(zip(self.modalities, rows, strict=True)), ids=self.ids, **self.columns)
        report = seen.compute()
        if output_path is not None:
            place = Path(output_path) / f"workbench{f'-{self.name}' if self.name else ''}"
            report.save(place / f"epoch{epoch}-step{steps}")
        f = report.frame[report.frame["reason"].isna()]
        found = {str(ScopedName(r["name"], r["modalities"])): float(r["value"]) for r in f.to_dict("records")}
        named = self.prefix_name_to_metrics(found, self.name)
        if hasattr(model, "model_card_data"):
            self.store_metrics_in_model_card_data(model, named, epoch, steps)
        return named
