"""Commands for what can be done without retraining: treat, and apply to what comes later."""

from __future__ import annotations

import json
import math
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.base import command, pair, say
from workbench.cli.sets import MODALITY, Data, Drop, DropMissing, IdColumn, ItemColumn, Keep
from workbench.errors import InputError, unknown

if TYPE_CHECKING:
    from workbench.treatments import Candidate, Treated

GOALS = "retrieval: each modality finds the other; mixed: in one index of all; classes; storage: bytes a vector"
ROLE = "key: as an index holds them; query: as it is asked (they differ where scores are treated)"


@command("Compare and change", "workbench treat pairs.parquet --goal mixed -o fix")
def treat(
    data: Data,
    goal: Annotated[str, typer.Option(help=GOALS)] = "retrieval",
    label: Annotated[str, typer.Option(help="column with the classes, for the goal classes")] = "",
    modalities: Annotated[str, typer.Option(help="which, comma between (default: all)")] = "",
    only: Annotated[list[str] | None, typer.Option(help="a treatment by name; repeat for several")] = None,
    id_: IdColumn = "",
    item: ItemColumn = "",
    drop_missing: DropMissing = False,
    drop: Drop = None,
    keep: Keep = None,
    modality: Annotated[list[str] | None, typer.Option(help=MODALITY)] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="write the best as a folder for 'apply'")] = None,
    choose: Annotated[str, typer.Option(help="write this one instead, by its name in the list")] = "",
    every: Annotated[
        bool, typer.Option("--all", help="print every storage, not only those that nothing beats")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the whole list to this file")] = None,
    html: Annotated[Path | None, typer.Option(help="write a page with the list and its figure to this file")] = None,
) -> None:
    """Say what can be done without retraining: every treatment that applies, measured on your data and ranked.

    Fitted on the train items and judged on the validation items; where there are no such splits, on two halves of the
    families. Test is not read. A change is a paired difference over the same queries, with its 95 % interval and Holm's
    p over the whole list; "nothing helps" is an answer.

    workbench treat runs/a --goal storage --html storage.html
    """
    from workbench.cli.sets import read_set
    from workbench.sets.formats import Reading
    from workbench.sets.listed import chosen
    from workbench.treatments import METHODS
    from workbench.treatments import treat as run_treat
    from workbench.treatments.base import BYTES, SCORES

    if choose and not out:
        raise InputError(f"--choose {choose}: say where to write it, -o FOLDER")
    plain = {x.partition(" (")[0] for x in choose.split(" + ")}
    if choose and not plain & set(METHODS) and goal != BYTES:
        raise unknown("treatment", choose, METHODS)
    asked = dict(pair(m, "--modality") for m in modality or [])
    es, said = read_set(data, Reading(asked, id_, drop_missing=drop_missing, item=item))
    es, left = chosen(es, drop, keep)
    said = [*said, *left]
    found = run_treat(es, goal, label=label, only=only or [], modalities=modalities.split(",") if modalities else [])
    for line in told(found, said, every):
        say(line)
    if json_file:
        from workbench.disk import write_text

        write_text(json_file, json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n")
        say(f"  wrote {json_file}")
    if html:
        from workbench.disk import write_text
        from workbench.treatments.shown import treated_page

        write_text(html, treated_page(found))
        say(f"  wrote {html}")
    given = " ".join(map(str, data))
    if out and (choose or found.winner):
        word = "replaced" if out.exists() else "wrote"
        say(f"  {word} {found.save(out, choose)}")
        for path in data:
            say(f"next  workbench apply {out} {path} -o {path.stem}-treated{path.suffix or '.parquet'}")
        if (found.named(choose) if choose else found.winner).kind == SCORES:  # type: ignore[union-attr]
            say("      and queries with --role query, for keys and queries differ")
    elif out:
        say(f"  {out} was not written: nothing helps. To ship one all the same: --choose NAME")
    elif found.winner:
        say(f"next  workbench treat {given} --goal {goal} -o fix")


def told(found: Treated, said: list[str], every: bool) -> list[str]:
    """The list as a terminal shows it."""
    from workbench.treatments.base import BYTES

    a, goal = found.about, found.goal
    shape = ", ".join(f"{m} {d}" for m, d in a["modalities"].items())
    lines = [f"{a['source']}   {a['items']:,} items · {shape}", *(f"  {s}" for s in said)]
    lines += [
        f"goal {goal.name}: {goal.unit}, {goal.says}; {found.judged_on}",
        "",
        *found.sentences,
        "",
    ]
    storage = goal.name == BYTES
    shown = found.candidates if every and storage else found.shown
    wide = max([len(c.label) for c in shown] + [len("as it is")]) + 2
    more = "" if storage else f"{'p':<9}{'gap':>6}{'unif.':>8}{'rank':>8}"
    lines.append(f"  {'':<{wide}}{goal.unit:<9}{'change [95 %]':<27}{more}{'hubs':>7}{'bytes':>8}{'µs':>7}")
    seen = list(found.seen.values())
    first = "" if storage else f"{'':<9}{_number(seen[0], 2):>6}{_number(seen[1], 2):>8}{_number(seen[2], 1):>8}"
    before = found.candidates[0].bytes_before if found.candidates else 0
    lines.append(
        f"  {'as it is':<{wide}}{found.value:<9.3f}{'':<27}{first}{_number(found.before.hubness, 2):>7}{before:>8,}"
    )
    lines += [_line(c, wide, storage) for c in shown]
    if storage and not every and len(found.candidates) > len(shown):
        lines.append(f"  {len(found.candidates) - len(shown)} more take as many bytes and find less: --all")
    if len(set(a["modalities"].values())) > 1:
        lines.append("  as it is: widths differ, so there is nothing to compare by, and chance is what it finds")
    if any(c.change == 0 and c.low < c.high for c in shown):
        lines.append("  a change of exactly 0 is given the bound that so many families allow")
    lines.append("  hubs: skewness of how often a key is found; bytes and µs: of one stored vector")
    key = lambda x: x["reason"]  # noqa: E731
    for why, group in groupby(sorted(found.left_out, key=key), key=key):
        lines.append(f"  left out: {', '.join(dict.fromkeys(x['name'] for x in group))}: {why}")
    return lines


def _line(c: Candidate, wide: int, storage: bool) -> str:
    seen = list(c.seen.values())
    more = "" if storage else f"{c.said_p:<9}{_number(seen[0], 2):>6}{_number(seen[1], 2):>8}{_number(seen[2], 1):>8}"
    hubs = _number(c.judgement.hubness, 2)
    return f"  {c.label:<{wide}}{c.value:<9.3f}{c.said_change:<27}{more}{hubs:>7}{c.bytes:>8,}{c.microseconds:>7.1f}"


def _number(x: float, digits: int) -> str:
    return f"{x:.{digits}f}" if math.isfinite(x) else "·"


@command("Compare and change", "workbench apply fix vectors.parquet -o treated.parquet")
def apply(
    folder: Annotated[Path, typer.Argument(help="a treatment: the folder that 'treat -o' wrote")],
    data: Annotated[Path, typer.Argument(help="Parquet, .npy, or a set")],
    out: Annotated[Path, typer.Option("-o", "--out", help="where to write it: of the same kind")],
    modality: Annotated[list[str] | None, typer.Option(help="a modality as name=column; repeat")] = None,
    role: Annotated[str, typer.Option(help=ROLE)] = "key",
) -> None:
    """Change vectors that come later as the judged ones were changed: a part at a time, in little memory.

    Everything else in a table stays as it is. Where the treatment is a storage, columns of codes are written.

    workbench apply fix text.npy -o asked.npy --role query
    """
    from workbench.treatments.apply import apply as run_apply
    from workbench.treatments.apply import opened
    from workbench.treatments.portable import ROLES

    if role not in ROLES:
        raise unknown("role", role, ROLES)
    t = opened(folder)
    count = run_apply(t, data, out, role=role, columns=dict(pair(m, "--modality") for m in modality or []))
    what = ", ".join(f"{n:,} of {m}" for m, n in count.items())
    say(f"{out}   {what}, {t.name}, as {'keys' if role == 'key' else 'queries'}")
