"""Every public definition says what it is for; what overrides a documented method need not say it again."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import house

INHERITED = {"forward", "after_step", "compute", "fit", "transform"}  # of torch, torchmetrics and scikit-learn
LONGEST = 25  # lines


def definitions(tree: ast.Module):
    """Public functions, classes and methods with their names, and for methods the bases of their class."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node, []
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            bases = [ast.unparse(b) for b in node.bases]
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner, bases


def documented_methods() -> set[str]:
    """Names of methods that some class of the package documents: an override of one inherits its docstring."""
    found = set(INHERITED)
    for file in house.modules().values():
        for name, node, _ in definitions(ast.parse(file.read_text())):
            if "." in name and ast.get_docstring(node):
                found.add(name.partition(".")[2])
    return found


METHODS = documented_methods()


@pytest.mark.parametrize("room", sorted({house.room(m) for m in house.modules()}))
def test_every_public_definition_says_what_it_is_for(room):
    silent = []
    for module, file in house.modules().items():
        if house.room(module) != room:
            continue
        for name, node, _ in definitions(ast.parse(file.read_text())):
            inherits = "." in name and name.partition(".")[2] in METHODS
            like = name.partition(".")[2] in ("scalars", "event", "close")  # of the protocol Tracker
            if not ast.get_docstring(node) and not inherits and not like:
                silent.append(f"{Path(file).relative_to(house.SOURCE)}: {name}")
    assert silent == []


def test_docstrings_of_public_definitions_are_short():
    long = []
    for module, file in house.modules().items():
        for name, node, _ in definitions(ast.parse(file.read_text())):
            lines = (ast.get_docstring(node) or "").partition(">>>")[0].strip().splitlines()
            if len(lines) > LONGEST:
                long.append(f"{module}.{name}: {len(lines)}")
    assert long == []


def test_every_file_begins_with_what_it_is():
    silent = [name for name, file in house.modules().items() if not ast.get_docstring(ast.parse(file.read_text()))]
    assert silent == []


def test_files_are_of_a_size_that_one_reads():
    long = {name: n for name, file in house.modules().items() if (n := len(file.read_text().splitlines())) > 400}
    assert long == {}
