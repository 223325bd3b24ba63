"""Planted sets: embeddings whose true values are known, and faults to put into them. For our tests and for yours.

>>> import workbench as wb
>>> es = planted(items=100, gap=0.5)
>>> round(float(wb.diagnose(es, only=["modality_gap"]).value("modality_gap", "image", "text")), 6)
0.5
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from workbench.errors import InputError
from workbench.sets.changed import changed, drawn
from workbench.sets.embeddings import EmbeddingSet

unit = torch.nn.functional.normalize


def planted(
    items: int = 400,
    dimensions: int = 32,
    modalities: Sequence[str] = ("image", "text"),
    *,
    cosine: float = 0.8,
    gap: float = 0.0,
    families: int = 1,
    seed: int = 0,
) -> EmbeddingSet:
    r"""A healthy set with exact centroids: unit rows in antipodal pairs, each modality on an axis of its own.

    The first modality is the signal, every other one has cosine $\rho$ with it before the gap. With $c = g/\sqrt2$, the
    true values are `modality_gap` g, `resultant_length` c, and against the first modality `matched_cosine`
    $(1-c^2)\rho$ and `alignment` $2 - 2(1-c^2)\rho$; `gap` may be up to √2. Items come in families of `families`.

    >>> len(planted(10)), planted(10).modalities
    (10, ('image', 'text'))
    """
    c = gap / math.sqrt(2)
    if not 0 <= c <= 1 or items < 4 or items % 2 or not -1 <= cosine <= 1:
        raise InputError("planted needs an even number of items, at least 4, a gap in 0 … √2, and a cosine in −1 … 1")
    half, axes = items // 2, len(modalities)
    signal = unit(drawn(seed, half, dimensions), dim=1)
    vectors = {}
    for k, m in enumerate(modalities):
        z = signal
        if k:
            w = drawn(seed + 1_000 * k, half, dimensions)
            w = unit(w - (w * signal).sum(1, keepdim=True) * signal, dim=1)
            z = cosine * signal + math.sqrt(1 - cosine**2) * w
        place = torch.zeros(items, axes, dtype=torch.float64)
        place[:, k] = c
        vectors[m] = torch.cat([math.sqrt(1 - c * c) * torch.cat([z, -z]), place], 1)
    frame = pd.DataFrame({"id": [f"i{i}" for i in range(items)]})
    if families > 1:
        frame["family"] = [f"f{i // families}" for i in range(items)]
    order = np.random.default_rng(seed).permutation(items)
    return EmbeddingSet({m: x[order] for m, x in vectors.items()}, frame, source=f"planted(seed={seed})")


def collapsed(es: EmbeddingSet, modality: str, strength: float) -> EmbeddingSet:
    """A modality pulled to one direction while its rows lose what they tell: 0 changes nothing, 1 makes them one."""
    x = es.unit(modality)
    x = unit(x + 4 * strength**2 * unit(drawn(8, *x.shape), dim=1), dim=1)
    to = unit(drawn(7, 1, x.shape[1]), dim=1)
    return changed(es, {modality: unit((1 - strength) * x + strength * to, dim=1)})


def flattened(es: EmbeddingSet, modality: str, directions: int) -> EmbeddingSet:
    """A modality left with few directions to vary in."""
    x = es.unit(modality)
    mean = x.mean(0)
    _, _, v = torch.linalg.svd(x - mean, full_matrices=False)
    return changed(es, {modality: (x - mean) @ v[:directions].T @ v[:directions] + mean + 1e-9})


def shuffled(es: EmbeddingSet, modality: str, share: float = 1.0, *, offset: int = 0, seed: int = 0) -> EmbeddingSet:
    """Wrong pairs: a share of a modality's rows shuffled, or all rows moved by `offset` places."""
    x, n = es[modality], len(es[modality])
    order = np.arange(n)
    if offset:
        order = np.roll(order, offset)
    else:
        rng = np.random.default_rng(seed)
        some = rng.permutation(n)[: round(share * n)]
        order[np.sort(some)] = some
    return changed(es, {modality: x[torch.from_numpy(order)]})


def with_hubs(es: EmbeddingSet, modality: str, count: int, strength: float) -> EmbeddingSet:
    """Hubs among the rows of a modality: all queries of the others are pulled towards its first `count` rows."""
    to = unit(es.unit(modality)[:count].sum(0), dim=0)
    others = [m for m in es.modalities if m != modality]
    return changed(es, {m: unit((1 - strength) * es.unit(m) + strength * to, dim=1) for m in others})


def duplicated(es: EmbeddingSet, modality: str, share: float) -> EmbeddingSet:
    """A share of a modality's rows replaced by copies of their neighbours in the table."""
    x = es[modality].clone()
    copies = torch.arange(1, max(2, round(share * len(x))), 2)
    x[copies] = x[copies - 1]
    return changed(es, {modality: x})


