"""Rules over the vectors of a modality: rogue, dead and few dimensions, coarse values, lengths, one fallback vector."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from workbench.geometry import main_axis
from workbench.report.doctor.rules import Fault, Said, evidence, set_rule
from workbench.report.doctor.specimen import Specimen, twin
from workbench.report.finding import FAULT, WARNING
from workbench.sets import planted

LEAST_ROWS = 40
LEAST_WIDTH = 8
CONE = 0.6  # mean cosine above which the cone is narrow …
ROGUE = 0.5  # … and the share of it that three coordinates may hold
DEAD = 0.25  # share of coordinates that never vary
FLAT = 1e-10  # of the variance of a coordinate, against the mean one: it does not vary
BY_LUCK = 1.25  # times what the three largest of so many Gaussian coordinates carry
THIN = 0.25  # share of the dimensions that hold all variance but a millionth
FEWEST = 5  # fewer are a collapse of rank, which has a rule of its own
ONE_WAY = 0.7  # share of the variance along one direction
LEVELS = 9  # values a coordinate: hardly more than three bits
LENGTHS = 0.7  # deviation of the logarithm of the lengths: the tenth and the ninetieth percentile are six-fold apart
STANDS_OUT = 5.0  # times as long, or as short, as the middle row, and six deviations of the others beyond it
FEW = 3  # rows
MOST = 0.2  # of the rows: of more it is the spread of all
SAME = 1 - 5e-10  # cosine of two rows that are one: duplicates, of which another rule speaks
CROWD = 4  # twins of other families: the row stands at a point with them
CLASS = 10  # rows a point, where all modalities have such points: fewer are variants of one thing
GATHERED = 0.05  # share of the rows at such points
PROMPTS = 0.9  # share of the rows of one modality that do where each stands for a class, and is meant to
FALLBACK = 0.01  # share of rows that are one and the same vector


def modalities(specimen: Specimen) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The modalities with enough rows to judge, the items that have them, and the first raw row of each, float64."""
    for m in specimen.es.modalities:
        items = specimen.items(m)
        if len(items) >= LEAST_ROWS and specimen.es.layout.widths[m] >= LEAST_WIDTH:
            yield m, items, specimen.raw(m)


@set_rule(
    "rogue_dimensions",
    WARNING,
    explains=("collapse", "hubs", "one_direction"),
    fault=Fault("one coordinate moved by {} lengths", planted.with_rogue, (1.5, 3.0, 6.0)),
)
def rogue_dimensions(specimen: Specimen) -> Iterable[Said]:
    """One to three coordinates carry the mean cosine (Timkey & van Schijndel 2021). Quiet where the cone is wide."""
    for m, items, _ in modalities(specimen):
        squares = specimen.unit(m, items).mean(0).square()
        total = float(squares.sum())
        top = squares.sort(descending=True)
        share = float(top.values[:3].sum()) / max(total, 1e-300)
        wide = len(squares)
        if total < CONE or share < max(ROGUE, BY_LUCK * 6 * math.log(wide) / wide):
            continue
        count = int((top.values[:3] > 0.1 * total).sum())
        names = ", ".join(str(int(i)) for i in top.indices[:count])
        yield (
            f"Coordinate{'s' * (count > 1)} {names} of {m} make{'s' * (count == 1)} up "
            f"{float(top.values[:count].sum()) / total:.0%} of the mean cosine of {total:.2f}: all vectors point along "
            "there, and the differences of items are small beside it.",
            [evidence("share of the mean cosine", (m,), share, ROGUE, coordinates=top.indices[:count].tolist())],
            "centre the modality, or standardise its coordinates, before cosines are taken (intervene centre)",
        )


