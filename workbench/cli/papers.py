"""Commands for papers: list them, print one, put its claim to the test."""

from __future__ import annotations

import inspect
import json
import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.base import command, say
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.papers.paper import Paper

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
    """The page of a paper: what it claims, what was found, how that was tested, and what of it there is for others."""
    from workbench.papers import FORMS, paper
    from workbench.papers.verdicts import kept
    from workbench.papers.wording import NOT_YET

    p, last = paper(key), kept().get(key)
    say(f"{p.citation}\n{FORMS[p.form]}; known {p.sure}\n")
    controls = ("", "") if last is None else _controls(last, p)
    own = f"yes, {p.own.sentence}: workbench papers {key} --run --data SET" if p.own else f"no: {p.alone}"
    rows = [("claim", p.claim), ("answer", f"{last['verdict']}: {last['reason']}" if last else NOT_YET)]
    if last is not None:
        rows.append(("gain", _gain(last, p)))
    rows += [
        (
            "compared",
            f"{inspect.getdoc(p.experiment) or ''} Of several settings that is taken which does best on "
            "validation items, for both alike.",
        ),
        (
            "measured",
            f"{p.quantity}, on test items; the claim says that it {'rises' if p.better == 'higher' else 'falls'}",
        ),
        ("data", p.data),
        ("must not move", p.control + controls[0]),
        ("must move", p.positive + controls[1]),
        ("reduced", p.deviations),
        ("at this size", p.small),
        ("in code", p.carrier),
        ("on your data", own),
    ]
    for name, text in rows:
        if text:
            whole = " ".join(text.split())
            say(textwrap.fill(whole, 114, initial_indent=f"{name:<15}", subsequent_indent=" " * 15))
    if last is not None and last["also"]:
        _beside(last["also"])
    again, paged = f"workbench papers {key} --run", f"workbench batch paper --set paper={key} -o out"
    say(f"\nnext  {again:<{len(paged)}}   runs it anew on this machine")
    say(f"      {paged}   the same as a page with maps and figures")


def _gain(last: Mapping[str, Any], p: Paper) -> str:
    """The numbers behind the answer."""
    found = f"{last['effect']:+.3g} [{last['low']:.3g}, {last['high']:.3g}] (95 %)"
    return (
        f"{last['baseline']:.4g} without the mechanism, {last['mechanism']:.4g} with it: a gain of {found} over "
        f"{last['n']} paired runs, each with a split and a start of its own. Said to be worth having before the first "
        f"run: {p.min_effect:g}"
    )


def _controls(last: Mapping[str, Any], p: Paper) -> tuple[str, str]:
    """What was seen of both controls; nothing where a run gave no number."""
    stays, moves = last["control"], last["positive"]
    if not all(math.isfinite(d[end]) for d in (stays, moves) for end in ("low", "high")):
        return "", ""
    inside = "within ±{:g}, as it must" if stays["equivalent"] else "not shown to stay within ±{:g}"
    out = "as it must" if moves["low"] > 0 else "not shown to move"
    said = [f"{d['difference']:+.3g} [{d['low']:.3g}, {d['high']:.3g}]" for d in (stays, moves)]
    return f" → {said[0]}, {inside.format(p.equivalence)}", f" → {said[1]}, {out}"


def _beside(also: Mapping[str, float | None]) -> None:
    """Numbers beside the quantity, on which the verdict does not stand: of both arms in columns, then the others."""
    arms = {k.rpartition(", ")[0] for k in also if k.endswith((", baseline", ", mechanism"))}
    alone = [k for k in also if k.rpartition(", ")[0] not in arms]
    wide = max(map(len, [*arms, *alone])) + 2
    head = f"{'without':>9}{'with':>9}" if arms else ""
    say(f"\nBeside it, without a verdict\n  {'':<{wide}}{head}".rstrip())
    for name in dict.fromkeys(k.rpartition(", ")[0] for k in also if k.rpartition(", ")[0] in arms):
        say(
            f"  {name:<{wide}}"
            + "".join(f"{_number(also.get(f'{name}, {arm}')):>9}" for arm in ("baseline", "mechanism"))
        )
    for name in alone:
        say(f"  {name:<{wide}}{_number(also[name]):>9}")


def _number(x: float | None) -> str:
    return "·" if x is None else f"{x:.3g}"
