"""What the commands share: the app they hang on, and how they say and read things."""

from __future__ import annotations

import typer

from workbench.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="See what training did to a multimodal embedding space.\n\nStart with: workbench diagnose pairs.parquet",
)


def say(text: str = "") -> None:
    """Print a line."""
    typer.echo(text)


def pair(text: str, option: str) -> tuple[str, str]:
    """An option given as name=value."""
    key, mark, value = text.partition("=")
    if not mark:
        raise InputError(f"{option} {text}: say it as name=value")
    return key, value
