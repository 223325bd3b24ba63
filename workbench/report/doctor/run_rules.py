"""Rules over the metrics of a run: the lines it logged when it looked at its probe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from workbench.diagnostics.scoped_name import ScopedName
from workbench.report.doctor.rules import Fault, Said, run_rule
from workbench.report.doctor.run_faults import decayed, guessing
from workbench.report.finding import FAULT, INFO, WARNING
from workbench.sets.run_folder import CHANCE, RECALL

RANK_LOST = 0.5  # share of a modality's rank lost in training
LOSS_FELL = 0.05  # share of the loss's range that counts as falling
RETRIEVAL_FELL = 0.25  # share of the best retrieval lost since, while the loss went on falling


def _fallen(rows: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], float]:
    """The best look at the probe, and how much recall was lost since, 0 unless that is beyond chance."""
    best, last = max(rows, key=lambda m: m[RECALL]), rows[-1]
    lost = best[RECALL] - last[RECALL]
    real = lost > RETRIEVAL_FELL * best[RECALL] and lost > last[CHANCE]
    return best, lost if real else 0.0


@run_rule("at_chance", FAULT, fault=Fault("loss {:.1%} below a guess", guessing, (0.03, 0.01, 0.0)))
def at_chance_run(rows: Sequence[dict[str, Any]], uninformed: float | None) -> Iterable[Said]:
    """The loss of a guess and a probe at chance, both: either alone has other causes."""
    last = rows[-1]
    if uninformed is None or last[RECALL] > last[CHANCE]:
        return
    if last["loss"] >= uninformed - 0.02 * abs(uninformed):
        yield (
            f"The run has learnt nothing: loss {last['loss']:.3f} where guessing costs {uninformed:.3f}, and "
            f"retrieval on the probe is at chance ({last[RECALL]:.3f}).",
            [{"metric": "loss", "value": last["loss"], "threshold": uninformed}],
            "check the pairing of the batches, then the learning rate and the temperature",
        )


@run_rule("overfitting", WARNING, fault=Fault("{:.0%} of recall lost", decayed, (0.2, 0.4, 0.8)))
def overfitting(rows: Sequence[dict[str, Any]], uninformed: float | None) -> Iterable[Said]:
    """Retrieval on the probe falls while the loss goes on falling."""
    best, lost = _fallen(rows)
    last = rows[-1]
    if not all("loss" in m for m in rows):  # somebody else's loop need not log one
        return
    span = abs(rows[0]["loss"] - min(m["loss"] for m in rows)) or 1.0
    if lost and best["loss"] - last["loss"] > LOSS_FELL * span:
        yield (
            f"Retrieval on the probe fell from {best[RECALL]:.3f} at step {best['step']} to "
            f"{last[RECALL]:.3f} while the loss went on falling.",
            [{"metric": RECALL, "value": last[RECALL], "threshold": None}],
            f"stop near step {best['step']}, or add dropout, weight decay or data",
        )


@run_rule(
    "gap_grows",
    WARNING,
    fault=Fault(
        "gap × {}, 60% of recall lost", lambda m, factor: decayed(m, 0.6, modality_gap=factor), (1.1, 1.5, 3.0)
    ),
)
def gap_grows(rows: Sequence[dict[str, Any]], uninformed: float | None) -> Iterable[Said]:
    """A gap that grows while retrieval falls; a growing gap alone is ordinary early in training."""
    best, lost = _fallen(rows)
    last = rows[-1]
    for measure, key in ScopedName.of(last, "modality_gap").items():
        if lost and key in best and last[key] > 1.1 * best[key] + 0.02:
            yield (
                f"The gap of {' '.join(measure.scope)} grew from {best[key]:.2f} to {last[key]:.2f} since "
                f"step {best['step']}, while retrieval fell by {lost:.3f}.",
                [{"metric": key, "value": last[key], "threshold": 1.1 * best[key]}],
                f"go back to step {best['step']}; a higher temperature pulls the modalities together",
            )


@run_rule(
    "rank_falls",
    WARNING,
    fault=Fault(
        "rank × {}, 60% of recall lost", lambda m, factor: decayed(m, 0.6, effective_rank=factor), (0.6, 0.4, 0.1)
    ),
)
def rank_falls(rows: Sequence[dict[str, Any]], uninformed: float | None) -> Iterable[Said]:
    """A modality that loses half of the rank it had at its best, and goes on losing. Quiet while retrieval is best."""
    best, lost = _fallen(rows)
    last = rows[-1]
    for measure, key in ScopedName.of(last, "effective_rank").items() if lost else ():
        top = max(m[key] for m in rows if key in m)
        if last[key] < (1 - RANK_LOST) * top:
            yield (
                f"{' '.join(measure.scope)} varies in {last[key]:.0f} directions where it once used "
                f"{top:.0f}, and retrieval fell by {lost:.3f}.",
                [{"metric": key, "value": last[key], "threshold": (1 - RANK_LOST) * top}],
                "lower the learning rate, or add a uniformity or variance term",
            )


@run_rule("temperature_clamped", INFO)
def temperature_clamped(rows: Sequence[dict[str, Any]], uninformed: float | None) -> Iterable[Said]:
    """A learned temperature at the end of its range: information, well-trained models sit there."""
    last = rows[-1]
    if "temperature" in last and last["temperature"] <= last.get("temperature_least", 0.0) * (1 + 1e-6):
        yield (
            f"The temperature stands at its lowest allowed value, {last['temperature']:.3g}, as it does in many "
            "well-trained models.",
            [{"metric": "temperature", "value": last["temperature"], "threshold": last["temperature_least"]}],
            "",
        )
