"""A job: one notebook with one set of parameters, known by a hash of all that its result depends on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """One notebook with one set of parameters; its files stand at `out/label.ipynb`, `.html`, `.json` and `.log`."""

    notebook: str
    parameters: dict[str, Any]
    out: str
    label: str
    key: str
    kernel: str = ""
    cwd: str = ""
    to: tuple[str, ...] = ()

    def file(self, ending: str) -> Path:
        """The path of this job's file with this ending."""
        # not with_suffix: a label such as temperature=0.01 has dots of its own
        return Path(self.out) / f"{self.label}{ending}"

    @cached_property
    def results(self) -> list[Path]:
        """Files that a finished job has left."""
        return [self.file(ending) for ending in (".ipynb", ".html", *(f".{kind}" for kind in self.to))]

    def to_dict(self) -> dict[str, Any]:
        """The job as plain data, for the worker's process."""
        return asdict(self)
