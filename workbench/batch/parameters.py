"""The typed parameters of a notebook, read from the syntax tree of its `parameters` cell; nothing is executed.

papermill reads the cell line by line, which loses union types and cuts strings at a `#`.
"""

from __future__ import annotations

import ast
import importlib
import io
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workbench.disk import read_yaml
from workbench.errors import InputError, unknown

TAG = "parameters"
EVERY = {  # parameters whose value `all` in a grid stands for every one that there is
    "paper": ("workbench.papers.catalogue", "keys"),
    "recipe": ("workbench.objectives.recipes", "RECIPES"),
}
PLAIN = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict, "tuple": tuple}
MISSING = object()


@dataclass(frozen=True)
class Parameter:
    """One name of the cell: its type as written or as its default shows, its default, the comment beside it.

    >>> Parameter("temperature", "float | None", None).read("1e-2")
    0.01
    """

    name: str
    type: str
    default: Any
    comment: str = ""

    def read(self, text: str) -> Any:
        """A value given as text on the command line, by the declared type; `InputError` where it is no such value."""
        try:
            return _read(ast.parse(self.type, mode="eval").body if self.type else None, _texts(text))
        except ValueError:
            return self.check(_plain(text))

    def allows(self, value: Any) -> bool:
        """Whether a value fits the type; everything fits where there is none."""
        return not self.type or _allows(ast.parse(self.type, mode="eval").body, value)

    def check(self, value: Any) -> Any:
        """The value, if it fits the type; a whole number fits where a float is asked for."""
        if self.allows(value):
            return value
        about = f" ({self.comment})" if self.comment else ""
        such = ", such as [a, b]" if self.type.startswith("list") else ""
        raise InputError(f"parameter {self.name} is {self.type}{such}, not {value!r}{about}")


def parameters(notebook: str | Path) -> dict[str, Parameter]:
    """The parameters of a notebook by name, in order; empty where it has no cell tagged `parameters`."""
    source = next((c.source for c in load(notebook).cells if TAG in c.metadata.get("tags", [])), "")
    try:
        tree = ast.parse(source)
    except SyntaxError as e:
        raise InputError(f"{notebook}: its parameters cell is no Python (line {e.lineno}: {e.msg})") from None
    comments = {
        t.start[0]: t.string.lstrip("# ").strip()
        for t in tokenize.generate_tokens(io.StringIO(source).readline)
        if t.type == tokenize.COMMENT
    }
    found = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, kind, value = node.target.id, ast.unparse(node.annotation), node.value
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name, kind, value = node.targets[0].id, "", node.value
        else:
            continue
        default = _literal(value)
        if not kind and default is not MISSING and default is not None:
            kind = type(default).__name__ if type(default).__name__ in PLAIN else ""
        found[name] = Parameter(
            name, kind, None if default is MISSING else default, comments.get(node.end_lineno or 0, "")
        )
    return found


def every(name: str, values: Sequence[Any]) -> list[Any]:
    """The values of a parameter in a grid, `all` put for every paper or every recipe.

    >>> every("temperature", [0.1])
    [0.1]
    """
    if name not in EVERY or "all" not in values:
        return list(values)
    module, what = EVERY[name]
    found = getattr(importlib.import_module(module), what)
    names = list(found() if callable(found) else found)
    return list(dict.fromkeys(v for value in values for v in (names if value == "all" else [value])))


def load(notebook: str | Path) -> Any:
    """A notebook as nbformat reads it; raises `InputError` where the file is none."""
    import nbformat

    try:
        return nbformat.read(str(notebook), as_version=4)
    except FileNotFoundError:
        raise InputError(f"{notebook}: no such file") from None
    except Exception as e:  # nbformat has many ways to say that a file is no notebook
        raise InputError(f"{notebook}: not a notebook ({str(e).splitlines()[0][:120]})") from None


