"""Commands that read a set: diagnose, compare, intervene."""

from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.base import command, pair, say, settings_for
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.sets.embeddings import EmbeddingSet
    from workbench.sets.formats import Reading

# said alike in every command
SPLIT = "only the items of this split: train, validation or test"
LABEL = "column of the items with their classes, for the questions about them"
ITEM = "column that says which item a row belongs to: several captions, crops or templates of one"
DROP = "leave out rows that are NaN, infinite or zero, and ids that one file lacks; their modality is then missing"
MODALITY = "a modality as name=column, whatever it looks like; repeat, in order"
CAPTIONS = "modality with several vectors a row that are captions, not layers; repeat"
BITS = "column of bytes with eight dimensions each; repeat"
ID = "column that names every item once; several that do so together: batch,id"
SPLIT_MAP = "what a split is: restval=train; repeat"
LEAVE = "leave out the items that a file lists: a column id, or an id a line (.txt)"
KEEP = "only the items that a file lists"
SETTING = "a setting of what is made, as name=value; repeat"
# … and asked alike
Data = Annotated[list[Path], typer.Argument(help="a set, a run, or a file; several: side by side")]
IdColumn = Annotated[str, typer.Option("--id", help=ID)]
ItemColumn = Annotated[str, typer.Option(help=ITEM)]
DropMissing = Annotated[bool, typer.Option("--drop-missing", help=DROP)]
Drop = Annotated[Path | None, typer.Option(help=LEAVE)]
Keep = Annotated[Path | None, typer.Option(help=KEEP)]


