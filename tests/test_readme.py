"""The README is true: its tables are those of the registries, and its tree names every file."""

import re
import subprocess
from pathlib import Path

import pytest

from workbench.cli.catalog import CATALOGS, markdown

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("what", list(CATALOGS))
def test_tables_are_generated(what):
    table = re.search(rf"<!-- {what} -->\n(.*?)\n<!-- end -->", README, re.S).group(1)
    assert table == markdown(what), f"write the table of {what} anew: workbench.cli.catalog.markdown({what!r})"


def test_the_tree_names_every_file():
    files = subprocess.run(
        ["git", "ls-files", "workbench", "notebooks"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tree = re.search(r"```tree\n(.*?)```", README, re.S).group(1)
    missing = [f for f in files.stdout.split() if Path(f).name != "__init__.py" and Path(f).name not in tree]
    assert missing == []


def test_every_file_it_links_exists():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
