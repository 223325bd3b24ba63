"""The served application: which page a URL opens, and on which address."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from workbench.app.run_page import run_page
from workbench.app.runs_page import runs_page
from workbench.errors import InputError
from workbench.training.run import runs

ADDRESS = "127.0.0.1"
ACCENT = "#0072B2"


def application(paths: Sequence[Path]) -> Any:
    """A function that makes the page for one browser session: the table of runs, or the run that `?run=` names."""
    pn.extension("plotly", sizing_mode="stretch_width")

    def session() -> Any:
        found = runs(list(paths))
        asked = _asked()
        chosen = next((r for r in found if r.name == asked), None)
        if chosen is None and len(found) == 1 and asked is None:
            chosen = found[0]
        if chosen is None:
            title, body = "runs", runs_page(found, asked)
        else:
            title, body = chosen.name, run_page(chosen, alone=len(found) == 1)
        return pmui.Page(
            title=f"workbench – {title}",
            main=[body],
            theme_config={"palette": {"primary": {"main": ACCENT}}},
            theme_toggle=False,
        )

    return session


def _asked() -> str | None:
    values = pn.state.session_args.get("run", [])
    return values[0].decode(errors="replace") if values else None


def serve(paths: Sequence[Path], *, port: int, show: bool) -> None:
    """Serve until interrupted, on this machine only."""
    found = runs(list(paths))  # a folder without runs is said before a port is taken
    page = application(paths)
    print(f"{len(found)} run(s): {', '.join(r.name for r in found)}", flush=True)
    try:
        pn.serve(
            {"/": page},
            address=ADDRESS,
            port=port,
            show=show,
            title="workbench",
            verbose=True,
            websocket_origin=[f"{host}:{port}" for host in (ADDRESS, "localhost")] if port else None,
        )
    except OSError as e:
        raise InputError(f"port {port} on {ADDRESS} is not free ({e.strerror}); choose another with --port") from None
