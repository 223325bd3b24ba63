"""The command for what to train with: advise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.base import command, say
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.advice import Advised

LEGEND = (
    "[95 %]: where the gain on one new division of these items lies; p: that the mean gain is none, after Holm",
    "τ: temperature; gap … hubs: of the trained space, ↑ ↓ where it differs from the baseline's (p < 0.05, each alone)",
)
GOALS = (
    "retrieval: each modality finds the other; mixed: in one index of all; classes; compose: two ask for a third; "
    "missing: items that lack some"
)


@command("Train", "workbench advise emoji --modalities text,color --budget 5")
def advise(
    data: Annotated[str, typer.Argument(help="a set, or the name of a shipped one")],
    goal: Annotated[str, typer.Option(help=GOALS)] = "retrieval",
    label: Annotated[str, typer.Option(help="column with the classes, for the goal classes")] = "",
    modalities: Annotated[str, typer.Option(help="which, in order, comma between; the first is the anchor")] = "",
    only: Annotated[list[str] | None, typer.Option(help="a recipe by name; repeat for several")] = None,
    budget: Annotated[float, typer.Option(help="minutes, about")] = 5.0,
    steps: Annotated[int, typer.Option(help="steps of a full training")] = 400,
    workers: Annotated[int, typer.Option(help="processes; 0: as many as cores")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="write everything to this file")] = None,
) -> None:
    """Say which recipe to train with: those that fit your data, tried beside InfoNCE on them.

    Ranked by what the papers' experiments found, tried for few steps, the better ones for more, the last three again
    and again, each time with the items dealt anew into train and validation. Test is not read. "Nothing beats it here"
    is an answer. The interval says where the gain on one new split of your data lies.

    workbench advise pairs.parquet --goal classes --label category --budget 10
    """
    from workbench.advice import advise as run_advise

    if json_file and json_file.is_dir():
        raise InputError(f"{json_file} is a folder; --json names the file to write")
    found = run_advise(
        data,
        goal,
        label=label,
        modalities=[m.strip() for m in modalities.split(",")] if modalities else [],
        only=only or [],
        budget=budget,
        steps=steps,
        workers=workers or None,
    )
    for line in told(found):
        say(line)
    if json_file:
        from workbench.disk import write_text

        write_text(json_file, json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n")
        say(f"  wrote {json_file}")
    say(f"next  {found.command}")


def told(found: Advised) -> list[str]:
    """The advice as a terminal shows it."""
    from workbench.advice.aims import MOVED

    a = found.about
    shape = ", ".join(f"{m} {d}" for m, d in a["modalities"].items())
    lines = [
        f"{a['source']}   {a['items']:,} items outside of test · {shape}",
        *(f"  {s}" for s in found.said),
        f"goal {found.aim.name}: {found.aim.unit}, {found.aim.says}; {a['steps']} steps, {a['seconds']:.0f} s in all",
        "",
        *found.sentences,
        "",
    ]
    shown = [found.baseline, *found.finalists]
    wide = max(len(f.recipe) for f in shown) + 2
    head = "".join(f"{name.removeprefix('modality_').removeprefix('effective_'):>12}" for name in MOVED)
    lines.append(f"  {'':<{wide}}{'τ':<6}{found.aim.unit:<9}{'gain [95 %]':<26}{'p':<8}{head}{'time':>7}")
    for f in shown:
        plain = f is found.baseline
        gain, p = ("", "") if plain else (f.said_gain, f.said_p)
        beside = "".join(f"{f.said(name):>12}" for name in MOVED)
        time = "" if plain else f"×{f.seconds:.1f}"
        lines.append(f"  {f.recipe:<{wide}}{f.temperature:<6g}{f.value:<9.3f}{gain:<26}{p:<8}{beside}{time:>7}")
    lines += [f"  {s}" for s in LEGEND]
    lines += [f"  {f.recipe}: {f.candidate.reason}" for f in found.finalists]
    others = [r for r in found.tried if r not in {f.recipe for f in shown}]
    if others:
        lines.append(f"  tried for less: {', '.join(others)}")
    for why in dict.fromkeys(found.left_out.values()):
        names = [k for k, v in found.left_out.items() if v == why]
        lines.append(f"  not tried: {', '.join(names)}: {'' if why.startswith('no time') else 'needs '}{why}")
    return lines
