"""Suspects: which items are probably wrong, doubled, leaked or out of place, each with its rival and the reason."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import bdtr
from torch import Tensor

from workbench.disk import write_text
from workbench.errors import InputError, unknown
from workbench.lists.likeness import Likeness, blocks
from workbench.lists.said import Said
from workbench.sets import columns
from workbench.sets.constant import refuse_constant
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import as_set
from workbench.sets.run_folder import DUPLICATE, FALSE_NEGATIVE

LEAST = 40  # items that have both modalities
LOW = 0.25  # of the percentiles: a match hardly ever lies there
THINNER, Z = 1.9, 1.645  # times as dense in the middle, and how surely not; as the doctor has it
EVEN = (0.95, 0.9, 0.8)  # bins of the percentiles in which strangers may be alone
LEAST_LOW = 3  # pairs at the bottom
THIN = 0.1  # likelihood that strangers thin out so by luck
SURE = 0.5  # posterior from which a pair is probably wrong
SAME = 1 - 1e-6  # cosine of one vector
NEAR = 0.02  # of the usual squared distance: one thing seen twice
FAR = 6.0  # robust deviations of the log distance to the neighbours
NEIGHBOURS = 10
TYPICAL = 0.5  # of the pairs are less alike than two items that could answer for each other
ACTED = ("wrong pair", "duplicate", "leak")  # what leaving out mends
FIELDS = ("kind", "id", "other", "score", "modalities", "reason")


@dataclass(repr=False)
class Suspects(Said):
    """`frame`: kind, id, other (the rival, or the twin), score (highest first within a kind), modalities, reason.

    `about`: of each pair of modalities the share of wrong pairs that the scores stand on.
    """

    frame: pd.DataFrame
    about: dict[str, Any] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        return super()._repr_html_() + self.frame.head(20).to_html(
            index=False, escape=True, float_format="{:.3f}".format
        )

    @property
    def sentences(self) -> list[str]:
        """How many of each kind, in words."""
        if not len(self.frame):
            return ["No suspects: no pair is probably wrong, none is doubled, leaked or far from all others."]
        counts = self.frame.groupby("kind", sort=False)["id"].nunique()
        return [f"{n:,} {kind}{'' if n == 1 else 's'}: {MEANT[kind]}" for kind, n in counts.items()]

    @property
    def drop(self) -> list[str]:
        """Ids to leave out: of wrong pairs, of the later of two that are one thing, and of leaks their train side."""
        return list(dict.fromkeys(self.frame[self.frame["kind"].isin(ACTED)]["id"]))

    @property
    def pairs(self) -> pd.DataFrame:
        """Pairs that are no non-matches, as training reads them: id, other, verdict."""
        said = {FALSE_NEGATIVE: FALSE_NEGATIVE, DUPLICATE: DUPLICATE, "leak": DUPLICATE}
        some = self.frame[self.frame["kind"].isin(said)]
        return pd.DataFrame({"id": some["id"], "other": some["other"], "verdict": some["kind"].map(said)})

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write suspects.csv (all), drop.csv (ids for --drop) and pairs.csv (for training with pairs=)."""
        folder = Path(folder)
        if folder.is_file():
            raise InputError(f"{folder}: is a file; give the name of a folder")
        write_text(folder / "suspects.csv", self.frame.to_csv(index=False))
        write_text(folder / "drop.csv", pd.DataFrame({"id": self.drop}).to_csv(index=False))
        write_text(folder / "pairs.csv", self.pairs.to_csv(index=False))
        return folder


