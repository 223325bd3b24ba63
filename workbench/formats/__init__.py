"""What people have, as an EmbeddingSet: one function a format, told by content and not only by name.

Nothing is ever unpickled. Tables are read batch by batch, so that `import_set` needs little memory for any size.
"""

from workbench.formats.load import READERS, Reading, as_set, import_set, kind_of, load, read
from workbench.formats.tables import parquet
from workbench.formats.write import WRITERS, write

__all__ = ["READERS", "WRITERS", "Reading", "as_set", "import_set", "kind_of", "load", "parquet", "read", "write"]
