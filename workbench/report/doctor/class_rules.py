"""Rules over what columns say of the items: classes, splits, families, and which modalities are there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.special import chdtrc
from torch import Tensor

from workbench.geometry import segment_sum
from workbench.report.doctor.pairing_rules import pairs
from workbench.report.doctor.rules import Fault, Said, evidence, set_rule
from workbench.report.doctor.specimen import Specimen, first_rows, named, twin
from workbench.report.finding import FAULT, WARNING
from workbench.sets import columns, planted_columns

LEAST_OF_CLASS = 8  # items, of every class that is looked at
MOST_CLASSES = 20
SHAPED = 0.1  # share of one modality's variance between classes, while the other has less than a fifth of that
CHANCE = 1e-5  # that presence goes by a class as much by luck
ABSENT = 0.3  # Cramér's V of presence and class
POINT = 0.03  # of the usual variance, within a class
KNOWS_CLASS = 0.75  # mean percentile of pairs among items of other classes, while it is a half among those of their own
LEAKED = 0.02  # share of the items held out that have a twin among those of training
VARIANTS = 0.1  # share of the items that have a twin in every modality, and no family that says so
HELD_OUT = 500  # items that are looked for among those of training


@dataclass(frozen=True)
class Classing:
    """A column that puts items into a few classes: the class of each, (n,), −1 for none, and what they are called."""

    column: str
    code: Tensor
    names: list[str]


def classings(specimen: Specimen) -> Iterator[Classing]:
    """The columns of a set that put its items into a few classes, each of enough items."""
    items = specimen.es.items
    for c in items:
        if c in ("id", "family", "split") or columns.holds_bytes(items[c]) or not _plain(items[c]):
            continue
        code, names = columns.codes(items[c])
        if 2 <= len(names) <= MOST_CLASSES and np.bincount(code[code >= 0]).min() >= LEAST_OF_CLASS:
            yield Classing(str(c), torch.from_numpy(code), names)


def _plain(column: pd.Series) -> bool:
    """Whether values are words, truths or whole numbers."""
    if column.dtype != object:
        return column.dtype.kind != "f"
    return all(isinstance(v, str | int | bool) or v is None or v != v for v in column)


def _within(specimen: Specimen, m: str, items: Tensor, classing: Classing) -> tuple[Tensor, Tensor]:
    """The unit rows of those of the items that have a class, and their classes."""
    of = classing.code[items]
    return specimen.unit(m, items[of >= 0]), of[of >= 0]


def _means(x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
    """The mean row of each class, (k, d), and how many rows it has, (k,), one at the least."""
    k = int(code.max()) + 1
    counts = torch.bincount(code, minlength=k).double().clamp_min(1)
    return segment_sum(x, code, k) / counts[:, None], counts


@set_rule(
    "one_sided_column",
    WARNING,
    explains=("asymmetry",),
    fault=Fault(
        "{} lengths along a class", lambda es, s: planted_columns.shaped(es, es.modalities[0], s), (0.4, 1.0, 2.0)
    ),
)
def one_sided_column(specimen: Specimen) -> Iterable[Said]:
    """A column that shapes one modality and not the other, as a language or a source does. Quiet unless a tenth of the
    one's variance lies between its classes, and not a fifth of that in the other."""
    for classing in classings(specimen):
        name = classing.column
        for a, b in pairs(specimen):
            if not bool((classing.code[specimen.items(a, b)] >= 0).any()):
                continue
            share = {m: between(*_within(specimen, m, specimen.items(a, b), classing)) for m in (a, b)}
            more, less = sorted(share, key=lambda m: -share[m])
            if share[more] > SHAPED and share[less] < share[more] / 5:
                yield (
                    f"Column '{name}' explains {share[more]:.0%} of the variance of {more} and {share[less]:.0%} of "
                    f"that of {less}: neighbours in {more} are mostly of the same class.",
                    [evidence(f"variance between classes of {name}", (more,), share[more], SHAPED)],
                    f"if '{name}' should not matter, subtract its class means from {more}; if it should, look for "
                    f"what removed it from {less}, such as a normalisation per batch",
                )