def suspects(data: Any, *, kinds: Sequence[str] = ()) -> Suspects:
    r"""Items to look at first: wrong pairs, duplicates, false negatives, leaks and outliers, each with its reason.

    wrong pair: the posterior $w/h(p)$ that a pair is a stranger, from where its likeness stands among strangers (p);
    $w$ is the share of strangers, $h$ the density of percentiles, which can only rise (Grenander 1956); listed from
    one half on. duplicate: two items of different families with one vector, or as near as a fiftieth of the usual
    squared distance, in every modality that both have. leak: the same across splits. false negative: two items of
    different families whose image and text are likelier partners, both ways, than half of the pairs are. outlier: a
    row whose neighbours are 6 robust deviations further than usual. Cost: all pairs, within and across.

    >>> import workbench as wb
    >>> es = wb.testing.shuffled(wb.testing.planted(items=400, cosine=0.9), "text", 0.1)
    >>> found = suspects(es, kinds=["wrong pair"])
    >>> 30 <= len(found.frame) <= 50
    True
    """
    known(kinds)
    es = as_set(data).layer()
    refuse_constant(es)
    if len(es) < LEAST:
        raise InputError(f"{es.source}: {len(es)} items, and suspects stand out among {LEAST} at least")
    wanted = kinds or list(MEANT)
    about: dict[str, Any] = {"items": len(es), "source": es.source, "wrong": {}}
    lines: list[dict[str, Any]] = []
    for finder in FINDERS:
        if set(finder.kinds) & set(wanted):
            lines += finder.find(es, about)
    same = {frozenset((x["id"], x["other"])) for x in lines if x["kind"] in ("duplicate", "leak")}
    lines = [x for x in lines if x["kind"] != FALSE_NEGATIVE or frozenset((x["id"], x["other"])) not in same]
    frame = pd.DataFrame([x for x in lines if x["kind"] in wanted], columns=list(FIELDS))
    order = {k: i for i, k in enumerate(MEANT)}
    by = frame["kind"].map(order).to_numpy(dtype=float) if len(frame) else np.zeros(0)
    ranked = np.lexsort((-frame["score"].to_numpy(dtype=float), by))
    return Suspects(frame.iloc[ranked].reset_index(drop=True), about)


def known(kinds: Sequence[str]) -> None:
    """Raise `InputError` for a kind of suspects that there is not."""
    for k in kinds:
        if k not in MEANT:
            raise unknown("kind of suspect", k, MEANT)


@dataclass(frozen=True)
class Finder:
    """What looks for some kinds of suspects."""

    kinds: tuple[str, ...]
    find: Callable[[EmbeddingSet, dict[str, Any]], Iterator[dict[str, Any]]]


def _ids(es: EmbeddingSet) -> np.ndarray:
    return columns.text(es.items["id"])


def _pairs(es: EmbeddingSet) -> Iterator[tuple[str, str]]:
    widths, has = es.layout.widths, es.layout.has
    for a, b in combinations(es.modalities, 2):
        if widths[a] == widths[b] and int((has[a] & has[b]).sum()) >= LEAST:
            yield a, b


# -- wrong pairs and false negatives -------------------------------------------------------------------------------


def share_of_strangers(p: Tensor) -> float:
    """The share of pairs that are strangers, (n,) percentiles: their density below, where it is even so far up.

    Strangers lie evenly on [0, 1]; matches crowd at the top, and pairs that a space knows little of thin out towards 0.
    So a bin that reaches up to four fifths at least is of strangers alone, where its lower parts hold no fewer than
    luck allows; or the lowest quarter, where it is surely not half as dense as the middle. 0 else: nobody is accused of
    what a space does not know.
    """
    for u in EVEN:
        few, half, every = (int((p < share * u).sum()) for share in (1 / 5, 1 / 2, 1))
        if half >= LEAST_LOW and min(bdtr(few, every, 1 / 5), bdtr(half, every, 1 / 2)) > THIN:
            return min(every / u / len(p), 1.0)
    low, middle = int((p < LOW).sum()), int(((p >= LOW) & (p < 3 * LOW)).sum())
    if low < LEAST_LOW:
        return 0.0
    surely = middle / 2 / low * math.exp(Z * math.sqrt(1 / low + 1 / max(middle, 1))) < THINNER
    return min(low / LOW / len(p), 1.0) if surely else 0.0


