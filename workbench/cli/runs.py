"""Commands that make runs and look at them: train, sweep, report, serve, demo, catalog."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.cli.base import command, pair, say, settings_for
from workbench.cli.sets import SETTING, SPLIT
from workbench.errors import InputError


@command("Train", "workbench train infonce --data emoji --modalities text,color -o runs/a")
def train(
    recipe: Annotated[str, typer.Argument(help="a recipe by name; 'workbench catalog recipes' lists them")],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder of the run")],
    data: Annotated[str, typer.Option(help="a set, or the name of a shipped one")] = "emoji",
    modalities: Annotated[str, typer.Option(help="which, in order, comma between; the first is the anchor")] = "",
    setting: Annotated[
        list[str] | None, typer.Option("--set", help=f"{SETTING}: temperature=0.05, train.steps=500")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="a YAML file of settings; --set overrides it")] = None,
    resume: Annotated[bool, typer.Option(help="go on from the last checkpoint")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto")] = "auto",
    devices: Annotated[int, typer.Option(help="processes that share each batch")] = 1,
    drop: Annotated[Path | None, typer.Option(help="train without the items that a file lists (its column id)")] = None,
    keep: Annotated[Path | None, typer.Option(help="train on those alone that a file lists")] = None,
) -> None:
    """Train towers over a set; leaves metrics, snapshots of the probe and checkpoints in one folder.

    workbench train gram --modalities text,color,sketch -o runs/a --set steps=500 --set objective.smoothing=0
    """
    from workbench.training.train import train as run_train

    settings = settings_for(run_train, _yaml(config) | dict(pair(text, "--set") for text in setting or []))
    settings |= {name: str(x) for name, x in (("leave_out", drop), ("keep", keep)) if x}
    run = run_train(
        recipe,
        data=data,
        out=out,
        modalities=modalities.split(",") if modalities else None,
        resume=resume,
        device=device,
        devices=devices,
        **settings,
    )
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return  # one rank speaks
    from workbench.sets.run_folder import RECALL

    last = run.looks[-1]
    say(f"{run.path}   step {last['step']}   loss {last['loss']:.3f}   probe R@1 {last[RECALL]:.3f}")
    say(f"next  workbench report {run.path}      workbench serve {run.path}")


def _yaml(file: Path | None) -> dict[str, Any]:
    """Settings from a file: flat, or in sections train: and objective:."""
    import yaml

    from workbench.disk import read_yaml

    if file is None:
        return {}
    try:
        found = read_yaml(file.read_text()) or {}
    except (OSError, yaml.YAMLError) as e:
        raise InputError(f"{file}: not readable as YAML ({str(e).splitlines()[0]})") from None
    if not isinstance(found, dict):
        raise InputError(f"{file}: needs settings by name, such as temperature: 0.05")
    flat: dict[str, Any] = {}
    for key, value in found.items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {str(key): value}
    return flat


@command("Train", "workbench sweep infonce siglip --grid temperature=0.05,0.1 --set steps=100 -o sweep")
def sweep(
    recipes: Annotated[list[str] | None, typer.Argument(help="recipes by name")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="folder of the runs and their index")] = Path("sweep"),
    every: Annotated[bool, typer.Option("--all", help="every recipe that fits the data")] = False,
    data: Annotated[str, typer.Option(help="a set, or the name of a shipped one")] = "emoji",
    modalities: Annotated[str, typer.Option(help="which, in order, comma between; the first is the anchor")] = "",
    grid: Annotated[list[str] | None, typer.Option(help="such as temperature=0.05,0.07; repeat for a grid")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help=f"{SETTING}, for all runs: steps=100")] = None,
    seeds: Annotated[int, typer.Option(help="runs of each cell")] = 3,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto")] = "auto",
) -> None:
    """Train a grid of recipes, settings and seeds, and compare how each moved the space. Finished runs are kept."""
    from workbench.sets.shipped import load_data
    from workbench.training import compatibility as fits
    from workbench.training import sweep as sweeps
    from workbench.views.page import sweep_page

    settings = settings_for(sweeps.sweep, dict(pair(text, "--set") for text in setting or []))
    chosen = modalities.split(",") if modalities else None
    names = list(recipes or [])
    if every:
        label = str(settings.get("label", settings.get("train.label", "")))
        names += [n for n in fits.fitting(load_data(data), chosen or (), label) if n not in names]
    cells: dict[str, list[str]] = {}
    for key, values in (pair(text, "--grid") for text in grid or []):
        cells.setdefault(key, []).extend(values.split(","))
    settings_for(sweeps.sweep, cells)
    found = sweeps.sweep(
        names, out=out, data=data, modalities=chosen, grid=cells, seeds=seeds, device=device, **settings
    )
    frame = sweeps.moved(found)
    from workbench.disk import write_text

    write_text(out / "index.html", sweep_page(frame))
    write_text(out / "moved.csv", frame.to_csv(index=False))
    say("\nLast look (change since the first [95 % over seeds])")
    moved = list(frame["name"].unique())
    say(f"{'run':<34}" + "".join(f"{n:<36}" for n in moved))
    for run, part in frame.groupby("run", sort=False):
        by = part.set_index("name")
        said = []
        for n in moved:
            r = by.loc[n]
            between = f" [{r['low']:+.2g}, {r['high']:+.2g}]" if math.isfinite(r["low"]) else ""
            said.append(f"{r['final']:.3g} ({r['change']:+.2g}{between})")
        say(f"{run:<34}" + "".join(f"{x:<36}" for x in said))
    say(f"\n{out / 'index.html'}")


@command("Train", "workbench export runs/a --to tensorboard")
def export(
    runs: Annotated[list[Path], typer.Argument(help="runs, or folders of runs")],
    to: Annotated[str, typer.Option(help="tensorboard, mlflow or wandb")] = "tensorboard",
    target: Annotated[
        str, typer.Option(help="folder of event files, MLflow tracking URI, or W&B project (default: inside the run)")
    ] = "",
    follow: Annotated[bool, typer.Option(help="of one run in training: go on until it has finished")] = False,
) -> None:
    """Send a run's log to TensorBoard, MLflow or Weights & Biases; a second time, only what is new.

    workbench export runs/a --to tensorboard

    workbench export runs/a --to mlflow --target http://localhost:5000 --follow
    """
    from workbench.training import exporters
    from workbench.training.run import runs as find_runs

    found = find_runs(runs)
    if follow and len(found) > 1:
        raise InputError(f"--follow watches one run, these are {len(found)}")
    for run in found:
        count, place = exporters.export(run, to, target=target, follow=follow)
        say(f"{run.path}   {count:,} new lines → {place}")


@command("Batch", "workbench report runs/a")
def report(
    data: Annotated[Path, typer.Argument(help="a set or a run")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="the executed notebook (default: beside the data)")
    ] = None,
    split: Annotated[str, typer.Option(help=f"{SPLIT}; of a run, validation by default")] = "",
    title: Annotated[str, typer.Option(help="heading of the report")] = "",
    selection: Annotated[str, typer.Option(help="only the items of a selection saved in the dashboard")] = "",
) -> None:
    """Execute the report notebook on a set or a run, and export it to one HTML file that opens anywhere."""
    from workbench.batch import notebooks
    from workbench.sets.run_folder import is_run

    if not data.exists():
        raise InputError(f"{data}: no such file or folder")
    of_run = is_run(data)
    kind = selection or split or "validation"
    out = out or (data / "reports" / f"{kind}.ipynb" if of_run else Path(f"{data.stem}-report.ipynb"))
    out = out.with_suffix(".ipynb") if out.suffix == ".html" else out
    given = {"data": str(data.absolute()), "split": split, "title": title, "selection": selection}
    page = notebooks.execute(notebooks.folder() / "report.ipynb", out, given)
    say(f"{out}\n{page}")


@command("Look", "workbench serve runs")
def serve(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="runs, folders of runs, or sets (default: runs/, else this folder)")
    ] = None,
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 5006,
    show: Annotated[bool, typer.Option(help="open a browser")] = False,
    address: Annotated[str, typer.Option(help="where to listen; others need a password")] = "127.0.0.1",
    oauth: Annotated[str, typer.Option(help="a provider that Panel knows, such as github; keys by PANEL_OAUTH_…")] = "",
    no_auth: Annotated[bool, typer.Option("--no-auth", help="let everybody in who reaches the address")] = False,
    origin: Annotated[list[str] | None, typer.Option(help="host:port that browsers may come from; repeat")] = None,
    split: Annotated[str, typer.Option(help="of runs: validation, or test, which is counted")] = "validation",
) -> None:
    """Open the dashboard of runs and sets, on this machine only unless --address says otherwise.

    WORKBENCH_PASSWORD=… workbench serve runs --address 0.0.0.0 --origin gpu-box:5006
    """
    from workbench.app.shell import serve as run_serve

    here = Path("runs") if Path("runs").is_dir() else Path()
    run_serve(
        paths or [here],
        port=port,
        show=show,
        address=address,
        oauth=oauth,
        no_auth=no_auth,
        origins=origin or [],
        split=split,
    )


@command("Look", "workbench mcp runs")
def mcp(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="runs, folders of runs, or sets (default: runs/, else this folder)")
    ] = None,
    split: Annotated[str, typer.Option(help="of runs: validation, or test, which is counted")] = "validation",
) -> None:
    """Answer agents over the Model Context Protocol on stdin and stdout: findings, numbers, worst pairs, lists, maps.

    Read-only but for selections that are saved. Needs pip install 'workbench[mcp]'; in a client's configuration:

    {"mcpServers": {"workbench": {"command": "workbench", "args": ["mcp", "/path/to/runs"]}}}
    """
    from workbench.app.agents import server

    here = Path("runs") if Path("runs").is_dir() else Path()
    server(paths or [here], split).run()


@command("Help", "workbench about pairs.parquet")
def about(
    data: Annotated[
        list[Path] | None, typer.Argument(help="a set, a run or files: its sizes and fingerprint too")
    ] = None,
) -> None:
    """Print versions, machine and, of a set, sizes and fingerprint: what a report of a problem should hold."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from workbench.cli.sets import read_set

    def found(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    names = ("workbench", "torch", "numpy", "pandas", "scipy", "pyarrow", "panel", "plotly", "jupyterlab", "umap-learn")
    facts: dict[str, Any] = {n: found(n) for n in names}
    facts |= {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    if data:
        from workbench.sets.formats import Reading

        facts |= read_set(data, Reading())[0].describe()
    for name, value in facts.items():
        say(f"{name:<14} {value}")


@command("Help", "workbench demo")
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="folder for runs and reports")] = Path("runs"),
    steps: Annotated[int, typer.Option(help="training steps of each run")] = 300,
    quick: Annotated[bool, typer.Option(help="a few steps only, to see that everything works")] = False,
) -> None:
    """Walk the whole way once on real data: load, train two recipes, diagnose, report, compare."""
    from workbench.cli.demo import demo as run_demo

    run_demo(out, steps=20 if quick else steps)


@command("Help", "workbench catalog diagnostics")
def catalog(
    what: Annotated[
        str, typer.Argument(help="diagnostics, rules, interventions, fits, recipes or formats")
    ] = "diagnostics",
    as_json: Annotated[bool, typer.Option("--json", help="a list of objects")] = False,
) -> None:
    """List what there is: diagnostics with null and cost, the doctor's rules with what was measured, recipes."""
    from workbench.cli.catalog import CATALOGS
    from workbench.cli.catalog import catalog as rows
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
