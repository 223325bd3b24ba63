"""The one rule that makes a verdict of numbers, looked at after 8, 16 and 32 runs, corrected for all claims at once."""

from __future__ import annotations

import math

from workbench.papers.difference import Difference
from workbench.papers.paper import Paper, has_room
from workbench.papers.wording import claims

ALPHA = 0.05
# paired runs after which is looked, and the share of the level that each look spends: they sum to one, so that a paper
# that goes on until something shows errs no more often than one that looks once
LOOKS = {8: 0.2, 16: 0.3, 32: 0.5}


def spent(n: int) -> float:
    """The share of the level that the look after `n` runs may spend; the last look below, where n is none."""
    return next((share for runs, share in reversed(LOOKS.items()) if n >= runs), LOOKS[min(LOOKS)])


def looked(p: float, n: int) -> float:
    """A p-value that pays for having looked before: below α with chance α or less over all looks together."""
    return min(1.0, p / spent(n))


def level(n: int) -> float:
    """The level of a control's interval after `n` runs: two one-sided tests that share 5 % over the looks."""
    return 1 - 2 * ALPHA * spent(n)


def within(paper: Paper, control: Difference) -> bool:
    """Whether the interval of a control's difference lies within the paper's margin (two one-sided tests)."""
    return -paper.equivalence < control.low and control.high < paper.equivalence


def rule(
    paper: Paper,
    *,
    quick: bool,
    baseline: float,
    gain: Difference,
    p: float,
    least: float,
    control: Difference,
    moved: Difference,
) -> tuple[str, str]:
    """The outcome of paired runs and its reason.

    `gain`, positive as claimed; `p` (no gain) and `least` (the smallest effect worth having): two-sided p-values that
    paid for the looks and for all claims. held: surely above the smallest effect. some gain: surely above nothing, and
    not surely above the smallest effect. not held: surely below the smallest effect. All else, fewer than eight runs,
    or a control that fails: inconclusive. Without room to gain: not judged.
    """
    size = paper.min_effect
    if quick:
        return "not judged", "quick: it shows that the experiment runs, and nothing else"
    if not has_room(baseline, paper.limit, size):
        return "not judged", (
            f"no room: without the mechanism it is {baseline:.3g}, and from there to {paper.limit:g} it is less than "
            f"twice {size:g}, the smallest effect worth having"
        )
    if gain.n < min(LOOKS):
        return "inconclusive", f"{gain.n} paired runs, and a verdict needs {min(LOOKS)}"
    if not math.isfinite(gain.sd):
        return "inconclusive", "a run gave no number"
    if not moved.low > 0:
        return "inconclusive", "what must move did not, so the experiment sees nothing"
    if not within(paper, control):
        what = "moved" if control.low > 0 or control.high < 0 else "varies too much"
        return "inconclusive", f"what must not move {what}: it is not shown to stay within ±{paper.equivalence:g}"
    return _weighed(size, gain, p, least)


def _weighed(size: float, gain: Difference, p: float, least: float) -> tuple[str, str]:
    """The outcome by the gain alone."""
    mean = f"the gain is {gain.mean:.3g}"
    worth = f"{size:g}, the smallest effect worth having"
    if least < ALPHA and gain.mean > size:
        return "held", f"{mean}, above {worth}, and p = {least:.2g} after correction"
    if p < ALPHA and gain.mean > 0:
        than = f"below {worth}" if least < ALPHA else f"not shown to be above or below {worth}"
        return "some gain", f"{mean}, shown to be one (p = {p:.2g} after correction), and {than}"
    if least < ALPHA and gain.mean < size:
        return "not held", f"{mean}, below {worth}, and p = {least:.2g} after correction"
    if marginal(gain, size):
        return "inconclusive", f"{mean}: at this spread more runs on these data would hardly tell it from {worth}"
    return "inconclusive", "after correction neither an effect worth having nor its lack is shown"


def marginal(gain: Difference, size: float) -> bool:
    """Whether runs up to the last look would hardly tell the gain from `size`: give or take its error, it lies within
    what the last look can resolve at this spread, by the strictest correction.
    """
    from scipy import stats

    last = max(LOOKS)
    at_last = Difference(gain.mean, gain.sd, last, gain.shared)
    needed = float(stats.t.ppf(1 - ALPHA * spent(last) / claims() / 2, last - 1)) * at_last.error
    return abs(gain.mean - size) + gain.error < needed
