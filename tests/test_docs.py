"""The documentation names what there is, and its examples are Python."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).parent.parent / "docs"
NAMED = sorted({x for f in DOCS.glob("reference/*.md") for x in re.findall(r"^::: (\S+)", f.read_text(), re.M)})


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


@pytest.mark.parametrize("page", sorted((DOCS / "from").glob("*.md")), ids=lambda p: p.stem)
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