@set_rule(
    "dead_dimensions",
    WARNING,
    fault=Fault(
        "the last {:.0%} of coordinates zero", lambda es, s: planted.cut_off(es, es.modalities[1], s), (0.3, 0.5, 0.7)
    ),
)
def dead_dimensions(specimen: Specimen) -> Iterable[Said]:
    """Coordinates that never vary. Quiet below a quarter of them."""
    for m, _, x in modalities(specimen):
        variance = x.var(0)
        dead = variance <= FLAT * variance.mean()
        share = float(dead.double().mean())
        if share < DEAD or float(variance.mean()) == 0:
            continue
        at = dead.nonzero()[:, 0]
        where = "the last ones" if int(at[0]) == len(dead) - len(at) else f"from number {int(at[0])} on"
        yield (
            f"{len(at)} of {len(dead)} coordinates of {m} never vary ({where}): likely padding, a cut-off write or "
            "dead units.",
            [evidence("share of dead coordinates", (m,), share, DEAD)],
            "look for a buffer that is too wide, a truncated write, or units that never fire",
        )


@set_rule(
    "few_directions",
    WARNING,
    explains=("wrong_pairs", "gathered_rows"),
    fault=Fault("{} directions left", lambda es, k: planted.flattened(es, es.modalities[0], k), (7, 6, 5)),
)
def few_directions(specimen: Specimen) -> Iterable[Said]:
    """All variance but a millionth lies in a quarter of the dimensions at most. Quiet where rows are too few to fill
    them, and for coordinates that are dead, which have a rule of their own."""
    for m, _, x in modalities(specimen):
        variance = x.var(0)
        x = x[:, variance > FLAT * variance.mean()]
        if x.shape[1] < LEAST_WIDTH or len(x) < 2 * x.shape[1]:
            continue
        eigen = torch.linalg.eigvalsh(torch.cov(x.T)).flip(0).clamp_min(0)
        left = 1 - eigen.cumsum(0) / eigen.sum()
        count = int((left > 1e-6).sum()) + 1
        if not FEWEST <= count <= THIN * x.shape[1]:
            continue
        yield (
            f"{m} has rank {count} of {x.shape[1]} dimensions (all but a millionth of its variance): an earlier layer "
            "is that narrow, or has collapsed.",
            [evidence("directions", (m,), count, THIN * x.shape[1])],
            "look for a bottleneck, a low-rank adapter, or a reduction that was written back at full width",
        )


@set_rule(
    "one_direction",
    WARNING,
    explains=("gathered_rows",),
    fault=Fault(
        "{} times the variance along one direction",
        lambda es, s: planted.stretched(es, es.modalities[0], s),
        (2.0, 4.0, 10.0),
    ),
)
def one_direction(specimen: Specimen) -> Iterable[Said]:
    """One direction holds most of a modality's variance. Quiet below 70 %, and where two clusters make it."""
    for m, _, x in modalities(specimen):
        x = x - x.mean(0)
        axis = main_axis(x)
        t = x @ axis
        share = float(t.square().sum() / x.square().sum().clamp_min(1e-300))
        # two clusters: the kurtosis of a coordinate falls towards 1, that of a normal one is 3
        kurtosis = float(t.pow(4).mean() / t.square().mean().square().clamp_min(1e-300))
        if share < ONE_WAY or kurtosis < 1.4:
            continue
        alone = int(axis.abs().argmax())
        along = f"coordinate, number {alone}" if float(axis[alone].square()) > 0.8 else "direction"
        yield (
            f"{share:.0%} of the variance of {m} lies along one {along}: items differ in one number, and cosines "
            "rank by it.",
            [evidence("share of variance", (m,), share, ONE_WAY)],
            "find what it correlates with (length, brightness, source), then remove that component (intervene "
            "remove_components)",
        )


