"""Commands that make lists people act on: suspects, slices, thresholds, drift."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.cli.base import command, say
from workbench.cli.sets import Data, Drop, DropMissing, IdColumn, ItemColumn, Keep

SHOWN = 5  # lines of a kind
KIND = "only this kind: wrong pair, leak, duplicate, false negative, outlier; repeat"


def _set(
    data: list[Path],
    id_: str = "",
    item: str = "",
    drop_missing: bool = False,
    drop: Path | None = None,
    keep: Path | None = None,
) -> Any:
    from workbench.cli.sets import read_set
    from workbench.sets.formats import Reading
    from workbench.sets.listed import chosen

    es, said = read_set(data, Reading({}, id_, drop_missing=drop_missing, item=item))
    es, left = chosen(es, drop, keep)
    said = [*said, *left]
    say(f"{es.source}   {len(es):,} items")
    for line in said:
        say(f"  {line}")
    say()
    return es


@command("Look", "workbench suspects pairs.parquet -o suspects")
def suspects(
    data: Data,
    id_: IdColumn = "",
    item: ItemColumn = "",
    drop_missing: DropMissing = False,
    drop: Drop = None,
    keep: Keep = None,
    kind: Annotated[list[str] | None, typer.Option(help=KIND)] = None,
    most: Annotated[int, typer.Option(help="lines of each kind to print")] = SHOWN,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="write the lists to this folder")] = None,
) -> None:
    """List the items to look at first: wrong pairs, leaks, duplicates, false negatives, outliers, each with its reason.

    -o leaves suspects.csv (all), drop.csv (for --drop of diagnose, import and train) and pairs.csv (for training).

    workbench train infonce --data pairs.parquet --drop suspects/drop.csv --set pairs=suspects/pairs.csv -o runs/b
    """
    from workbench.lists import suspects as find
    from workbench.lists.suspects import known

    known(kind or [])
    es = _set(data, id_, item, drop_missing, drop, keep)
    found = find(es, kinds=kind or [])
    for sentence in found.sentences:
        say(sentence)
    for name, part in found.frame.groupby("kind", sort=False):
        say(f"\n{name}")
        for r in part.head(most).to_dict("records"):
            other = f" · {r['other']}" if r["other"] else ""
            say(f"  {r['score']:<8.3f}{r['id']}{other}   {r['modalities']}: {r['reason']}")
        if len(part) > most:
            say(f"  and {len(part) - most:,} more: -o FOLDER writes them all, --most prints more")
    if out:
        given = " ".join(map(str, data))
        say(f"\n  wrote {found.save(out)}")
        if found.drop:
            say(f"next  workbench diagnose {given} --drop {out / 'drop.csv'}")


@command("Look", "workbench slices pairs.parquet -o weak.csv")
def slices(
    data: Data,
    id_: IdColumn = "",
    item: ItemColumn = "",
    drop_missing: DropMissing = False,
    drop: Drop = None,
    keep: Keep = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="write slice and id to this file")] = None,
) -> None:
    """Find where retrieval is lower than elsewhere: over all columns, pairs of them, and clusters; at most ten slices.

    Families are the units, and of the slices that are said one in twenty may be luck. For the numbers within each value
    of a column that you choose: diagnose --by COLUMN.

    workbench slices runs/a
    """
    from workbench.lists import weak_slices

    found = weak_slices(_set(data, id_, item, drop_missing, drop, keep))
    for sentence in found.sentences:
        say(sentence)
    say(f"  {found.about['tried']:,} slices tried, R@1 {found.about['value']:.3f} over all")
    if out:
        say(f"  wrote {found.save(out)}" if len(found.frame) else f"  {out} was not written: there is no weak slice")


@command("Look", "workbench thresholds pairs.parquet --coverage 0.95 --precision 0.9")
def thresholds(
    data: Data,
    id_: IdColumn = "",
    item: ItemColumn = "",
    drop_missing: DropMissing = False,
    drop: Drop = None,
    keep: Keep = None,
    coverage: Annotated[float, typer.Option(help="share of new queries whose match is among the answers")] = 0.95,
    precision: Annotated[float, typer.Option(help="share of accepted first answers that are right")] = 0.95,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="write the thresholds to this CSV file")] = None,
) -> None:
    """Say how many answers hold the match of a new query, and from which cosine the first answer may be trusted.

    Both with a guarantee over families that were not seen (conformal; learn then test), for galleries of this size.

    workbench thresholds runs/a --coverage 0.9
    """
    from workbench.lists import thresholds as find
    from workbench.lists.thresholds import shares

    shares(coverage=coverage, precision=precision)
    found = find(_set(data, id_, item, drop_missing, drop, keep), coverage=coverage, precision=precision)
    for sentence in found.sentences:
        say(sentence)
    say("\n  tenths of the queries by the cosine of their first answer, and how often it is right")
    for (a, b), part in found.calibration.groupby(["query", "key"], sort=False):
        say(f"  {a} → {b}   " + "  ".join(f"{r['score']:.2f} {r['right']:.0%}" for r in part.to_dict("records")))
    if out:
        say(f"  wrote {found.save(out)}")


@command("Compare and change", "workbench drift january.parquet june.parquet -o new.csv")
def drift(
    old: Annotated[Path, typer.Argument(help="a set")],
    new: Annotated[Path, typer.Argument(help="another, of other items")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="write the items of NEW that are unlike OLD")] = None,
) -> None:
    """Say whether two sets without common items come from one distribution: modality by modality, and their gaps.

    Two tests by permutation of families, what moved, and which new items are unlike anything in the old set. For sets
    of the same items: compare.

    workbench drift runs/a runs/b
    """
    from workbench.lists import drift as find
    from workbench.sets.formats import load

    found = find(load(old), load(new))
    for sentence in found.sentences:
        say(sentence)
    if out:
        none = f"  {out} was not written: no item of {new} is unlike all of {old}"
        say(f"  wrote {found.save(out)}" if len(found.items) else none)
