"""The command line: demo, diagnose, train, report, serve, catalog. Bad input is one sentence and exit 2."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="See what training did to a multimodal embedding space.\n\nStart with: workbench diagnose pairs.parquet",
)


def say(text: str = "") -> None:
    typer.echo(text)


@app.command()
def diagnose(
    data: Annotated[Path, typer.Argument(help="a set: folder, .parquet, .npz, .safetensors, folder of .npy, or a run")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write every result and finding to this file")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="write a self-contained report page to this file")] = None,
    only: Annotated[list[str] | None, typer.Option(help="a diagnostic by name; repeat for several")] = None,
    parameter: Annotated[list[str] | None, typer.Option("-p", "--param", help="such as uniformity.t=3")] = None,
    split: Annotated[str, typer.Option(help="only the items of this split")] = "",
    label: Annotated[str, typer.Option(help="column of the items that roles refer to")] = "",
    role: Annotated[list[str] | None, typer.Option(help="safe=ok,fine; repeat for unsafe and jailbreak")] = None,
    layer: Annotated[int | None, typer.Option(help="layer to read, where rows have layers (default: the last)")] = None,
    exact: Annotated[bool, typer.Option(help="never sample queries, however many rows")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto")] = "auto",
) -> None:
    """Read paired embeddings and say what is wrong with them, and what is not.

    Prints the doctor's sentences, then the numbers that matter, each with its 95 % interval and its null.
    """
    from workbench.diagnostics.suite import diagnose as run_diagnose
    from workbench.formats import load

    es = load(data)
    es = es.split(split) if split else es
    roles = {k: v.split(",") for k, _, v in (r.partition("=") for r in role)} if role else None
    report = run_diagnose(
        es,
        only=only or None,
        label=label or None,
        roles=roles,
        params=_params(parameter),
        layer=layer,
        exact=exact,
        device=device,
    )
    _print(report)
    if json_file:
        report.to_json(json_file)
        say(f"  wrote {json_file}")
    if html:
        from workbench.report import write_text
        from workbench.views.page import report_page

        write_text(html, report_page(report, es.items))
        say(f"  wrote {html}")
    if not (json_file or html):
        say(f"  next  workbench diagnose {data} --html report.html      workbench report {data}")


def _params(given: list[str] | None) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for text in given or []:
        name, _, value = text.partition("=")
        diagnostic, _, key = name.partition(".")
        if not (diagnostic and key and value):
            raise InputError(f"-p {text}: say it as diagnostic.parameter=value, such as uniformity.t=3")
        out.setdefault(diagnostic, {})[key] = value
    return out


def _print(report: Any) -> None:
    from workbench.doctor import MARKS
    from workbench.report import HEADLINES
    from workbench.views.figures import subject
    from workbench.views.page import number

    a = report.about
    shape = ", ".join(f"{m} {v['rows']:,}×{v['dimensions']}" for m, v in a["modalities"].items())
    say(f"{a['source']}   {a['items']:,} items · {shape} · paired by {a['pairing']} · unit rows\n")
    for f in report.findings:
        say(f"  {MARKS[f.severity]}  {f.sentence}")
        if f.next and f.severity != "info":
            say(f"     → {f.next}")
    say()
    matter = (*HEADLINES, "median_rank")
    shown = report.frame[report.frame["name"].isin(matter)] if len(report.frame) > len(matter) else report.frame
    last, silent = "", []
    for r in shown.to_dict("records"):
        if not math.isfinite(r["value"]):
            silent.append((r["name"], " ".join(r["modalities"]), r["reason"]))
            continue
        name = r["name"] if r["name"] != last else ""
        last = r["name"]
        value = number(r["value"])
        if math.isfinite(r["low"]):
            value += f" [{number(r['low'])}, {number(r['high'])}]"
        null = f"null {number(r['null_low'])} … {number(r['null_high'])}" if math.isfinite(r["null_low"]) else ""
        n = f"n {r['n_query']:,} of {r['n_gallery']:,}" + ("" if r["exact"] else " sampled")
        say(f"  {name:<20}{subject(r):<26}{value:<26}{null:<24}{n}")
    for why in dict.fromkeys(x[2] for x in silent):
        names = ", ".join(dict.fromkeys(x[0] for x in silent if x[2] == why))
        say(f"  not computed: {names} – {why}")
    say()


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="a recipe by name; 'workbench catalog recipes' lists them")],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder of the run")],
    data: Annotated[str, typer.Option(help="a set, or the name of a shipped one")] = "emoji",
    modalities: Annotated[str, typer.Option(help="which, in order, comma between; the first is the anchor")] = "",
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="such as temperature=0.05 or train.steps=500")
    ] = None,
    resume: Annotated[bool, typer.Option(help="go on from the last checkpoint")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto")] = "auto",
) -> None:
    """Train towers over a set; leaves metrics, snapshots of the probe and checkpoints in one folder."""
    from workbench.training.loop import train as run_train

    settings = {}
    for text in setting or []:
        key, mark, value = text.partition("=")
        if not mark:
            raise InputError(f"--set {text}: say it as name=value, such as temperature=0.05")
        settings[key] = value
    run = run_train(
        recipe,
        data=data,
        out=out,
        modalities=modalities.split(",") if modalities else None,
        resume=resume,
        device=device,
        **settings,
    )
    last = next(m for m in reversed(run.metrics) if "probe_recall_at_1" in m)
    say(f"{run.path}   step {last['step']}   loss {last['loss']:.3f}   probe R@1 {last['probe_recall_at_1']:.3f}")
    say(f"next  workbench report {run.path}      workbench serve {run.path}")


@app.command()
def report(
    data: Annotated[Path, typer.Argument(help="a set or a run")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="the executed notebook (default: beside the data)")
    ] = None,
    split: Annotated[str, typer.Option(help="of a run: validation or test; of a set: only these items")] = "",
    title: Annotated[str, typer.Option(help="heading of the report")] = "",
) -> None:
    """Execute the report notebook on a set or a run, and export it to one HTML file that opens anywhere."""
    from workbench import notebooks

    if not data.exists():
        raise InputError(f"{data}: no such file or folder")
    is_run = (data / "config.yaml").exists()
    out = out or (data / "reports" / f"{split or 'validation'}.ipynb" if is_run else Path(f"{data.stem}-report.ipynb"))
    page = notebooks.execute(
        notebooks.folder() / "report.ipynb", out, {"set": str(data.absolute()), "split": split, "title": title}
    )
    say(f"{out}\n{page}")


@app.command()
def serve(
    paths: Annotated[list[Path], typer.Argument(help="runs, or folders of runs")],
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 5006,
    show: Annotated[bool, typer.Option(help="open a browser")] = False,
) -> None:
    """Open the dashboard of one run or of several, on this machine only (127.0.0.1)."""
    from workbench.app.shell import serve as run_serve

    run_serve(paths, port=port, show=show)


@app.command()
def catalog(
    what: Annotated[str, typer.Argument(help="diagnostics or recipes")] = "diagnostics",
    as_json: Annotated[bool, typer.Option("--json", help="a list of objects")] = False,
) -> None:
    """List what there is: every diagnostic with its null and cost, every recipe with its paper."""
    from workbench.catalog import CATALOGS
    from workbench.catalog import catalog as rows
    from workbench.errors import unknown

    if what not in CATALOGS:
        raise unknown("catalog", what, CATALOGS)
    found = rows(what)
    if as_json:
        say(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for r in found:
        say(f"{r['name']}")
        say(f"    {r['summary']}")
        say("    " + " · ".join(f"{k} {v}" for k, v in r.items() if k not in ("name", "summary") and v))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="folder for runs and reports")] = Path("runs"),
    steps: Annotated[int, typer.Option(help="training steps of each run")] = 300,
    quick: Annotated[bool, typer.Option(help="a few steps only, to see that everything works")] = False,
) -> None:
    """Walk the whole way once on real data: load, train two recipes, diagnose, report, compare."""
    from workbench.demo import demo as run_demo

    run_demo(out, steps=20 if quick else steps)


def main() -> None:
    """Entry point: user errors are one sentence on stderr and exit 2; Ctrl-C ends with 130."""
    try:
        app(standalone_mode=False)
    except InputError as e:
        typer.echo(f"workbench: {e}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("workbench: interrupted; what was finished is kept", err=True)
        sys.exit(130)
    except typer.Exit as e:
        sys.exit(e.exit_code)
    except Exception as e:
        if hasattr(e, "format_message"):  # click's own usage errors
            typer.echo(f"workbench: {e.format_message()}", err=True)
            sys.exit(2)
        raise


if __name__ == "__main__":
    main()
