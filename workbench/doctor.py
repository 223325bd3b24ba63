"""The doctor: rules that read a report, or a run's metrics, and say in plain sentences what is wrong and what is not.

A rule is a generator of findings. A report that is healthy gets information only; a rule that could cry wolf says in
its docstring what keeps it quiet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.report import Report

SEVERITIES = ("fault", "warning", "info")
MARKS = {"fault": "●", "warning": "○", "info": "·"}
COLLAPSED_UNIFORMITY = -0.2  # mean squared distance of about 0.1: all vectors within some 18° of each other
COLLAPSED_RANK = 2.0  # directions: less is a line
LOSS_FELL = 0.05  # share of the loss's range that counts as falling
RETRIEVAL_FELL = 0.25  # share of the best retrieval lost since, while the loss went on falling


@dataclass(frozen=True)
class Finding:
    """One sentence of a diagnosis, the numbers it stands on, and what to try next."""

    rule: str
    severity: str
    sentence: str
    evidence: list[dict[str, Any]] = field(default_factory=list)
    next: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


Rule = Callable[["Report"], Iterable[Finding]]
RULES: list[Rule] = []


def rule(f: Rule) -> Rule:
    RULES.append(f)
    return f


def examine(report: Report) -> list[Finding]:
    """Every rule on a report, worst first."""
    found = [finding for r in RULES for finding in r(report)]
    if not any(f.severity in ("fault", "warning") for f in found) and found:
        found.append(
            Finding("healthy", "info", "No sign of collapse, of pairs at chance, or of tuples that agree only in part.")
        )
    return sorted(found, key=lambda f: SEVERITIES.index(f.severity))


def _rows(report: Report, name: str) -> list[dict[str, Any]]:
    f = report.frame
    return f[(f["name"] == name) & f["reason"].isna()].to_dict("records")


def _evidence(row: dict[str, Any], threshold: float | None = None) -> dict[str, Any]:
    def number(x: Any) -> float | None:
        return float(x) if x is not None and math.isfinite(x) else None

    return {
        "diagnostic": row["name"],
        "modalities": list(row["modalities"]),
        "value": number(row["value"]),
        "null_low": number(row["null_low"]),
        "null_high": number(row["null_high"]),
        "threshold": number(threshold),
    }


def at_chance(report: Report, a: str, b: str) -> bool:
    """Neither recall at 10 nor the median rank leaves its null: one alone may by luck, both hardly."""
    if not (report.has("recall_at_10") and report.has("median_rank")):
        return False
    hit, rank = report.row("recall_at_10", a, b), report.row("median_rank", a, b)
    return bool(hit["value"] <= hit["null_high"] and rank["value"] >= rank["null_low"])


@rule
def no_pairing_signal(report: Report) -> Iterable[Finding]:
    """Both directions of a pair at chance. Quiet where the gallery is too small for chance to mean anything."""
    for row in _rows(report, "alignment"):
        a, b = row["modalities"]
        if report.about["items"] < 20 or not (at_chance(report, a, b) and at_chance(report, b, a)):
            continue
        hits = [report.row("recall_at_10", *d).to_dict() for d in ((a, b), (b, a))]
        ranks = [report.row("median_rank", *d) for d in ((a, b), (b, a))]
        away = all(r["value"] > r["null_high"] for r in ranks)
        yield Finding(
            "no_pairing_signal",
            "fault",
            f"{a} and {b} do not find each other: recall at 10 is {hits[0]['value']:.3f} and {hits[1]['value']:.3f} "
            f"where a shuffled pairing gives up to {hits[0]['null_high']:.3f}"
            + (", and matches rank worse than strangers: they point away from each other." if away else "."),
            [_evidence(h, h["null_high"]) for h in hits],
            "use an objective that sees the sign of this pair (a volume does not)"
            if away
            else "check the pairing (is row i the same item in both?); then whether the objective contrasts this pair",
        )


@rule
def collapse(report: Report) -> Iterable[Finding]:
    """A modality whose vectors coincide, or lie on a line."""
    for row in _rows(report, "uniformity"):
        if row["value"] > COLLAPSED_UNIFORMITY:
            yield Finding(
                "collapse",
                "fault",
                f"{row['modalities'][0]} has collapsed: uniformity {row['value']:.3f}, where 0 means that all vectors "
                "coincide.",
                [_evidence(row, COLLAPSED_UNIFORMITY)],
                "raise the temperature or lower the learning rate; look for a constant input or a dead tower",
            )
    for row in _rows(report, "effective_rank"):
        if row["value"] < COLLAPSED_RANK and row["null_low"] > 2 * COLLAPSED_RANK:
            yield Finding(
                "rank_collapse",
                "fault",
                f"{row['modalities'][0]} varies along {row['value']:.1f} directions where as many random vectors would "
                f"use {row['null']:.0f}.",
                [_evidence(row, COLLAPSED_RANK)],
                "add a uniformity or variance term, or check that the inputs differ",
            )


@rule
def retrieval(report: Report) -> Iterable[Finding]:
    """What retrieval amounts to, best direction and worst."""
    rows = _rows(report, "recall_at_1")
    if not rows:
        return
    best, worst = max(rows, key=lambda r: r["value"]), min(rows, key=lambda r: r["value"])
    said = (
        f"{best['modalities'][0]} finds its {best['modalities'][1]} for {best['value']:.0%} of items "
        f"(gallery {best['n_gallery']:,}, chance {best['null']:.1%})"
    )
    if worst is not best:
        said += (
            f"; the weakest direction is {worst['modalities'][0]} to {worst['modalities'][1]} with {worst['value']:.0%}"
        )
    yield Finding("retrieval", "info", said + ".", [_evidence(best), _evidence(worst)])


@rule
def flat_tuples(report: Report) -> Iterable[Finding]:
    """Tuples are found by volume while some of their pairs are not: volume is blind to which vectors agree."""
    for row in _rows(report, "volume_recall_at_1"):
        if len(row["modalities"]) < 3 or not row["low"] > row["null_high"]:
            continue
        anchor, *others = row["modalities"]
        yield Finding(
            "volume_retrieval",
            "info",
            f"By volume, {anchor} finds its ({', '.join(others)}) for {row['value']:.0%} of items "
            f"(gallery {row['n_gallery']:,}, chance {row['null']:.1%}).",
            [_evidence(row)],
        )
        lost = [r for r in _rows(report, "recall_at_1") if not r["value"] > r["null_high"]]
        if lost:
            said = ", ".join("→".join(r["modalities"]) for r in lost)
            yield Finding(
                "flat_tuples",
                "warning",
                f"The tuples agree, their pairs do not: {said} retrieve no better than chance. A volume is small as "
                "soon as the anchor lies in the span of the others, whichever of them agree and with whatever sign.",
                [_evidence(row), *(_evidence(r, r["null_high"]) for r in lost)],
                "add a pairwise term over all pairs (recipe infonce) beside the volume, if pairs are to be retrieved",
            )


@rule
def gap(report: Report) -> Iterable[Finding]:
    """Whether there is a gap at all; no verdict, for a gap alone is no fault."""
    for row in _rows(report, "modality_gap"):
        a, b = row["modalities"]
        if not math.isfinite(row["null_high"]):
            continue
        real = row["value"] > row["null_high"]
        said = (
            f"{a} and {b} lie {row['value']:.2f} apart (without a gap: up to {row['null_high']:.2f}). A gap alone is "
            "no fault: read it with retrieval."
            if real
            else f"No gap between {a} and {b}: {row['value']:.2f}, as without one up to {row['null_high']:.2f}."
        )
        yield Finding("gap", "info", said, [_evidence(row, row["null_high"])])


# -- over the metrics of a run -------------------------------------------------------------------------------------


def examine_run(metrics: Sequence[dict[str, Any]], uninformed: float | None = None) -> list[Finding]:
    """Rules over a run's metrics, one dict an evaluation, in order of steps; `uninformed` is the loss of a guess."""
    rows = [m for m in metrics if "probe_recall_at_1" in m]
    found: list[Finding] = []
    if len(rows) < 2:
        return found
    first, last = rows[0], rows[-1]
    best = max(rows, key=lambda m: m["probe_recall_at_1"])
    span = abs(first["loss"] - min(m["loss"] for m in rows)) or 1.0
    if (
        uninformed is not None
        and last["loss"] >= uninformed - 0.02 * abs(uninformed)
        and last["probe_recall_at_1"] <= last["probe_chance_high"]
    ):
        found.append(
            Finding(
                "at_chance",
                "fault",
                f"The run has learnt nothing: loss {last['loss']:.3f} where guessing costs {uninformed:.3f}, and "
                f"retrieval on the probe is at chance ({last['probe_recall_at_1']:.3f}).",
                [{"metric": "loss", "value": last["loss"], "threshold": uninformed}],
                "check the pairing of the batches, then the learning rate and the temperature",
            )
        )
    fell = best["loss"] - last["loss"] > LOSS_FELL * span
    lost = best["probe_recall_at_1"] - last["probe_recall_at_1"]
    if fell and lost > RETRIEVAL_FELL * best["probe_recall_at_1"] and lost > last["probe_chance_high"]:
        found.append(
            Finding(
                "overfitting",
                "warning",
                f"Retrieval on the probe fell from {best['probe_recall_at_1']:.3f} at step {best['step']} to "
                f"{last['probe_recall_at_1']:.3f} while the loss went on falling.",
                [{"metric": "probe_recall_at_1", "value": last["probe_recall_at_1"], "threshold": None}],
                f"stop near step {best['step']}, or add dropout, weight decay or data",
            )
        )
    return found
