"""Where figures are written: between a mark of a page and the end of that part."""

from __future__ import annotations

import re
from pathlib import Path


def put(page: Path, mark: str, text: str) -> None:
    """Put text in the place of what stands behind a mark."""
    new = f"<!-- {mark} -->\n{text}\n<!-- end -->"
    page.write_text(re.sub(rf"<!-- {mark} -->.*?<!-- end -->", lambda _: new, page.read_text(), flags=re.S))