def between(x: Tensor, code: Tensor) -> float:
    """The share of the variance that lies between classes, less what as many classes by lot have."""
    means, counts = _means(x, code)
    n, k, centre = len(x), len(means), x.mean(0)
    share = float((counts[:, None] * (means - centre).square()).sum() / (x - centre).square().sum().clamp_min(1e-300))
    return max(share - (k - 1) / max(n - 1, 1), 0.0)


@set_rule(
    "missing_by_class",
    WARNING,
    fault=Fault(
        "missing for {:.0%} of a class", lambda es, s: planted_columns.absent(es, es.modalities[0], s), (0.15, 0.6, 0.9)
    ),
)
def missing_by_class(specimen: Specimen) -> Iterable[Said]:
    """A modality that one class of items lacks more often than others: what is measured is measured on the rest. Quiet
    where luck could do it, families counted once."""
    first = torch.from_numpy(np.unique(specimen.family.numpy(), return_index=True)[1])
    for classing in classings(specimen):
        name = classing.column
        for m in specimen.es.modalities:
            has, of = specimen.es.layout.has[m][first], classing.code[first]
            has, of = has[of >= 0], of[of >= 0]
            if bool(has.all()) or not len(of):
                continue
            table = torch.stack([torch.bincount(of[has == t], minlength=int(of.max()) + 1) for t in (True, False)])
            wanted = table.sum(1, keepdim=True).double() * table.sum(0) / table.sum()
            stray = float(((table - wanted).square() / wanted.clamp_min(1e-300)).sum())
            strength = (stray / int(table.sum())) ** 0.5
            if strength < ABSENT or chdtrc(table.shape[1] - 1, stray) > CHANCE:
                continue
            gone = table[1] / table.sum(0).clamp_min(1)
            worst = classing.names[int(gone.argmax())]
            yield (
                f"{m} is missing unevenly over '{name}': {float(gone.max()):.0%} of {worst} lack it, and "
                f"{float(gone.min()):.0%} of the class that lacks it least. Results for {m} hardly describe {worst}.",
                [evidence(f"presence by {name} (Cramér's V)", (m,), strength, ABSENT)],
                f"read the report by class (--by {name}), and look for what dropped these rows",
            )


@set_rule(
    "collapsed_class",
    WARNING,
    fault=Fault(
        "a class pulled to a point by {}",
        lambda es, s: planted_columns.one_point(es, es.modalities[0], s),
        (0.5, 0.9, 0.98),
    ),
)
def collapsed_class(specimen: Specimen) -> Iterable[Said]:
    """One class whose rows coincide or nearly so, while the others do not. Quiet where all classes are that narrow."""
    for classing in classings(specimen):
        name = classing.column
        for m in specimen.es.modalities:
            x, of = _within(specimen, m, specimen.items(m), classing)
            if not len(of):
                continue
            means, counts = _means(x, of)
            within = segment_sum((x - means[of]).square().sum(1)[:, None], of, len(means))[:, 0] / counts
            enough = counts >= LEAST_OF_CLASS  # a class that lacks the modality has not collapsed
            if int(enough.sum()) < 3:
                continue
            usual = float(within[enough].median())
            least = int(torch.where(enough, within, math.inf).argmin())
            if float(within[least]) < POINT * usual:
                worst = classing.names[least]
                yield (
                    f"{m} has collapsed in class {worst} of '{name}': its variance is "
                    f"{usual / max(float(within[least]), 1e-9):,.0f} times smaller than in other classes.",
                    [evidence(f"variance within a class of {name}", (m,), float(within[least]) / usual, POINT)],
                    "look at what the encoder is given for these items: an empty, constant or truncated input",
                )


