"""Report notebooks: executed by papermill, exported to one self-contained HTML file."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.report import write_text

KERNEL = "python3"


def folder() -> Path:
    """Where the shipped notebooks lie: inside an installed wheel, or notebooks/ of a checkout."""
    package = Path(__file__).parent
    for place in (package / "notebooks", package.parent / "notebooks"):
        if place.is_dir():
            return place
    raise InputError(f"no notebooks beside {package}; install workbench again")


def execute(notebook: Path, out: Path, parameters: Mapping[str, Any]) -> Path:
    """Run a notebook with parameters through papermill; the executed copy and its HTML stand at `out`."""
    import warnings

    import papermill

    out.parent.mkdir(parents=True, exist_ok=True)
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"
    # the kernel talks to this process over the loopback only; its warning about that would drown the demo's table
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            papermill.execute_notebook(
                str(notebook),
                str(out),
                parameters=dict(parameters),
                kernel_name=KERNEL,
                progress_bar=False,
                log_output=False,
                cwd=str(out.parent.absolute()),
            )
    except papermill.PapermillExecutionError as e:
        raise InputError(f"{out}: cell {e.exec_count} failed with {e.ename}: {e.evalue}") from None
    write_text(out.with_suffix(".html"), to_html(out))
    return out.with_suffix(".html")


def to_html(notebook: Path) -> str:
    """Prose and outputs of an executed notebook as one page; the code stays in the notebook."""
    import nbformat

    from workbench.views.page import drawn, page

    nb = nbformat.read(notebook, as_version=4)
    parts = []
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            parts.append(_markdown(cell.source))
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "application/vnd.plotly.v1+json" in data:
                import plotly.graph_objects as go

                parts.append(drawn(go.Figure(data["application/vnd.plotly.v1+json"], skip_invalid=True)))
            elif "text/html" in data:
                parts.append("".join(data["text/html"]))
            elif "image/png" in data:
                parts.append(f'<img alt="" src="data:image/png;base64,{data["image/png"]}">')
            elif output.output_type == "error":
                parts.append(f"<pre>{escape(output.ename)}: {escape(output.evalue)}</pre>")
            elif "text/plain" in data:
                parts.append(f"<pre>{escape(''.join(data['text/plain']))}</pre>")
    return page(notebook.stem, "".join(parts))


def _markdown(source: str) -> str:
    import mistune

    return str(mistune.create_markdown(escape=True, plugins=["table"])(source))
