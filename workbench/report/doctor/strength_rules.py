"""Rules over how much pairs know of each other: in all, and among the items of one class or split."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from scipy.special import ndtr

from workbench.report.doctor.class_rules import classings
from workbench.report.doctor.pairing_rules import pairs, percentiles
from workbench.report.doctor.rules import Said, evidence, set_rule
from workbench.report.doctor.specimen import Specimen
from workbench.report.finding import INFO
from workbench.sets import columns

WEAK = 0.9  # median percentile of the pairs: below, a tenth of all strangers is nearer than the usual match
LEAST = 30  # items of a class
LESS = 0.2  # by which the share of matches in the nearest tenth is lower than among the others
SURE = 1e-4  # that it is so by luck, over all classes


@set_rule("weak_pairs", INFO)
def weak_pairs(specimen: Specimen) -> Iterable[Said]:
    """Pairs that know little of each other: information, for so does any hard set, and any model early in training."""
    for a, b in pairs(specimen):
        p = percentiles(specimen, a, b)
        middle = float(p.median())
        if middle < WEAK:
            yield (
                f"{a} and {b} match weakly: the median match is nearer than {middle:.0%} of random pairs (chance: "
                "50%). Faults of single pairs may not show.",
                [evidence("median percentile of the pairs", (a, b), middle, WEAK)],
                "findings may be incomplete; train longer, or check the pairing if it was trained",
            )


@set_rule("weak_class", INFO)
def weak_class(specimen: Specimen) -> Iterable[Said]:
    """A class, a language or a split whose pairs are far worse than the others: information, for items held out are
    always worse than those of training."""
    found: list[tuple[float, float, str, str, str, str, float, float]] = []
    for column, code, names in _groups(specimen):
        for a, b in pairs(specimen):
            of, near = code[specimen.items(a, b)], (percentiles(specimen, a, b) > 0.9).double()
            for k, name in enumerate(names):
                mine, others = near[of == k], near[of != k]
                if min(len(mine), len(others)) < LEAST:
                    continue
                here, there = float(mine.mean()), float(others.mean())
                error = float((mine.var() / len(mine) + others.var() / len(others)).sqrt())
                found.append((there - here, (there - here) / max(error, 1e-9), column, name, a, b, here, there))
    less, sure, column, name, a, b, here, there = max(found, default=(0.0, 0.0, "", "", "", "", 0.0, 0.0))
    if less <= LESS or float(ndtr(-sure)) * len(found) > SURE:
        return
    yield (
        f"{a}-{b} pairs with {column}={name} match far worse: {here:.0%} are nearer than nine in ten random pairs, of "
        f"the others {there:.0%}. An overall score describes neither.",
        [evidence(f"matches in the nearest tenth, {column} {name}", (a, b), here, there - LESS)],
        f"read the report by {column} (--by {column}); check the inputs of these items, and overfitting if they were "
        "held out",
    )


def _groups(specimen: Specimen) -> Iterable[tuple[str, torch.Tensor, list[str]]]:
    for c in classings(specimen):
        yield c.column, c.code, c.names
    if "split" in specimen.es.items:
        code, names = columns.codes(specimen.es.items["split"])
        yield "split", torch.from_numpy(code), names
