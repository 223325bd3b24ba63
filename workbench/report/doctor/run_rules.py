"""Rules over the metrics of a run: the lines it logged when it looked at its probe."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from workbench.diagnostics.scoped_name import ScopedName
from workbench.report.doctor.rules import Fault, Said, run_rule
from workbench.report.doctor.run_faults import decayed, diverged, forgotten, guessing, stalled, swinging
from workbench.report.finding import FAULT, INFO, WARNING
from workbench.sets.run_folder import CHANCE, MOVED, RECALL, RELATIVES

RANK_LEFT = 0.15  # share of it that is left, whatever retrieval says
DIVERGED = 0.25  # of the loss at the start, above it
TURNS = 0.75  # of the steps from look to look that turn back
SWING = 0.25  # of the range of the loss, the middle one of these steps
RANK_LOST = 0.5  # share of a modality's rank lost in training
RELATED = 0.25  # of the items of a batch
MOVES = 1e-6  # 1 - cosine from look to look, of a tower that learns
STILL = 1e-3  # of what another tower turns by
LOSS_FELL = 0.05  # share of the loss's range that counts as falling
RETRIEVAL_FELL = 0.25  # share of the best retrieval lost since, while the loss went on falling


def _fallen(rows: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], float]:
    """The best look at the probe, and how much recall was lost since, 0 unless that is beyond chance."""
    best, last = max(rows, key=lambda m: m[RECALL]), rows[-1]
    lost = best[RECALL] - last[RECALL]
    real = lost > RETRIEVAL_FELL * best[RECALL] and lost > last[CHANCE]
    return best, lost if real else 0.0


def _fell(rows: Sequence[dict[str, Any]], best: dict[str, Any]) -> bool:
    """Whether the loss went on falling since; somebody else's loop need not log one."""
    if not all("loss" in m for m in rows):
        return False
    span = abs(rows[0]["loss"] - min(m["loss"] for m in rows)) or 1.0
    return bool(best["loss"] - rows[-1]["loss"] > LOSS_FELL * span)


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
    if lost and _fell(rows, best):
        yield (
            f"Retrieval on the probe (items held out) fell from {best[RECALL]:.3f} at step {best['step']} to "
            f"{last[RECALL]:.3f} while the loss went on falling.",
            [{"metric": RECALL, "value": last[RECALL], "threshold": None}],
            f"stop near step {best['step']}, or add dropout, weight decay or data",
        )


@run_rule("loss_diverges", FAULT, fault=Fault("loss × {} of a guess", diverged, (1.0, 1.5, float("nan"))))
def loss_diverges(rows: Sequence[dict[str, Any]], uninformed: float | None) -> Iterable[Said]:
    """A loss that is no number, or ends far above the one it began with. Quiet below a quarter more."""
    losses = [(m["step"], m["loss"]) for m in rows if "loss" in m]
    gone = next((step for step, loss in losses if not math.isfinite(loss)), None)
    start = max([losses[0][1], *([] if uninformed is None else [uninformed])]) if losses else math.nan
    if gone is None and not (losses and losses[-1][1] > start + DIVERGED * abs(start)):
        return
    last = losses[-1][1]
    said = f"The loss is NaN or infinite from step {gone} on." if gone is not None else (
        f"The loss diverges: {last:.3g} at step {losses[-1][0]}, where it began with {losses[0][1]:.3g}.")  # fmt: skip
    yield (
        said,
        [{"metric": "loss", "value": last if math.isfinite(last) else None, "threshold": start}],
        "lower the learning rate, clip gradients, set a higher minimum temperature (a lower cap of logit_scale); look "
        "for half precision that overflows, and for empty or constant batches",
    )


