"""Rules over the pairing: wrong pairs, swapped sides, two encoders, a copy.

A pair is judged by its percentile: the share of pairs of different families whose cosine, with what the row and the
column have in common taken off, lies below its own. Of strangers it is even on [0, 1]; of matches nearly all of it lies
near 1, and hardly any of it in the lowest quarter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
import torch
from scipy.special import bdtrc, betaincinv
from torch import Tensor

from workbench.geometry import decided, main_axis
from workbench.report.doctor.rules import Fault, Said, evidence, least, set_rule
from workbench.report.doctor.specimen import Specimen
from workbench.report.finding import FAULT, WARNING
from workbench.sets import columns, planted

LEAST_ITEMS = 40
LOW = 0.25  # of the percentiles: a match hardly ever lies there
WRONG = 0.08  # share of strangers among the pairs, by the lower end of its interval
THINNER = 1.9  # times as dense in the middle as at the bottom: weak pairs, and those beyond a model, are twice and more
SCATTER = 1.3  # … where the matches of those that look wrong are found elsewhere
BEST = 0.1  # share of the right pairs whose nearest stranger comes nearer …
PARTNERS = 0.25  # … than that of so many of the wrong ones
SURE = 1e-3  # one-sided, of the interval of that share
CLEAR = 0.9  # percentile of the best quarter of pairs: below, the space tells too little of any pair
LUCK = 1e-8  # that as many rows stand so by chance
STRANGERS = 200_000  # pairs of different families, enough to tell a hundredth of their percentiles
SWAPPED = 0.005  # share of the items, three of them at least
SIDES = 3.0  # mean over deviation of the lengths along the axis of the differences: two sides, and nothing between
COPIED = 1 - 1e-6  # cosine
MATCHED = 0.5  # share of the wrong pairs whose match a rotation brings into the nearest quarter
SOME_RIGHT = 0.15  # share of pairs above the 99th percentile, a hundredth by chance
HUBS = 0.85  # share of the queries that have one key among their ten nearest: cones alone make up to 0.8
KNOWS = 0.75  # mean percentile of the pairs
STOLEN = 0.4  # share of the queries whose nearest key is one of these, and not their own
GALLERY = 100  # items: in smaller ones ten are many
BOTTOM = 0.02  # of the percentiles: a fiftieth of strangers
FLIPPED = 0.05  # share of the pairs there
FEW = 8  # pairs
ALL = 0.8  # share of the pairs: hardly any other is left, that should match
ONE_KIND = 0.8  # share of suspects that have one value of a column
MOST_KINDS = 50  # values of such a column
COPIES = 0.05  # share of the items that have one vector in both modalities


def pairs(specimen: Specimen) -> Iterator[tuple[str, str]]:
    """The pairs of modalities of one width that enough items have."""
    widths = specimen.es.layout.widths
    for a, b in combinations(specimen.es.modalities, 2):
        if widths[a] == widths[b] and len(specimen.items(a, b)) >= LEAST_ITEMS:
            yield a, b


def centred(specimen: Specimen, a: str, b: str) -> Tensor:
    """The cosines (n, n) of the items that have both, with what each row and each column has in common taken off."""
    s = specimen.cosines(a, b)
    r = s - s.mean(1, keepdim=True)
    r -= s.mean(0) - s.mean()
    square = r.square()
    for side in (square.mean(1, keepdim=True), square.mean(0)):
        r /= side.clamp_min(1e-150).pow(0.25)
    return r


def percentiles(specimen: Specimen, a: str, b: str) -> Tensor:
    """Where each pair stands among the pairs of different families, (n,), from 0 to 1; of different items where all
    are of one family."""

    def made() -> Tensor:
        r, family = centred(specimen, a, b), specimen.family[specimen.items(a, b)]
        if bool((family == family[0]).all()):
            family = torch.arange(len(family))
        others = r[family[:, None] != family[None]]
        others = others[:: max(len(others) // STRANGERS, 1)].sort().values
        return torch.searchsorted(others, r.diagonal().contiguous()).double() / max(len(others), 1)

    return specimen.known(("percentiles", a, b), made)


def share_of_strangers(p: Tensor) -> tuple[float, float, float]:
    """The share of pairs that are strangers, from how many lie in the lowest quarter, and its 99.8 % interval."""
    n, k = len(p), int((p < LOW).sum())
    low = least(k, n, SURE)
    high = float(betaincinv(k + 1, n - k, 1 - SURE)) if k < n else 1.0
    return k / n / LOW, low / LOW, min(high / LOW, 1.0)


def visible(n: int) -> float:
    """The smallest share of wrong pairs among so many that would be said, one in a hundred steps; 1: none would.

    >>> visible(60) > visible(250) > visible(2_000)
    True
    """
    for share in range(1, 100):
        if least(round(n * LOW * share / 100), n, SURE) / LOW > WRONG:
            return share / 100
    return 1.0


def even(p: Tensor, reach: float, z: float) -> bool:
    """Whether percentiles thin out towards 0 by less than `reach`: strangers lie as densely there as in the middle,
    while of pairs that merely know little of each other, or some less than others, few do. `z`: how surely."""
    low, middle = int((p < LOW).sum()), int(((p >= LOW) & (p < 3 * LOW)).sum())
    if not low:
        return False
    error = math.sqrt(1 / low + 1 / max(middle, 1))
    return middle / 2 / low * math.exp(z * error) < reach


def partners(specimen: Specimen, a: str, b: str) -> Tensor:
    """For each pair the other item whose row of `b` is nearest to its row of `a`, where the pair looks wrong and that
    row is nearer than strangers come to the right ones; -1 for none. Empty where they are no more than luck gives."""

    def made() -> Tensor:
        r, p = centred(specimen, a, b), percentiles(specimen, a, b)
        family, none = specimen.family[specimen.items(a, b)], torch.full((0,), -1)
        r.masked_fill_(family[:, None] == family, -math.inf)
        suspect, right = p < 2 * LOW, p > CLEAR
        if int(suspect.sum()) < 5 or int(right.sum()) < 10:
            return none
        near, to = r.max(1)
        back = r.max(0).values
        found, other = (x > x[right].quantile(1 - BEST) for x in (near, back))
        tried, hits = 2 * int(suspect.sum()), int(found[suspect].sum()) + int(other[suspect].sum())
        if hits < PARTNERS * tried or bdtrc(hits - 1, tried, BEST) > 1e-6:
            return none
        return torch.where(suspect & found, to, -1)

    return specimen.known(("partners", a, b), made)


def strangers(specimen: Specimen, a: str, b: str) -> tuple[float, float, float] | None:
    """The share of wrong pairs with its interval, where there is one beyond doubt."""
    p = percentiles(specimen, a, b)
    found = share_of_strangers(p)
    if found[1] <= WRONG or float(p.quantile(0.75)) <= CLEAR:
        return None
    flat = even(p, THINNER, 1.645) or (len(partners(specimen, a, b)) > 0 and even(p, SCATTER, -1.645))
    return found if flat else None


@set_rule(
    "wrong_pairs",
    FAULT,
    fault=Fault(
        "{:.0%} of pairs shuffled",
        lambda es, share: planted.shuffled(es, es.modalities[0], share),
        (0.15, 0.3, 0.5),
    ),
)
def wrong_pairs(specimen: Specimen) -> Iterable[Said]:
    """Some pairs are strangers and the others are not: the lowest quarter of the percentiles holds a quarter of those
    that are wrong. Quiet in spaces that tell too little of any pair, and where low percentiles thin out towards 0, as
    those of hard pairs do."""
    for a, b in pairs(specimen):
        found = strangers(specimen, a, b)
        if found is None:
            continue
        share, low, high = found
        p, items = percentiles(specimen, a, b), specimen.items(a, b)
        worst = p.argsort()[: int((p < 2 * LOW).sum())]
        to = partners(specimen, a, b)
        moved = worst[to[worst] >= 0] if len(to) else worst[:0]
        ids = specimen.named(items[worst])
        tail = f"First suspects: {', '.join(ids[:5])}."
        if len(moved):
            one, other = specimen.named(items[torch.stack([moved[0], to[moved[0]]])])
            tail = f"Their partners seem to be in other rows: {a} of {one} is nearest to {b} of {other}."
        kind = of_one_kind(specimen, items[worst])
        yield (
            f"About {min(share, 1):.0%} of the {a}-{b} pairs are wrong ({low:.0%} to {high:.0%}): they are no more "
            f"similar than random pairs, while the others match{kind}. {tail}",
            [evidence("share of wrong pairs", (a, b), share, WRONG, items=ids, low=low, high=high)],
            "look at the suspects (the evidence names them), and at what put the two columns together: a join by row "
            "order, a sort of one side, files that are missing"
            + ("" if len(moved) else "; or inputs that tell nothing of each other"),
        )


def of_one_kind(specimen: Specimen, some: Tensor) -> str:
    """What nearly all of these items have in common in a column, and few others do; nothing where they do not."""
    for c in specimen.es.items:
        column = specimen.es.items[c]
        if c in ("id", "family") or columns.holds_bytes(column):
            continue
        code, names = columns.codes(column)
        if not 2 <= len(names) <= MOST_KINDS:
            continue
        counts = np.bincount(code[some.numpy()] + 1, minlength=len(names) + 1)[1:]
        every = np.bincount(code + 1, minlength=len(names) + 1)[1:]
        k = int(counts.argmax())
        if counts[k] >= ONE_KIND * len(some) and every[k] < 0.6 * len(code) and counts[k] > every[k] / 4:
            return f", and {counts[k] / len(some):.0%} of them have {c} {names[k]}"
    return ""


@set_rule(
    "flipped_sign",
    FAULT,
    explains=(
        *("two_encoders", "wrong_pairs", "no_pairing_signal", "hubs", "class_collapse"),
        *("one_sided_column", "order_trace", "asymmetry"),
    ),
    fault=Fault(
        "{:.0%} of rows with their sign flipped",
        lambda es, share: planted.flipped(es, es.modalities[1], share),
        (0.1, 0.3, 0.6),
    ),
)
def flipped_sign(specimen: Specimen) -> Iterable[Said]:
    """Pairs that point away from each other: far more of the percentiles lie at the very bottom than luck puts there.
    Quiet unless hardly any lie a little above, as those of strangers and of weak pairs do, and the others match."""
    for a, b in pairs(specimen):
        p, items = percentiles(specimen, a, b), specimen.items(a, b)
        bottom, above = p < BOTTOM, (p >= BOTTOM) & (p < 5 * BOTTOM)
        share = float(bottom.double().mean())
        if share < FLIPPED or int(bottom.sum()) < FEW or 4 * int(above.sum()) > 3 * int(bottom.sum()):
            continue
        if share < ALL and not float(p[~bottom].median()) > KNOWS:  # signs that were never learnt, as by a volume
            continue
        ids = specimen.named(items[bottom])
        yield (
            f"{int(bottom.sum()):,} of {len(items):,} {a}-{b} pairs point in opposite directions, more so than random "
            f"pairs{of_one_kind(specimen, items[bottom])}: one side has the wrong sign there. First: "
            f"{', '.join(ids[:5])}.",
            [evidence("share of pairs at the bottom", (a, b), share, FLIPPED, items=ids)],
            f"embed these rows again, or negate their {a}, then their {b} instead, and keep what then lies among the "
            "other rows of its modality; look for a projection whose sign is free (PCA, CCA) and was fitted twice",
        )


@set_rule(
    "swapped_sides",
    FAULT,
    explains=(
        "wrong_pairs",
        "shifted_pairs",
        "no_pairing_signal",
        "hubs",
        "gap",
        "shuffled_nearby",
        "moved_rows",
        "two_encoders",
        "asymmetry",
    ),
    fault=Fault(
        "{:.0%} of items with their modalities swapped, a gap of 0.8",
        lambda es, share: planted.swapped(planted.apart(es, 0.8), share),
        (0.02, 0.1, 0.5),
    ),
)
def swapped_sides(specimen: Specimen) -> Iterable[Said]:
    """Some items have each modality's vector in the other's place. The differences of pairs lie along the gap; quiet
    unless they fall into two sides along their main axis with nothing between."""
    for a, b in pairs(specimen):
        items = specimen.items(a, b)
        x = specimen.unit(a, items) - specimen.unit(b, items)
        t = x @ main_axis(x)
        few = t * torch.sign(t.median()) < 0
        length = t.abs()
        if float(length.mean()) < SIDES * float(length.std()) or int(few.sum()) < max(3, SWAPPED * len(t)):
            continue
        if float(length[few].mean()) < 0.7 * float(length[~few].mean()):  # stragglers, and no second side
            continue
        share = float(few.double().mean())
        wrong = items[few] if share <= 0.5 else items[~few]
        yield (
            f"In {len(wrong):,} of {len(items):,} items {a} and {b} are swapped: each vector lies on the other "
            f"modality's side of the gap. The swap hides a gap of {float(length.mean()):.2f}. First: "
            f"{', '.join(specimen.named(wrong)[:5])}.",
            [evidence("share of swapped items", (a, b), len(wrong) / len(items), SWAPPED, items=specimen.named(wrong))],
            "swap the two vectors of these items back; look for a collate function or a join that depends on the order",
        )


@set_rule(
    "two_encoders",
    FAULT,
    explains=("wrong_pairs", "hubs", "no_pairing_signal", "shifted_pairs", "order_trace"),
    fault=Fault(
        "{:.0%} of rows from another encoder",
        lambda es, share: planted.from_another_encoder(es, es.modalities[1], share),
        (0.3, 0.5, 0.7),
    ),
)
def two_encoders(specimen: Specimen) -> Iterable[Said]:
    """The pairs that look wrong are right in another space: a rotation fitted on one half of them finds the matches of
    the other half. Quiet unless it does so far beyond chance, and where no pair is right as it is: such a pair of
    modalities was never brought together."""
    for a, b in pairs(specimen):
        p, items = percentiles(specimen, a, b), specimen.items(a, b)
        low = (p < 2 * LOW).nonzero()[:, 0]
        if strangers(specimen, a, b) is None and float((p > 0.99).double().mean()) < SOME_RIGHT:
            continue
        half = torch.from_numpy(specimen.es.halves)[items]
        wrong = p < 2 * LOW
        turned = torch.full_like(p, math.nan)
        for f in (0, 1):
            taught, judged = wrong & (half != f), half == f
            if min(int(taught.sum()), int((wrong & judged).sum())) < 16:
                break
            x, y = specimen.unit(a, items[taught]), specimen.unit(b, items[taught])
            x, y = x - x.mean(0), y - y.mean(0)
            turn, _ = decided(y.T @ x, len(x))
            key, query = specimen.unit(b, items[judged]) @ turn, specimen.unit(a, items[judged])
            s = (query - query.mean(0)) @ (key - key.mean(0)).T
            turned[judged] = (s < s.diagonal()[:, None]).double().mean(1)
        if bool(turned.isnan().any()):
            continue
        better = int((turned[wrong] > 0.75).sum())  # a quarter of strangers
        found = better / len(low)
        if bdtrc(better - 1, len(low), 0.25) > LUCK or found < MATCHED:
            continue
        stale = turned > p
        share = float(stale.double().mean())
        yield (
            f"Rows of {a}, or of {b}, come from two checkpoints: about {share:.0%} of the pairs match only after one "
            "rotation, the same for all of them"
            f"{of_one_kind(specimen, items[stale])}.",
            [evidence("pairs that match after a rotation", (a, b), found, MATCHED, items=specimen.named(items[stale]))],
            "embed all rows with one checkpoint; a column that says when a row was embedded tells which are stale. "
            "Where one model did embed them all, training never brought these two modalities together",
        )


@set_rule(
    "copied_modality",
    WARNING,
    explains=("duplicates", "label_noise"),
    fault=Fault(
        "{:.0%} of rows are those of the other modality",
        lambda es, share: planted.copied(es, es.modalities[0], es.modalities[1], share),
        (0.1, 0.5, 1.0),
    ),
)
def copied_modality(specimen: Specimen) -> Iterable[Said]:
    """Vectors of two modalities that are the same vector: no two encoders agree to the last digit. Quiet below 5 % of
    the items, and where a modality has collapsed."""
    for a, b in pairs(specimen):
        items = specimen.items(a, b)
        own = specimen.cosines(a, b).diagonal()
        same = own >= COPIED
        share = float(same.double().mean())
        if share < COPIES or float(specimen.cosines(a, b).mean()) > 0.99:
            continue
        yield (
            f"{int(same.sum()):,} of {len(items):,} items have the identical vector as {a} and as {b}: one is a copy, "
            "so that retrieval says nothing there.",
            [evidence("share of equal vectors", (a, b), share, COPIES, items=specimen.named(items[same]))],
            "look for a cache, a default or a column that was read twice",
        )


@set_rule(
    "hubs",
    WARNING,
    fault=Fault(
        "queries pulled to 3 keys by {}",
        lambda es, strength: planted.with_hubs(es, es.modalities[0], 3, strength),
        (0.3, 0.5, 0.7),
    ),
    explains=("asymmetry",),
)
def hubs(specimen: Specimen) -> Iterable[Said]:
    """Keys that are among the ten nearest of nearly all queries, and take first places from those whose they are. Quiet
    in galleries of less than a hundred, and where pairs know little of each other: queries of an untrained pair all
    point to the same keys."""
    for pair in pairs(specimen):
        items = specimen.items(*pair)
        if len(items) < GALLERY or not float(percentiles(specimen, *pair).mean()) > KNOWS:
            continue
        s = specimen.cosines(*pair)
        for (a, b), cosines in ((pair, s), (pair[::-1], s.T)):
            top = cosines.topk(10, dim=1).indices
            count = torch.bincount(top.flatten(), minlength=len(items))
            share = float(count.max()) / len(items)
            busiest = count.argsort(descending=True)
            busy = busiest[count[busiest] > HUBS * len(items)]
            stolen = torch.isin(top[:, 0], busy) & (top[:, 0] != torch.arange(len(items)))
            if not (len(busy) and float(stolen.double().mean()) > STOLEN):
                continue
            ids = specimen.named(items[busy[:5]])
            yield (
                f"A few rows of {b} are near every {a}: {ids[0]} is in the top ten of {share:.0%} of the queries, and "
                f"{float((count == 0).double().mean()):.0%} of the {b} rows are in no top ten.",
                [evidence("share of queries that find one key", (a, b), share, HUBS, items=ids)],
                "look at these rows; centring the modality, or a dual softmax when ranking, reduces most hubs",
            )