def checked(notebook: str | Path, known: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Given values, each checked against its parameter; a name that the notebook does not have is refused."""
    if given and not known:
        raise InputError(f"{notebook}: has no cell tagged 'parameters', so it takes none")
    out = {}
    for name, value in given.items():
        if name not in known:
            raise unknown(f"parameter of {Path(notebook).name}", name, known)
        out[name] = known[name].check(value)
    return out


def _literal(node: ast.expr | None) -> Any:
    try:
        return MISSING if node is None else ast.literal_eval(node)
    except ValueError:
        return MISSING  # made by a call; what it is, only the kernel knows


def _plain(text: str) -> Any:
    try:
        return read_yaml(text)
    except yaml.YAMLError:
        return text


def _texts(text: str) -> Any:
    """Lists and maps of texts, or the text: what each is, its type says."""
    try:
        found = yaml.load(text, yaml.BaseLoader) if text.strip()[:1] in ("[", "{") else text  # noqa: S506 - only texts
    except yaml.YAMLError:
        return text
    return found


NOTHING = ("", "None", "none", "null", "Null", "NULL", "~")


def _read(tree: ast.expr | None, found: Any) -> Any:
    """Texts as an annotation has them; `ValueError` where they do not fit."""
    match tree:
        case ast.Name(id="str") if isinstance(found, str):
            return found
        case ast.Constant(value=None) if isinstance(found, str) and found.strip() in NOTHING:
            return None
        case ast.BinOp(op=ast.BitOr()):
            return _first(_members(tree), found)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return _first([ast.Constant(None), inner], found)
        case ast.Subscript(value=ast.Name(id="Union"), slice=inner):
            return _first(_parts(inner), found)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            known = {str(c): c for c in map(_literal, _parts(choices))}
            if not isinstance(found, str) or found not in known:
                raise ValueError
            return known[found]
        case ast.Subscript(value=ast.Name(id="list"), slice=inner) if isinstance(found, list):
            return [_read(inner, v) for v in found]
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, inner])) if isinstance(found, dict):
            return {_read(key, k): _read(inner, v) for k, v in found.items()}
    value = _untyped(found)
    if tree is not None and not _allows(tree, value):
        raise ValueError
    return value


def _untyped(found: Any) -> Any:
    if isinstance(found, list):
        return [_untyped(v) for v in found]
    if isinstance(found, dict):
        return {k: _untyped(v) for k, v in found.items()}
    return _plain(found)


def _first(choices: Sequence[ast.expr], found: Any) -> Any:
    """The first member of a union that fits: nothing before all, text when nothing else does."""

    def late(tree: ast.expr) -> int:
        match tree:
            case ast.Constant(value=None):
                return 0
            case ast.Name(id="str"):
                return 2
        return 1

    for tree in sorted(choices, key=late):
        try:
            return _read(tree, found)
        except ValueError:
            continue
    raise ValueError


def _members(tree: ast.expr) -> list[ast.expr]:
    match tree:
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return [*_members(left), *_members(right)]
    return [tree]


def _allows(tree: ast.expr, value: Any) -> bool:
    """Whether a value fits an annotation; an annotation of an unknown kind allows everything."""
    match tree:
        case ast.Name(id=name) if name in PLAIN:
            if name == "float":
                return isinstance(value, int | float) and not isinstance(value, bool)
            return type(value) is PLAIN[name] or (name == "tuple" and isinstance(value, list))
        case ast.Constant(value=None):
            return value is None
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _allows(left, value) or _allows(right, value)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return any(type(c) is type(value) and c == value for c in map(_literal, _parts(choices)))
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return value is None or _allows(inner, value)
        case ast.Subscript(value=ast.Name(id="Union"), slice=inner):
            return any(_allows(part, value) for part in _parts(inner))
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return isinstance(value, list) and all(_allows(inner, v) for v in value)
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, inner])):
            return isinstance(value, dict) and all(_allows(key, k) and _allows(inner, v) for k, v in value.items())
        case _:
            return True


def _parts(tree: ast.expr) -> list[ast.expr]:
    return tree.elts if isinstance(tree, ast.Tuple) else [tree]
