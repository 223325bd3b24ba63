"""Is B really better than A? Paired differences over the same items, beside what another seed changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import stdtr, stdtrit

from workbench.diagnostics import intervals
from workbench.diagnostics.neighbours import mutual_knn
from workbench.diagnostics.registry import diagnostics
from workbench.diagnostics.retrieval import median_rank, recall_at_1
from workbench.diagnostics.scoped_name import ScopedName
from workbench.diagnostics.similarity import MEASURES, PERMUTATIONS, ROTATION, WORK, shuffled
from workbench.errors import InputError
from workbench.report.diagnose import diagnose
from workbench.report.report import Report
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import as_set

# what items, sentences and spaces are compared by
RANK, HIT, SHARED = median_rank.__name__, recall_at_1.__name__, mutual_knn.__name__
SAME, BETTER, WORSE = "not distinguishable", "higher", "lower"
RUNS, RECIPES = "these two runs", "the recipes"
ALPHA = 0.05


@dataclass
class Comparison:
    """What differs between two sets of the same items.

    `paired`: per direction the difference of each retrieval measure, B minus A, with its interval over families, the
    queries won and lost, and `floor`, what another seed of A changes. `p` is Holm's over directions and measures, of
    the items and, with seeds, also of B among these. The verdict is `of` these two runs, or with seeds of the recipes:
    at most one in twenty comparisons of equal ones calls anything different. `shared`: per modality how alike the two
    spaces are. `items`: per item both ranks in each direction, and how much its neighbourhood changed. `slices`: the
    paired difference within each value of a column.
    """

    paired: pd.DataFrame
    shared: pd.DataFrame
    items: pd.DataFrame
    slices: pd.DataFrame
    about: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        from workbench.views.card import comparison_card

        return comparison_card(self)

    @property
    def sentences(self) -> list[str]:
        """A verdict a direction, in plain words."""
        said = []
        if not len(self.paired):
            return ["No retrieval to compare: the modalities have different widths, or there is only one."]
        for r in self.paired[self.paired["name"] == HIT].to_dict("records"):
            q, k = r["modalities"]
            change = f"{r['value']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]"
            if r["verdict"] == SAME:
                why = f", within what seeds alone change (±{r['floor']:.3f})" if r["floored"] else _of_many(r)
                said.append(f"{q} → {k}: {SAME}; R@1 of {r['n_gallery']:,} differs by {change}{why}.")
            else:
                alone = " One seed each: no verdict on the recipe."
                if math.isfinite(r["floor"]):
                    alone = f" Another seed of A changes it by up to ±{r['floor']:.3f}."
                said.append(
                    f"{q} → {k}: B is {r['verdict']}; R@1 of {r['n_gallery']:,} differs by {change}, "
                    f"{r['won']} queries won and {r['lost']} lost.{alone}"
                )
        return said

    def flipped(self, a: str, b: str) -> pd.DataFrame:
        """Items whose query found its match first in one set and not in the other, in one direction."""
        before, after = f"rank A {a}→{b}", f"rank B {a}→{b}"
        if before not in self.items:
            raise InputError(f"no direction {a} → {b} in this comparison; it has {', '.join(self._directions)}")
        x = self.items
        return x[((x[before] == 1) != (x[after] == 1)) & x[before].notna()][["id", before, after]]

    @property
    def _directions(self) -> list[str]:
        return [c.removeprefix("rank A ") for c in self.items if c.startswith("rank A ")]

    def changed(self, modality: str, most: int = 20) -> pd.DataFrame:
        """The items whose neighbours changed most in a modality."""
        return self.items.nlargest(most, f"changed {modality}")[["id", f"changed {modality}"]]


def compare(a: Any, b: Any, *, by: str | None = None, seeds: Sequence[Any] = (), device: str = "auto") -> Comparison:
    """Compare two sets, runs or paths over the items that both have, joined on id; galleries are made equal by that.

    `seeds`: further sets of A's recipe that differ only in their seed. Then B must lie outside the 95 % prediction
    interval (Student's) of one more seed, which is wide after two seeds: three or more can decide. `by`: a column of
    the items for the table of slices.

    >>> import workbench as wb
    >>> found = compare(wb.testing.planted(items=60), wb.testing.planted(items=60, cosine=0.1))
    >>> found.paired.loc[0, "verdict"]
    'lower'
    """
    one, two = (as_set(x) for x in (a, b))
    one, two = (x.layer() for x in (one, two))
    ids = one.items["id"][one.items["id"].isin(set(two.items["id"]))]
    if len(ids) < 4:
        raise InputError(
            f"{one.source} and {two.source} share {len(ids)} ids; a comparison needs at least four of the same items, "
            "joined on the column 'id'"
        )
    one, two = (_of(x, ids) for x in (one, two))
    if by is not None and by not in one.items:
        raise InputError(f"{one.source}: no column {by!r} to slice by; it has {', '.join(one.items.columns)}")
    both = [m for m in one.modalities if m in two]
    if not both:
        raise InputError(f"no modality in common: {', '.join(one.modalities)} and {', '.join(two.modalities)}")
    names = [n for n, d in diagnostics().items() if d.paired]
    # the intervals here are those of paired differences
    ask: dict[str, Any] = {"device": device, "exact": True, "subsampling": False}
    reports = [diagnose(x.only(both), only=[*names, RANK], **ask) for x in (one, two)]
    others = [diagnose(_of(as_set(s), ids).only(both), only=names, **ask) for s in seeds]
    family = one.families
    rows, slices, items = [], [], pd.DataFrame({"id": one.items["id"]})
    for r in reports[0].frame.to_dict("records"):
        name, scope = r["name"], r["modalities"]
        measure = ScopedName(name, scope)
        joint, column = measure.arrow, measure.column
        if r["reason"] is not None or column not in reports[1].items or measure.fused:
            continue
        x, y = (rep.items[column].to_numpy() for rep in reports)
        if name == RANK:
            items[f"rank A {joint}"], items[f"rank B {joint}"] = x, y
            continue
        seeded = Seeds([r["value"], *(o.value(name, *scope) for o in others)])
        found = _paired(x, y, family, seeded, reports[1].value(name, *scope))
        rows.append({"name": name, "modalities": scope, **found, "n_gallery": r["n_gallery"]})
        if by is not None and name == HIT:
            for value, at in columns.members(one.items[by]).items():
                part = _paired(x[at], y[at], family[at], seeded, reports[1].value(name, *scope))
                slices.append({"modalities": scope, by: value, **part})
    shared = [s for m in both for s in _shared(m, one, two, items, device)]
    about = {
        "a": one.source,
        "b": two.source,
        "items": len(ids),
        "left_out": [len(as_set(x)) - len(ids) for x in (a, b)],
        "seeds": len(others),
        "fingerprints": [one.fingerprint, two.fingerprint],
    }
    return Comparison(_judged(rows), pd.DataFrame(shared), items, _judged(slices), about)


def _of(es: EmbeddingSet, ids: pd.Series) -> EmbeddingSet:
    place = pd.Series(np.arange(len(es)), index=es.items["id"])
    if not ids.isin(place.index).all():
        raise InputError(f"{es.source}: lacks items that the sets compared have; seeds need the same items")
    return es.take(place[ids].to_numpy())


@dataclass(frozen=True)
class Seeds:
    """A value of A, and of further seeds of its recipe."""

    values: list[float]

    @property
    def floor(self) -> float:
        """How far one more seed may lie from their mean: half of Student's prediction interval."""
        n = len(self.values)
        return math.nan if n < 2 else float(stdtrit(n - 1, (1 + intervals.LEVEL) / 2)) * self._deviation

    def p(self, value: float) -> float:
        """How likely one more seed is as far from them as a value; 0 where there is but one seed, which cannot say."""
        n, far = len(self.values), abs(value - float(np.mean(self.values)))
        if n < 2 or not far:
            return 0.0 if n < 2 else 1.0
        return 2 * float(stdtr(n - 1, -far / self._deviation)) if self._deviation else 0.0

    @property
    def _deviation(self) -> float:
        return float(np.std(self.values, ddof=1)) * math.sqrt(1 + 1 / len(self.values))


def _paired(x: np.ndarray, y: np.ndarray, family: np.ndarray, seeds: Seeds, value_of_b: float) -> dict[str, Any]:
    """A difference of two runs over the same items; whose `p` is of this one alone."""
    has = np.isfinite(x) & np.isfinite(y)
    x, y = x[has], y[has]
    d = torch.from_numpy(y - x)
    codes = torch.from_numpy(pd.factorize(family[has])[0])
    value = float(d.mean()) if len(d) else math.nan
    low, high = intervals.jackknife_of_a_mean(d, torch.ones_like(d), codes) if len(d) else intervals.NO_INTERVAL
    alone, seeded = intervals.p_of_no_mean(d, codes) if len(d) else 1.0, seeds.p(value_of_b)
    return {
        "a": float(x.mean()) if len(x) else math.nan,
        "b": float(y.mean()) if len(y) else math.nan,
        "value": value,
        "low": low,
        "high": high,
        "won": int((y > x).sum()),
        "lost": int((y < x).sum()),
        "n": len(d),
        "floor": seeds.floor,
        "floored": alone <= ALPHA < seeded,
        "of": RUNS if len(seeds.values) < 2 else RECIPES,
        "p": max(alone, seeded),
    }


def _judged(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows with Holm's p in place of each, and the verdict by it."""
    for r, p in zip(rows, intervals.holm([r["p"] for r in rows]), strict=True):
        r["p"] = p
        r["verdict"] = SAME if not p <= ALPHA else BETTER if r["value"] > 0 else WORSE
    return pd.DataFrame(rows)


def _of_many(r: Mapping[str, Any]) -> str:
    """Why a difference whose own interval leaves out zero is none: it is one of several that were looked at."""
    clear = math.isfinite(r["low"]) and (r["low"] > 0 or r["high"] < 0)
    return f", which of so many comparisons is no surprise (Holm's p = {r['p']:.2f})" if clear else ""


def _shared(m: str, one: EmbeddingSet, two: EmbeddingSet, items: pd.DataFrame, device: str) -> list[dict[str, Any]]:
    """How alike a modality is in both: shared neighbours with its interval, the others with a permutation null."""
    names = (f"a.{m}", f"b.{m}")
    joined = EmbeddingSet(
        dict(zip(names, (one[m], two[m]), strict=True)),
        one.items,
        rows={n: x.item_of_row(m) for n, x in zip(names, (one, two), strict=True) if not x.aligned(m)},
    )
    report = diagnose(joined, only=[SHARED], device=device, exact=True)
    r = report.row(SHARED, *names)
    fields = ("value", "low", "high", "null_low", "null", "null_high", "reason")
    found = [{"name": SHARED, "modality": m} | {f: r[f] for f in fields}]
    column = ScopedName(SHARED, names).column
    items[f"changed {m}"] = 1 - report.items[column].to_numpy() if column in report.items else math.nan
    at = torch.from_numpy(np.intersect1d(_first(one, m), _first(two, m)))
    x, y = (s.unit(m, s.first_row(m, at)) for s in (one, two))
    half = torch.from_numpy(one.halves)[at]
    deal = len(x) * x.shape[1] * y.shape[1] + ROTATION * x.shape[1] ** 3
    draws = int(np.clip(WORK / deal, 10, PERMUTATIONS))
    for name, measure in MEASURES.items():
        band = shuffled(measure.dealt(x, y, half), len(x), draws)
        value = measure.value(x, y, half)
        row = {"name": name, "modality": m, "value": value, "low": math.nan, "high": math.nan}
        found.append(row | dict(zip(("null_low", "null", "null_high"), band, strict=True)) | {"reason": None})
    return found


def _first(es: EmbeddingSet, m: str) -> np.ndarray:
    return np.unique(es.item_of_row(m).numpy())


def side_by_side(data: Mapping[str, Report | Any], **settings: Any) -> pd.DataFrame:
    """The values of several reports, sets or runs: a row a diagnostic and scope, the columns of each side by side.

    `settings` go to `diagnose` for what is no report yet. Values that depend on the size of the gallery are compared
    only where the galleries are equal.
    """
    from workbench.report.diagnose import diagnose

    frames = []
    for name, given in data.items():
        report = given if isinstance(given, Report) else diagnose(given, **settings)
        f = report.frame.set_index(["name", "modalities"])
        frames.append(pd.concat({name: f[["value", "low", "high", "null_low", "null_high", "n_gallery"]]}, axis=1))
    table = pd.concat(frames, axis=1)
    galleries = table.xs("n_gallery", axis=1, level=1).where(table.xs("value", axis=1, level=1).notna())
    unequal = table.index[(galleries.nunique(axis=1) > 1).to_numpy()].get_level_values("name").unique()
    known = diagnostics()
    refused = [n for n in unequal if n in known and known[n].gallery]
    if refused:
        more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
        raise InputError(
            f"the sets have galleries of different sizes, so {', '.join(refused[:3])}{more} cannot be compared: "
            "take the same items of each (es.take), or compare them with workbench.compare, which does"
        )
    return table
