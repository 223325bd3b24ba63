"""The map's modules as one: what a notebook, a page and an exported file load, made without a build.

The modules of `map/` import each other by lines like `import { a, b } from "./x.js";`, share one scope afterwards, and
so must not give two things one name; `map.js`, which exports the map, comes last.

>>> text = bundle()
>>> "import " in text.splitlines()[0], text.rstrip().splitlines()[-1]
(False, 'export default { render };')
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

MODULES = Path(__file__).parent / "map"
IMPORT = re.compile(r'^import \{([^{}]*)\} from "\./(\w+\.js)";\n', re.MULTILINE)
NAME = re.compile(r"^(export )?(?:async )?(?:const|let|var|function\*?|class) ([\w$]+)", re.MULTILINE)
DEFAULT = "export default "


@cache
def bundle(entry: Path = MODULES / "map.js") -> str:
    """One module of a module and all that it imports, each after what it needs."""
    texts = {name: (entry.parent / name).read_text(encoding="utf-8") for name in _order(entry, entry.name, ())}
    owner: dict[str, str] = {}
    exported = {name: {n for export, n in NAME.findall(text) if export} for name, text in texts.items()}
    parts = []
    for name, text in texts.items():
        for _, defined in NAME.findall(text):
            if defined in owner:
                raise ValueError(f"{name} and {owner[defined]} both define {defined}")
            owner[defined] = name
        for names, source in IMPORT.findall(text):
            if missing := {n for n in re.split(r"[,\s]+", names) if n} - exported[source]:
                raise ValueError(f"{name} imports {', '.join(sorted(missing))}, which {source} does not export")
        parts.append(_stripped(name, text, last=name == entry.name))
    return "\n".join(parts)


def _order(entry: Path, name: str, above: tuple[str, ...]) -> list[str]:
    """The files that a module needs, and itself after them."""
    if name in above:
        raise ValueError(f"modules import each other in a circle: {' → '.join([*above, name])}")
    found: list[str] = []
    for _, source in IMPORT.findall((entry.parent / name).read_text(encoding="utf-8")):
        found += [x for x in _order(entry, source, (*above, name)) if x not in found]
    return [*found, name]


def _stripped(name: str, text: str, last: bool) -> str:
    """A module without its imports and exports, but for the last one's `export default`."""
    text = IMPORT.sub("", text)
    text = re.sub(r"^export (?=(?:async |const |let |var |function|class ))", "", text, flags=re.MULTILINE)
    for line in re.findall(r"^(?:import|export)\b.*", text, re.MULTILINE):
        if not (last and line.startswith(DEFAULT)):
            raise ValueError(f"{name}: a form of import or export that is not understood: {line}")
    return text
