"""Commands for papers: list them, print one, put its claim to the test."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.base import command, say
from workbench.errors import InputError

# what the list gives programs of the last atlas; nothing of a paper that it did not run
FOUND = ("outcome", "verdict", "reason", "baseline", "mechanism", "effect", "low", "high", "p_corrected", "n")


@command("Papers", "workbench papers gram")
def papers(
    key: Annotated[str, typer.Argument(help="one paper, such as gram; without it, all")] = "",
    run: Annotated[bool, typer.Option("--run", help="put its claim to the test")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="seconds instead of minutes: shows that it runs, no verdict")
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(help="paired runs (split × seed), instead of 8, then 16, then 32 until more would not tell"),
    ] = None,
    data: Annotated[
        str, typer.Option(help="your own set in the place of the paper's: a path, or the name of a set")
    ] = "",
    label: Annotated[str, typer.Option(help="with --data, the column of classes")] = "",
    workers: Annotated[int, typer.Option(help="processes; 0: as many as cores")] = 0,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="write the evidence with every run, as JSON")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one object (or list) for programs")] = False,
) -> None:
    """The papers behind the recipes: what each claims, and whether it holds on small real data.

    workbench papers · workbench papers gram · workbench papers gram --run
    """
    from workbench.papers import catalogue, paper

    of_a_run = data or label or quick or out or workers or seeds is not None
    if not key:
        if run or of_a_run:
            raise InputError("which paper? say workbench papers KEY --run; 'workbench papers' lists them")
        from workbench.papers.verdicts import kept
        from workbench.papers.wording import NOT_YET

        last = kept()
        rows = [p.row() | {k: last.get(p.key, {}).get(k) for k in FOUND} for p in catalogue().values()]
        if as_json:
            say(json.dumps(rows, ensure_ascii=False, indent=1))
            return
        for topic in sorted({r["topic"] for r in rows}):
            say(topic)
            for r in (r for r in rows if r["topic"] == topic):
                own = "your data" if r["own_data"] else ""
                found = r["outcome"] or NOT_YET
                say(f"  {r['key']:<22} {found:<13} {own:<10} {textwrap.shorten(r['claim'], 90, placeholder=' …')}")
        say("\nnext  workbench papers gram   prints one; --run puts it to the test, with --data SET on your own set")
        return
    p = paper(key)
    if not run:
        if of_a_run:
            raise InputError(
                f"--data, --label, --quick, --seeds, --workers and --out belong to --run: workbench papers {key} --run"
            )
        if as_json:
            facts = p.row() | {k: getattr(p, k) for k in ("sure", "carrier", "code", "deviations", "data", "expected")}
            say(json.dumps(facts | {"control": p.control, "positive": p.positive}, ensure_ascii=False, indent=1))
            return
        _print(key)
        return
    if out and out.is_dir():
        raise InputError(f"{out} is a folder; --out names the JSON file to write")
    e = p.run(seeds=seeds, quick=quick, data=data or None, label=label, workers=workers or None)
    if out:
        e.save(out)
    if as_json:
        from workbench.disk import finite

        say(json.dumps(finite(e.to_dict()), ensure_ascii=False, indent=1))
        return
    d, c = e.difference, e.controlled
    say(f"{p.citation}\n{p.claim}\n")
    say(f"  {p.quantity}\n    {e.mean('baseline'):.4g} → {e.mean('mechanism'):.4g}")
    say(f"  gain          {d.mean:.4g}   [{d.low:.4g}, {d.high:.4g}]   worth having from {p.min_effect:g}")
    inside = "within" if e.equivalent else "not shown to be within"
    say(f"  control       {c.mean:.4g}   [{c.low:.4g}, {c.high:.4g}] ({c.level:.0%})   {inside} ±{p.equivalence:g}")
    say(f"  must move     {e.moved.mean:.4g}   [{e.moved.low:.4g}, {e.moved.high:.4g}]")
    for name, value in e.also.items():
        say(f"  {name}   {value:.4g}")
    say(f"\n{e.verdict}: {e.reason}   ({len(e.runs)} runs on {e.data}, {e.seconds:.0f} s)")


def _print(key: str) -> None:
    from workbench.papers import FORMS, paper
    from workbench.papers.verdicts import kept

    p = paper(key)
    say(f"{p.citation}\nform: {p.form} ({FORMS[p.form]})   mechanism: {p.sure}\n")
    rows = [
        ("claim", p.claim),
        ("carried by", p.carrier),
        ("must move", p.expected),
        ("control", p.control),
        ("positive control", p.positive),
        ("data", p.data),
        ("deviations", p.deviations),
        ("it may not show because", p.small),
        ("on your data", p.own.sentence if p.own else f"no: {p.alone}"),
    ]
    if (last := kept().get(key)) is not None:
        gain = f"gain {last['effect']:.3g} [{last['low']:.3g}, {last['high']:.3g}] over {last['n']} runs"
        moved = f"{last['baseline']:.4g} → {last['mechanism']:.4g}"
        rows.append(("last atlas", f"{last['verdict']}: {last['reason']}; {moved}, {gain}"))
        rows.append(("beside it", "; ".join(f"{k} {v:.3g}" for k, v in last["also"].items() if v is not None)))
    for name, text in rows:
        if text:
            say(textwrap.fill(text, 110, initial_indent=f"{name}: ", subsequent_indent="  "))
    say(f"\nnext  workbench papers {key} --run   or   workbench batch paper --set paper={key} -o out")
