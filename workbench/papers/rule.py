"""The one rule that makes a verdict of numbers, and the correction for how many claims are tested at once."""

from __future__ import annotations

import math

from workbench.papers.paper import RUNS, Paper

ALPHA = 0.05


def within(paper: Paper, control: tuple[float, float]) -> bool:
    """Whether the 90 % interval of a control's difference lies within the paper's margin (two one-sided tests)."""
    return -paper.equivalence < control[0] and control[1] < paper.equivalence


def rule(
    paper: Paper,
    *,
    quick: bool,
    n: int,
    gain: tuple[float, float],
    p: float,
    short: float,
    control: tuple[float, float],
    moved: float,
) -> tuple[str, str]:
    """The outcome of `n` paired runs and its reason.

    `gain`: mean and lower end at 95 %; `p` (no gain) and `short` (the smallest effect worth having): two-sided
    p-values after correction; `control`: 90 % interval; `moved`: lower end of the positive control.

    held: p below 5 % and a gain of at least the smallest effect worth having. not held: short below 5 % and a gain
    below that effect. All else, fewer than eight runs, or a control that fails: inconclusive.
    """
    mean, low = gain
    if quick:
        return "not judged", "quick: it shows that the experiment runs, and nothing else"
    if n < RUNS:
        return "inconclusive", f"{n} paired runs, and a verdict needs {RUNS}"
    if not math.isfinite(low):
        return "inconclusive", "a run gave no number"
    if not moved > 0:
        return "inconclusive", "the positive control did not move, so the experiment sees nothing"
    if not within(paper, control):
        what = "moved" if control[0] > 0 or control[1] < 0 else "varies too much"
        return "inconclusive", f"the control {what}: it is not shown to stay within ±{paper.equivalence:g}"
    if p < ALPHA and mean >= paper.min_effect:
        return "held", f"the gain is {mean:.3g}, at least {paper.min_effect:g}, and p = {p:.2g} after correction"
    if short < ALPHA and mean < paper.min_effect:
        return "not held", (
            f"the gain is {mean:.3g}, below {paper.min_effect:g}, the smallest effect worth having, "
            f"and p = {short:.2g} after correction"
        )
    return "inconclusive", "after correction neither an effect worth having nor its lack is shown"
