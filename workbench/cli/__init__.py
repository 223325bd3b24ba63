"""The command line. Bad input is one sentence and exit 2.

May import: everything.
Open first: sets.py (diagnose, compare, intervene), base.py (what the commands share).
"""

from __future__ import annotations

import sys
from typing import Any

import typer

from workbench.cli import sets  # noqa: F401 - registers its commands, first in --help

# isort: split
from workbench.cli import lists  # noqa: F401

# isort: split
from workbench.cli import treatments  # noqa: F401

# isort: split
from workbench.cli import runs  # noqa: F401

# isort: split
from workbench.cli import advice  # noqa: F401

# isort: split
from workbench.cli import batches  # noqa: F401

# isort: split
from workbench.cli import formats  # noqa: F401

# isort: split
from workbench.cli import papers  # noqa: F401
from workbench.cli.base import app, examples
from workbench.errors import InputError

INTERRUPTED = 130


def main() -> None:
    """Entry point: user errors are one sentence on stderr and exit 2; Ctrl-C ends with 130."""
    # jsonschema, which notebooks need, would set up its check of international addresses: a second, and none needs it
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    try:
        code = app(standalone_mode=False, prog_name="workbench")
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except InputError as e:
        typer.echo(f"workbench: {e}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("workbench: interrupted; what was finished is kept", err=True)
        sys.exit(INTERRUPTED)
    except typer.Exit as e:
        sys.exit(e.exit_code)
    except Exception as e:
        if hasattr(e, "format_message"):  # click's own usage errors
            typer.echo(f"workbench: {usage_error(e)}", err=True)
            sys.exit(2)
        raise


def usage_error(e: Any) -> str:
    """What was wrong in the command line, how it goes, and a line that runs."""
    context = getattr(e, "ctx", None)
    said = e.format_message().rstrip(".")
    if context is None or context.info_name not in examples:
        return said
    usage = " ".join(context.get_usage().split()).removeprefix("Usage: ")
    missing = getattr(getattr(e, "param", None), "help", None)
    what = f": {missing}" if missing and said.startswith("Missing") else ""
    name = context.info_name
    return f"{said}{what}\n  usage    {usage}\n  such as  {examples[name]}\n  more     workbench {name} --help"
