"""The command line as tests call it: in this process, or in one of its own where that is what is looked at."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from unittest import mock

from workbench import cli


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run(*words, cwd=None) -> Done:
    """`workbench WORDS…` through its entry point, here: the exit code and both streams are those of a process."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["workbench", *map(str, words)]),
        contextlib.chdir(cwd or os.getcwd()),
    ):
        try:
            cli.main()
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else 1
    return Done(code, out.getvalue(), err.getvalue())


def run_process(*words, cwd=None, **settings) -> subprocess.CompletedProcess:
    """The same in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "workbench", *map(str, words)], capture_output=True, text=True, cwd=cwd, **settings
    )