@run_rule("loss_oscillates", WARNING, fault=Fault("loss swings by {:.0%} of its fall", swinging, (0.1, 0.4, 1.0)))
def loss_oscillates(rows: Sequence[dict[str, Any]], uninformed: float | None) -> Iterable[Said]:
    """A loss that goes up and down by much of all it has ever fallen. Quiet for fewer than six looks, and where most
    steps go the same way."""
    losses = [m["loss"] for m in rows if math.isfinite(m.get("loss", math.nan))]
    steps = [b - a for a, b in pairwise(losses)]
    late = steps[len(steps) // 3 :]
    if len(losses) < 6:
        return
    turns = sum(a * b < 0 for a, b in pairwise(late)) / max(len(late) - 1, 1)
    swing = sorted(map(abs, late))[len(late) // 2] / (max(losses) - min(losses) or 1.0)
    if turns >= TURNS and swing > SWING:
        yield (
            f"The loss swings by {swing:.0%} of its whole range from one logged step to the next: it lay between "
            f"{min(losses[-len(late) :]):.3g} and {max(losses[-len(late) :]):.3g} of late, and ends at "
            f"{losses[-1]:.3g}.",
            [{"metric": "loss", "value": swing, "threshold": SWING}],
            "lower the learning rate or warm it up, or use larger batches",
        )


@run_rule("past_its_best", WARNING, fault=Fault("{:.0%} of recall lost, loss as it was", forgotten, (0.2, 0.5, 0.8)))
def past_its_best(rows: Sequence[dict[str, Any]], uninformed: float | None) -> Iterable[Said]:
    """The last snapshot retrieves less than an earlier one, and the loss does not say why. Quiet below a quarter, and
    where the loss went on falling, which is overfitting."""
    best, lost = _fallen(rows)
    last = rows[-1]
    if lost and not _fell(rows, best):
        yield (
            f"The last snapshot is not the best one: retrieval on the probe was {best[RECALL]:.3f} at step "
            f"{best['step']} and is {last[RECALL]:.3f} now.",
            [{"metric": RECALL, "value": last[RECALL], "threshold": best[RECALL]}],
            f"use the snapshot of step {best['step']}; a decaying learning rate may prevent the drop",
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
                f"The gap between {' and '.join(measure.scope)} grew from {best[key]:.2f} to {last[key]:.2f} since "
                f"step {best['step']}, while retrieval fell by {lost:.3f}.",
                [{"metric": key, "value": last[key], "threshold": 1.1 * best[key]}],
                f"go back to step {best['step']}; a higher temperature may pull the modalities together, at a cost in "
                "fine distinctions",
            )


@run_rule(
    "rank_falls",
    WARNING,
    fault=Fault(
        "rank × {}, 60% of recall lost", lambda m, factor: decayed(m, 0.6, effective_rank=factor), (0.6, 0.4, 0.1)
    ),
)
def rank_falls(rows: Sequence[dict[str, Any]], uninformed: float | None) -> Iterable[Said]:
    """A modality that loses half of the rank it had at its best, and goes on losing. While retrieval is best it is
    quiet, unless hardly a seventh is left."""
    best, lost = _fallen(rows)
    last = rows[-1]
    for measure, key in ScopedName.of(last, "effective_rank").items():
        top = max(m[key] for m in rows if key in m)
        if last[key] < ((1 - RANK_LOST) if lost else RANK_LEFT) * top:
            fell = f"retrieval fell by {lost:.3f}" if lost else "what is left bears all of the retrieval"
            yield (
                f"The effective rank of {' '.join(measure.scope)} fell from {top:.0f} to {last[key]:.0f}, and {fell}.",
                [{"metric": key, "value": last[key], "threshold": (1 - RANK_LOST) * top}],
                "lower the learning rate, or add a uniformity or variance term",
            )


@run_rule("related_batches", INFO)
def related_batches(rows: Sequence[dict[str, Any]], uninformed: float | None) -> Iterable[Said]:
    """Batches that hold several variants of one thing, which the loss pushes apart: information, as whether that costs
    anything hangs on what is asked for. Quiet below a quarter of the items, and where labels say what is a positive."""
    share = rows[0].get(RELATIVES, 0.0)
    if share > RELATED:
        yield (
            f"{share:.0%} of the items of a batch have another item of their family in it: the loss pushes variants of "
            "one thing apart.",
            [{"metric": RELATIVES, "value": share, "threshold": RELATED}],
            "mask them as negatives, count them as positives (train.label=family), or draw one item a family",
        )


@run_rule(
    "still_tower", WARNING, fault=Fault("one tower moves {} times as much as the other", stalled, (0.1, 1e-4, 0.0))
)
def still_tower(rows: Sequence[dict[str, Any]], uninformed: float | None) -> Iterable[Said]:
    """A tower that has stopped moving while another goes on. Quiet where it never moved, as one that is frozen."""
    paths = {m.scope[0]: [float(r[key]) for r in rows if key in r] for m, key in ScopedName.of(rows[-1], MOVED).items()}
    for m, path in paths.items():
        others = [sum(p[-2:]) / 2 for n, p in paths.items() if n != m and len(p) > 2]
        here = max(path[-2:])
        if len(path) < 3 or not others or max(path) < MOVES or max(others) < MOVES or here > STILL * max(others):
            continue
        yield (
            f"The tower of {m} has stopped: over the last two snapshots its vectors turn by {here:.1g}, those of the "
            f"others by up to {max(others):.1g} (1 - cosine).",
            [{"metric": str(ScopedName(MOVED, (m,))), "value": here, "threshold": STILL * max(others)}],
            "look for a detached graph, an optimiser that lost its parameters, dead units, or a freeze that was not "
            "meant",
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