def posterior(p: Tensor) -> tuple[Tensor, float]:
    """The probability that each pair is a stranger, (n,), and the share that it stands on."""
    w, n = share_of_strangers(p), len(p)
    if not w:
        return torch.zeros(n, dtype=torch.float64), 0.0
    place, order = p.sort()
    # the greatest convex minorant of the distribution function: its slopes are the density, which can only rise
    x = torch.cat([torch.zeros(1, dtype=torch.float64), place]).tolist()
    hull = [0]
    for k in range(1, n + 1):
        if k < n and x[k + 1] == x[k]:
            continue
        while len(hull) > 1:
            i, j = hull[-2:]
            if (j - i) * (x[k] - x[j]) < (k - j) * (x[j] - x[i]):
                break
            hull.pop()
        hull.append(k)
    density = torch.zeros(n, dtype=torch.float64)
    for i, j in zip(hull, hull[1:], strict=False):
        density[i:j] = (j - i) / n / max(x[j] - x[i], 1 / n / 1e3)
    out = torch.zeros(n, dtype=torch.float64)
    out[order] = (w / density.clamp_min(1e-12)).clamp_max(1)
    return out, w


def _wrong(es: EmbeddingSet, about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    ids = _ids(es)
    for a, b in _pairs(es):
        like = Likeness.of(es, a, b)
        p, own = like.percentiles(), like.own
        wrong, share = posterior(p)
        about["wrong"][f"{a} · {b}"] = share
        forth, to, back, fro = like.rivals()
        right = wrong < SURE
        usual = float(own[right].median()) if bool(right.any()) else float("inf")
        for i in (wrong >= SURE).nonzero()[:, 0].tolist():
            me, rival = int(like.items[i]), int(like.items[to[i]])
            found = float(forth[i]) >= usual
            partner = f"; {a} of it fits {b} of {ids[rival]}, as true pairs do" if found else ""
            yield {
                "kind": "wrong pair",
                "id": ids[me],
                "other": ids[rival] if found else "",
                "score": float(wrong[i]),
                "modalities": f"{a} · {b}",
                "reason": f"alike as strangers are: {_share(1 - float(p[i]))} of random pairs are more so{partner}",
            }
        yield from _negatives(like, own, right, (forth, to, back, fro), ids)


def _negatives(
    like: Likeness, own: Tensor, right: Tensor, rivals: tuple[Tensor, Tensor, Tensor, Tensor], ids: np.ndarray
) -> Iterator[dict[str, Any]]:
    """Two items that could answer for each other, both ways: a · b and b · a as alike as the pairs usually are."""
    forth, to, _, _ = rivals
    known = own[right].sort().values
    if not len(known):
        return
    limit = float(known[int(TYPICAL * (len(known) - 1))])
    seen = set()
    for i in ((forth >= limit) & right).nonzero()[:, 0].tolist():
        j = int(to[i])
        if not bool(right[j]) or (min(i, j), max(i, j)) in seen:
            continue
        other_way = float(like.x[j] @ like.y[i])
        if other_way < limit:
            continue
        seen.add((min(i, j), max(i, j)))
        both = min(float(forth[i]), other_way)
        beats = float(torch.searchsorted(known, both)) / len(known)
        yield {
            "kind": FALSE_NEGATIVE,
            "id": ids[int(like.items[i])],
            "other": ids[int(like.items[j])],
            "score": beats,
            "modalities": f"{like.a} · {like.b}",
            "reason": f"each fits the other's {like.b} better than {_share(beats)} of the pairs fit their own",
        }


def _share(p: float) -> str:
    return f"{100 * p:.2g}%" if p < 0.1 else f"{p:.0%}"


# -- within a modality ---------------------------------------------------------------------------------------------


def _near(es: EmbeddingSet, items: Tensor, rows: Tensor, m: str) -> tuple[Tensor, Tensor, Tensor]:
    """Of each unit row the nearest of another family (cosine, place), and the mean cosine of the ten nearest."""
    x = rows.float()
    family = torch.from_numpy(np.asarray(es.families))[items]
    best, place, mean = torch.zeros(len(x)), torch.zeros(len(x), dtype=torch.long), torch.zeros(len(x))
    for at, s in blocks(x, x, family, f"neighbours within {m}"):
        top = s.topk(min(NEIGHBOURS, s.shape[1]), dim=1)
        best[at], place[at] = top.values[:, 0], top.indices[:, 0]
        mean[at] = top.values.clamp_min(-1).mean(1)
    exact = (x.double() * x[place].double()).sum(1)
    return torch.where(best.isfinite(), exact, best.double()), place, mean


def _twins(es: EmbeddingSet, about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Duplicates and leaks: the nearest item of another family is the same thing in every modality that both have."""
    ids, split = _ids(es), columns.text(es.items["split"]) if "split" in es.items else np.full(len(es), "")
    has = es.layout.has
    rows: dict[str, Tensor] = {}
    limit: dict[str, float] = {}
    found: set[tuple[int, int]] = set()
    for m in es.modalities:
        items = has[m].nonzero()[:, 0]
        x = torch.zeros(len(es), es[m].shape[-1], dtype=torch.float64)
        x[items] = es.unit(m, es.first_row(m, items))
        cosine, place, mean = _near(es, items, x[items], m)
        rows[m] = x
        usual = 2 - 2 * float(x[items].mean(0).square().sum())
        limit[m] = 1 - NEAR * usual / 2
        for i in (cosine >= limit[m]).nonzero()[:, 0].tolist():
            first, second = sorted((int(items[i]), int(items[place[i]])))
            found.add((first, second))
        yield from _outliers(ids, m, items, mean)
    for i, j in sorted(found):
        both = [m for m in es.modalities if bool(has[m][i]) and bool(has[m][j])]
        least = {m: float(rows[m][i] @ rows[m][j]) for m in both}
        if not all(c >= limit[m] for m, c in least.items()):
            continue
        leak = split[i] != split[j] and bool(split[i]) and bool(split[j])
        first, second = (j, i) if leak and split[i] == "train" else (i, j)  # of a leak the train side goes
        exact = all(c >= SAME for c in least.values())
        what = "the same vectors" if exact else "hardly apart"
        where = f", in {split[second]} and in {split[first]}" if leak else ""
        yield {
            "kind": "leak" if leak else "duplicate",
            "id": ids[second],
            "other": ids[first],
            "score": min(least.values()),
            "modalities": " · ".join(both),
            "reason": f"{what} in {' and '.join(both)}{where}",
        }


def _outliers(ids: np.ndarray, m: str, items: Tensor, mean: Tensor) -> Iterator[dict[str, Any]]:
    """Rows whose ten nearest are further than those of nearly all others, by robust deviations of the log distance."""
    if len(items) < LEAST:
        return
    distance = (1 - mean.double()).clamp_min(1e-12).log()
    middle = distance.median()
    spread = 1.4826 * (distance - middle).abs().median()
    z = (distance - middle) / spread.clamp_min(1e-9)
    for i in (z > FAR).nonzero()[:, 0].tolist():
        yield {
            "kind": "outlier",
            "id": ids[int(items[i])],
            "other": "",
            "score": float(z[i]),
            "modalities": m,
            "reason": f"its {m} is {float((distance[i] - middle).exp()):.1f} times as far from its neighbours as usual",
        }


MEANT = {
    "wrong pair": "probably not a match; look, then leave out or mend",
    "leak": "one thing in two splits; leave out the train side",
    "duplicate": "one thing twice; keep one",
    FALSE_NEGATIVE: "could answer for each other; no non-matches in training",
    "outlier": "far from all others of its modality; look for another language, an empty picture, a failed decode",
}
FINDERS = (
    Finder(("wrong pair", FALSE_NEGATIVE), _wrong),
    Finder(("duplicate", "leak", "outlier"), _twins),
)
