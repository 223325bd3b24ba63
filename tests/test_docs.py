"""The documentation names what there is, and its examples are Python."""

import ast
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from workbench.cli import app

DOCS = Path(__file__).parent.parent / "docs"
NAMED = sorted({x for f in DOCS.glob("reference/*.md") for x in re.findall(r"^::: (\S+)", f.read_text(), re.M)})

PAGES = [*(DOCS.parent / f for f in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("name", NAMED)
def test_what_the_reference_names_is_there_and_says_what_it_is(name):
    try:
        found = import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        found = getattr(import_module(module), attribute)
    assert found.__doc__


def test_the_reference_has_every_public_name():
    import workbench as wb

    known = set(NAMED)
    for name in wb._HOME:
        value = getattr(wb, name)
        module = getattr(value, "__module__", "")
        where = {f"{module}.{name}", module, getattr(value, "__name__", "")}
        assert where & known or name in ("InputError", "diagnostics", "recipe"), name


def test_every_page_is_in_the_navigation_and_there():
    raw = (DOCS.parent / "mkdocs.yml").read_text()
    pages = set(re.findall(r"[\w/]+\.md", str(yaml.safe_load(raw)["nav"])))
    assert pages == {str(f.relative_to(DOCS)) for f in DOCS.rglob("*.md")}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS.parent)))
def test_examples_are_python_and_import_what_there_is(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("workbench"):
                for alias in node.names:
                    assert hasattr(import_module(node.module), alias.name)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    gallery = DOCS / "gallery"
    made = not gallery.exists()
    if made:  # the notebooks are executed by make docs; here only the pages are built
        gallery.mkdir()
        for name in re.findall(r"gallery/([\w.]+)", (DOCS / "gallery.md").read_text()):
            (gallery / name).write_bytes(b"")
    try:
        words = ["-m", "mkdocs", "build", "-q", "--strict", "-d", str(tmp_path / "site")]
        done = subprocess.run([sys.executable, *words], cwd=DOCS.parent, capture_output=True, text=True)
    finally:
        if made:
            for file in gallery.iterdir():
                file.unlink()
            gallery.rmdir()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "reference" / "diagnostics" / "index.html").stat().st_size > 50_000


def commands(text):
    """Every `workbench …` line of a page: those of fenced blocks, and those in the running text."""
    fence = r"^```[^\n]*\n(.*?)^```"
    for body in re.findall(fence, text, re.S | re.M):
        yield from re.findall(r"^(?:\$ )?((?:[A-Z_]+=\S+ )?workbench .*)$", body, re.M)
    for span in re.findall(r"`([^`]+)`", re.sub(fence, "", text, flags=re.S | re.M)):
        if re.match(r"(?:[A-Z_]+=\S+ )?workbench\s", span):
            yield " ".join(span.split())


def wrong(line):
    """What the command line of this package would object to, or nothing."""
    words = [w for w in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", w)]
    command, words = get_command(app), words[1:]
    while words and hasattr(command, "commands"):
        if words[0].startswith("-"):
            break
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    whole = "…" not in line
    try:
        given, rest, _ = command.make_parser(command.context_class(command)).parse_args([w for w in words if w != "…"])
    except Exception as e:
        return str(e) or type(e).__name__
    missing = [p.name for p in command.params if p.param_type_name == "argument" and p.required]
    if rest or (whole and words and any(not given.get(name) for name in missing)):
        return f"arguments: {rest or missing}"
    return None


WRITTEN = [p for p in PAGES if p.name != "house.md"]  # docstrings name commands in passing


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: str(p.relative_to(DOCS.parent)))
def test_every_command_on_a_page_is_one_that_there_is(page):
    assert [(line, why) for line in commands(page.read_text()) if (why := wrong(line))] == []


@pytest.mark.parametrize("line", ["workbench diagnoze x", "workbench diagnose x --htm y", "workbench compare a b c"])
def test_a_wrong_command_would_be_found(line):
    assert wrong(line)
    assert wrong("workbench diagnose x --html y.html") is None
