"""Rules over a report. Each says in its docstring what keeps it quiet where nothing is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from workbench.report.doctor.rules import Fault, Said, least, rule
from workbench.report.finding import FAULT, INFO, WARNING
from workbench.report.report import Report
from workbench.sets import planted

COLLAPSED_UNIFORMITY = -0.2  # mean squared distance of about 0.1: all vectors within some 18° of each other
STILL_RANKS = 0.5  # mean recall at 10 that no collapsed modality reaches
COLLAPSED_RANK = 4.5  # directions: fewer than five
DUPLICATES = 0.05  # share of rows that coincide with another item's
PROMPTS = 0.9  # share of rows that do where each stands for a class, and is meant to
CEILING = 0.98  # recall at 1 of which a better model has nothing left to gain
ONE_WAY = 0.35  # by which one direction finds more than the other
SAME_LABEL = 0.5  # share of wrong neighbours with the right label
MIXED_LOSS = 0.5  # share of recall that a mixed gallery takes, above which the gap decides


def _evidence(row: dict[str, Any], threshold: float | None = None) -> dict[str, Any]:
    def number(x: Any) -> float | None:
        return float(x) if x is not None and math.isfinite(x) else None

    return {
        "diagnostic": row["name"],
        "modalities": list(row["modalities"]),
        "value": number(row["value"]),
        "null_low": number(row["null_low"]),
        "null_high": number(row["null_high"]),
        "threshold": number(threshold),
    }


def at_chance(report: Report, a: str, b: str) -> bool:
    """Neither recall at 10 nor the median rank clears its null, each by its interval: one alone may by luck. Matches
    that are found beyond the null, if not by their interval, and lie nearer than random pairs do, are no chance."""
    if not (report.has("recall_at_10") and report.has("median_rank")):
        return False
    hit, rank = report.row("recall_at_10", a, b), report.row("median_rank", a, b)
    reach = [hit["low"] if math.isfinite(hit["low"]) else hit["value"]]
    reach += [rank["high"] if math.isfinite(rank["high"]) else rank["value"]]
    near = any(r["value"] < r["null_low"] for r in report.known("alignment") if set(r["modalities"]) == {a, b})
    weak = near and hit["value"] > hit["null_high"] and rank["value"] < rank["null_low"]
    return bool(reach[0] <= hit["null_high"] and reach[1] >= rank["null_low"] and not weak)


@rule(
    "no_pairing_signal",
    FAULT,
    fault=Fault(
        "{:.0%} of pairs shuffled",
        lambda es, share: planted.shuffled(es, es.modalities[0], share),
        (0.8, 0.95, 1.0),
    ),
    explains=("hubs", "one_sided_column"),
)
def no_pairing_signal(report: Report) -> Iterable[Said]:
    """Both directions of a pair at chance. Quiet where the gallery is too small for chance to mean anything."""
    for row in report.known("alignment"):
        a, b = row["modalities"]
        if report.about["items"] < 20 or not (at_chance(report, a, b) and at_chance(report, b, a)):
            continue
        hits = [report.row("recall_at_10", *d).to_dict() for d in ((a, b), (b, a))]
        ranks = [report.row("median_rank", *d) for d in ((a, b), (b, a))]
        away = all(r["value"] > r["null_high"] for r in ranks)
        yield (
            f"{a} and {b} do not find each other: recall at 10 is {hits[0]['value']:.3f} ({a} → {b}) and "
            f"{hits[1]['value']:.3f} ({b} → {a}); shuffled pairs reach up to {hits[0]['null_high']:.3f}"
            + (". Matches rank below random pairs: the two point away from each other." if away else "."),
            [_evidence(h, h["null_high"]) for h in hits],
            "use an objective that sees the sign of this pair (a volume does not)"
            if away
            else f"check that row i is the same item in both; then that the loss compares {a} with {b}",
        )


@rule(
    "collapse",
    FAULT,
    fault=Fault(
        "pulled to a point by {}",
        lambda es, strength: planted.collapsed(es, es.modalities[0], strength),
        (0.8, 0.9, 0.95),
    ),
    explains=("hubs", "one_sided_column", "asymmetry", "wrong_pairs"),
)
def collapse(report: Report) -> Iterable[Said]:
    """A modality whose vectors coincide, or nearly so, and tell no more which match is theirs. Quiet where they do: a
    narrow cone ranks as well as a wide one."""
    hits = report.known("recall_at_10")
    for row in report.known("uniformity"):
        found = [h["value"] for h in hits if row["modalities"][0] in h["modalities"]] or [0.0]
        if row["value"] > COLLAPSED_UNIFORMITY and sum(found) / len(found) < STILL_RANKS:
            yield (
                f"{row['modalities'][0]} has collapsed: uniformity {row['value']:.3f}, where 0 means that all vectors "
                "coincide and spread ones reach -3 and less.",
                [_evidence(row, COLLAPSED_UNIFORMITY)],
                "look for a constant input or a dead tower; then lower the learning rate, or add a uniformity term",
            )


@rule(
    "rank_collapse",
    FAULT,
    fault=Fault(
        "{} directions left",
        lambda es, directions: planted.flattened(es, es.modalities[0], directions),
        (8, 4, 2),
    ),
    explains=("wrong_pairs", "gathered_rows", "one_direction", "dependent_items"),
)
def rank_collapse(report: Report) -> Iterable[Said]:
    """A modality that varies in fewer than five directions where random vectors use many more."""
    for row in report.known("effective_rank"):
        if row["value"] < COLLAPSED_RANK and row["null_low"] > 2 * COLLAPSED_RANK:
            yield (
                f"{row['modalities'][0]} has an effective rank of {row['value']:.1f}; the same number of random "
                f"vectors would have {row['null']:.0f}.",
                [_evidence(row, COLLAPSED_RANK)],
                "check that the inputs differ; then add a uniformity or variance term",
            )


def _chance(row: dict[str, Any]) -> str:
    """What a random order finds, in words that no rounding empties."""
    return f"by chance 1 in {1 / row['null']:,.0f}" if 0 < row["null"] < 0.05 else f"by chance {row['null']:.0%}"


@rule("retrieval", INFO)
def retrieval(report: Report) -> Iterable[Said]:
    """What retrieval amounts to, best direction and worst."""
    rows = report.known("recall_at_1")
    if not rows:
        return
    best, worst = max(rows, key=lambda r: r["value"]), min(rows, key=lambda r: r["value"])
    said = (
        f"{best['modalities'][0]} finds its {best['modalities'][1]} for {best['value']:.0%} of items "
        f"(gallery {best['n_gallery']:,}, {_chance(best)})"
    )
    if f"{worst['value']:.0%}" == f"{best['value']:.0%}":
        said += "" if worst is best else "; in no direction less"
    else:
        said += (
            f"; the weakest direction is {worst['modalities'][0]} to {worst['modalities'][1]} with {worst['value']:.0%}"
        )
    yield said + ".", [_evidence(best), _evidence(worst)], ""


def _found_by_volume(report: Report) -> Iterable[dict[str, Any]]:
    """Tuples of three modalities and more whose anchor finds the others by volume, beyond chance."""
    rows = report.known("volume_recall_at_1")
    return (r for r in rows if len(r["modalities"]) > 2 and r["low"] > r["null_high"])


@rule("volume_retrieval", INFO)
def volume_retrieval(report: Report) -> Iterable[Said]:
    """What retrieval of whole tuples amounts to, where it is beyond chance."""
    for row in _found_by_volume(report):
        anchor, *others = row["modalities"]
        yield (
            f"By volume, {anchor} finds its ({', '.join(others)}) for {row['value']:.0%} of items "
            f"(gallery {row['n_gallery']:,}, {_chance(row)}).",
            [_evidence(row)],
            "",
        )


@rule(
    "flat_tuples",
    WARNING,
    fault=Fault("tuples flat, a pair at random, noise {}", planted.flat, (3.0, 1.5, 0.5)),
)
def flat_tuples(report: Report) -> Iterable[Said]:
    """Tuples are found by volume while some of their pairs are not: volume is blind to which vectors agree. Quiet
    unless the intervals of the two are apart."""
    for row in _found_by_volume(report):
        lost = [r for r in report.known("recall_at_1") if not r["value"] > r["null_high"] and r["high"] < row["low"]]
        if lost:
            said = ", ".join(" → ".join(r["modalities"]) for r in lost)
            anchor, *others = row["modalities"]
            yield (
                f"Ranked by the volume that they span together, {anchor} finds its ({', '.join(others)}), yet "
                f"{said} is at chance: that volume can be small with dissimilar pairs.",
                [_evidence(row), *(_evidence(r, r["null_high"]) for r in lost)],
                "if pairs are to be retrieved, add a pairwise loss (recipe infonce) to the volume loss",
            )


@rule(
    "duplicates",
    WARNING,
    fault=Fault(
        "{:.0%} of rows copied",
        lambda es, share: planted.duplicated(es, es.modalities[0], share),
        (0.05, 0.15, 0.4),
    ),
    explains=("wrong_pairs",),
)
def duplicates(report: Report) -> Iterable[Said]:
    """Rows of different items that coincide. Quiet below one in twenty, and where hardly any does not: then they are
    prompts of classes."""
    for row in report.known("duplicate_rate"):
        m = row["modalities"][0]
        spread = report.row("uniformity", m)["value"] if report.has("uniformity") else -math.inf
        n, k = row["n_query"], row["value"] * row["n_query"]
        low = least(k, n, 0.025)  # by luck of so many rows, whatever else is asked
        if low > DUPLICATES and row["value"] < PROMPTS and not spread > COLLAPSED_UNIFORMITY:
            yield (
                f"{row['value']:.0%} of the {m} rows coincide with a row of another item: no retrieval can tell these "
                "apart, and in a batch they are false negatives.",
                [_evidence(row, DUPLICATES)],
                f"if a {m} repeats for each caption, name the column of its id with --item; else merge these items, or "
                "give them one value in a column 'family' and mask them as negatives",
            )


@rule("ceiling", INFO)
def ceiling(report: Report) -> Iterable[Said]:
    """A gallery that is too easy to tell one good model from a better one."""
    rows = report.known("recall_at_1")
    for a, b in {tuple(sorted(r["modalities"])) for r in rows if len(r["modalities"]) == 2}:
        both = [r for r in rows if set(r["modalities"]) == {a, b}]
        if len(both) == 2 and min(r["value"] for r in both) >= CEILING:
            yield (
                f"Recall between {a} and {b} is at its ceiling (R@1 {min(r['value'] for r in both):.0%} among "
                f"{both[0]['n_gallery']:,}): this set cannot tell a good model from a better one.",
                [_evidence(r, CEILING) for r in both],
                "use a larger gallery, or harder items: variants of one thing, negatives of the same class",
            )


@rule("asymmetry", INFO)
def asymmetry(report: Report) -> Iterable[Said]:
    """One direction finds its match far more often than the other: information, for encoders of unequal noise do that
    too. Quiet where the two have other numbers of rows, as pictures and their captions do, and unless both their
    intervals are apart."""
    for name in ("recall_at_1", "recall_at_10"):
        rows = {tuple(r["modalities"]): r for r in report.known(name)}
        for (a, b), there in rows.items():
            back = rows.get((b, a))
            if back is None or any(there[k] != back[k] for k in ("n_query", "n_gallery")):
                continue
            if there["low"] - back["high"] > ONE_WAY:
                yield (
                    f"Retrieval works in one direction only: {name.replace('_', ' ')} is {there['value']:.0%} {a} → "
                    f"{b} and {back['value']:.0%} {b} → {a}.",
                    [_evidence(there), _evidence(back, there["low"] - ONE_WAY)],
                    f"see which {a} rows are returned for most {b} queries (report.arrays, taken_by); train the loss "
                    "in both directions, if it is not",
                )
                return


@rule("false_negatives", INFO)
def false_negatives(report: Report) -> Iterable[Said]:
    """Wrong neighbours that bear the right label: information, for a label is seldom all that is asked for."""
    for row in report.known("false_negative_rate"):
        if row["low"] > max(SAME_LABEL, 2 * row["null_high"]):
            yield (
                f"Of the wrong {row['modalities'][1]} keys near a {row['modalities'][0]} query {row['value']:.0%} bear "
                f"its label (by chance {row['null']:.0%}): recall counts them as errors, the loss pushes them away.",
                [_evidence(row, SAME_LABEL)],
                "count any key of the label as found, or soften the targets among equals",
            )


@rule("gap", INFO)
def gap(report: Report) -> Iterable[Said]:
    """Whether there is a gap, and whether it matters where it can: in a gallery that holds both modalities."""
    for row in report.known("modality_gap"):
        a, b = row["modalities"]
        if not math.isfinite(row["null_high"]):
            continue
        if not row["value"] > row["null_high"]:
            reach = f"{row['null_high']:.2g}"
            said = f"No gap between {a} and {b}: {row['value']:.2g}, where chance alone gives up to {reach}."
            yield said, [_evidence(row, row["null_high"])], ""
            continue
        said = f"{a} and {b} lie {row['value']:.2f} apart (by chance up to {row['null_high']:.2g}). "
        evidence = [_evidence(row, row["null_high"])]
        found = report.row("recall_at_1", a, b) if report.has("recall_at_1") else None
        seen = found is not None and not found["value"] <= found["null_high"]  # none where recall is at chance
        if report.has("mixed_recall_at_1") and seen and not at_chance(report, a, b):
            plain, mixed = report.row("recall_at_1", a, b), report.row("mixed_recall_at_1", a, b)
            evidence += [_evidence(plain.to_dict()), _evidence(mixed.to_dict())]
            matters = mixed["value"] < MIXED_LOSS * plain["value"]
            said += (
                f"It decides where both share one index: {a} → {b} recall falls from {plain['value']:.2f} to "
                f"{mixed['value']:.2f}. Among {b} alone the order hardly depends on it. What helps without retraining: "
                "workbench treat --goal mixed."
                if matters
                else f"It costs where both share one index: {a} → {b} recall falls from {plain['value']:.2f} to "
                f"{mixed['value']:.2f}; among {b} alone the order hardly depends on it."
                if mixed["high"] < plain["low"]
                else f"It does not matter for retrieval: {a} → {b} recall is {plain['value']:.2f}, and "
                f"{mixed['value']:.2f} where both share one index."
            )
        else:
            said += "A gap alone is no fault: read it with retrieval."
        yield said, evidence, ""