@command("Look", "workbench diagnose pairs.parquet")
def diagnose(
    data: Annotated[
        list[Path],
        typer.Argument(help="a set, a run, or a file ('workbench catalog formats'); several: side by side"),
    ],
    every: Annotated[bool, typer.Option("--all", help="print every number, by the question it answers")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write every result and finding to this file")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="write a self-contained report page to this file")] = None,
    only: Annotated[list[str] | None, typer.Option(help="a diagnostic by name; repeat for several")] = None,
    parameter: Annotated[list[str] | None, typer.Option("-p", "--param", help="such as uniformity.t=3")] = None,
    split: Annotated[str, typer.Option(help=SPLIT)] = "",
    label: Annotated[str, typer.Option(help=LABEL)] = "",
    role: Annotated[list[str] | None, typer.Option(help="safe=ok,fine; repeat for unsafe and jailbreak")] = None,
    layer: Annotated[
        str, typer.Option(help="layer to read, where rows have layers (default: the last); all: a table of layers")
    ] = "",
    by: Annotated[str, typer.Option(help="a table of slices: the diagnostics within each value of this column")] = "",
    id_: IdColumn = "",
    item: ItemColumn = "",
    drop_missing: DropMissing = False,
    modality: Annotated[list[str] | None, typer.Option(help=MODALITY)] = None,
    captions: Annotated[list[str] | None, typer.Option(help=CAPTIONS)] = None,
    bits: Annotated[list[str] | None, typer.Option(help=BITS)] = None,
    split_map: Annotated[list[str] | None, typer.Option(help=SPLIT_MAP)] = None,
    relevance: Annotated[
        Path | None, typer.Option(help="a table of query id, key id and grade: retrieval by it, in every direction")
    ] = None,
    drop: Drop = None,
    keep: Keep = None,
    exact: Annotated[bool, typer.Option(help="never sample queries, however many rows")] = False,
    executor: Annotated[str, typer.Option(help="local, or dask: the same answer from a cluster")] = "local",
    scheduler: Annotated[str, typer.Option(help="address of a Dask scheduler (default: start one here)")] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto")] = "auto",
) -> None:
    """Say what is wrong with paired embeddings, and what is not.

    Prints what was read, the verdict, the doctor's sentences with what to do, and the headline numbers with their
    95 % intervals beside what chance gives; --all prints every number.

    workbench diagnose image.npy text.npy metadata.csv

    workbench diagnose pairs.parquet --by group --only recall_at_1

    workbench diagnose states/ --layer all --label role --role safe=ok --role unsafe=bad --role jailbreak=adv
    """
    from workbench.report import slices as tables
    from workbench.report.diagnose import diagnose as run_diagnose
    from workbench.sets.formats import Reading
    from workbench.sets.listed import chosen

    asked = dict(pair(m, "--modality") for m in modality or [])
    splits = dict(pair(s, "--split-map") for s in split_map or [])
    reading = Reading(asked, id_, "", drop_missing, tuple(captions or ()), tuple(bits or ()), splits, item)
    es, said = read_set(data, reading)
    es, left = chosen(es, drop, keep)
    said += left
    es = es.split(split) if split else es
    roles = {k: v.split(",") for k, _, v in (r.partition("=") for r in role)} if role else None
    settings: dict[str, Any] = {"params": _params(parameter), "exact": exact, "device": device}
    settings |= {"label": label or None, "roles": roles, "executor": executor, "scheduler": scheduler or None}
    if relevance is not None:
        _by_relevance(es, relevance, json_file)
        return
    if by or layer == "all":
        if html or (by and layer == "all"):
            raise InputError("--by and --layer all each print one table: leave out --html, and one of the two")
        frame = tables.slices(es, by, only=only or None, **settings) if by else tables.layers(es, only=only, **settings)
        _print_table(frame, by or "layer")
        if json_file:
            from workbench.disk import write_text

            write_text(json_file, frame.to_json(orient="records", indent=1) + "\n")
            say(f"  wrote {json_file}")
        return
    report = run_diagnose(es, only=only or None, layer=_whole(layer, "--layer"), **settings)
    from workbench.cli import show
    from workbench.report.finding import verdict

    kept = {"--split": split, "--label": label, "--layer": layer, "--id": id_, "--item": item}
    words = [*map(str, data), *(f"{k} {v}" for k, v in kept.items() if v), *(f"--role {x}" for x in role or [])]
    words += [*(f"--only {x}" for x in only or []), *(f"-p {x}" for x in parameter or [])]
    words += ["--drop-missing"] if drop_missing else []
    words += [f"--{option} {x}" for option, x in (("drop", drop), ("keep", keep)) if x]
    for option, given in (("modality", modality), ("captions", captions), ("bits", bits), ("split-map", split_map)):
        words += [f"--{option} {x}" for x in given or []]
    if every or only:
        judged = "not judged: the doctor reads all of a report, which --only cuts" if only else verdict(report.findings)
        lines = [show.read(report, said), *(f"  {s}" for s in said), "", judged, *show.findings(report)]
        lines += show.everything(report)
    else:
        lines = show.summary(report, es.items, said, " ".join(words))
    for line in lines:
        say(line)
    if json_file:
        report.to_json(json_file)
        say(f"  wrote {json_file}")
    if html:
        from workbench.disk import write_text
        from workbench.views.page import report_page

        write_text(html, report_page(report, es.items))
        say(f"  wrote {html}")


def _by_relevance(es: EmbeddingSet, table: Path, json_file: Path | None) -> None:
    """Print retrieval by a table of relevance in every direction."""
    from workbench.report.relevance import by_relevance

    found = {f"{a} → {b}": by_relevance(es, table, query=a, key=b) for a, b in permutations(es.modalities, 2)}
    for direction, frame in found.items():
        say(f"{direction}   {int(frame['queries'].iloc[0]):,} queries")
        for name, row in frame.iterrows():
            reach = f"[{row['low']:.3f}, {row['high']:.3f}]" if math.isfinite(row["low"]) else ""
            say(f"  {name:<22}{row['value']:.3f} {reach}".rstrip())
    if json_file:
        from workbench.disk import write_text

        plain = {d: json.loads(f.to_json(orient="index")) for d, f in found.items()}
        write_text(json_file, json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
        say(f"  wrote {json_file}")


def read_set(paths: list[Path], reading: Reading) -> tuple[EmbeddingSet, list[str]]:
    """One set of the paths that a person gave, and what was assumed on the way, in plain words."""
    from workbench.sets.formats import load_aloud, load_together
    from workbench.sets.formats.ids import repeated

    es, said = load_together(paths, reading) if len(paths) > 1 else load_aloud(paths[0], reading)
    if reading.item:
        rows = max(len(es.item_of_row(m)) for m in es.modalities)
        said.append(f"{rows:,} rows of {len(es):,} items, by column {reading.item}")
    else:
        said += repeated(es)
    lost = {m: int((~has).sum()) for m, has in es.layout.has.items() if not bool(has.all())}
    said += [f"{m} is missing for {n:,} of {len(es):,} items" for m, n in lost.items()]
    return es, said


def _params(given: list[str] | None) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for text in given or []:
        name, _, value = text.partition("=")
        diagnostic, _, key = name.partition(".")
        if not (diagnostic and key and value):
            raise InputError(f"-p {text}: say it as diagnostic.parameter=value, such as uniformity.t=3")
        out.setdefault(diagnostic, {})[key] = value
    return out


def _whole(text: str, option: str) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{option} {text}: give a whole number, or all") from None


def _print_table(frame: Any, by: str) -> None:
    from workbench.views.document import band, number
    from workbench.views.figures import scope

    say(f"{by:<20}{'diagnostic':<28}{'of':<28}{'value':<26}{'null':<22}n")
    for r in frame.to_dict("records"):
        start = f"{str(r[by])[:18]:<20}{r['name']:<28}{scope(r):<28}"
        if not math.isfinite(r["value"]):
            say(f"{start}– {r['reason'] or ''}")
            continue
        value = number(r["value"]) + (f" [{number(r['low'])}, {number(r['high'])}]" if math.isfinite(r["low"]) else "")
        say(f"{start}{value:<26}{band(r):<22}{r['n_query']:,} of {r['n_gallery']:,}")


@command("Data", "workbench check set")
def check(
    data: Annotated[list[Path], typer.Argument(help="saved sets: folders with a manifest.json")],
) -> None:
    """Compare every file of saved sets with the digest that was kept of it, whatever their size."""
    from workbench.sets.embeddings import EmbeddingSet
    from workbench.sets.manifest import check_files, read_manifest

    damaged = 0
    for path in data:
        try:
            count = check_files(path, read_manifest(path), whatever_size=True)
            es = EmbeddingSet.load(path)
        except InputError as e:
            if len(data) == 1:
                raise
            damaged += 1
            say(f"damaged  {e}")
            continue
        told = f"{count} files as they were saved" if count else "saved before digests were kept: save it again"
        say(f"{path}: {told}; {len(es):,} items, fingerprint {es.fingerprint}")
    if damaged:
        raise InputError(f"{damaged} of {len(data)} sets are not as they were saved")


@command("Compare and change", "workbench compare runs/a runs/b --by group")
def compare(
    a: Annotated[Path, typer.Argument(help="a set or a run")],
    b: Annotated[Path, typer.Argument(help="another, of the same items")],
    seed: Annotated[
        list[Path] | None, typer.Option(help="a set that differs from A by its seed alone; repeat: they set the floor")
    ] = None,
    by: Annotated[str, typer.Option(help="a column of the items: where B wins and loses")] = "",
    items: Annotated[Path | None, typer.Option(help="write both ranks of every item to this CSV file")] = None,
    split: Annotated[str, typer.Option(help=SPLIT)] = "",
) -> None:
    """Say whether B is really better than A: paired differences over the same items, and how alike the spaces are."""
    from workbench.report.comparison import compare as run_compare
    from workbench.sets.formats import load
    from workbench.views.document import number

    sets = [load(p) for p in (a, b, *(seed or []))]
    sets = [s.split(split) for s in sets] if split else sets
    found = run_compare(sets[0], sets[1], by=by or None, seeds=sets[2:])
    say(f"A {a}\nB {b}   {found.about['items']:,} items in both\n")
    for sentence in found.sentences:
        say(f"  {sentence}")
    say("\nHow alike the spaces are (by chance: items shuffled)")
    for r in found.shared.to_dict("records"):
        null = f"by chance {number(r['null_low'])} … {number(r['null_high'])}"
        say(f"  {r['name']:<16}{r['modality']:<14}{number(r['value']):<10}{null}")
    if by:
        say(f"\nB minus A, recall at 1, by {by}")
        for r in found.slices.sort_values("value").to_dict("records"):
            change = f"{r['value']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]"
            say(f"  {str(r[by])[:24]:<26}{' → '.join(r['modalities']):<24}{change:<26}n {r['n']:<8}{r['verdict']}")
    if items:
        from workbench.disk import write_text

        write_text(items, found.items.to_csv(index=False))
        say(f"\n  wrote {items}")


@command("Compare and change", "workbench intervene runs/a shift --set share=0.5")
def intervene(
    data: Annotated[Path, typer.Argument(help="a set or a run")],
    name: Annotated[str, typer.Argument(help="one of 'workbench catalog interventions', such as shift")],
    setting: Annotated[list[str] | None, typer.Option("--set", help=SETTING)] = None,
    modalities: Annotated[str, typer.Option(help="which, comma between (default: all)")] = "",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="save the changed set here")] = None,
) -> None:
    """Change a space and see what that changes: fitted on the train items, judged on the validation items.

    Where there are no such splits, one half of the families is fitted and the other half judged. Test is not read.
    """
    from workbench.interventions import named
    from workbench.sets.formats import load
    from workbench.views.document import number

    es = load(data)
    change = named(name, **settings_for(named, dict(pair(text, "--set") for text in setting or [])))
    chosen = modalities.split(",") if modalities else list(es.modalities)
    have = set(es.items["split"]) if "split" in es.items else set()
    if {"train", "validation"} <= have:
        train, probe = es.split("train"), es.split("validation")
    else:
        train, probe = es.take(es.halves == 0), es.take(es.halves == 1)
    table = change.compare(train, probe, *chosen)
    say(f"{change!r} on {', '.join(chosen)}: fitted on {len(train):,} items, judged on {len(probe):,}\n")
    say(f"  {'diagnostic':<28}{'of':<28}{'before':<12}{'after':<12}change")
    for (diagnostic, scope), r in table.iterrows():
        before, after = r["before", "value"], r["after", "value"]
        if math.isfinite(before) and math.isfinite(after) and abs(after - before) > 1e-9:
            say(f"  {diagnostic:<28}{' '.join(scope):<28}{number(before):<12}{number(after):<12}{after - before:+.3g}")
    if out:
        say(f"\n  wrote {change.fit(train, *chosen).apply(es).save(out)}")
