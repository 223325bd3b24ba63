"""Rules over the order of the table: rows moved from some row on, reversed, shuffled nearby.

They read whose key is nearest to whom (`taken_by`, the whole gallery), and weigh a suspected match against the pair
that the table gives: healthy rows prefer their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import bdtrc

from workbench.report.doctor.class_rules import between
from workbench.report.doctor.pairing_rules import LEAST_ITEMS, LUCK, pairs
from workbench.report.doctor.rules import Fault, Said, evidence, set_rule
from workbench.report.doctor.specimen import Specimen, first_rows
from workbench.report.finding import FAULT, WARNING
from workbench.sets import planted
from workbench.sets.embeddings import EmbeddingSet

CANDIDATES = 4  # distances that are looked at, those that most rows agree on
RATHER = 0.65  # of the rows of a stretch, that must prefer the suspected match to their own
STRETCH = 0.03  # of the rows
REVERSED = 0.1  # of the rows
LOST = 0.2  # share of the rows that do not find their own
NEARBY = 16  # rows
SYMPTOMS = (
    *("wrong_pairs", "shifted_pairs", "no_pairing_signal", "hubs", "two_encoders", "class_collapse"),
    "one_sided_column",
)


@dataclass(frozen=True)
class Ordered:
    """Two modalities of the whole set: `row` (n,), items with both, and `to` (n,), the items whose keys are nearest."""

    es: EmbeddingSet
    a: str
    b: str
    row: np.ndarray
    to: np.ndarray

    @property
    def lost(self) -> np.ndarray:
        """Whether another item's key is nearer than the row's own."""
        return self.to != self.row

    def prefers(self, rows: np.ndarray, matches: np.ndarray) -> np.ndarray:
        """By how much rows of `a` are nearer to these items' rows of `b` than to their own, as far as all do not."""
        asked = ((self.a, rows), (self.b, matches), (self.b, rows))
        x, y, z = (first_rows(self.es, m, torch.from_numpy(i)) for m, i in asked)
        return ((x - x.mean(0)) * (y - z)).sum(1).numpy()

    def usual(self, rows: np.ndarray, matches: np.ndarray) -> float:
        """How many rows prefer one of these matches by lot: more than half, where own pairs point away."""
        dealt = np.random.default_rng(0).permutation(matches)
        return min(max(float((self.prefers(rows, dealt) > 0).mean()) + 0.05, 0.5), 0.99)

    def known(self, items: np.ndarray) -> np.ndarray:
        """Which of these places hold items that have both."""
        at = np.searchsorted(self.row, items).clip(0, len(self.row) - 1)
        return self.row[at] == items


def ordered(specimen: Specimen) -> Iterator[Ordered]:
    """The pairs of modalities of which it is known whose key is nearest to whom."""
    es = specimen.all
    for a, b in pairs(specimen):
        if ("taken_by", (a, b)) not in specimen.report.arrays:
            continue
        curve = specimen.report.arrays["taken_by", (a, b)]
        row, first = np.unique(curve["item"], return_index=True)
        has = (es.layout.has[a] & es.layout.has[b]).numpy()
        row, to = row[has[row]], curve["nearest"][first][has[row]]
        if len(row) >= LEAST_ITEMS and len(row) == has.sum():  # of a sample no order is left
            yield Ordered(es, a, b, row, to)


SHIFTED_SHARE = 0.1  # of mutual neighbours at one distance in the table
SHIFTED_CHANCE = 1e-6  # that so many stand at any one distance by luck
STRETCHES = 10  # of the table, of as many rows each
TRACE = 0.08  # share of a modality's variance between them, while the other has less than a fifth of that


