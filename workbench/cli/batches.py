"""Commands for many notebooks: batch; and kernel, for the kernels that they run on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.cli.base import app, command, pair, say
from workbench.errors import InputError, unknown


@command("Batch", "workbench batch report --grid data=runs/a,runs/b -o out")
def batch(
    notebook: Annotated[str, typer.Argument(help="a notebook, or a shipped one by name, such as report")],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder of the executed notebooks and their index")],
    grid: Annotated[list[str] | None, typer.Option(help="such as temperature=0.01,0.07; repeat for a grid")] = None,
    params: Annotated[Path | None, typer.Option(help="a YAML file of the grid: a list of values a parameter")] = None,
    listed: Annotated[
        list[Path] | None, typer.Option("--list", help="a file of parameters: one run, or a list of runs; repeat")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="a parameter of the notebook that all share, as name=value; repeat"),
    ] = None,
    workers: Annotated[int, typer.Option(help="notebooks at once; together they use no more threads than cores")] = 1,
    gpus: Annotated[str, typer.Option(help="such as 0,1,2,3: one notebook a GPU at once")] = "",
    kernel: Annotated[str, typer.Option(help="a Jupyter kernel by name; 'jupyter kernelspec list' shows them")] = "",
    timeout: Annotated[float, typer.Option(help="seconds after which a notebook is killed; 0: never")] = 0,
    to: Annotated[list[str] | None, typer.Option(help="also as pdf, where Chromium is there")] = None,
    dask: Annotated[str, typer.Option(help="address of a Dask scheduler whose workers see --out")] = "",
    resource: Annotated[list[str] | None, typer.Option(help="with --dask, what a notebook needs: GPU=1")] = None,
    force: Annotated[bool, typer.Option("--force/--resume", help="do finished work again, or leave it out")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check everything, list the jobs, run none")] = False,
) -> None:
    """Execute a notebook over a grid of parameters, in processes that cannot take each other down.

    workbench batch report --grid data=a.parquet,b.parquet --grid only=[],[modality_gap] -o out --workers 2

    What is finished is left out the next time; what failed, hung or was killed is done again. out/index.html compares.
    """
    from workbench.batch import Manifest, notebooks, parameters, plan
    from workbench.batch import batch as run_batch
    from workbench.batch.jobs import read_grid, read_runs
    from workbench.batch.run import check
    from workbench.batch.slots import slots

    shipped = notebooks.folder() / f"{notebook}.ipynb"
    source = shipped if shipped.is_file() and not Path(notebook).exists() else Path(notebook)
    if not source.exists() and not source.suffix:
        raise unknown("notebook", notebook, sorted(p.stem for p in notebooks.folder().glob("*.ipynb")))
    known = parameters(source)

    def read(text: str, option: str) -> tuple[str, Any]:
        name, value = pair(text, option)
        return name, known[name].read(value) if name in known else value

    values: dict[str, list[Any]] = read_grid(params) if params else {}
    for text in grid or []:
        name, joined = pair(text, "--grid")
        values.setdefault(name, []).extend(read(f"{name}={v}", "--grid")[1] for v in split(joined))
    given = dict(read(text, "--set") for text in setting or [])
    runs = read_runs(listed or [])
    if dry_run:
        jobs = plan(source, out, grid=values, runs=runs, given=given, kernel=kernel)
        check(kernel, to or (), timeout)
        slots(workers, [g for g in gpus.split(",") if g])
        manifest = Manifest(out)
        for job in jobs:
            say(f"{'done   ' if manifest.finished(job) else 'to do  '} {job.label}")
        return
    found = run_batch(
        source,
        out,
        grid=values,
        runs=runs,
        given=given,
        workers=workers,
        gpus=[g for g in gpus.split(",") if g],
        kernel=kernel,
        to=to or (),
        timeout=timeout,
        force=force,
        dask=dask,
        resources={k: _number(v) for k, v in (pair(r, "--resource") for r in resource or [])},
    )
    done = len(found.entries) - len(found.failed)
    kept = f", {len(found.skipped)} done before" if found.skipped else ""
    say(f"{done} done{kept}, {len(found.failed)} failed   {found.out / 'index.html'}")
    if found.failed:
        say(f"what each said stands in {found.out}/….log; the same command does them again")
    if not found.ok:
        raise typer.Exit(1)


def split(text: str) -> list[str]:
    """Values at their commas, except within brackets and quotes.

    >>> split("a,[b,c],'d,e'")
    ['a', '[b,c]', 'd,e']
    """
    parts, depth, quote = [""], 0, ""
    for c in text:
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        depth += (c in "[{(") - (c in ")}]") if not quote else 0
        if c == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += c
    return [p[1:-1] if len(p) > 1 and p[0] == p[-1] and p[0] in "\"'" else p for p in parts]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--resource …={text}: how much, as a number") from None


kernels = typer.Typer(no_args_is_help=True, help="Jupyter kernels of this Python, such as one that sees one GPU.")
app.add_typer(kernels, name="kernel", rich_help_panel="Batch")


@kernels.command()
def install(
    gpu: Annotated[str, typer.Option(help="which GPU the kernel sees, as CUDA_VISIBLE_DEVICES: 0, or 0,1")] = "",
    name: Annotated[str, typer.Option(help="default: workbench-gpu0 and so on")] = "",
    prefix: Annotated[str, typer.Option(help="install under this folder, such as a virtual environment")] = "",
) -> None:
    """Write a kernel spec, so that JupyterLab, papermill and 'workbench batch --kernel' find it.

    workbench kernel install --gpu 0
    """
    from workbench.batch.kernels import install_kernel

    made, place = install_kernel(name, gpu=gpu, prefix=prefix)
    say(f"{made}   {place}\nnext  workbench batch report --grid data=… -o out --kernel {made}")


@kernels.command("list")
def list_kernels() -> None:
    """The kernels that are there."""
    from jupyter_client.kernelspec import KernelSpecManager

    for name, place in sorted(KernelSpecManager().find_kernel_specs().items()):
        say(f"{name:<24} {place}")
