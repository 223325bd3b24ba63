"""What the commands share: the app they hang on, how one is declared, and how they say and read things."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from workbench.errors import InputError
from workbench.version import __version__

PANELS = ("Look", "Compare and change", "Train", "Batch", "Data", "Papers", "Help")

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="See what training did to a multimodal embedding space.\n\nStart with: workbench diagnose pairs.parquet\n\n"
    "Completion in your shell: workbench --install-completion",
)
examples: dict[str, str] = {}  # by command, for its --help and for what is said where an argument is missing


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"workbench {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="and nothing else")] = (
        False
    ),
) -> None:
    """Where no command is named: the help, and no error."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def command(panel: str, example: str, name: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a command: its panel in the help, and a line that runs, with which its own help begins."""
    assert panel in PANELS

    def register(f: Callable[..., Any]) -> Callable[..., Any]:
        called = name or f.__name__
        examples[called] = example
        doc = inspect.cleandoc(f.__doc__ or "")
        text = f"`{example}`\n\n{doc}"
        return app.command(called, help=text, short_help=doc.splitlines()[0], rich_help_panel=panel)(f)

    return register


def say(text: str = "") -> None:
    """Print a line."""
    typer.echo(text)


def pair(text: str, option: str) -> tuple[str, str]:
    """An option given as name=value; raises `InputError` where it is not."""
    key, mark, value = text.partition("=")
    if not mark:
        raise InputError(f"{option} {text}: say it as name=value")
    return key, value


def settings_for(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as `**settings` of a function; raises `InputError` where a name is one that it is asked by otherwise."""
    own = inspect.signature(function).parameters
    for key in given:
        if key in own and own[key].kind is not inspect.Parameter.VAR_KEYWORD:
            raise InputError(f"{key} is no setting: it is asked for by an argument or an option of its own, see --help")
    return dict(given)