@set_rule(
    "order_trace",
    WARNING,
    explains=("one_sided_column",),
    fault=Fault(
        "{} lengths of drift from the first row to the last",
        lambda es, strength: planted.drifted(es, es.modalities[1], strength),
        (0.7, 1.5, 3.0),
    ),
)
def order_trace(specimen: Specimen) -> Iterable[Said]:
    """A modality that follows the order of the table while the other does not: a drift, or a mean taken off some of the
    rows. Quiet where both follow it, as in a table that is sorted by what it is about."""
    for a, b in pairs(specimen):
        items = specimen.items(a, b)
        if len(items) < 2 * LEAST_ITEMS:
            continue
        stretch = torch.arange(len(items)) * STRETCHES // len(items)
        share = {m: between(specimen.unit(m, items), stretch) for m in (a, b)}
        more, less = sorted(share, key=lambda m: -share[m])
        if share[more] < TRACE or share[less] > share[more] / 5:
            continue
        x = specimen.unit(more, items)
        halves = [
            float(between(x[h], stretch[h] - int(stretch[h].min())))
            for h in (slice(0, len(x) // 2), slice(len(x) // 2, None))
        ]
        how = "it jumps from the first half to the second" if max(halves) < share[more] / 8 else "it drifts, or jumps"
        yield (
            f"{more} depends on the row order and {less} does not: ten blocks of rows explain {share[more]:.0%} of the "
            f"variance of {more}, {share[less]:.0%} of that of {less}; {how}.",
            [evidence("variance between stretches of rows", (more,), share[more], TRACE)],
            f"look for a change while {more} was embedded (version, centring or scaling of a part of the table, "
            "the row's position in the input); where the table is sorted by content, look for what removed the "
            f"order from {less} (such as normalisation per batch)",
        )


def _agreed(values: np.ndarray) -> list[tuple[int, int]]:
    """The values that most rows agree on, and how many do."""
    found, counts = np.unique(values, return_counts=True)
    best = np.argsort(-counts, kind="stable")[:CANDIDATES]
    return [(int(found[i]), int(counts[i])) for i in best]


@dataclass(frozen=True)
class Stretch:
    """The rows `start` … `stop`, of which `won` prefer a suspected match, and the share of the `others` that do."""

    start: int
    stop: int
    won: int
    others: float

    @property
    def span(self) -> int:
        """How many rows it has."""
        return self.stop - self.start


def _stretch(o: Ordered, rows: np.ndarray, matches: np.ndarray) -> Stretch | None:
    """The stretch in which most rows prefer the suspected match to their own, by the largest sum of +1 and −1; nothing
    unless far more do than luck gives any stretch, and than prefer one of these matches by lot."""
    rather = o.prefers(rows, matches) > 0
    total = np.r_[0, np.cumsum(np.where(rather, 1, -1))]
    least = np.minimum.accumulate(total)
    stop = int((total - least).argmax())
    start = int(np.flatnonzero(total[: stop + 1] == least[stop])[0])
    won, span, usual = int(rather[start:stop].sum()), stop - start, o.usual(rows, matches)
    if len(rows) ** 2 * float(bdtrc(won - 1, span, usual)) > LUCK or won < (RATHER - 0.5 + usual) * span:
        return None
    rest = np.r_[rather[:start], rather[stop:]]
    return Stretch(start, stop, won, float(rest.mean()) if len(rest) else 0.0)


@set_rule(
    "shifted_pairs",
    FAULT,
    fault=Fault(
        "moved by {} rows",
        lambda es, offset: planted.shuffled(es, es.modalities[0], offset=offset),
        (1, 7, 40),
    ),
    explains=("no_pairing_signal", "wrong_pairs", "hubs", "class_collapse", "one_sided_column"),
)
def shifted_pairs(specimen: Specimen) -> Iterable[Said]:
    """Mutual neighbours stand a fixed number of rows apart: the tables were joined with an offset. Quiet unless more of
    them, variants of one family left out, do so than any offset could gather by luck."""
    report, family = specimen.report, specimen.all.families
    items = report.about["items"]
    done = set()
    for name, scope in report.arrays:
        if name != "taken_by" or scope[::-1] in done or (name, scope[::-1]) not in report.arrays:
            continue
        a, b = scope
        done.add((a, b))
        there, back = report.arrays[name, (a, b)], report.arrays[name, (b, a)]
        to = dict(zip(back["item"].tolist(), back["nearest"].tolist(), strict=True))
        pairs = [
            (i, j) for i, j in zip(there["item"].tolist(), there["nearest"].tolist(), strict=True) if to.get(j) == i
        ]
        counts = Counter((j - i) % items for i, j in pairs if family[i] != family[j])
        if not counts:
            continue
        offset, count = counts.most_common(1)[0]
        chance = items * float(bdtrc(count - 1, len(pairs), 1 / items))
        own = sum(i == j for i, j in pairs)
        if count < max(SHIFTED_SHARE * len(pairs), own) or chance > SHIFTED_CHANCE:
            continue
        offset = offset if offset <= items / 2 else offset - items
        yield (
            f"{a} and {b} are paired with an offset: for {count:,} of {len(pairs):,} mutual nearest neighbours {a} i "
            f"matches {b} i{offset:+d}.",
            [{"diagnostic": "taken_by", "modalities": [a, b], "value": count / len(pairs), "threshold": SHIFTED_SHARE}],
            f"move the rows of {b} {abs(offset):,} {'up' if offset > 0 else 'down'} (the last go round to the other "
            "end), and look for a dropped or doubled row, or a roll",
        )


@set_rule(
    "moved_rows",
    FAULT,
    explains=(*SYMPTOMS, "shuffled_nearby"),
    fault=Fault(
        "the last {:.0%} of rows one row late",
        lambda es, share: planted.moved_from(es, es.modalities[1], 1 - share),
        (0.2, 0.4, 0.7),
    ),
)
def moved_rows(specimen: Specimen) -> Iterable[Said]:
    """From some row on the rows of one modality stand a fixed number of rows late. Quiet unless a long stretch of rows
    prefers the row at that distance to its own, far more than luck gives any stretch, and the others do not."""
    for o in ordered(specimen):
        for step, count in _agreed((o.to - o.row)[o.lost]):
            there = o.known(o.row + step)
            rows = o.row[there]
            if count < 4 or not len(rows):
                continue
            found, n = _stretch(o, rows, rows + step), len(rows)
            if found is None or not STRETCH * n <= found.span <= 0.95 * n or found.others > 0.5:
                continue
            first, last = int(rows[found.start]), int(rows[found.stop - 1])
            yield (
                f"From row {first:,} to {last:,} pairs are offset: {o.a} i matches {o.b} i{step:+d} in "
                f"{found.won:,} of {found.span:,} rows; of the other rows {found.others:.0%} are so.",
                [evidence("rows moved", (o.a, o.b), found.span / n, STRETCH, first=first, last=last, offset=step)],
                f"look for a dropped or doubled row at row {first:,}; move rows {first + step:,} to "
                f"{last + step:,} of {o.b} {'up' if step > 0 else 'down'} by {abs(step):,}, to {first:,} to {last:,}",
            )
            break


@set_rule(
    "reversed_rows",
    FAULT,
    explains=(*SYMPTOMS, "shuffled_nearby", "moved_rows"),
    fault=Fault(
        "the first {:.0%} of rows in reverse order",
        lambda es, share: planted.reversed_rows(es, es.modalities[1], share),
        (0.3, 0.6, 1.0),
    ),
)
def reversed_rows(specimen: Specimen) -> Iterable[Said]:
    """One modality runs against the other: each row's match is as far from the end as the row is from the start. Quiet
    unless a long stretch of rows prefers that match to its own, far more than luck gives any stretch."""
    for o in ordered(specimen):
        for centre, count in _agreed((o.row + o.to)[o.lost]):
            rows = o.row[o.known(centre - o.row) & (2 * o.row != centre)]
            if count < 4 or not len(rows):
                continue
            found = _stretch(o, rows, centre - rows)
            if found is None or found.span < REVERSED * len(o.row):
                continue
            yield (
                f"{o.b} runs in reverse order against {o.a} from row {rows[found.start]:,} to "
                f"{rows[found.stop - 1]:,}: {found.won:,} of {found.span:,} rows i are nearer to row "
                f"{centre:,} − i than to their own.",
                [evidence("rows reversed", (o.a, o.b), found.span / len(o.row), REVERSED, centre=centre)],
                f"reverse these rows of {o.b}; look for a descending sort",
            )
            break


@set_rule(
    "shuffled_nearby",
    FAULT,
    explains=SYMPTOMS,
    fault=Fault(
        "shuffled in blocks of {}",
        lambda es, size: planted.shuffled_in_blocks(es, es.modalities[1], size),
        (16, 8, 4),
    ),
)
def shuffled_nearby(specimen: Specimen) -> Iterable[Said]:
    """Matches stand a few rows from where they belong, as after a batch that came back in another order. Quiet unless
    most rows that lost their own find one of another family close by, and it stands out there: where rows near each
    other are merely alike none does."""
    for o in ordered(specimen):
        n, off, family = len(o.row), o.to - o.row, o.es.families
        apart = family[o.to] != family[o.row]
        free = ~np.isin(o.to, o.row[~o.lost])  # a key that its own row finds too has been copied, and not moved
        near = o.lost & apart & free & (np.abs(off) <= NEARBY)
        if n < 8 * NEARBY or o.lost.sum() < LOST * n or near.sum() < 0.4 * o.lost.sum():
            continue
        chance = float(bdtrc(int(near.sum()) - 1, int(o.lost.sum()), 2 * NEARBY / n))
        fixed = np.unique(off[near], return_counts=True)[1].max() / near.sum()
        if chance > LUCK or fixed > 0.5 or not _stands_out(o, near):
            continue
        yield (
            f"{o.a} and {o.b} are shuffled among near rows: {int(near.sum()):,} of {int(o.lost.sum()):,} rows that do "
            f"not find their own find one at most {NEARBY} rows away.",
            [evidence("matches nearby", (o.a, o.b), near.mean(), LOST)],
            "look for what returns rows of a batch in another order (workers, a sort by length) and keep the index "
            "with the row",
        )


def _around(o: Ordered, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of rows with the keys around their place, (k, 2·NEARBY + 1), NaN where none is, and their items."""
    items = rows[:, None] + np.arange(-NEARBY, NEARBY + 1)
    inside = o.known(items)
    x, y = (first_rows(o.es, m, torch.from_numpy(i)) for m, i in ((o.a, rows), (o.b, items[inside])))
    of = torch.from_numpy(inside.nonzero()[0])
    s = np.full(items.shape, np.nan)
    s[inside] = (x[of] * y).sum(1).numpy()
    return s, items


def _stands_out(o: Ordered, near: np.ndarray) -> bool:
    """Whether the key that is found stands out from those around it: else the place alone makes them alike."""
    rows, best = o.row[near][:200], o.to[near][:200]
    s, items = _around(o, rows)
    found = items == best[:, None]
    others = np.where(found, np.nan, s)
    out = (s[found] - np.nanmean(others, 1)) / np.maximum(np.nanstd(others, 1), 1e-12)
    return float(np.median(out)) > 2.8
