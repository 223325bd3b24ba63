"""The JavaScript of the workspace and of the pages beside it, each as one module, for every face."""

from __future__ import annotations

from pathlib import Path

from workbench.explorer.bundle import bundle

HERE = Path(__file__).parent / "page"
MESSAGES = ("gesture", "asked", "clicked", "command", "act")  # what a page says


def module(name: str = "page") -> str:
    """The module of the workspace, or of a list."""
    return bundle(HERE / f"{name}.js")
