"""What the docs generate is up to date: tables of the registries, the page of files, the README's output and links."""

import importlib.util
import re
from pathlib import Path

import pytest

from benchmarks import advice, coverage, doctor, lists, nulls, treatments
from docs import field
from workbench.cli.catalog import CATALOGS, markdown

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SPEC = importlib.util.spec_from_file_location("docs_tables", ROOT / "docs" / "tables.py")
tables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tables)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("what", list(CATALOGS))
def test_tables_are_generated(what):
    assert tables.block(what, tables.page_of(what).read_text()) == markdown(what), "make tables"


def test_the_house_names_every_file_with_what_it_is_for():
    shown = tables.block("tree", (ROOT / "docs" / "house.md").read_text())
    assert shown == tables.tree(), "make tables"
    files = {str(f.relative_to(ROOT)) for f in (ROOT / "workbench").rglob("*.py")}
    rooms = {str(f.relative_to(ROOT)) for f in (ROOT / "workbench").glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\S+)` \| \S", shown, re.M)) == files - rooms


def test_the_output_that_the_readme_shows_is_what_the_command_prints():
    assert tables.block("output", README) == tables.output(), "make tables"


def test_the_table_of_nulls_is_what_was_measured():
    assert tables.block("nulls", (ROOT / "docs" / "nulls.md").read_text()) == nulls.table(), "make tables"


def test_the_table_of_intervals_is_what_was_measured():
    assert tables.block("coverage", (ROOT / "docs" / "coverage.md").read_text()) == coverage.table(), "make tables"


def test_the_table_of_confusions_is_what_was_measured():
    assert tables.block("confusion", (ROOT / "docs" / "doctor.md").read_text()) == doctor.confusion(), "make tables"


def test_the_readme_is_a_front_page():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_it_links_exists(page):
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        if not link.startswith("gallery/"):  # made by make docs
            assert (page.parent / link).exists(), link


@pytest.mark.parametrize(
    ("page", "name", "source"),
    [("lists", "kept", lists), ("treat", "tested", treatments), ("advise", "advised", advice)],
)
def test_what_was_tried_stands_in_the_docs(page, name, source):
    assert tables.block(name, (ROOT / "docs" / f"{page}.md").read_text()) == source.table(), "make tables"


def test_the_figure_of_the_field_is_that_of_the_kept_verdicts():
    assert (ROOT / "docs" / "atlas.svg").read_text() == field.drawn(), "make tables"


def test_no_recommended_treatment_failed_on_test_items():
    import json

    assert all(treatments.holds(r) for r in json.loads(treatments.OUT.read_text()))


def test_advice_is_no_worse_than_the_baseline_and_its_intervals_hold_the_gain_on_test_items():
    import json

    rows = json.loads(advice.OUT.read_text())
    assert len(rows) >= 10
    assert sum(map(advice.holds, rows)) >= 0.9 * len(rows)
    inside, every = advice.covered(rows)
    assert inside >= 0.9 * every
