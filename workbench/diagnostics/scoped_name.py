"""Names with a scope: one diagnostic on some modalities, as logs, tables of items and exports name it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from workbench.diagnostics.registry import diagnostics
from workbench.sets.fused import PLUS

DIRECTED, JOINT = "→", "·"  # modalities have neither in their names, and no space


@dataclass(frozen=True)
class ScopedName:
    """A diagnostic by name on a scope, the modalities that it was asked of; `str()` is its key in a log of metrics.

    >>> str(ScopedName("alignment", ("image", "text")))
    'alignment image text'
    >>> ScopedName("median_rank", ("image", "text")).column
    'median_rank image→text'
    >>> ScopedName.parse("mutual_knn image·text")
    ScopedName(name='mutual_knn', scope=('image', 'text'))
    """

    name: str
    scope: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.name, *self.scope))

    @property
    def arrow(self) -> str:
        """The scope alone: `image→text` for a direction, `image·text` else."""
        known = diagnostics().get(self.name)
        return (DIRECTED if known is not None and known.on == "direction" else JOINT).join(self.scope)

    @property
    def column(self) -> str:
        """The column of a report's items that holds its values."""
        return f"{self.name} {self.arrow}"

    @property
    def fused(self) -> bool:
        """Whether a part of its scope is a fused query."""
        return any(PLUS in m for m in self.scope)

    @classmethod
    def parse(cls, text: str) -> ScopedName:
        """From a key or a column; a word alone, such as `loss`, has no scope."""
        name, *scope = re.split(f"[ {DIRECTED}{JOINT}]", text)
        return cls(name, tuple(scope))

    @classmethod
    def of(cls, texts: Iterable[str], name: str) -> dict[ScopedName, str]:
        """Those of one diagnostic among many keys or columns, with the text of each."""
        found = {m: t for t in map(str, texts) for m in [cls.parse(t)]}
        return {m: t for m, t in found.items() if m.name == name and m.scope}
