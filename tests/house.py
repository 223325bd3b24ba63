"""The ground plan, read from the source: who imports whom, and who may. `python -m tests.house` prints its table.

A room is a folder of `workbench/`, or a file beside them. Every import statement counts: those inside functions and
those for types alone as well.
"""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "workbench"
FACE = "__init__"  # `import workbench as wb`: may name everything, and stands above it
EXCEPTION = ("report", "views")  # Report.to_html and its rich form: a report draws itself


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, packages by their `__init__`."""
    found = {}
    for file in sorted(SOURCE.rglob("*.py")):
        parts = ["workbench", *file.relative_to(SOURCE).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(file: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative imports hide where a name comes from"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            while name and name not in known:
                name = name.rpartition(".")[0]
            if name:
                found.add(name)
    return found


def graph() -> dict[str, set[str]]:
    """Module → the modules it imports."""
    known = modules()
    return {name: imports(file, known) - {name} for name, file in known.items()}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else FACE


def arrows(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Room → the rooms that it imports."""
    found: dict[str, set[str]] = {}
    for module, targets in edges.items():
        found.setdefault(room(module), set()).update(room(t) for t in targets)
    return {a: b - {a} for a, b in found.items()}


def knots(edges: dict[str, set[str]]) -> list[list[str]]:
    """Circles: sets of nodes that reach each other (strongly connected components of two and more)."""

    def reach(start: str) -> set[str]:
        seen, stack = set(), list(edges.get(start, ()))
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack += edges.get(node, ())
        return seen

    far = {node: reach(node) for node in edges}
    loops = {tuple(sorted(m for m in far[n] if n in far.get(m, ()))) for n in edges if n in far[n]}
    return [list(knot) for knot in sorted(loops)]


def says(name: str) -> tuple[str, list[str], str]:
    """What a room's docstring says: what it is for, what it may import, which file to open first."""
    file = SOURCE / name / "__init__.py" if (SOURCE / name).is_dir() else SOURCE / f"{name}.py"
    doc = ast.get_docstring(ast.parse(file.read_text())) or ""
    paragraphs = {line.partition(": ")[0]: "" for line in doc.splitlines()}
    for key in ("May import", "Open first"):
        if key in paragraphs:
            text = doc.split(f"{key}: ", 1)[1]
            for end in ("\nOpen first: ", "\nMay import: ", "\n\n"):
                text = text.split(end, 1)[0]
            paragraphs[key] = " ".join(text.split())
    may = paragraphs.get("May import", "").rstrip(".").partition(";")[0]
    return doc.splitlines()[0], [x for x in may.replace(",", " ").split() if x], paragraphs.get("Open first", "")


def rooms() -> list[str]:
    """Rooms from the ground up: each after all that it imports."""
    edges = arrows(graph())
    edges[EXCEPTION[0]] = edges[EXCEPTION[0]] - {EXCEPTION[1]}
    placed: list[str] = []
    while len(placed) < len(edges):
        ready = sorted(r for r in edges if r not in placed and edges[r] <= set(placed))
        assert ready, f"a circle among {sorted(set(edges) - set(placed))}"
        placed += ready
    return placed


def table() -> str:
    """The ground plan as Markdown: rooms from the ground up, and the arrows between them."""
    edges = arrows(graph())
    lines = ["| room | what it is for | imports |", "|---|---|---|"]
    order = [r for r in rooms() if r not in (FACE, "__main__")]
    for name in order:
        to = ", ".join(f"`{r}`" for r in order if r in edges[name]) or "nothing"
        lines.append(f"| `{name}` | {says(name)[0]} | {to} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
