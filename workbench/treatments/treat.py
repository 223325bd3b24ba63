"""Treat a space: fit every method that applies on train items, judge all on the same others, rank them by the goal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from workbench.diagnostics import intervals
from workbench.diagnostics.gap import modality_gap
from workbench.diagnostics.spectrum import effective_rank
from workbench.diagnostics.spread import uniformity
from workbench.diagnostics.subsamples import averages
from workbench.errors import InputError, unknown
from workbench.progress import progress
from workbench.sets.constant import refuse_constant
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats import as_set
from workbench.treatments import scoring, shown, space, storage  # noqa: F401 - methods declare themselves, and cards
from workbench.treatments.base import METHODS, RETRIEVAL, SCORES, SPACE, STORAGE, Method, moved, rows, untreated
from workbench.treatments.goals import GOALS, Goal, Judgement, Parts, paired
from workbench.treatments.portable import Treatment
from workbench.treatments.treated import LEAST, Candidate, Treated

SIZE = 20_000  # items of a part at most
FEW = 8  # families of a part at least
LOOK = 2_000  # items whose gap, uniformity and rank are looked at
TIMED = 4_096  # rows that are changed to see what a row costs
SEEN = (modality_gap.__name__, uniformity.__name__, effective_rank.__name__)


def treat(
    data: Any, goal: str = RETRIEVAL, *, label: str = "", only: Sequence[str] = (), modalities: Sequence[str] = ()
) -> Treated:
    r"""Fit every treatment that applies on train items and rank them by what they change for the goal on other items.

    `goal`: retrieval (R@1, each modality asks the other), mixed (nDCG@10 in one index of all), classes (accuracy of ten
    nearest train rows, within and across; needs `label`), storage (R@10 against bytes a vector). Fitted on the train
    split and judged on validation, or on one half of the families and the other; where a method has settings, they are
    chosen inside the train items. A change is a paired difference over the same queries with its 95 % interval over
    families and Holm's p over all that was tried. Cost: two products of all pairs a treatment.

    >>> import workbench as wb
    >>> found = treat(wb.testing.planted(items=200, gap=0.9), "mixed", only=["centre"])
    >>> found.winner.name, found.winner.change > 0.1
    ('centre', True)
    """
    if goal not in GOALS:
        raise unknown("goal", goal, GOALS)
    es = _chosen(as_set(data).layer(), modalities)
    aim = GOALS[goal]
    refuse_constant(es)
    methods = _methods(aim, only)
    parts = divided(es, label)
    plain = untreated(es)
    before = aim.judge(plain, parts)
    # every storage is a line of its own; of other settings the best is chosen
    work: list[tuple[Method, Any]] = [(m, s) for m in methods for s in (m.grid if m.kind == STORAGE else (None,))]
    left: list[dict[str, Any]] = []
    found: list[Candidate] = []
    for m, settings in progress(work, f"treat for {goal}", len(work)):
        try:
            if why := m.unfit(parts.train):
                raise InputError(why)
            start = time.perf_counter()
            chosen = settings if settings is not None else _settings(m, aim, parts)
            fitted = m.fit(parts.train, **chosen)
            spent = time.perf_counter() - start
            after = aim.judge(fitted, parts)
        except InputError as e:
            left.append({"name": m.name, "settings": settings or {}, "reason": str(e)})
            continue
        found.append(_candidate(fitted, m, aim, before, after, parts, spent))
    if (both := _both(found)) is not None:
        first, then = both
        m = METHODS[then.name]
        start = time.perf_counter()
        fitted = m.after(first.treatment, parts.train, **then.settings)
        spent = first.seconds + time.perf_counter() - start
        found.append(_candidate(fitted, m, aim, before, aim.judge(fitted, parts), parts, spent))
    for c, p in zip(found, intervals.holm([c.p for c in found]), strict=True):
        c.p = p
    _in_chains(found)
    found.sort(key=lambda c: -c.change)
    about = {
        "source": es.source,
        "fingerprint": es.fingerprint,
        "items": len(es),
        "modalities": {m: es[m].shape[-1] for m in es.modalities},
        "fitted": len(parts.train),
        "judged": len(parts.judged),
        "families": len(np.unique(parts.judged.families)),
        "queries": max(len(f) for f in before.family.values()),
        "parts": "train and validation" if _has_splits(es) else "two halves of the families",
    }
    return Treated(aim, before, found, left, about, dict(zip(SEEN, _seen(plain, parts.judged), strict=True)))


def _in_chains(found: Sequence[Candidate]) -> None:
    """Make the p of storage good for how many were tried: down the widths of one code, which stop at the first failure.

    Such a chain needs no correction of its own (fixed sequence, Maurer et al. 1995), only the count of chains does.
    """
    chains: dict[tuple[Any, ...], list[Candidate]] = {}
    for c in found:
        if c.kind == STORAGE:
            chains.setdefault(tuple(v for k, v in c.settings.items() if k != "share"), []).append(c)
    for chain in chains.values():
        running = 0.0
        for c in sorted(chain, key=lambda c: -c.bytes):
            running = max(running, c.p_costs)
            c.p_costs = min(1.0, running * len(chains))


def _both(found: Sequence[Candidate]) -> tuple[Candidate, Candidate] | None:
    """The best treatment of the space and the best of scores, where each gains alone: together they may gain more."""
    best = [max((c for c in found if c.kind == k), key=lambda c: c.change, default=None) for k in (SPACE, SCORES)]
    first, then = best
    return (first, then) if first and then and first.low > 0 and then.low > 0 else None


def _chosen(es: EmbeddingSet, modalities: Sequence[str]) -> EmbeddingSet:
    for m in modalities:
        if m not in es:
            raise unknown("modality", m, es.modalities)
    es = es.only(modalities) if modalities else es
    if len(es.modalities) < 2:
        raise InputError(f"{es.source}: a treatment is judged between modalities, and here is {es.modalities[0]} alone")
    return es


def _methods(goal: Goal, only: Sequence[str]) -> list[Method]:
    for name in only:
        if name not in METHODS:
            raise unknown("treatment", name, METHODS)
        if goal.name not in METHODS[name].goals:
            raise InputError(f"{name} serves {', '.join(METHODS[name].goals)}, not {goal.name}")
    return [m for m in METHODS.values() if goal.name in m.goals and (not only or m.name in only)]


def _has_splits(es: EmbeddingSet) -> bool:
    return "split" in es.items and {"train", "validation"} <= set(es.items["split"].dropna())


def divided(es: EmbeddingSet, label: str = "") -> Parts:
    """Items to fit on and items to judge: train and validation, or two halves of the families; at most `SIZE` each."""
    if _has_splits(es):
        train, judged = es.split("train"), es.split("validation")
    else:
        train, judged = es.take(es.halves == 0), es.take(es.halves == 1)
    for part, what in ((train, "fit on"), (judged, "judge")):
        if (families := len(np.unique(part.families))) < FEW:
            raise InputError(f"{es.source}: {families} families to {what}, and a treatment needs at least {FEW}")
    return Parts(some_families(train, SIZE), some_families(judged, SIZE), label)


def some_families(es: EmbeddingSet, most: int) -> EmbeddingSet:
    """The set, or as many of its families as make `most` items, by lot."""
    if len(es) <= most:
        return es
    family = es.families
    order = np.random.default_rng(len(es)).permutation(family.max() + 1)[family]
    return es.take(np.sort(np.argsort(order, kind="stable")[:most]))


def _settings(m: Method, goal: Goal, parts: Parts) -> dict[str, Any]:
    """The settings that do best inside the train items: one half of their families fitted, the other judged."""
    if len(m.grid) == 1:
        return dict(m.grid[0])
    inner = parts.train.quarters % 2
    within = Parts(parts.train.take(inner == 0), parts.train.take(inner == 1), parts.label)
    tried, why = [], ""
    for settings in m.grid:
        try:
            tried.append((goal.judge(m.fit(within.train, **settings), within).mean(goal.measure), settings))
        except InputError as e:
            why = str(e)
    if not tried:
        raise InputError(why)
    return dict(max(tried, key=lambda t: t[0])[1])


def _candidate(
    t: Treatment, m: Method, goal: Goal, before: Judgement, after: Judgement, parts: Parts, spent: float
) -> Candidate:
    d, family = paired(before, after, goal.measure)
    low, high = intervals.jackknife_of_a_mean(d, torch.ones_like(d), family)
    same = bool((d == 0).all())
    p = 1.0 if same else intervals.p_of_no_mean(d, family)
    families = int(family.max()) + 1
    if same:
        # what changed nothing here may change something elsewhere, by as much as so many families leave open; codes
        # can only lose, and what moves no vector changes nothing anywhere
        bound = intervals.score(0.0, 0.0, families, families - 1)[1]
        low, high = -bound, 0.0 if m.kind == STORAGE else bound
        if m.kind == SPACE and _moves_nothing(t, parts.judged):
            low = high = 0.0
    # for storage the question is another: is it certain that less than LEAST is lost?
    p_costs = 1.0
    if m.kind == STORAGE and float(d.mean()) > -LEAST:
        p_costs = (1 - LEAST) ** families if same else intervals.p_of_no_mean(d + LEAST, family)
    gap, spread, rank = _seen(t, parts.judged) if m.kind == SPACE else (float("nan"),) * 3
    width = sum(parts.judged[x].shape[-1] for x in t.modalities) / len(t.modalities)
    return Candidate(
        treatment=t,
        kind=m.kind,
        summary=m.summary,
        judgement=after,
        value=after.mean(goal.measure),
        change=float(d.mean()),
        low=low,
        high=high,
        p=p,
        p_costs=p_costs,
        seen={SEEN[0]: gap, SEEN[1]: spread, SEEN[2]: rank},
        bytes=int(
            t.codec.get("bytes") or 4 * t.transform(rows(parts.judged, t.modalities[0])[:1], t.modalities[0]).shape[1]
        ),
        bytes_before=int(4 * width),
        seconds=spent,
        microseconds=_cost(t, parts.judged),
    )


def _moves_nothing(t: Treatment, es: EmbeddingSet) -> bool:
    pairs = [(moved(es, t, m), rows(es, m)) for m in t.modalities]
    return all(x.shape == y.shape and np.allclose(x, y, atol=1e-6) for x, y in pairs)


def _seen(t: Treatment, es: EmbeddingSet) -> tuple[float, float, float]:
    """Gap, uniformity and effective rank of the changed space, a mean over modalities and pairs."""
    es = es if len(es) <= LOOK else es.take(np.arange(LOOK))
    own = {m: es.item_of_row(m) for m in es.modalities if not es.aligned(m)}
    changed = EmbeddingSet({m: moved(es, t, m) for m in es.modalities}, es.items, rows=own)
    gap, spread, rank = averages(changed, SEEN).values()
    return gap, spread, rank


def _cost(t: Treatment, es: EmbeddingSet) -> float:
    """Microseconds a stored vector, the least of three tries."""
    spent = []
    m = t.modalities[-1]
    x = rows(es, m)[:TIMED]
    for _ in range(3):
        start = time.perf_counter()
        t.encode(x, m) if t.codec else t.transform(x, m)
        spent.append((time.perf_counter() - start) / len(x))
    return 1e6 * min(spent)