@set_rule(
    "coarse_values",
    WARNING,
    explains=("fallback_vector", "spread_lengths", "odd_lengths", "duplicates", "gathered_rows"),
    fault=Fault("{} values a coordinate", lambda es, k: planted.quantised(es, es.modalities[0], k), (8, 7, 3)),
)
def coarse_values(specimen: Specimen) -> Iterable[Said]:
    """Coordinates that take nine values or fewer, as stored, or over each row once its length is taken off. Quiet
    for few rows, for dead coordinates, and for counts of few things."""
    for m, _, x in modalities(specimen):
        live = x[:, x.var(0) > 0]
        if live.shape[1] < LEAST_WIDTH or bool((live.abs() == 1).all()):  # bits, which are meant to be
            continue
        some = live[:400, :400]
        down = [len(np.unique(c)) for c in some.T.numpy()]
        across = [len(np.unique(np.round(r / np.abs(r).max(), 9))) for r in some.numpy()]
        levels = int(min(np.median(down), np.median(across)))
        if levels > min(LEVELS, some.shape[1] / 2, len(some) / 2):
            continue
        yield (
            f"The {m} coordinates take {levels} values each: they were quantised or rounded, and cosines tie where "
            "they should rank.",
            [evidence("values a coordinate", (m,), levels, LEVELS)],
            "keep the vectors in float16 or int8 at least; packed bits are read with --bits",
        )


@set_rule(
    "spread_lengths",
    WARNING,
    fault=Fault(
        "lengths spread by e^{}",
        lambda es, s: planted.of_many_lengths(es, es.modalities[0], s),
        (0.8, 1.2, 2.0),
    ),
)
def spread_lengths(specimen: Specimen) -> Iterable[Said]:
    """Lengths that differ six-fold and more. Quiet below that; a cosine does not see them, a dot product does."""
    for m, _, x in modalities(specimen):
        length = x.norm(dim=1)
        length = length[~odd(length)]
        deviation = float(length.log().std())
        if deviation < LENGTHS:
            continue
        low, high = length.quantile(torch.tensor([0.1, 0.9], dtype=torch.float64)).tolist()
        yield (
            f"The norms of {m} differ {high / low:,.0f}-fold ({low:.2g} at the 10th percentile, {high:.2g} at the "
            "90th). This report uses cosines; an index by dot product would rank differently.",
            [evidence("deviation of log length", (m,), deviation, LENGTHS)],
            "normalise rows before indexing, or find what sets the norm (number of tokens, brightness, a missing final "
            "norm)",
        )


def odd(length: Tensor) -> Tensor:
    """Which of these lengths stand out from the others by far, (n,) bool, where they are few."""
    log = length.clamp_min(1e-300).log()
    off = (log - log.median()).abs()
    usual = 1.4826 * float(off.median())
    out = off > max(math.log(STANDS_OUT), 6 * usual)
    return out if int(out.sum()) <= MOST * len(out) else torch.zeros_like(out)


@set_rule(
    "odd_lengths",
    WARNING,
    fault=Fault(
        "{:.0%} of rows a thousand times shorter",
        lambda es, share: planted.of_odd_lengths(es, es.modalities[1], share, 1e-3),
        (0.01, 0.03, 0.1),
    ),
)
def odd_lengths(specimen: Specimen) -> Iterable[Said]:
    """A few rows far longer or shorter than all others: what encoders give for an empty or a broken input. Quiet below
    three rows, below three-fold, and where lengths are spread."""
    for m, items, x in modalities(specimen):
        length = x.norm(dim=1)
        out = odd(length)
        if int(out.sum()) < FEW:
            continue
        usual, ids = float(length.median()), specimen.named(items[out])
        norm = length[out].median().item()
        yield (
            f"{int(out.sum())} of {len(items):,} {m} vectors have a norm of about {norm:.2g}, the others of "
            f"{usual:.2g}. A cosine hides it; it is typical of empty, blank or broken inputs. First: "
            f"{', '.join(ids[:5])}.",
            [evidence("rows of an odd length", (m,), int(out.sum()) / len(items), FEW / len(items), items=ids)],
            "look at the inputs of these items, and embed them again or leave them out",
        )


def crowds(specimen: Specimen, m: str, items: Tensor) -> Tensor:
    """The point at which each row stands with others of other families, (n,), numbered; -1 for those that do not."""
    family, s = specimen.family[items], specimen.cosines(m, m)
    near = s > twin(specimen.unit(m, items))
    crowded = (near & (s < SAME) & (family[:, None] != family)).sum(1) >= CROWD
    first = (near & crowded).to(torch.uint8).argmax(1)  # the first row near each, and of that, and of that
    for _ in range(8):
        first = torch.minimum(first, first[first])
    return torch.where(crowded, first, -1)


