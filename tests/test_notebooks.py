"""Every shipped notebook, executed with tiny parameters by papermill in a batch; what stays when it is exported."""

from __future__ import annotations

import json
import os

import nbformat
import pytest

import workbench as wb
from tests.browser import needs_browser, opened
from workbench.batch import Manifest, atlas, batch, parameters
from workbench.batch.notebooks import folder

SHIPPED = sorted(p.stem for p in folder().glob("*.ipynb"))
LONG = ("objectives", "sweep")  # that train a grid of runs each: make test-all


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A folder with two small sets."""
    root = tmp_path_factory.mktemp("notebooks")
    wb.testing.planted(items=80, gap=0.4).save(root / "a")
    wb.testing.planted(items=80, gap=0.2, seed=1).save(root / "b")
    return root


def given(root):
    """Tiny parameters for each notebook, with the recipes that are quickest to train."""
    a, b = str(root / "a"), str(root / "b")
    small = {"data": a, "modalities": ["image", "text"], "steps": 4}
    return {
        "report": {"data": a, "only": ["recall_at_1", "modality_gap", "median_rank"]},
        "compare": {"a": a, "b": b},
        "train": {"data": a, "steps": 4, "settings": {"batch": 16}, "out": str(root / "run")},
        "explore": {"data": a},
        "quickstart": {"out": str(root / "quick")},
        "objectives": small | {"recipes": ["infonce", "siglip"], "seeds": 2, "out": str(root / "objectives")},
        "paper": {"paper": "gram", "quick": True},
        "sweep": small | {"temperatures": [0.05, 0.5], "batches": [8, 16], "seeds": 1, "out": str(root / "sweep")},
    }


def run_each(names, root, out):
    """Each notebook once, and what it left."""
    for name in names:
        found = batch(folder() / f"{name}.ipynb", out, given=given(root)[name])
        assert found.ok, [e.error for e in found.failed]
    assert sorted(e.label for e in Manifest(out).entries()) == sorted(names)
    for name in names:
        page = (out / f"{name}.html").read_text()
        assert "Traceback" not in page
        assert len(page) > 20_000, name
        assert json.loads((out / f"{name}.json").read_text())["numbers"], name
    return out


@pytest.fixture(scope="module")
def executed(sets):
    """The notebooks that take seconds; each runs and hands on its numbers."""
    return run_each([n for n in SHIPPED if n not in LONG], sets, sets / "out")


def test_each_notebook_has_typed_commented_parameters_and_no_outputs():
    for name in SHIPPED:
        found = parameters(folder() / f"{name}.ipynb")
        assert found, name
        assert all(p.type and p.comment for p in found.values()), name
        for cell in nbformat.read(folder() / f"{name}.ipynb", as_version=4).cells:
            assert not cell.get("outputs"), name
            assert cell.get("execution_count") is None, name
            if cell.cell_type == "code":
                assert "def " not in cell.source, f"{name}: a notebook calls the package, it defines nothing"


def test_each_notebook_is_run_here(sets):
    assert sorted(given(sets)) == SHIPPED


@pytest.mark.slow
def test_each_long_notebook_runs_and_hands_on_its_numbers(sets):
    run_each(LONG, sets, sets / "long")


def test_the_comparison_is_that_of_the_package(executed):
    found = wb.compare(executed.parent / "a", executed.parent / "b")
    told = json.loads((executed / "compare.json").read_text())["numbers"]
    for r in found.paired.to_dict("records"):
        assert told[f"{r['name']} {' '.join(r['modalities'])}"]["value"] == pytest.approx(r["value"])


def test_a_paper_hands_on_what_an_atlas_is_made_of(executed):
    told = json.loads((executed / "paper.json").read_text())["about"]
    p = wb.paper("gram")
    assert (told["family"], told["form"], told["verdict"]) == (p.topic, p.form, "not judged")
    (row,) = atlas.gathered(executed)
    assert (row["key"], row["link"], row["verdict"]) == ("gram", "paper.html", "not judged")
    assert row["picture"].startswith("data:image/svg+xml;base64,")


@pytest.mark.parametrize("_", [pytest.param(None, marks=needs_browser)])
def test_an_exported_explorer_is_a_map_that_lives_without_python(executed, tmp_path, _):
    with opened(tmp_path / "profile") as page:
        page.goto((executed / "explore.html").as_uri())
        stage = page.locator(".wbm .stage").first
        stage.wait_for()
        page.wait_for_function("document.querySelector('.wbm .stage').__map.count() === 160")
        assert "20 selected" in page.locator(".wbm .chip").first.inner_text()
        assert stage.evaluate("e => e.__map.picked()") == 40
        stage.scroll_into_view_if_needed()
        box = stage.bounding_box()
        stage.focus()
        page.keyboard.press("Escape")
        page.wait_for_function("document.querySelector('.wbm .stage').__map.picked() === 0")
        page.keyboard.press("s")
        page.mouse.move(box["x"] + 5, box["y"] + 5)
        page.mouse.down()
        for x, y in ((0.5, 0.01), (0.5, 0.99), (0.01, 0.99)):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        page.mouse.up()
        page.wait_for_function("document.querySelector('.wbm .stage').__map.picked() > 0")
        assert page.locator("li .mark").count() >= 1, "what the doctor said stays"
        if shots := os.environ.get("WORKBENCH_SHOT"):
            page.screenshot(path=f"{shots}/explore_export.png", full_page=True)


@pytest.mark.parametrize("_", [pytest.param(None, marks=needs_browser)])
def test_a_report_is_printed_to_pdf(executed, tmp_path, _):
    from workbench.batch.notebooks import to_pdf

    out = to_pdf(executed / "report.html", tmp_path / "report.pdf")
    raw = out.read_bytes()
    assert raw[:5] == b"%PDF-"
    assert len(raw) > 30_000, "figures are in it"


def test_a_figure_of_a_fragment_goes_to_the_notebook_as_its_own(capsys):
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    from workbench.views import cell, document, figures

    InteractiveShell.instance()
    report = wb.diagnose(wb.testing.planted(items=60), only=["recall_at_1"])
    fragment = "<h2>before</h2>" + document.drawn(figures.values({"": report}, "recall_at_1")) + "<p>after</p>"
    with capture_output() as seen:
        cell.show(fragment)
    kinds = [set(o.data) for o in seen.outputs]
    assert len(kinds) == 3
    assert "application/vnd.plotly.v1+json" in kinds[1]
    assert all("Plotly" not in str(o.data.get("text/html", "")) for o in seen.outputs), "nothing that needs a global"
    assert seen.outputs[1].data["application/vnd.plotly.v1+json"]["data"]
