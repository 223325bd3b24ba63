"""Report notebooks: executed by papermill, exported to one self-contained HTML file."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from workbench.disk import write_text
from workbench.errors import InputError

KERNEL = "python3"


def folder() -> Path:
    """Where the shipped notebooks lie: inside an installed wheel, or notebooks/ of a checkout."""
    package = Path(__file__).parent.parent
    for place in (package / "notebooks", package.parent / "notebooks"):
        if place.is_dir():
            return place
    raise InputError(f"no notebooks beside {package}; install workbench again")


def execute(
    notebook: Path,
    out: Path,
    parameters: Mapping[str, Any],
    *,
    kernel: str = "",
    cwd: str = "",
    to: Sequence[str] = (),
    engine: str | None = None,
) -> Path:
    """Run a notebook with parameters through papermill; the executed copy and its HTML stand at `out`.

    `to`: further forms, such as pdf. A notebook that fails is kept as far as it came, and so is its HTML.
    """
    import warnings

    import papermill
    from jupyter_client.kernelspec import KernelSpecManager

    out.parent.mkdir(parents=True, exist_ok=True)
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"
    # the kernel talks to this process over the loopback only; its warning about that would drown the demo's table
    logging.getLogger("papermill").setLevel(logging.ERROR)
    page = _beside(out, ".html")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            papermill.execute_notebook(
                str(notebook),
                str(out),
                engine_name=engine,
                parameters=dict(parameters),
                kernel_name=kernel or KERNEL,
                # a notebook that was never opened in an editor does not say which language it is in
                language=KernelSpecManager().get_kernel_spec(kernel or KERNEL).language or "python",
                progress_bar=False,
                log_output=False,
                cwd=cwd or str(out.parent.absolute()),
            )
    except papermill.PapermillExecutionError as e:
        write_text(page, to_html(out))
        raise InputError(f"cell {e.exec_count} failed with {e.ename}: {e.evalue}") from None
    write_text(page, to_html(out))
    for kind in to:
        PRINTED[kind](page, _beside(out, f".{kind}"))
    return page


def _beside(out: Path, ending: str) -> Path:
    """The file beside a notebook with another ending; names such as temperature=0.01.ipynb have dots of their own."""
    return out.with_name(out.name.removesuffix(".ipynb") + ending)


def to_pdf(page: Path, out: Path) -> Path:
    """Print a page."""
    done = headless(page, "--no-pdf-header-footer", f"--print-to-pdf={out.absolute()}")
    if done.returncode or not out.exists():
        raise InputError(
            f"{page}: could not be printed ({(done.stderr.strip().splitlines() or ['no reason given'])[-1]})"
        )
    return out


def headless(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a browser without a window, once its scripts have drawn what they draw."""
    with tempfile.TemporaryDirectory(prefix="workbench-browser-") as profile:
        command = [browser(), "--headless", "--disable-gpu", "--virtual-time-budget=20000", *options]
        command += [f"--user-data-dir={profile}", page.absolute().as_uri()]
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium runs as root only without
        return subprocess.run(command, capture_output=True, text=True, timeout=300)


def browser() -> str:
    """Chromium or Chrome, wherever it is called so."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"):
        if found := shutil.which(name):
            return found
    raise InputError("a PDF is printed by Chromium or Chrome, and none is here; the HTML prints from any browser")


PRINTED = {"pdf": to_pdf}
WIDGET = "application/vnd.jupyter.widget-view+json"


def to_html(notebook: Path) -> str:
    """Prose and outputs of an executed notebook as one page; the code stays in the notebook."""
    import nbformat

    from workbench.views.document import drawing, page

    nb = nbformat.read(notebook, as_version=4)
    parts = []
    failed = any(o.output_type == "error" for c in nb.cells for o in c.get("outputs", []))
    if failed:
        given = nb.metadata.get("papermill", {}).get("parameters", {})
        said = ", ".join(f"{k} = {v!r}" for k, v in given.items())
        parts.append(f"<h1>{escape(notebook.stem)} failed</h1><p>{escape(said)}</p>")
    for cell in nb.cells:
        if any(t.startswith("papermill-error") for t in cell.metadata.get("tags", [])):
            continue  # its own markers, in markup that is for notebooks
        if cell.cell_type == "markdown":
            parts.append(_markdown(cell.source))
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if output.get("name") == "stdout":  # what goes to stderr is progress and warnings
                parts.append(f"<pre>{escape(output.text)}</pre>")
            if "application/vnd.plotly.v1+json" in data:
                figure = data["application/vnd.plotly.v1+json"]
                parts.append(drawing(json.dumps(figure), figure.get("layout", {}).get("height")))
            elif "text/html" in data:
                parts.append("".join(data["text/html"]))
            elif "image/png" in data:
                parts.append(f'<img alt="" src="data:image/png;base64,{data["image/png"]}">')
            elif output.output_type == "error":
                parts.append(f"<pre>{escape(output.ename)}: {escape(output.evalue)}</pre>")
            elif "text/plain" in data and WIDGET not in data:  # a widget's bar stands still in a page
                parts.append(f"<pre>{escape(''.join(data['text/plain']))}</pre>")
    return page(notebook.stem, "".join(parts))


def _markdown(source: str) -> str:
    import mistune

    return str(mistune.create_markdown(escape=True, plugins=["table"])(source))
