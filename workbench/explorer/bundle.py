"""JavaScript modules as one: what a notebook, a page and an exported file load, made without a build.

The modules import each other by lines like `import { a, b } from "./x.js";`, share one scope afterwards, and so must
not give two things one name; the entry, such as `map/map.js`, comes last.

>>> text = bundle()
>>> "import " in text.splitlines()[0], text.rstrip().splitlines()[-1]
(False, 'export default { render: drawMap };')
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

MODULES = Path(__file__).parent / "map"
IMPORT = re.compile(r'^import \{([^{}]*)\} from "(\.{1,2}/[\w./]+\.js)";\n', re.MULTILINE)
NAME = re.compile(r"^(export )?(?:async )?(?:const|let|var|function\*?|class) ([\w$]+)", re.MULTILINE)
DEFAULT = "export default "


@cache
def bundle(entry: Path = MODULES / "map.js") -> str:
    """One module of a module and all that it imports, each after what it needs."""
    texts = {file: file.read_text(encoding="utf-8") for file in _order(entry.resolve(), ())}
    owner: dict[str, str] = {}
    exported = {file: {n for export, n in NAME.findall(text) if export} for file, text in texts.items()}
    parts = []
    for file, text in texts.items():
        for _, defined in NAME.findall(text):
            if defined in owner:
                raise ValueError(f"{file.name} and {owner[defined]} both define {defined}")
            owner[defined] = file.name
        for names, source in IMPORT.findall(text):
            from_ = _beside(file, source)
            if missing := {n for n in re.split(r"[,\s]+", names) if n} - exported[from_]:
                raise ValueError(
                    f"{file.name} imports {', '.join(sorted(missing))}, which {from_.name} does not export"
                )
        parts.append(_stripped(file.name, text, last=file == entry.resolve()))
    return "\n".join(parts)


def _beside(file: Path, source: str) -> Path:
    return (file.parent / source).resolve()


def _order(file: Path, above: tuple[Path, ...]) -> list[Path]:
    """The files that a module needs, and itself after them."""
    if file in above:
        raise ValueError(f"modules import each other in a circle: {' → '.join(f.name for f in [*above, file])}")
    found: list[Path] = []
    for _, source in IMPORT.findall(file.read_text(encoding="utf-8")):
        found += [x for x in _order(_beside(file, source), (*above, file)) if x not in found]
    return [*found, file]


def _stripped(name: str, text: str, last: bool) -> str:
    """A module without its imports and exports, but for the last one's `export default`."""
    text = IMPORT.sub("", text)
    text = re.sub(r"^export (?=(?:async |const |let |var |function|class ))", "", text, flags=re.MULTILINE)
    for line in re.findall(r"^(?:import|export)\b.*", text, re.MULTILINE):
        if not (last and line.startswith(DEFAULT)):
            raise ValueError(f"{name}: a form of import or export that is not understood: {line}")
    return text
