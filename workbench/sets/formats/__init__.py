"""What people have, as an EmbeddingSet: one function a format, told by content and not only by name.

Nothing is ever unpickled. Tables are read batch by batch, so that `import_set` needs little memory for any size.
"""

from workbench.sets.formats.assemble import Reading
from workbench.sets.formats.bring_in import import_set, load_together
from workbench.sets.formats.kinds import kind_of
from workbench.sets.formats.load import as_set, is_saved, is_set, load, load_aloud, read, sets_in
from workbench.sets.formats.registry import READERS, WRITERS
from workbench.sets.formats.write import write

__all__ = [
    "READERS",
    "WRITERS",
    "Reading",
    "as_set",
    "import_set",
    "is_saved",
    "is_set",
    "kind_of",
    "load",
    "load_aloud",
    "load_together",
    "read",
    "sets_in",
    "write",
]
