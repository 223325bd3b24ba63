"""Report: the tidy results of a diagnosis, with provenance; saved, loaded, printed, compared, drawn."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from workbench.diagnostics.scoped_name import ScopedName
from workbench.disk import read_safetensors, whole_folder, write_text
from workbench.errors import InputError, unknown
from workbench.report.finding import Finding
from workbench.sets import columns
from workbench.version import __version__

FORMAT, VERSION = "workbench.report", 1
COLUMNS = [
    "name",
    "modalities",
    "value",
    "low",
    "high",
    "interval_kind",
    "null_low",
    "null",
    "null_high",
    "null_kind",
    "reference",
    "better",
    "n_query",
    "n_gallery",
    "exact",
    "params",
    "unit",
    "bound",
    "reason",
]


class Report:
    """What one diagnosis found.

    `frame`: a row a value, with the columns of the JSON; `items`: a line an item, a column a per-item diagnostic (and
    the label); `arrays`: curves by (name, modalities); `about`: what was run; `findings`: the doctor's sentences, worst
    first.

    >>> import workbench as wb
    >>> report = wb.diagnose(wb.testing.planted(gap=0.5), only=["modality_gap"])
    >>> round(report.value("modality_gap", "image", "text"), 6)
    0.5
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        items: pd.DataFrame,
        arrays: Mapping[tuple[str, tuple[str, ...]], Mapping[str, np.ndarray]],
        about: Mapping[str, Any],
        findings: Sequence[Finding] = (),
    ) -> None:
        self.frame = frame.reindex(columns=COLUMNS)
        self.frame["reference"] = self.frame["reference"].eq(True)  # reports of old do not say
        for column in ("reason", "better"):  # absent is None, not the NaN that pandas makes of it
            known = [None if pd.isna(x) else x for x in self.frame[column]]
            self.frame[column] = pd.Series(known, index=self.frame.index, dtype=object)
        self.items, self.arrays, self.about = items, dict(arrays), dict(about)
        self.findings = list(findings)  # of `diagnose`, which asks the doctor
        self._known: tuple[pd.DataFrame, dict[str, list[dict[str, Any]]]] | None = None

    def __repr__(self) -> str:
        known = int(self.frame["reason"].isna().sum())
        return f"Report({self.about['items']} items, {known} values of {len(self.frame)}, {self.about['fingerprint']})"

    def _repr_html_(self) -> str:
        from workbench.views.card import report_card

        return report_card(self)

    def row(self, name: str, *modalities: str) -> pd.Series:
        """The row of one diagnostic on these modalities; a pair may be named in either order."""
        same = self.frame[self.frame["name"] == name]
        for wanted in (modalities, modalities[::-1]):
            hit = same[[tuple(m) == wanted for m in same["modalities"]]]
            if len(hit):
                return hit.iloc[0]
        if not len(same):
            raise unknown("diagnostic of this report", name, self.frame["name"].unique())
        have = ", ".join(f"{name}({' '.join(m)})" for m in same["modalities"]) or f"no {name}"
        raise InputError(f"the report has no {name} of {', '.join(modalities) or 'nothing'}; it has {have}")

    def known(self, name: str) -> list[dict[str, Any]]:
        """The rows of one diagnostic that have a value."""
        if self._known is None or self._known[0] is not self.frame:
            rows: dict[str, list[dict[str, Any]]] = {}
            for row in self.frame[self.frame["reason"].isna()].to_dict("records"):
                rows.setdefault(str(row["name"]), []).append(row)
            self._known = (self.frame, rows)
        return self._known[1].get(name, [])

    def value(self, name: str, *modalities: str) -> float:
        """One number, NaN where it does not apply."""
        return float(self.row(name, *modalities)["value"])

    def has(self, name: str) -> bool:
        """Whether a diagnostic was asked for, with or without a value."""
        return bool((self.frame["name"] == name).any())

    def by_class(self, name: str) -> pd.DataFrame:
        """The mean of a per-item diagnostic within each class of the label, a line a class.

        `items`: how many the class has; then, for each scope, the mean over those that have a value, and in `asked …`
        how many these are: none of a class that a single item has. Raises `InputError` without `label=`.

        >>> import torch, workbench as wb
        >>> x = torch.eye(2).repeat_interleave(20, 0)
        >>> es = wb.EmbeddingSet({"a": x}, pd.DataFrame({"kind": ["u"] * 20 + ["v"] * 20}))
        >>> report = wb.diagnose(es, label="kind", only=["knn_label_accuracy"])
        >>> report.by_class("knn_label_accuracy")["a"].tolist()
        [1.0, 1.0]
        """
        label = self.about.get("label")
        if label is None or label not in self.items:
            raise InputError("the report knows no classes; diagnose with label=")
        scopes = {s.arrow: c for s, c in ScopedName.of(self.items, name).items()}
        if not scopes:
            known = {ScopedName.parse(c).name for c in self.items if ScopedName.parse(c).scope}
            raise unknown("per-item diagnostic of this report", name, sorted(known))
        groups = self.items.groupby(columns.text(self.items[label], "(no class)"))
        table = pd.DataFrame({"items": groups.size()})
        for arrow, column in scopes.items():
            table[arrow], table[f"asked {arrow}"] = groups[column].mean(), groups[column].count()
        return table.rename_axis(label)

    # -- out and in ------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data: `items`, `fingerprint`, `results`, `findings`, and what was run."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "items": self.about["items"],
            "fingerprint": self.about["fingerprint"],
            "results": [_plain(r) for r in self.frame.to_dict("records")],
            "findings": [f.to_dict() for f in self.findings],
            "about": self.about,
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as JSON, written to `path` where one is given."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        if path is not None:
            write_text(Path(path), text)
        return text

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """One self-contained page: opens from a file, without a network."""
        from workbench.views.page import report_page

        text = report_page(self)
        if path is not None:
            write_text(Path(path), text)
        return text

    def figure(self, name: str) -> Any:
        """One plotly figure, of a diagnostic or a curve by name, its caption above it; `InputError` where it has none.

        >>> import torch
        >>> from workbench.report.diagnose import diagnose
        >>> report = diagnose({"image": torch.eye(8), "text": torch.eye(8)}, only=["recall_at_1"])
        >>> report.figure("recall_at_1").layout.title.text
        'recall at 1'
        """
        from workbench.views.alone import figure

        return figure(self, name)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the report as a folder: report.json, items.parquet, arrays.safetensors."""
        from safetensors.numpy import save_file

        path = Path(path).absolute()
        if path.exists() and not (path / "report.json").exists():
            raise InputError(f"{path}: exists and is no report; choose another name, nothing was written")
        with whole_folder(path) as staging:
            (staging / "report.json").write_text(self.to_json())
            self.items.to_parquet(staging / "items.parquet", index=False)
            flat = {
                json.dumps([name, *scope, field]): np.ascontiguousarray(x)
                for (name, scope), fields in self.arrays.items()
                for field, x in fields.items()
            }
            save_file(flat, staging / "arrays.safetensors")
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Report:
        """A saved report; raises `InputError` where there is none."""
        path = Path(path)
        try:
            data = json.loads((path / "report.json").read_text())
            if data["format"] != FORMAT or data["version"] > VERSION:
                raise KeyError("format")
            rows = [_rich(r) for r in data["results"]]
            findings = [Finding(**f) for f in data["findings"]]
            items = pd.read_parquet(path / "items.parquet")
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise InputError(f"{path}: not a saved report ({type(e).__name__}); diagnose the set again") from None
        arrays: dict[tuple[str, tuple[str, ...]], dict[str, np.ndarray]] = {}
        for key, x in read_safetensors(path / "arrays.safetensors").items():
            name, *scope, field = json.loads(key)
            arrays.setdefault((name, tuple(scope)), {})[field] = x.numpy()
        return cls(pd.DataFrame(rows), items, arrays, data["about"], findings)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for k, x in row.items():
        if isinstance(x, tuple):
            out[k] = [_finite(v) for v in x]
        elif isinstance(x, float | np.floating):
            out[k] = _finite(float(x))
        else:
            out[k] = x.item() if isinstance(x, np.generic) else x
    return out


def _finite(x: Any) -> Any:
    """JSON knows no infinity: an open bound is null."""
    return x if not isinstance(x, float) or math.isfinite(x) else None


def _rich(row: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(row)
    out["modalities"] = tuple(row["modalities"])
    if row["bound"] is not None:
        low, high = row["bound"]
        out["bound"] = (-math.inf if low is None else low, math.inf if high is None else high)
    for k in ("value", "low", "high", "null_low", "null", "null_high"):
        out[k] = math.nan if row[k] is None else row[k]
    return out


def versions() -> dict[str, str]:
    """Of what makes the numbers."""
    return {"workbench": __version__, "torch": torch.__version__, "python": platform.python_version()}


def machine() -> str:
    """What this runs on, in words."""
    count = torch.get_num_threads()
    return f"{platform.system()} {platform.machine()}, {count} thread{'s' * (count > 1)}"


def provenance(of_set: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """What was read (`EmbeddingSet.describe`), with what, where and when."""
    return {
        **of_set,
        "versions": versions(),
        "machine": machine(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        **settings,
    }
