"""What people have, as an EmbeddingSet: one function a format, told by content and not only by name.

Nothing is ever unpickled. Tables are read batch by batch, so that `import_set` needs little memory for any size.
"""

from workbench.sets.formats.assemble import Reading
from workbench.sets.formats.bring_in import import_set, load_together
from workbench.sets.formats.kinds import READERS, kind_of
from workbench.sets.formats.load import as_set, load, read
from workbench.sets.formats.write import WRITERS, write

__all__ = ["READERS", "WRITERS", "Reading", "as_set", "import_set", "kind_of", "load", "load_together", "read", "write"]