@set_rule(
    "class_collapse",
    WARNING,
    fault=Fault("only the class is known, noise {}", planted_columns.only_classes, (2.0, 1.0, 0.5)),
    explains=("wrong_pairs", "no_pairing_signal"),
)
def class_collapse(specimen: Specimen) -> Iterable[Said]:
    """Pairs agree in their class and in nothing else. Quiet unless own matches rank high among items of other classes,
    and at chance among those of their own class."""
    for classing in classings(specimen):
        name = classing.column
        for a, b in pairs(specimen):
            items = specimen.items(a, b)
            of, family, s = classing.code[items], specimen.family[items], specimen.cosines(a, b)
            apart = (family[:, None] != family) & (of[:, None] >= 0) & (of >= 0)
            below = (s < s.diagonal()[:, None]) & apart
            same = apart & (of[:, None] == of)
            known = (same.sum(1) >= LEAST_OF_CLASS - 1) & ((apart & ~same).sum(1) > 0)
            if int(known.sum()) < 40:
                continue
            inside = ((below & same).sum(1) / same.sum(1).clamp_min(1))[known]
            outside = ((below & ~same).sum(1) / (apart & ~same).sum(1).clamp_min(1))[known]
            reach = 3 * float(inside.std()) / len(torch.unique(family[known])) ** 0.5
            if float(outside.mean()) > KNOWS_CLASS and float(inside.mean()) < 0.5 + min(reach, 0.06):
                yield (
                    f"{a} and {b} match only by the class of '{name}': the right item beats "
                    f"{float(outside.mean()):.0%} of the items of other classes, but {float(inside.mean()):.0%} of "
                    "those of its own (chance: 50%).",
                    [evidence(f"percentile within a class of {name}", (a, b), float(inside.mean()), 0.5)],
                    "train against items of the same class (hard negatives), or with a loss that does not pull a class "
                    "together",
                )


@set_rule(
    "leaked_split",
    FAULT,
    fault=Fault("{:.0%} of test stands in training", planted_columns.leaked, (0.03, 0.1, 0.4)),
    explains=("dependent_items",),
)
def leaked_split(specimen: Specimen) -> Iterable[Said]:
    """Items held out that stand among those of training, in every modality at once. Quiet where items of other families
    coincide as often within what is held out, as those of a few prompts do."""
    es = specimen.all
    if "split" not in es.items:
        return
    whole = torch.stack([es.layout.has[m] for m in es.modalities]).all(0).numpy()
    train = (es.items["split"] == "train").to_numpy() & whole
    held = es.items["split"].isin(["validation", "test"]).to_numpy() & whole
    if train.sum() < 20 or held.sum() < 20:
        return
    at = np.flatnonzero(held)
    at = np.sort(np.random.default_rng(0).permutation(at)[:HELD_OUT])
    found = [torch.from_numpy(i) for i in (at, np.flatnonzero(train))]
    family = torch.from_numpy(np.asarray(es.families))
    both = []
    for other in (found[1], found[0]):
        apart = family[found[0]][:, None] != family[other]
        for m in es.modalities:
            x, y = (first_rows(es, m, i) for i in (found[0], other))
            apart &= x @ y.T > twin(y)
        both.append(apart)
    leaked, inside = (float(t.any(1).double().mean()) for t in both)
    if leaked < LEAKED or int(both[0].any(1).sum()) < 3 or inside > leaked / 2:
        return
    items = found[0][both[0].any(1)]
    ids = named(es, items)
    yield (
        f"{leaked:.0%} of the held-out items are also in training under another id, in every modality: test scores are "
        f"inflated. First: {', '.join(ids[:5])}.",
        [evidence("share of items held out with a twin in training", es.modalities, leaked, LEAKED, items=ids)],
        "remove them from one side; split by column 'family', so that variants stay together",
    )


@set_rule(
    "dependent_items",
    WARNING,
    fault=Fault("{:.0%} are variants, no family", planted_columns.variants, (0.05, 0.25, 0.6)),
)
def dependent_items(specimen: Specimen) -> Iterable[Said]:
    """Items that are variants of each other, in every modality, while no family says so: intervals are then too narrow.
    Quiet where families are told, and where one modality alone coincides."""
    es = specimen.es
    items = specimen.items(*es.modalities)
    if len(torch.unique(specimen.family)) < len(es) or len(items) < 20:
        return
    near = ~torch.eye(len(items), dtype=torch.bool)
    for m in es.modalities:
        at = torch.searchsorted(specimen.items(m), items)
        near &= (specimen.cosines(m, m) > twin(specimen.unit(m, items)))[at][:, at]
    share = float(near.any(1).double().mean())
    if share < VARIANTS or float(near.double().mean()) > 0.25:  # a collapsed set is another matter
        return
    ids = specimen.named(items[near.any(1)])
    yield (
        f"{share:.0%} of the items nearly duplicate another one in every modality, and no column 'family' groups them: "
        "the intervals here are too narrow.",
        [evidence("share of items with a twin", es.modalities, share, VARIANTS, items=ids)],
        "give variants of one thing the same value in a column 'family'",
    )