def flat(es: EmbeddingSet, noise: float, *, seed: int = 0) -> EmbeddingSet:
    """Tuples that agree by their volume alone: beside the first modality a random direction, and the sum of the two.

    The anchor lies in the plane of the others, but for noise of this length; its pair with `aside` is at chance.
    """
    m = es.modalities[0]
    x = es.unit(m)
    aside = unit(drawn(seed, *x.shape), dim=1)
    third = unit(x + 2 * aside + noise * unit(drawn(seed + 1, *x.shape), dim=1), dim=1)
    rows = {} if es.aligned(m) else dict.fromkeys((m, "aside", "sum"), es.item_of_row(m))
    return EmbeddingSet({m: x, "aside": aside, "sum": third}, es.items, rows=rows, source=es.source)


def missing(es: EmbeddingSet, modality: str, share: float, *, seed: int = 0) -> EmbeddingSet:
    """A modality that a share of the items lacks."""
    n = len(es)
    keep = np.sort(np.random.default_rng(seed).permutation(n)[round(share * n) :])
    return changed(es, {modality: es[modality][torch.from_numpy(keep)]}, {modality: keep})


def several(es: EmbeddingSet, modality: str, rows: int, *, noise: float = 0.2, seed: int = 0) -> EmbeddingSet:
    """Several rows an item, as captions are: each the item's vector with noise of its own."""
    x = es.unit(modality).repeat_interleave(rows, 0)
    x = unit(x + noise * drawn(seed, *x.shape) / math.sqrt(x.shape[1]), dim=1)
    return changed(es, {modality: x}, {modality: np.arange(len(es)).repeat(rows)})


ROLES = {"safe": ["ok"], "unsafe": ["bad"], "jailbreak": ["adversarial"]}


def layered(
    items: int = 90, dimensions: int = 16, layers: int = 4, *, separation: float = 6.0, seed: int = 0
) -> EmbeddingSet:
    """Hidden states with roles (see `ROLES`): from layer to layer safe moves away, and the other two come together.

    In the last layer safe is `separation` noise units from the others, and unsafe and jailbreak are at one place.
    """
    role = np.array(["ok", "bad", "adversarial"])[np.arange(items) % 3]
    place = {"ok": (-1.0, 0.0), "bad": (1.0, 1.0), "adversarial": (1.0, -1.0)}
    x = drawn(seed, items, layers, dimensions)
    for k in range(layers):
        away, apart = k / max(layers - 1, 1), 1 - k / max(layers - 1, 1)
        for i, r in enumerate(role):
            x[i, k, 0] += separation / 2 * away * place[r][0]
            x[i, k, 1] += separation / 2 * apart * place[r][1]
    return EmbeddingSet({"hidden": x}, pd.DataFrame({"role": role}), source=f"layered(seed={seed})")


# -- faults of whole tables --------------------------------------------------------------------------------------------


def _moved(es: EmbeddingSet, modality: str, order: np.ndarray) -> EmbeddingSet:
    return changed(es, {modality: es[modality][torch.from_numpy(np.ascontiguousarray(order))]})


def moved_from(es: EmbeddingSet, modality: str, start: float, offset: int = 1) -> EmbeddingSet:
    """A modality whose rows from a share `start` of the table on stand `offset` places late, as after a dropped row."""
    n = len(es[modality])
    first = round(start * n)
    return _moved(es, modality, np.r_[np.arange(first), first + np.roll(np.arange(n - first), offset)])


