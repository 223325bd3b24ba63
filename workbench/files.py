"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from workbench.errors import InputError


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    if path.is_dir() or not path.name:
        raise InputError(f"{path}: is a folder; give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.writing")
    staging.write_text(text, encoding="utf-8")
    os.replace(staging, path)