@set_rule(
    "gathered_rows",
    WARNING,
    explains=("wrong_pairs", "two_encoders", "dependent_items", "class_collapse", "duplicates", "collapsed_class"),
    fault=Fault(
        "{:.0%} of rows at five points",
        lambda es, share: planted.gathered(es, es.modalities[1], share, 5),
        (0.05, 0.15, 0.4),
    ),
)
def gathered_rows(specimen: Specimen) -> Iterable[Said]:
    """Many rows of different items that stand at a few points. Quiet where one modality's rows are those of a few
    prompts, nearly all of them, and where the modality has collapsed or varies in hardly any direction."""
    points = {m: (items, crowds(specimen, m, items)) for m, items, _ in modalities(specimen)}
    share = {m: float((at >= 0).double().mean()) for m, (_, at) in points.items()}
    for m, (items, at) in points.items():
        here = at[at >= 0]
        counts = torch.bincount(here)
        several = int((counts >= CROWD).sum())
        cone = float(specimen.unit(m, items).mean(0).square().sum())
        if share[m] < GATHERED or not 2 <= several <= len(here) / CROWD or cone > 0.99:
            continue
        others = [n for n in points if n != m and share[n] > share[m] / 2]
        if share[m] > PROMPTS and not others:
            continue
        if others and len(here) < CLASS * several:  # a few variants of each, in every modality
            continue
        ids = specimen.named(items[at == int(counts.argmax())])
        where = f" while their {' and '.join(n for n in points if n not in others and n != m)} rows differ" * (
            not others
        )
        also = f", and so do those of {' and '.join(others)}: what told the items apart is gone" * bool(others)
        yield (
            f"{share[m]:.0%} of the {m} rows nearly share one of {several} vectors{where}{also}. Retrieval cannot tell "
            f"such items apart: {', '.join(ids[:4])} share one.",
            [evidence("share of rows at a few points", (m,), share[m], GATHERED, points=several, items=ids)],
            "look at what the encoder is given for the items of one point: a prefix that all share, a text cut off at "
            "its limit, a template"
            if not others
            else "look for a loss that pulls a class to a point, or for the same input under many ids",
        )
        if others:
            return


@set_rule(
    "fallback_vector",
    FAULT,
    explains=("duplicates", "two_encoders", "wrong_pairs"),
    fault=Fault(
        "one vector for {:.0%} of rows",
        lambda es, share: planted.fallen_back(es, es.modalities[1], share),
        (0.02, 0.04, 0.2),
    ),
)
def fallback_vector(specimen: Specimen) -> Iterable[Said]:
    """One vector stands for many items of different families. Quiet where many vectors are shared, as prompts of
    classes are: those are duplicates; and below 1 % of the items, or four."""
    for m, items, _ in modalities(specimen):
        rounded = specimen.unit(m, items).mul(1e5).round().to(torch.int32).numpy()
        _, group, count = np.unique(rounded, axis=0, return_inverse=True, return_counts=True)
        group = group.reshape(-1)
        largest = int(count.argmax())
        mine = torch.from_numpy(np.flatnonzero(group == largest))
        families = len(torch.unique(specimen.family[items[mine]]))
        others = int(count[(count > 1)].sum() - count[largest])
        if families < max(4, FALLBACK * len(items)) or others > 0.25 * len(items) or families > 0.9 * len(items):
            continue
        ids = specimen.named(items[mine])
        yield (
            f"{len(mine):,} of {len(items):,} items have the identical {m} vector: probably failed encodings or empty "
            f"inputs. First: {', '.join(ids[:5])}.",
            [evidence("share of one vector", (m,), len(mine) / len(items), FALLBACK, items=ids)],
            "embed these items again, or leave them out; an empty text and a blank picture give such vectors too",
        )