def shuffled_in_blocks(es: EmbeddingSet, modality: str, size: int, *, seed: int = 0) -> EmbeddingSet:
    """A modality whose rows are shuffled within blocks of so many."""
    place = np.arange(len(es[modality]))
    return _moved(es, modality, np.lexsort((np.random.default_rng(seed).random(len(place)), place // size)))


def reversed_rows(es: EmbeddingSet, modality: str, share: float = 1.0) -> EmbeddingSet:
    """A modality of which the first share of rows runs in reverse order."""
    order = np.arange(len(es[modality]))
    last = round(share * len(order))
    order[:last] = order[:last][::-1]
    return _moved(es, modality, order)


def apart(es: EmbeddingSet, gap: float) -> EmbeddingSet:
    """The first two modalities moved apart along a random direction, until their centroids are about `gap` apart."""
    a, b = es.modalities[:2]
    to = unit(drawn(17, 1, es[a].shape[1]), dim=1)
    strength = gap / math.sqrt(max(4 - gap**2, 1e-9))
    return changed(es, {m: unit(es.unit(m) + s * strength * to, dim=1) for m, s in ((a, 1), (b, -1))})


def drifted(es: EmbeddingSet, modality: str, strength: float, *, seed: int = 0) -> EmbeddingSet:
    """A modality whose rows move along one direction, by so many lengths from the first to the last."""
    x = es.unit(modality)
    along = torch.linspace(-0.5, 0.5, len(x))[:, None] * strength
    return changed(es, {modality: x + along * unit(drawn(seed + 4, 1, x.shape[1]), dim=1)})


def swapped(es: EmbeddingSet, share: float, *, seed: int = 0) -> EmbeddingSet:
    """The vectors of the first two modalities in each other's place, for a share of the items."""
    a, b = es.modalities[:2]
    some = torch.from_numpy(np.random.default_rng(seed).random(len(es[a])) < share)[:, None]
    x, y = es.unit(a), es.unit(b)
    return changed(es, {a: torch.where(some, y, x), b: torch.where(some, x, y)})


def from_another_encoder(es: EmbeddingSet, modality: str, share: float, *, seed: int = 0) -> EmbeddingSet:
    """A modality of which the last share of rows was embedded by another encoder: the same space, rotated."""
    x = es.unit(modality).clone()
    turn = torch.linalg.qr(drawn(seed + 5, x.shape[1], x.shape[1])).Q
    first = round((1 - share) * len(x))
    x[first:] = x[first:] @ turn
    return changed(es, {modality: x})


def copied(es: EmbeddingSet, source: str, modality: str, share: float = 1.0, *, seed: int = 0) -> EmbeddingSet:
    """A modality of which a share of rows are those of another."""
    some = torch.from_numpy(np.random.default_rng(seed).random(len(es[modality])) < share)[:, None]
    return changed(es, {modality: torch.where(some, es.unit(source), es.unit(modality))})


# -- faults of vectors -------------------------------------------------------------------------------------------------


def with_rogue(es: EmbeddingSet, strength: float, coordinate: int = 3) -> EmbeddingSet:
    """Rogue dimensions: one coordinate of each modality moved by so many lengths of a row."""
    moved = {m: es.unit(m).clone() for m in es.modalities}
    for x in moved.values():
        x[:, coordinate] += strength
    return changed(es, moved)


def cut_off(es: EmbeddingSet, modality: str, share: float) -> EmbeddingSet:
    """A modality whose last share of coordinates is zero."""
    x = es[modality].clone()
    x[:, round((1 - share) * x.shape[1]) :] = 0
    x[:, 0] += 1e-9  # a row of zeros is refused on entry
    return changed(es, {modality: x})


def stretched(es: EmbeddingSet, modality: str, strength: float, *, seed: int = 0) -> EmbeddingSet:
    """A modality with so many times as much variance along one direction as along all others together."""
    x = es.unit(modality)
    mean = x.mean(0)
    spread = float((x - mean).square().sum(1).mean())
    along = drawn(seed + 9, len(x), 1) * math.sqrt(strength * spread)
    return changed(es, {modality: x + along * unit(drawn(seed + 10, 1, x.shape[1]), dim=1)})


def quantised(es: EmbeddingSet, modality: str, levels: int) -> EmbeddingSet:
    """A modality whose coordinates take so many values, evenly spaced over 2.5 deviations to both sides."""
    x = es.unit(modality)
    step = 2 * 2.5 * float(x.std()) / (levels - 1)
    low = float(x.mean()) - 2.5 * float(x.std())
    return changed(es, {modality: ((x - low) / step).round().clamp(0, levels - 1) * step + low})


def of_many_lengths(es: EmbeddingSet, modality: str, deviation: float, *, seed: int = 0) -> EmbeddingSet:
    """A modality whose rows have lengths spread by this deviation of their logarithm."""
    return changed(es, {modality: es.unit(modality) * (deviation * drawn(seed, len(es[modality]), 1)).exp()})


def fallen_back(es: EmbeddingSet, modality: str, share: float, *, seed: int = 0) -> EmbeddingSet:
    """A share of a modality's rows replaced by one vector, as of failed encodings."""
    x = es[modality].clone()
    some = np.random.default_rng(seed).random(len(x)) < share
    x[torch.from_numpy(some)] = x[0].clone()
    return changed(es, {modality: x})


def flipped(es: EmbeddingSet, modality: str, share: float, *, seed: int = 0) -> EmbeddingSet:
    """A share of the rows of a modality with their sign flipped."""
    x = es[modality].clone()
    x[torch.from_numpy(np.random.default_rng(seed).random(len(x)) < share)] *= -1
    return changed(es, {modality: x})


def of_odd_lengths(es: EmbeddingSet, modality: str, share: float, times: float, *, seed: int = 0) -> EmbeddingSet:
    """A share of the rows of a modality so many times as long, and with nothing but noise in them."""
    x = es[modality].clone()
    some = torch.from_numpy(np.random.default_rng(seed).random(len(x)) < share)
    noise = unit(drawn(seed + 1, *x.shape), dim=1) * times * x.norm(dim=1).median()
    return changed(es, {modality: torch.where(some[:, None], noise.to(x), x)})


def gathered(es: EmbeddingSet, modality: str, share: float, points: int, *, seed: int = 0) -> EmbeddingSet:
    """A share of the rows of a modality within a little of so many points, as of texts that were cut off."""
    rng = np.random.default_rng(seed)
    x = es.unit(modality).clone()
    some = np.flatnonzero(rng.random(len(x)) < share)
    to = torch.from_numpy(rng.choice(len(x), points, replace=False)[rng.integers(points, size=len(some))])
    x[torch.from_numpy(some)] = unit(x[to] + 0.05 * unit(drawn(seed + 2, len(some), x.shape[1]), dim=1), dim=1)
    return changed(es, {modality: x})
